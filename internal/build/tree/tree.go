// Package tree has the files of an image as values: what is at each path, how paths lead through links, which
// accounts there are and what programs say of themselves. It reads files and runs nothing.
package tree

import (
	"cmp"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"imx"
)

// Item is one path of an image.
type Item struct {
	Path   string      `json:"path"` // clean, relative, with no symbolic link as a parent
	Mode   fs.FileMode `json:"mode"`
	UID    int         `json:"uid,omitempty"`
	GID    int         `json:"gid,omitempty"`
	Size   int64       `json:"size,omitempty"`
	Link   string      `json:"link,omitempty"`
	Caps   string      `json:"caps,omitempty"`   // the attribute security.capability, in hex
	Time   int64       `json:"time,omitempty"`   // when it was last changed, in seconds since 1970
	Digest imx.Digest  `json:"digest,omitempty"` // of a file's content

	Origin imx.PathOrigin `json:"origin"`
	Owner  string         `json:"owner,omitempty"` // name of the package that carries it, "" for others

	// Open gives a file's content. It is nil in items that an earlier build remembered.
	Open func() (io.ReadCloser, error) `json:"-"`
}

// Tree is an image's content by path.
type Tree map[string]*Item

// Sorted returns the items in the order of their paths, parents before children.
func (t Tree) Sorted() []*Item {
	return slices.SortedFunc(maps.Values(t), func(a, b *Item) int { return cmp.Compare(a.Path, b.Path) })
}

// From returns the items of an origin.
func (t Tree) From(o imx.PathOrigin) Tree {
	part := Tree{}
	for name, it := range t {
		if it.Origin == o {
			part[name] = it
		}
	}
	return part
}

// Files counts the regular files.
func (t Tree) Files() int {
	n := 0
	for _, it := range t {
		if it.Mode.IsRegular() {
			n++
		}
	}
	return n
}

// WithParents returns the items of part, each after the directories above it, as the tree has those.
func (t Tree) WithParents(part Tree) []*Item {
	whole := maps.Clone(part)
	for name := range part {
		for dir := path.Dir(name); dir != "." && t[dir] != nil; dir = path.Dir(dir) {
			whole[dir] = t[dir]
		}
	}
	return whole.Sorted()
}

// Resolve follows all symbolic links of name within the tree. What isn't in the tree stays as it is.
func (t Tree) Resolve(name string) (string, error) {
	return Follow(name, func(p string) (string, bool) {
		it := t[p]
		if it == nil || it.Mode&fs.ModeSymlink == 0 {
			return "", false
		}
		return it.Link, true
	})
}

// Parent follows the symbolic links in name's parents, and not name itself.
func (t Tree) Parent(name string) (string, error) {
	dir, err := t.Resolve(path.Dir(name))
	return path.Join(dir, path.Base(name)), err
}

// Follow resolves a path as the kernel would in a root of which link knows the symbolic links. A
// ".." at the root stays there. Links that go round and round are Invalid.
func Follow(name string, link func(name string) (target string, ok bool)) (string, error) {
	todo := strings.Split(name, "/")
	done := "."
	for hops := 0; len(todo) > 0; {
		next := todo[0]
		todo = todo[1:]
		switch next {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		target, ok := link(path.Join(done, next))
		if !ok {
			done = path.Join(done, next)
			continue
		}
		if hops++; hops > maxHops {
			return "", imx.Errorf(imx.Invalid, "/%s: too many symbolic links", name)
		}
		if path.IsAbs(target) {
			done = "."
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return done, nil
}

const maxHops = 40 // as Linux does
