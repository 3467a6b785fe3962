package build

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"imx"
	"imx/internal/build/untar"
	"imx/internal/deb"
)

// What one package may hold, unpacked. Debian's largest have below 4 GiB.
const (
	maxControl = 64 << 20
	maxData    = deb.MaxSize
	maxStanza  = 4 << 20
)

// The members of a .deb, and the files of an unpacked package.
const (
	controlTar = "control.tar"
	dataTar    = "data.tar"
)

// unpackAll brings the packages into unpacked/, fetching those that aren't in the blob store.
func (b *Builder) unpackAll(ctx context.Context, packages []imx.Package, s steps) error {
	var missing, unfetched []imx.Package
	for _, p := range packages {
		if b.store.Has("unpacked", p.Digest.Hex()) {
			if err := b.store.Use("unpacked", p.Digest.Hex()); err != nil {
				return err
			}
			continue
		}
		missing = append(missing, p)
		if !b.cfg.Blobs.Has(p.Digest) {
			unfetched = append(unfetched, p)
		}
	}
	if known := len(packages) - len(missing); known > 0 && len(missing) > 0 {
		s.say("%d of %d packages are unpacked already", known, len(packages))
	}
	if len(unfetched) > 0 {
		s.say("fetching %d packages", len(unfetched))
		if err := s.fetch(ctx, unfetched, s.report); err != nil {
			return err
		}
	}
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for group := range groups(missing) {
		g.Go(func() error {
			s.count(int(done.Load()), len(missing), "decompressing %s", several(group))
			err := b.unpack(ctx, group)
			done.Add(int64(len(group)))
			return err
		})
	}
	return g.Wait()
}

// several names packages for people.
func several(packages []imx.Package) string {
	if len(packages) == 1 {
		return packages[0].Name
	}
	return fmt.Sprintf("%s and %d more", packages[0].Name, len(packages)-1)
}

// groupSize is how many compressed bytes are unpacked together.
const groupSize = 8 << 20

// groups divides packages into such that are worth a process that decompresses them.
func groups(packages []imx.Package) func(yield func([]imx.Package) bool) {
	return func(yield func([]imx.Package) bool) {
		var group []imx.Package
		var size int64
		for _, p := range packages {
			group = append(group, p)
			if size += p.Size; size < groupSize {
				continue
			}
			if !yield(group) {
				return
			}
			group, size = nil, 0
		}
		if len(group) > 0 {
			yield(group)
		}
	}
}

// unpacked is the folder with a package's two archives, checked and uncompressed.
func (b *Builder) unpacked(p imx.Package) string { return b.store.Path("unpacked", p.Digest.Hex()) }

// unpack decompresses and checks packages, so that xz is paid once for a package and whoever reads it
// later reads what was checked here.
func (b *Builder) unpack(ctx context.Context, group []imx.Package) error {
	unlock, err := b.lockAll(ctx, group)
	if err != nil {
		return err
	}
	defer unlock()
	dir, done, err := b.store.Scratch("debs")
	if err != nil {
		return err
	}
	defer done()
	var todo []imx.Package
	for _, p := range group {
		if b.store.Has("unpacked", p.Digest.Hex()) { // by another build, meanwhile
			continue
		}
		todo = append(todo, p)
		if err := b.split(ctx, filepath.Join(dir, p.Digest.Hex()), p); err != nil {
			return unpacking(err, p)
		}
	}
	if failed, err := decompressAll(ctx, dir); err != nil {
		i := slices.IndexFunc(todo, func(p imx.Package) bool { return p.Digest.Hex() == failed })
		if i < 0 {
			return trouble(err, "unpacking "+several(group))
		}
		return unpacking(err, todo[i])
	}
	for _, p := range todo {
		if err := check(filepath.Join(dir, p.Digest.Hex()), p); err != nil {
			return unpacking(err, p)
		}
	}
	return b.publishAll(dir, todo)
}

func unpacking(err error, p imx.Package) error {
	return trouble(err, fmt.Sprintf("unpacking %s from %s", p.Ref(), p.Path))
}

// lockAll takes the locks of all the packages. The one order for all keeps two builds from each
// waiting for the other.
func (b *Builder) lockAll(ctx context.Context, packages []imx.Package) (unlock func(), err error) {
	var held []func()
	unlock = func() {
		for _, f := range held {
			f()
		}
	}
	var digests []imx.Digest
	for _, p := range packages {
		digests = append(digests, p.Digest)
	}
	slices.Sort(digests)
	for _, d := range slices.Compact(digests) {
		f, err := b.store.Lock(ctx, "deb "+string(d))
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, f)
	}
	return unlock, nil
}

// publishAll gives the packages' folders below dir their names.
func (b *Builder) publishAll(dir string, packages []imx.Package) error {
	done := map[string]string{}
	for _, p := range packages {
		done[p.Digest.Hex()] = filepath.Join(dir, p.Digest.Hex())
	}
	return b.store.PublishTrees("unpacked", done)
}

// split takes the members of a package out of its .deb (deb(5)) into a new folder. What xz
// compressed stays so, for decompressAll.
func (b *Builder) split(ctx context.Context, dir string, p imx.Package) error {
	in, err := b.cfg.Blobs.Reader(p.Digest)
	if err != nil {
		return err
	}
	defer in.Close()
	return splitDeb(ctx, dir, in)
}

func splitDeb(ctx context.Context, dir string, in io.Reader) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	ar := deb.ReadAr(bufio.NewReaderSize(in, 1<<18))
	for _, m := range []struct {
		name string
		copy func(to, name string) error
	}{
		{"debian-binary", func(_, _ string) error { return checkVersion(ar) }},
		{controlTar, func(to, name string) error { return copyMember(ctx, to, name, &untar.Bounded{R: ar, Left: maxControl}) }},
		{dataTar, func(to, name string) error { return copyMember(ctx, to, name, &untar.Bounded{R: ar, Left: maxData}) }},
	} {
		h, err := ar.Next()
		switch {
		case errors.Is(err, io.EOF):
			return imx.Errorf(imx.Refused, "the member %s is missing", m.name)
		case err != nil:
			return err
		case !strings.HasPrefix(h.Name, m.name):
			return imx.Errorf(imx.Refused, "the member %s stands where %s must", h.Name, m.name)
		}
		if err := m.copy(filepath.Join(dir, m.name), h.Name); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	_, err := io.Copy(io.Discard, in) // the blob's digest is checked at its end
	return err
}

func checkVersion(r io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(r, 100))
	if err == nil && !strings.HasPrefix(string(text), "2.") {
		return imx.Errorf(imx.Refused, "the package has the format version %.20q, not 2", text)
	}
	return err
}

// copyMember writes a member of a .deb into a file, uncompressed unless decompressAll will do it.
func copyMember(ctx context.Context, to, name string, in *untar.Bounded) error {
	if strings.HasSuffix(name, ".xz") && hasXZ() {
		return writeFile(to+".xz", in.R)
	}
	plain, err := decompress(ctx, name, in.R)
	if err != nil {
		return err
	}
	defer plain.Close()
	return writeFile(to, &untar.Bounded{R: plain, Left: in.Left})
}

func writeFile(name string, r io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// check makes sure that an unpacked package is the planned one and has no entry that no image may have.
func check(dir string, p imx.Package) error {
	named := false
	err := eachEntry(filepath.Join(dir, controlTar), maxControl, func(h *tar.Header, r io.Reader) error {
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
			return imx.Errorf(imx.Refused, "control file %q is not a regular file", h.Name)
		}
		if path.Clean(h.Name) != "control" {
			return nil
		}
		named = true
		text, err := io.ReadAll(io.LimitReader(r, maxStanza))
		return errors.Join(untar.Unreadable(err), checkIdentity(text, p))
	})
	if err == nil && !named {
		err = imx.Errorf(imx.Refused, "it has no control file")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", controlTar, err)
	}
	err = eachEntry(filepath.Join(dir, dataTar), maxData, func(*tar.Header, io.Reader) error { return nil })
	if err != nil {
		return fmt.Errorf("%s: %w", dataTar, err)
	}
	return nil
}

func checkIdentity(control []byte, p imx.Package) error {
	s, err := deb.ReadStanzas(bytes.NewReader(control), "control").Next()
	if err != nil {
		return err
	}
	if is := s.Identity(); is.Ref() != p.Ref() {
		return imx.Errorf(imx.Refused, "it is the package %s, not %s", is.Ref(), p.Ref())
	}
	return nil
}

// eachEntry calls f for every entry of a tar archive that no rule refuses, up to the first error.
func eachEntry(name string, limit int64, f func(*tar.Header, io.Reader) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if st, err := file.Stat(); err != nil || st.Size() > limit {
		return errors.Join(err, untar.ErrTooLarge())
	}
	return untar.Each(tar.NewReader(newWindow(file)), f)
}
