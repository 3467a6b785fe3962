package blob

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"imx"
	"imx/internal/disk"
)

// diskWriter remembers the disk's failure, so that it isn't taken for the reader's.
type diskWriter struct {
	f     *os.File
	write func(*os.File, []byte) (int, error)
	err   error
}

func (w *diskWriter) Write(p []byte) (int, error) {
	n, err := w.write(w.f, p)
	if err != nil {
		w.err = err
	}
	return n, err
}

// onlyReader hides WriteTo and the like, which would get round the diskWriter's buffer.
type onlyReader struct{ io.Reader }

func putError(err error, d imx.Digest) error {
	return disk.Error(err, "storing "+subject(d))
}

func subject(d imx.Digest) string {
	if d == "" {
		return "a blob"
	}
	return "blob " + string(d)
}

func openError(err error, d imx.Digest) error {
	if errors.Is(err, fs.ErrNotExist) {
		return imx.Errorf(imx.NotFound, "there is no blob %s", d)
	}
	return disk.Error(err, "reading blob "+string(d))
}
