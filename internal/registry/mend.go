package registry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"cuelabs.dev/go/oci/ociregistry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/disk"
)

// mendBlobs brings damaged bytes in again. It comes before the look at manifests, which can then be read.
func (k *checker) mendBlobs(ctx context.Context) error {
	for _, f := range k.faults {
		if f.digest == "" || k.Mend == MendNothing || ctx.Err() != nil {
			continue
		}
		if err := k.fetch(ctx, f); err != nil {
			f.Error = imx.AsError(err)
			continue
		}
		f.Repaired = k.Name
	}
	return nil
}

// fetch tries each place that the replica may have the bytes at.
func (k *checker) fetch(ctx context.Context, f *fix) error {
	if k.Replica == nil {
		return imx.Errorf(imx.NotFound, "nothing at hand has these bytes").WithHint("name a registry that has them: imx registry fsck --repair-from URL")
	}
	places := k.named[f.digest]
	if len(places) == 0 {
		return imx.Errorf(imx.NotFound, "no repository names these bytes, so that no registry can be asked for them").
			WithHint("building the images that need it again brings it in")
	}
	var failed error
	for _, p := range places {
		if failed = k.fetchFrom(ctx, p, f); failed == nil {
			return nil
		}
	}
	return failed
}

func (k *checker) fetchFrom(ctx context.Context, p place, f *fix) error {
	get := k.Replica.GetBlob
	if p.sort == manifestNames {
		get = k.Replica.GetManifest
	}
	body, err := get(ctx, p.repo, ociregistry.Digest(p.digest))
	if err != nil {
		return imx.Errorf(imx.NotFound, "registry %s: asking for %s in %s: %w", k.Name, p.digest.Short(), p.repo, err)
	}
	defer body.Close()
	old, err := k.r.blobs.Open(f.digest)
	if err != nil {
		old = nil // it is gone
	} else {
		defer old.Close()
	}
	compared := &differ{from: body, old: old}
	if old != nil {
		compared.buf = bufio.NewReaderSize(old, 256<<10)
	}
	_, _, err = k.r.blobs.Put(compared, f.digest)
	if imx.KindOf(err) == imx.Refused {
		return imx.Errorf(imx.Refused, "registry %s serves other bytes than asked for: %w", k.Name, err)
	}
	if err != nil {
		return err
	}
	if old != nil {
		f.Ranges = compared.ranges()
	}
	return nil
}

// differ reads right bytes and finds out which of the old ones are others.
type differ struct {
	from  io.Reader
	old   *os.File
	buf   *bufio.Reader
	at    int64
	found [][2]int64
}

// near is how many right bytes between two wrong ones make them two ranges.
const near = 64

// mostRanges bounds what is told of one blob.
const mostRanges = 1000

// Read implements io.Reader.
func (d *differ) Read(p []byte) (int, error) {
	n, err := d.from.Read(p)
	if d.buf == nil {
		return n, err
	}
	old := make([]byte, n)
	had, _ := io.ReadFull(d.buf, old) // what can't be read is wrong
	for i := range n {
		if i >= had || old[i] != p[i] {
			d.wrong(d.at + int64(i))
		}
	}
	d.at += int64(n)
	return n, err
}

func (d *differ) wrong(at int64) {
	if n := len(d.found); n > 0 && (at-d.found[n-1][1] < near || n == mostRanges) {
		d.found[n-1][1] = at + 1
		return
	}
	d.found = append(d.found, [2]int64{at, at + 1})
}

// ranges are the wrong bytes, those too that the old file has past its right end.
func (d *differ) ranges() [][2]int64 {
	if st, err := d.old.Stat(); err == nil && st.Size() > d.at {
		d.found = append(d.found, [2]int64{d.at, st.Size()})
	}
	return d.found
}

// forget lets go of damaged bytes that nothing but replaced statements has: of the statements' names, so that nobody is told of
// them any more, and then of the bytes.
func (k *checker) forget(context.Context) error {
	for _, f := range k.faults {
		if f.digest == "" || f.Repaired != "" || !bool(k.Forget) {
			continue
		}
		if statements, only := k.replaced(f.digest); only {
			if err := k.letGo(f.digest, statements); err != nil {
				f.Error = imx.AsError(err)
				continue
			}
			f.Repaired, f.Error = forgotten, nil
		}
	}
	return nil
}

// forgotten is in place of what damage was mended from.
const forgotten = "nothing: it was replaced, and is let go of"

// replaced returns the manifests of the statements that some bytes are of, and whether they have been replaced, all of them, and nothing
// else has the bytes.
func (k *checker) replaced(d imx.Digest) (statements []imx.Digest, only bool) {
	statements = slices.Clone(k.parents[d])
	if k.Stated[d].Replaced {
		statements = append(statements, d)
	}
	others := len(k.Needs[d]) + len(k.wants[d])
	for _, m := range statements {
		others += len(k.Needs[m]) + len(k.wants[m]) + len(k.parents[m])
		if !k.Stated[m].Replaced {
			others++
		}
	}
	return statements, others == 0 && len(statements) > 0
}

// letGo removes first what tells of the statements.
func (k *checker) letGo(d imx.Digest, statements []imx.Digest) error {
	k.r.usage.naming.RLock()
	defer k.r.usage.naming.RUnlock()
	defer k.r.usage.forget()
	var files []string
	for _, m := range statements {
		for _, p := range k.named[m] {
			referrers, err := filepath.Glob(filepath.Join(k.r.folder(p.repo, referrerNames), "*."+fileKey(m)))
			if err != nil {
				return imx.Errorf(imx.Internal, "listing what refers in %s: %w", p.repo, err)
			}
			files = append(append(files, referrers...), filepath.Join(k.r.folder(p.repo, p.sort), fileKey(p.digest)))
		}
	}
	for _, p := range k.named[d] {
		files = append(files, filepath.Join(k.r.folder(p.repo, p.sort), fileKey(p.digest)))
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return disk.Error(err, "removing a name from the registry")
		}
	}
	err := k.r.blobs.Delete(d)
	if imx.KindOf(err) == imx.NotFound {
		return nil // it was gone
	}
	return err
}

// mendNames puts the names right.
func (k *checker) mendNames(ctx context.Context) error {
	for _, f := range k.faults {
		if f.digest != "" || f.mend == nil || k.Mend == MendNothing || ctx.Err() != nil {
			continue
		}
		if err := f.mend(ctx); err != nil {
			f.Error = imx.AsError(err)
			continue
		}
		f.Repaired = f.from
	}
	return nil
}

// write puts a name in place of what is there.
func (k *checker) write(p place, file, content string) error {
	k.r.usage.naming.RLock()
	defer k.r.usage.naming.RUnlock()
	defer k.r.usage.forget()
	n, err := k.r.stageName(p.repo, p.sort, file, []byte(content))
	if err != nil {
		return disk.Error(err, "storing a name in repository "+p.repo)
	}
	defer drop([]name{n})
	return disk.Error(k.r.commit([]name{n}), "storing a name in repository "+p.repo)
}

// retype gives a manifest the media type that its bytes have.
func (k *checker) retype(p place, bytes imx.Digest, says mark) error {
	m, ok := k.r.whole(bytes)
	if !ok {
		return imx.Errorf(imx.NotFound, "the manifest can't be read, so its media type isn't known")
	}
	says.mediaType = typeOf(m)
	return k.write(p, fileKey(p.digest), says.text())
}

func typeOf(m *manifest) string {
	switch {
	case isManifestType(m.MediaType):
		return m.MediaType
	case m.Config != nil:
		return ocispec.MediaTypeImageManifest
	}
	return ocispec.MediaTypeImageIndex
}

// rename makes a name that is gone, of bytes that are there or come from the replica.
func (k *checker) rename(ctx context.Context, p place) error {
	if isSHA512(p.digest) {
		return k.mend512(ctx, p)
	}
	if !k.r.blobs.Has(p.digest) {
		k.named[p.digest] = append(k.named[p.digest], p)
		if err := k.fetch(ctx, &fix{digest: p.digest}); err != nil {
			return err
		}
	}
	if p.sort == manifestNames {
		return k.retype(p, p.digest, mark{})
	}
	return k.write(p, fileKey(p.digest), "")
}

// mend512 makes a name by SHA-512, of bytes from the replica.
func (k *checker) mend512(ctx context.Context, p place) error {
	if k.Replica == nil {
		return imx.Errorf(imx.NotFound, "nothing at hand says which bytes %.20s... are", p.digest).WithHint("name a registry that has them: imx registry fsck --repair-from URL")
	}
	get := k.Replica.GetBlob
	if p.sort == manifestNames {
		get = k.Replica.GetManifest
	}
	body, err := get(ctx, p.repo, ociregistry.Digest(p.digest))
	if err != nil {
		return imx.Errorf(imx.NotFound, "registry %s: asking for %.20s... in %s: %w", k.Name, p.digest, p.repo, err)
	}
	bytes, _, err := k.r.storeBlob(p.digest, body)
	if err := errors.Join(err, body.Close()); err != nil {
		return err
	}
	if p.sort == manifestNames {
		return k.retype(p, bytes, mark{content: bytes})
	}
	return k.write(p, fileKey(p.digest), mark{content: bytes}.text())
}

// retag asks the replica what a tag is. The manifest must be here.
func (k *checker) retag(ctx context.Context, t Tagged) error {
	if k.Replica == nil {
		return imx.Errorf(imx.NotFound, "the log doesn't say what the tag is").WithHint("name a registry that has it: imx registry fsck --repair-from URL")
	}
	desc, err := k.Replica.ResolveTag(ctx, t.Repository, t.Tag)
	if err != nil {
		return imx.Errorf(imx.NotFound, "registry %s: asking for %s:%s: %w", k.Name, t.Repository, t.Tag, err)
	}
	d := imx.Digest(desc.Digest)
	if _, _, err := k.r.manifestMark(t.Repository, d); err != nil {
		return fmt.Errorf("registry %s says that %s:%s is %s: %w", k.Name, t.Repository, t.Tag, d, err)
	}
	return k.write(place{t.Repository, tagNames, ""}, t.Tag, tagText(d, ""))
}
