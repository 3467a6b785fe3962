// Package untar reads tar archives that nobody vouches for: those in packages, and layers of images.
package untar

import (
	"archive/tar"
	"errors"
	"io"

	"imx"
	"imx/internal/deb"
)

// maxEntries is how many an archive may have: Debian's largest packages have 50,000.
const maxEntries = 500_000

// Each calls f for every entry of an archive, up to the first error. The archive is Refused where it isn't
// well-formed, has too many entries, or one that leads out of the root or is of a kind that no image has.
func Each(in *tar.Reader, f func(*tar.Header, io.Reader) error) error {
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return Unreadable(err)
		}
		if n == maxEntries {
			return imx.Errorf(imx.Refused, "it has more than %d entries", maxEntries)
		}
		if err := deb.CheckTarEntry(h); err != nil {
			return err
		}
		if err := f(h, in); err != nil {
			return err
		}
	}
}

// Unreadable tells a malformed archive from a failing disk.
func Unreadable(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrFieldTooLong) {
		return imx.Errorf(imx.Refused, "it is no well-formed tar archive: %w", err)
	}
	return err
}

// ErrTooLarge is Refused.
func ErrTooLarge() error {
	return imx.Errorf(imx.Refused, "it is larger than a package may be, unpacked")
}

// Bounded reads at most so many bytes; more is ErrTooLarge.
type Bounded struct {
	R    io.Reader
	Left int64
}

func (l *Bounded) Read(p []byte) (int, error) {
	n, err := l.R.Read(p)
	if l.Left -= int64(n); l.Left < 0 {
		return 0, ErrTooLarge()
	}
	return n, err
}
