// Package erofs turns a list of files into an EROFS image, the read-only file system that imx's
// instances have as their root, and mounts it. An image has the files' content in itself, or says
// where in other files it lies: its parts, which several images can have in common. The package knows
// nothing of packages, layers or instances, compresses nothing and keeps no table of what is mounted.
package erofs

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	goerofs "github.com/erofs/go-erofs"

	"imx"
)

// Entry is one file, directory or symbolic link of a tree. EROFS through this package has no hard
// links: two names of one file are two entries and take the space twice.
type Entry struct {
	Path string      // clean and relative, "." for the root itself
	Mode fs.FileMode // type (regular, directory or symlink), permissions, setuid, setgid, sticky
	UID  int
	GID  int
	Time time.Time // of its last change, to a second; the zero Time means Write's epoch
	Size int64     // bytes of a regular file
	Link string    // target of a symbolic link
	// Open gives a regular file's content, exactly Size bytes; Write closes it. It isn't called for
	// an empty file and may be nil for one.
	Open   func() (io.ReadCloser, error)
	Xattrs map[string]string // names begin with "user.", "security." or "trusted."
	// In says where in a part a regular file's content is. A file that has extended attributes has its
	// content in the image all the same. nil is for content in the image.
	In *Place
}

// Write writes the tree as an EROFS image that was made at epoch, to a second. The same
// entries in any order give the same bytes. Directories that no entry names are made, 0755 of
// root. A time other than epoch costs 32 bytes. Two entries of one path, a file as a parent, an unclean path and other types of files are
// Invalid; w's and Open's errors pass through wrapped. What w holds after an error is of no use.
func Write(w io.WriteSeeker, entries []Entry, epoch time.Time) error {
	return write(w, entries, nil, epoch)
}

func write(w io.WriteSeeker, entries []Entry, parts []Part, epoch time.Time) error {
	if epoch.Unix() < 0 {
		return invalid("the time %s is before 1970", epoch)
	}
	t, err := plant(entries, epoch)
	if err != nil {
		return err
	}
	blocks := 4096
	if len(parts) > 0 {
		blocks = BlockSize
	}
	//nolint:gosec // not negative: checked above
	image := goerofs.Create(w, goerofs.WithBlockSize(blocks), goerofs.WithBuildTime(uint64(epoch.Unix()), 0))
	for i := range parts {
		if err := image.CopyFrom(t.in(i, parts[i]), goerofs.MetadataOnly()); err != nil {
			return fmt.Errorf("erofs: %w", err)
		}
	}
	if err := image.CopyFrom(t); err != nil {
		return fmt.Errorf("erofs: %w", err)
	}
	if err := image.Close(); err != nil {
		return fmt.Errorf("erofs: %w", err)
	}
	return nil
}

func plant(entries []Entry, epoch time.Time) (*tree, error) {
	t := &tree{nodes: map[string]*node{}, epoch: epoch}
	for _, e := range entries {
		if err := check(e); err != nil {
			return nil, err
		}
		if t.nodes[e.Path] != nil {
			return nil, invalid("%q is there twice", e.Path)
		}
		t.nodes[e.Path] = &node{entry: e, epoch: epoch}
	}
	for _, p := range slices.Sorted(maps.Keys(t.nodes)) {
		if err := t.attach(p); err != nil {
			return nil, err
		}
	}
	if t.nodes["."] == nil {
		t.nodes["."] = t.directory(".")
	}
	for _, n := range t.nodes {
		slices.SortFunc(n.children, func(a, b *node) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return t, nil
}

// attach puts the node at p under its parent, making the parents that are missing.
func (t *tree) attach(p string) error {
	for p != "." {
		dir := path.Dir(p)
		parent, known := t.nodes[dir]
		if !known {
			parent = t.directory(dir)
			t.nodes[dir] = parent
		}
		if !parent.IsDir() {
			return invalid("%q lies below %q, which is not a directory", p, dir)
		}
		parent.children = append(parent.children, t.nodes[p])
		if known {
			return nil // it is attached itself, or will be
		}
		p = dir
	}
	return nil
}

func (t *tree) directory(p string) *node {
	return &node{epoch: t.epoch, entry: Entry{Path: p, Mode: fs.ModeDir | 0o755}}
}

const maxID = 1<<32 - 2 // uid_t, without the (uid_t)-1 that means "none"

func check(e Entry) error {
	switch {
	case !fs.ValidPath(e.Path):
		return invalid("path %q is not clean and relative", e.Path)
	case strings.Contains(e.Path, "\x00"):
		return invalid("path %q has a NUL byte", e.Path)
	case e.UID < 0 || e.GID < 0 || e.UID > maxID || e.GID > maxID:
		return invalid("%q has the owner %d:%d", e.Path, e.UID, e.GID)
	case !e.Time.IsZero() && e.Time.Unix() < 0:
		return invalid("%q has the time %s, before 1970", e.Path, e.Time)
	case e.Path == "." && !e.Mode.IsDir():
		return invalid("the root is not a directory")
	}
	for part := range strings.SplitSeq(e.Path, "/") {
		if len(part) > 255 {
			return invalid("a name in %.80q has more than 255 bytes", e.Path)
		}
	}
	for name := range e.Xattrs {
		if err := checkXattr(e.Path, name); err != nil {
			return err
		}
	}
	return checkType(e)
}

func checkType(e Entry) error {
	switch {
	case e.Mode.IsDir():
		return nil
	case e.Mode.Type() == fs.ModeSymlink:
		if e.Link == "" || len(e.Link) >= 4096 || strings.Contains(e.Link, "\x00") {
			return invalid("%q is a symbolic link to %.80q", e.Path, e.Link)
		}
		return nil
	case e.Mode.IsRegular():
		if e.Size < 0 || (e.Size > 0 && e.Open == nil && !e.outside()) {
			return invalid("file %q has the size %d and no content", e.Path, e.Size)
		}
		return nil
	}
	return invalid("%q is of type %s: only files, directories and symbolic links are written", e.Path, e.Mode.Type())
}

func checkXattr(file, name string) error {
	for _, prefix := range []string{"user.", "security.", "trusted."} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && len(rest) <= 255 {
			return nil
		}
	}
	return invalid("%q has the extended attribute %q, which can't be written", file, name)
}

func invalid(format string, args ...any) error {
	return imx.Errorf(imx.Invalid, "erofs: "+format, args...)
}
