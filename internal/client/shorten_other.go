//go:build !linux

package client

import "imx"

// shorten can't do here what it does on Linux.
func shorten(path string) (short string, done func(), err error) {
	return "", nil, imx.Errorf(imx.Invalid, "the socket's path %s is longer than the %d bytes that this system allows", path, maxSocketPath).
		WithHint("give the server a data folder with a shorter path")
}
