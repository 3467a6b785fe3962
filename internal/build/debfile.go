package build

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"imx"
	"imx/internal/build/untar"
)

// writeDeb makes a .deb (deb(5)) without compression from an unpacked package. Every entry is written
// anew, so that dpkg can't read it otherwise than Go, which checked it. A lean one has no files.
func writeDeb(out io.WriteSeeker, dir string, lean bool) error { //nolint:revive // one word less for who reads it
	w := &arWriter{w: out}
	return inOrder(
		func() error {
			return w.member("debian-binary", func(w io.Writer) error { _, err := io.WriteString(w, "2.0\n"); return err })
		},
		func() error {
			return w.member(controlTar, func(w io.Writer) error { return copyTar(w, filepath.Join(dir, controlTar), maxControl) })
		},
		func() error {
			return w.member(dataTar, func(w io.Writer) error {
				if lean {
					return emptyTar(w)
				}
				return copyTar(w, filepath.Join(dir, dataTar), maxData)
			})
		},
	)
}

func emptyTar(w io.Writer) error {
	out := tar.NewWriter(w)
	err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755, Format: tar.FormatGNU})
	return errors.Join(err, out.Close())
}

// copyTar writes a tar archive anew, entry by entry.
func copyTar(w io.Writer, name string, limit int64) error {
	out := tar.NewWriter(w)
	err := eachEntry(name, limit, func(h *tar.Header, content io.Reader) error {
		h.Format, h.PAXRecords = tar.FormatGNU, nil // dpkg reads no PAX records
		if err := out.WriteHeader(h); err != nil {
			return imx.Errorf(imx.Refused, "entry %q: %w", h.Name, err)
		}
		_, err := io.Copy(out, content)
		return untar.Unreadable(err)
	})
	if err != nil {
		return err
	}
	return out.Close()
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

// putDeb writes a package to dir for the root's dpkg to unpack.
func (b *Builder) putDeb(p *parcel, dir string) error {
	out, err := os.Create(filepath.Join(dir, p.pkg.Digest.Hex()+".deb"))
	if err != nil {
		return err
	}
	return errors.Join(writeDeb(out, b.unpacked(p.pkg), p.lean), out.Close())
}
