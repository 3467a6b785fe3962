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
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"imx"
	"imx/internal/deb"
)

// What one package may hold, unpacked. Debian's largest have 50,000 entries and below 4 GiB.
const (
	maxControl = 64 << 20
	maxData    = deb.MaxSize
	maxEntries = 500_000
	maxStanza  = 4 << 20
)

// unpackAll brings the packages into unpacked/, fetching those that aren't in the blob store.
func (b *Builder) unpackAll(ctx context.Context, packages []imx.Package, s steps) error {
	var missing, unfetched []imx.Package
	for _, p := range packages {
		if exists(b.unpacked(p)) {
			if err := b.used(p); err != nil {
				return err
			}
			continue
		}
		missing = append(missing, p)
		if !b.cfg.Blobs.Has(p.Digest) {
			unfetched = append(unfetched, p)
		}
	}
	if len(unfetched) > 0 {
		s.say("fetching %d packages", len(unfetched))
		if err := s.fetch(ctx, unfetched, s.report); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for i, p := range missing {
		g.Go(func() error {
			s.count(i, len(missing), "unpacking %s", p.Name)
			return trouble(b.unpack(ctx, p), fmt.Sprintf("unpacking %s from %s", p.Ref(), p.Path))
		})
	}
	return g.Wait()
}

// unpacked is where a package's checked and uncompressed form is.
func (b *Builder) unpacked(p imx.Package) string { return b.path("unpacked", p.Digest.Hex()+".deb") }

// used marks an unpacked package as wanted.
func (b *Builder) used(p imx.Package) error {
	now := time.Now()
	return os.Chtimes(b.unpacked(p), now, now)
}

// unusedAfter is how long an unpacked package is kept that no build needed.
const unusedAfter = 30 * 24 * time.Hour

// prune removes unpacked packages that nothing used for long. The packages themselves stay.
func (b *Builder) prune(now time.Time) error {
	entries, err := os.ReadDir(b.path("unpacked"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			return err
		}
		if now.Sub(st.ModTime()) > unusedAfter {
			if err := os.Remove(b.path("unpacked", e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// unpack writes a package anew: the same members and entries, each checked, none compressed. dpkg
// then reads what was checked here, byte for byte, and xz is paid once for a package.
func (b *Builder) unpack(ctx context.Context, p imx.Package) error {
	unlock, err := b.busy.lock(ctx, "deb "+string(p.Digest))
	if err != nil {
		return err
	}
	defer unlock()
	if exists(b.unpacked(p)) {
		return b.used(p)
	}
	in, err := b.cfg.Blobs.Reader(p.Digest)
	if err != nil {
		return err
	}
	defer in.Close()
	dir, done, err := b.scratch("deb")
	if err != nil {
		return err
	}
	defer done()
	name := filepath.Join(dir, "deb")
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	err = rewrite(ctx, out, in, p)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return publish(name, b.unpacked(p))
}

// rewrite writes the .deb in (deb(5)) to out, checked and without compression.
func rewrite(ctx context.Context, out io.WriteSeeker, in io.Reader, p imx.Package) error {
	w := &arWriter{w: out}
	ar := deb.ReadAr(bufio.NewReaderSize(in, 1<<18))
	for _, m := range []struct {
		name string
		copy func(w io.Writer, r io.Reader) error
	}{
		{"debian-binary", copyVersion},
		{"control.tar", func(w io.Writer, r io.Reader) error { return copyControl(w, r, p) }},
		{"data.tar", copyData},
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
		if err := w.member(m.name, func(w io.Writer) error {
			return copyMember(ctx, w, h.Name, ar, m.copy)
		}); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	_, err := io.Copy(io.Discard, in) // the blob's digest is checked at its end
	return err
}

func copyMember(ctx context.Context, w io.Writer, name string, r io.Reader, to func(io.Writer, io.Reader) error) error {
	plain, err := decompress(ctx, name, r)
	if err != nil {
		return err
	}
	defer plain.Close()
	return to(w, plain)
}

func copyVersion(w io.Writer, r io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(r, 100))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(text), "2.") {
		return imx.Errorf(imx.Refused, "the package has the format version %.20q, not 2", text)
	}
	_, err = io.WriteString(w, "2.0\n")
	return err
}

// copyControl also makes sure that the control files are those of the planned package.
func copyControl(w io.Writer, r io.Reader, p imx.Package) error {
	named := false
	err := copyTar(w, r, maxControl, func(h *tar.Header, r io.Reader) (io.Reader, error) {
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
			return nil, imx.Errorf(imx.Refused, "control file %q is not a regular file", h.Name)
		}
		if path.Clean(h.Name) != "control" {
			return r, nil
		}
		named = true
		text, err := io.ReadAll(io.LimitReader(r, maxStanza))
		if err != nil {
			return nil, err
		}
		return bytes.NewReader(text), checkIdentity(text, p)
	})
	if err == nil && !named {
		return imx.Errorf(imx.Refused, "it has no control file")
	}
	return err
}

func checkIdentity(control []byte, p imx.Package) error {
	s, err := deb.ReadStanzas(bytes.NewReader(control), "control").Next()
	if err != nil {
		return err
	}
	if is := identity(s); is.Ref() != p.Ref() {
		return imx.Errorf(imx.Refused, "it is the package %s, not %s", is.Ref(), p.Ref())
	}
	return nil
}

// identity is what a stanza says of which package it is.
func identity(s *deb.Stanza) imx.Package {
	return imx.Package{Name: s.Field("package"), Version: s.Field("version"), Architecture: s.Field("architecture")}
}

func copyData(w io.Writer, r io.Reader) error {
	return copyTar(w, r, maxData, func(_ *tar.Header, r io.Reader) (io.Reader, error) { return r, nil })
}

// copyTar copies a tar archive entry by entry, so that its reader need not agree with Go's about
// malformed archives. each may refuse an entry or give another reader of its content.
func copyTar(w io.Writer, r io.Reader, limit int64, each func(*tar.Header, io.Reader) (io.Reader, error)) error {
	in, out := tar.NewReader(&bounded{r: r, left: limit}), tar.NewWriter(w)
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return unreadable(err)
		}
		if n == maxEntries {
			return imx.Errorf(imx.Refused, "it has more than %d entries", maxEntries)
		}
		if err := deb.CheckTarEntry(h); err != nil {
			return err
		}
		content, err := each(h, in)
		if err != nil {
			return err
		}
		h.Format, h.PAXRecords = tar.FormatGNU, nil // dpkg reads no PAX records
		if err := out.WriteHeader(h); err != nil {
			return imx.Errorf(imx.Refused, "entry %q: %w", h.Name, err)
		}
		if _, err := io.Copy(out, content); err != nil {
			return unreadable(err)
		}
	}
}

// unreadable tells a malformed archive from a failing disk.
func unreadable(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrFieldTooLong) {
		return imx.Errorf(imx.Refused, "it is no well-formed tar archive: %w", err)
	}
	return err
}

// bounded reads at most left bytes; more is Refused.
type bounded struct {
	r    io.Reader
	left int64
}

func (l *bounded) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, imx.Errorf(imx.Refused, "it is larger than a package may be, unpacked")
	}
	return n, err
}

// arWriter writes an ar archive; sizes are filled in when they are known.
type arWriter struct {
	w     io.WriteSeeker
	began bool
}

func (a *arWriter) member(name string, fill func(io.Writer) error) error {
	if !a.began {
		a.began = true
		if _, err := io.WriteString(a.w, "!<arch>\n"); err != nil {
			return err
		}
	}
	start, err := a.w.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(a.w, arHeader(name, 0)); err != nil {
		return err
	}
	buffer := bufio.NewWriterSize(a.w, 1<<18)
	if err := errors.Join(fill(buffer), buffer.Flush()); err != nil {
		return err
	}
	end, err := a.w.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	size := end - start - int64(len(arHeader(name, 0)))
	if _, err := a.w.Seek(start, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.WriteString(a.w, arHeader(name, size)); err != nil {
		return err
	}
	if _, err := a.w.Seek(end, io.SeekStart); err != nil {
		return err
	}
	_, err = io.WriteString(a.w, "\n"[:size%2])
	return err
}

func arHeader(name string, size int64) string {
	return fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, 0, 0, 0, "100644", size)
}
