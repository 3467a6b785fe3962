package build

import (
	"cmp"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"imx"
)

// item is one path of an image.
type item struct {
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

	// open gives a file's content. It is nil in items that an earlier build remembered.
	open func() (io.ReadCloser, error)
}

// tree is an image's content by path.
type tree map[string]*item

// sorted returns the items in the order of their paths, parents before children.
func (t tree) sorted() []*item {
	return slices.SortedFunc(maps.Values(t), func(a, b *item) int { return cmp.Compare(a.Path, b.Path) })
}

// from returns the items of an origin.
func (t tree) from(o imx.PathOrigin) tree {
	part := tree{}
	for name, it := range t {
		if it.Origin == o {
			part[name] = it
		}
	}
	return part
}

func (t tree) files() int {
	n := 0
	for _, it := range t {
		if it.Mode.IsRegular() {
			n++
		}
	}
	return n
}

// resolve follows all symbolic links of name within the tree. What isn't in the tree stays as it is.
func (t tree) resolve(name string) (string, error) {
	return follow(name, func(p string) (string, bool) {
		it := t[p]
		if it == nil || it.Mode&fs.ModeSymlink == 0 {
			return "", false
		}
		return it.Link, true
	})
}

// parent follows the symbolic links in name's parents, and not name itself.
func (t tree) parent(name string) (string, error) {
	dir, err := t.resolve(path.Dir(name))
	return path.Join(dir, path.Base(name)), err
}

// follow resolves a path as the kernel would in a root of which link knows the symbolic links. A
// ".." at the root stays there. Links that go round and round are Invalid.
func follow(name string, link func(name string) (target string, ok bool)) (string, error) {
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

// disk reads items from a root on disk that isn't this process's own: links in it are followed as
// if it were.
type disk struct {
	root string
	// dir is the same root, from where files are opened: unlike the path, it is there on every thread,
	// and after the namespace that the path is in has gone.
	dir *os.Root
	// dirs remembers where directories are, by the paths that packages have them under: the root doesn't
	// change any more.
	dirs map[string]string
}

func (d disk) path(name string) string { return filepath.Join(d.root, name) }

// item describes a path whose parents are no symbolic links. Devices, FIFOs and sockets are Refused.
func (d disk) item(name string) (*item, error) {
	info, err := os.Lstat(d.path(name))
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, errors.New("no owner is known of " + name)
	}
	it := &item{Path: name, Mode: info.Mode(), UID: int(st.Uid), GID: int(st.Gid)}
	switch {
	case info.IsDir():
	case info.Mode().IsRegular():
		it.Size = info.Size()
		it.open = func() (io.ReadCloser, error) { return d.dir.Open(name) }
	case info.Mode()&fs.ModeSymlink != 0:
		if it.Link, err = os.Readlink(d.path(name)); err != nil {
			return nil, err
		}
	default:
		return nil, imx.Errorf(imx.Refused, "/%s is neither a file nor a directory nor a link: an image can't hold it", name)
	}
	return it, nil
}

// caps returns a file's capabilities as the kernel keeps them, in hex, "" for none.
func (d disk) caps(name string) string {
	buf := make([]byte, 64)
	n, err := unix.Lgetxattr(d.path(name), "security.capability", buf)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(buf[:n])
}

// parent follows the symbolic links in name's parents, and not name itself.
func (d disk) parent(name string) (string, error) {
	dir := path.Dir(name)
	place, ok := d.dirs[dir]
	if !ok {
		var err error
		if place, err = d.resolve(dir); err != nil {
			return "", err
		}
		d.dirs[dir] = place
	}
	return path.Join(place, path.Base(name)), nil
}

// resolve follows all symbolic links of name. What doesn't exist stays as it is.
func (d disk) resolve(name string) (string, error) {
	return follow(name, func(p string) (string, bool) {
		target, err := os.Readlink(d.path(p))
		return target, err == nil
	})
}
