package erofs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	goerofs "github.com/erofs/go-erofs"
)

// tree shows the entries that have their content in the image as the fs.FS that go-erofs copies from.
type tree struct {
	nodes map[string]*node
	epoch time.Time
}

func (t *tree) node(op, name string) (*node, error) {
	n := t.nodes[name]
	if n == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

// Open implements fs.FS. A file's content is opened at the first Read, so that go-erofs, which
// opens every file before it reads the first, doesn't hold them all.
func (t *tree) Open(name string) (fs.File, error) {
	n, err := t.node("open", name)
	if err != nil {
		return nil, err
	}
	return &content{node: n, left: n.entry.Size}, nil
}

// Stat implements fs.StatFS.
func (t *tree) Stat(name string) (fs.FileInfo, error) { return t.node("stat", name) }

// ReadDir implements fs.ReadDirFS.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.node("readdir", name)
	if err != nil {
		return nil, err
	}
	list := make([]fs.DirEntry, 0, len(n.children))
	for _, c := range n.children {
		if !c.entry.outside() {
			list = append(list, fs.FileInfoToDirEntry(c))
		}
	}
	return list, nil
}

// in returns the tree as one that has the files of a part alone.
func (t *tree) in(number int, p Part) partTree {
	part := partTree{tree: t, files: map[string][]fs.DirEntry{}, blocks: (p.Size + BlockSize - 1) / BlockSize}
	for _, n := range t.nodes {
		if !n.entry.outside() || n.entry.In.Part != number {
			continue
		}
		for ; n != t.nodes["."]; n = t.nodes[path.Dir(n.entry.Path)] {
			dir := path.Dir(n.entry.Path)
			_, known := part.files[dir]
			part.files[dir] = append(part.files[dir], fs.FileInfoToDirEntry(n))
			if known {
				break // it is in the directories above, or will be
			}
		}
	}
	for _, list := range part.files {
		slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return part
}

// partTree shows the files of one part, and the directories above them.
type partTree struct {
	*tree
	files  map[string][]fs.DirEntry // by directory
	blocks int64
}

// ReadDir implements fs.ReadDirFS.
func (t partTree) ReadDir(name string) ([]fs.DirEntry, error) { return t.files[name], nil }

// DeviceBlocks tells go-erofs how large the part is.
func (t partTree) DeviceBlocks() uint64 { return uint64(t.blocks) } //nolint:gosec // of a file

// ReadLink gives go-erofs the target of a symbolic link.
func (t *tree) ReadLink(name string) (string, error) {
	n, err := t.node("readlink", name)
	if err != nil {
		return "", err
	}
	return n.entry.Link, nil
}

// node is an entry in its tree; it implements fs.FileInfo.
type node struct {
	entry    Entry
	epoch    time.Time // for an entry without a time
	children []*node   // sorted by name
}

func (n *node) Name() string      { return path.Base(n.entry.Path) }
func (n *node) Size() int64       { return n.entry.Size }
func (n *node) Mode() fs.FileMode { return n.entry.Mode }
func (n *node) IsDir() bool       { return n.entry.Mode.IsDir() }

func (n *node) ModTime() time.Time {
	if n.entry.Time.IsZero() {
		return n.epoch
	}
	return n.entry.Time
}

// DataRange tells go-erofs where in its part the content is.
func (n *node) DataRange() []goerofs.DataRange {
	if !n.entry.outside() {
		return nil
	}
	return []goerofs.DataRange{{Offset: n.entry.In.Offset, Size: n.entry.Size}}
}

// Sys returns what fs.FileInfo has no place for, in the type that go-erofs reads.
func (n *node) Sys() any {
	return &goerofs.Stat{
		UID:    uint32(n.entry.UID),        //nolint:gosec // check bounds it
		GID:    uint32(n.entry.GID),        //nolint:gosec // check bounds it
		Mtime:  uint64(n.ModTime().Unix()), //nolint:gosec // Write and check refuse negative times
		Nlink:  n.links(),
		Xattrs: n.entry.Xattrs,
	}
}

func (n *node) links() int {
	if !n.IsDir() {
		return 1
	}
	links := 2
	for _, c := range n.children {
		if c.IsDir() {
			links++
		}
	}
	return links
}

// content reads a file's bytes and insists on their number: a shorter or longer file would
// silently become another one in the image.
type content struct {
	node *node
	r    io.ReadCloser
	left int64
}

func (c *content) Stat() (fs.FileInfo, error) { return c.node, nil }

func (c *content) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if c.r == nil {
		r, err := c.node.entry.Open()
		if err != nil {
			return 0, err
		}
		c.r = r
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	switch {
	case c.left == 0:
		return n, c.end()
	case errors.Is(err, io.EOF):
		return n, fmt.Errorf("%s ends %d bytes too early: %w", c.node.entry.Path, c.left, io.ErrUnexpectedEOF)
	}
	return n, err
}

// end makes sure that nothing follows the last byte.
func (c *content) end() error {
	n, err := io.ReadFull(c.r, make([]byte, 1))
	switch {
	case n > 0:
		return fmt.Errorf("%s is longer than the %d bytes it should have", c.node.entry.Path, c.node.entry.Size)
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

func (c *content) Close() error {
	if c.r == nil {
		return nil
	}
	return c.r.Close()
}
