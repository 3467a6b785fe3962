// Package erofstest lets tests look into images.
package erofstest

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"imx"
	"imx/internal/erofs"
)

// Rooter makes the EROFS file of an image, as a builder and a packer do.
type Rooter interface {
	Root(ctx context.Context, image imx.Digest) (file string, digest imx.Digest, err error)
}

// Mounted mounts an image's root until the test ends, and returns where.
func Mounted(tb testing.TB, r Rooter, image imx.Digest) string {
	tb.Helper()
	file, _, err := r.Root(tb.Context(), image)
	if err != nil {
		tb.Fatal(err)
	}
	target := tb.TempDir()
	if err := erofs.Mount(file, target); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := erofs.Unmount(target); err != nil {
			tb.Error(err)
		}
	})
	return target
}

// Paths lists a tree, from its root, which is "".
func Paths(tb testing.TB, root string) []string {
	tb.Helper()
	var all []string
	err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		all = append(all, strings.TrimPrefix(strings.TrimPrefix(p, root), "/"))
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}
