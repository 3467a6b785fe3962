package client

import (
	"fmt"
	"os"
	"path/filepath"

	"imx"
)

// shorten returns another, short path of the same socket, through a descriptor of its folder. The
// path is good until done is called.
func shorten(path string) (short string, done func(), err error) {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	short = fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(path))
	if len(short) > maxSocketPath {
		_ = folder.Close() // nothing was written to it
		return "", nil, imx.Errorf(imx.Invalid, "the name of the socket %s is too long", path).
			WithHint("a socket's own name has at most 80 characters")
	}
	return short, func() { _ = folder.Close() }, nil
}
