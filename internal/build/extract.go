package build

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"imx/internal/build/untar"
	"imx/internal/deb"
)

// errTaken is for a path where something is that an extraction may not replace.
var errTaken = errors.New("something is there already")

// extractor puts files into a root folder. The kernel resolves each parent directory within the root
// (RESOLVE_IN_ROOT), whatever links are on the way, once: its descriptor is kept.
type extractor struct {
	root   int
	dirs   map[string]directory
	buffer []byte
}

// directory is an open one. Files in a setgid directory would inherit its group.
type directory struct {
	fd     int
	setgid bool
}

// maxDirs is how many directories are kept open.
const maxDirs = 256

// openExtractor opens root for extraction; the caller closes the extractor.
func openExtractor(root string) (*extractor, error) {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &extractor{root: fd, dirs: map[string]directory{}, buffer: make([]byte, 1<<17)}, nil
}

func (x *extractor) close() {
	x.forget()
	_ = unix.Close(x.root) // it was only looked through
}

func (x *extractor) forget() {
	for _, d := range x.dirs {
		_ = unix.Close(d.fd)
	}
	clear(x.dirs)
}

// dir opens a directory of the root, making it and its parents with 0755 where they aren't there.
func (x *extractor) dir(name string) (directory, error) {
	if d, ok := x.dirs[name]; ok {
		return d, nil
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	fd, err := retry(func() (int, error) { return unix.Openat2(x.root, name, &how) })
	if errors.Is(err, unix.ENOENT) && name != "." {
		if err = x.mkdir(name); err == nil {
			fd, err = retry(func() (int, error) { return unix.Openat2(x.root, name, &how) })
		}
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return directory{}, errTaken
	}
	if err != nil {
		return directory{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return directory{}, errors.Join(err, unix.Close(fd))
	}
	if len(x.dirs) >= maxDirs {
		x.forget()
	}
	d := directory{fd, st.Mode&unix.S_ISGID != 0}
	x.dirs[name] = d
	return d, nil
}

// retry repeats what a rename elsewhere, or a signal, interrupted.
func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// mkdir makes a directory with 0755, and its parents where they aren't there.
func (x *extractor) mkdir(name string) error {
	parent, err := x.dir(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	if err := unix.Mkdirat(parent.fd, base, 0o700); err != nil {
		return err
	}
	return unix.Fchmodat(parent.fd, base, 0o755, 0) // whatever the umask
}

// exists reports whether anything, a link that leads nowhere included, is at a path.
func (x *extractor) exists(name string) (bool, error) {
	there, err := x.stat(name)
	return there != nil, err
}

// stat looks at a path itself, not at what it links to; nil where nothing is.
func (x *extractor) stat(name string) (*unix.Stat_t, error) {
	parent, err := x.dir(path.Dir(name))
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Fstatat(parent.fd, path.Base(name), &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil //nolint:nilnil // nothing is there
	}
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return &st, nil
}

// entry puts one entry of a package, checked by deb.CheckTarEntry, at the path name. A directory that
// is there stays as it is, as with dpkg; anything else that is there is errTaken.
func (x *extractor) entry(name string, h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeDir {
		return x.directory(name, h)
	}
	parent, err := x.dir(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	switch h.Typeflag {
	case tar.TypeLink:
		err = inOrder(
			func() error { return x.link(parent, base, h.Linkname) },
			func() error { return x.own(parent, base, h) },
			func() error { return unix.Fchmodat(parent.fd, base, permissionBits(h), 0) }, // whatever the target's is, as dpkg does
			func() error { return stamp(parent, base, h) },
		)
	case tar.TypeSymlink:
		err = inOrder(
			func() error { return unix.Symlinkat(h.Linkname, parent.fd, base) },
			func() error { return x.own(parent, base, h) },
			func() error { return stamp(parent, base, h) },
		)
	default:
		err = x.file(parent, base, h, content)
	}
	if errors.Is(err, unix.EEXIST) {
		return errTaken
	}
	return err
}

func (x *extractor) directory(name string, h *tar.Header) error {
	if name == "." {
		return nil
	}
	parent, err := x.dir(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	err = unix.Mkdirat(parent.fd, base, 0o700)
	if errors.Is(err, unix.EEXIST) {
		_, err = x.dir(name)
		return err
	}
	if err != nil {
		return err
	}
	if err := x.own(parent, base, h); err != nil {
		return err
	}
	return unix.Fchmodat(parent.fd, base, permissionBits(h), 0)
}

// permissionBits are those that a package's entry may have, the special ones included.
func permissionBits(h *tar.Header) uint32 { return uint32(h.Mode) & 0o7777 } //nolint:gosec // twelve bits

// own gives a new entry the owner that the package says, unless it has it.
func (x *extractor) own(parent directory, base string, h *tar.Header) error {
	if h.Uid == 0 && h.Gid == 0 && !parent.setgid {
		return nil
	}
	return unix.Fchownat(parent.fd, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW)
}

// stamp gives an entry the time of its last change that the package says, in whole seconds.
func stamp(parent directory, base string, h *tar.Header) error {
	t := unix.NsecToTimespec(h.ModTime.Truncate(time.Second).UnixNano())
	return unix.UtimesNanoAt(parent.fd, base, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
}

// link makes a hard link to a file of the root.
func (x *extractor) link(parent directory, base, target string) error {
	name, err := deb.CleanPath(target)
	if err != nil {
		return err
	}
	from, err := x.dir(path.Dir(name))
	if err != nil {
		return err
	}
	err = unix.Linkat(from.fd, path.Base(name), parent.fd, base, 0)
	if errors.Is(err, unix.ENOENT) {
		return errTaken // it isn't unpacked, or not at its own name
	}
	return err
}

func (x *extractor) file(parent directory, base string, h *tar.Header, content io.Reader) error {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := retry(func() (int, error) { return unix.Openat(parent.fd, base, flags, 0o600) })
	if err != nil {
		return err
	}
	if err := errors.Join(x.fill(fd, parent, h, content), unix.Close(fd)); err != nil {
		return err
	}
	return stamp(parent, base, h)
}

func (x *extractor) fill(fd int, parent directory, h *tar.Header, content io.Reader) error {
	for left := h.Size; left > 0; {
		n, err := io.ReadFull(content, x.buffer[:min(left, int64(len(x.buffer)))])
		if err != nil {
			return untar.Unreadable(err)
		}
		if err := writeAll(fd, x.buffer[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	if h.Uid != 0 || h.Gid != 0 || parent.setgid {
		if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	return unix.Fchmod(fd, permissionBits(h)) // whatever the umask
}

func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := retry(func() (int, error) { return unix.Write(fd, p) })
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// same reports whether an entry's file or link is in place already. A file's size and time say so:
// only this package can have put it there.
func (x *extractor) same(name string, h *tar.Header) (bool, error) {
	there, err := x.stat(name)
	if there == nil || err != nil {
		return false, err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return there.Mode == unix.S_IFREG|permissionBits(h) && there.Size == h.Size && there.Mtim.Sec == h.ModTime.Unix(), nil
	case tar.TypeLink:
		target, err := deb.CleanPath(h.Linkname)
		if err != nil {
			return false, err
		}
		first, err := x.stat(target)
		return first != nil && first.Ino == there.Ino && first.Dev == there.Dev, err
	}
	return false, nil
}

// replace puts an entry in the place of whatever file or link is there.
func (x *extractor) replace(name string, h *tar.Header, content io.Reader) error {
	if h.Typeflag != tar.TypeDir {
		if err := x.remove(name); err != nil {
			return err
		}
	}
	return x.entry(name, h, content)
}

// remove removes a file or link, if there is one.
func (x *extractor) remove(name string) error {
	parent, err := x.dir(path.Dir(name))
	if err != nil {
		return err
	}
	err = unix.Unlinkat(parent.fd, path.Base(name), 0)
	switch {
	case err == nil || errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EISDIR):
		return errTaken
	}
	return &fs.PathError{Op: "unlink", Path: name, Err: err}
}

// read returns a file's content, nothing where there is none.
func (x *extractor) read(name string) ([]byte, error) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT}
	fd, err := retry(func() (int, error) { return unix.Openat2(x.root, name, &how) })
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	text, err := io.ReadAll(f)
	return text, errors.Join(err, f.Close())
}

// write puts a file of root's in the place of whatever is there.
func (x *extractor) write(name string, mode int64, text []byte) error {
	parent, err := x.dir(path.Dir(name))
	if err != nil {
		return err
	}
	if err := x.remove(name); err != nil {
		return err
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(text)), ModTime: time.Unix(0, 0)}
	return x.file(parent, path.Base(name), h, bytes.NewReader(text))
}
