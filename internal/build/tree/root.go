package tree

import (
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"imx"
)

// Root reads items from a root on disk that isn't this process's own: links in it are followed as
// if it were.
type Root struct {
	root string
	// dir is the same root, from where files are opened: unlike the path, it is there on every thread,
	// and after the namespace that the path is in has gone.
	dir *os.Root
	// dirs remembers where directories are, by the paths that packages have them under: the root doesn't
	// change any more.
	dirs map[string]string
}

// OpenRoot opens the root that a folder is. Nothing may change in it any more.
func OpenRoot(dir string) (*Root, error) {
	open, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Root{root: dir, dir: open, dirs: map[string]string{}}, nil
}

// Close ends the reading of the root's items; those that were opened can still be read.
func (r *Root) Close() error { return r.dir.Close() }

// Path is where a path of the root is for this process, while the folder is there. A link in it leads out of the root.
func (r *Root) Path(name string) string { return filepath.Join(r.root, name) }

// Exists reports whether something is at a path whose parents are no symbolic links; a link to nowhere is.
func (r *Root) Exists(name string) bool {
	_, err := os.Lstat(r.Path(name))
	return !errors.Is(err, fs.ErrNotExist)
}

// Item describes a path whose parents are no symbolic links. Devices, FIFOs and sockets are Refused;
// errors.Is fs.ErrNotExist where nothing is.
func (r *Root) Item(name string) (*Item, error) {
	info, err := os.Lstat(r.Path(name))
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, errors.New("no owner is known of " + name)
	}
	it := &Item{Path: name, Mode: info.Mode(), UID: int(st.Uid), GID: int(st.Gid)}
	switch {
	case info.IsDir():
	case info.Mode().IsRegular():
		it.Size = info.Size()
		it.Open = func() (io.ReadCloser, error) { return r.dir.Open(name) }
	case info.Mode()&fs.ModeSymlink != 0:
		if it.Link, err = os.Readlink(r.Path(name)); err != nil {
			return nil, err
		}
	default:
		return nil, imx.Errorf(imx.Refused, "/%s is neither a file nor a directory nor a link: an image can't hold it", name)
	}
	return it, nil
}

// Caps returns a file's capabilities as the kernel keeps them, in hex, "" for none.
func (r *Root) Caps(name string) (string, error) {
	buf := make([]byte, 64)
	n, err := unix.Lgetxattr(r.Path(name), CapsXattr, buf)
	switch {
	case errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP): // it has none, or its file system knows none
		return "", nil
	case err != nil:
		return "", &fs.PathError{Op: "lgetxattr", Path: name, Err: err}
	}
	return hex.EncodeToString(buf[:n]), nil
}

// Parent follows the symbolic links in name's parents, and not name itself.
func (r *Root) Parent(name string) (string, error) {
	dir := path.Dir(name)
	place, ok := r.dirs[dir]
	if !ok {
		var err error
		if place, err = r.Resolve(dir); err != nil {
			return "", err
		}
		r.dirs[dir] = place
	}
	return path.Join(place, path.Base(name)), nil
}

// Resolve follows all symbolic links of name. What doesn't exist stays as it is.
func (r *Root) Resolve(name string) (string, error) {
	return Follow(name, func(p string) (string, bool) {
		target, err := os.Readlink(r.Path(p))
		return target, err == nil
	})
}
