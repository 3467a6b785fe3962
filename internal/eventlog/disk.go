package eventlog

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"imx"
)

// disk is every way in which the log changes files, so that each of them can be made to fail by name.
type disk struct {
	mkdir    func(path string) error // with its parents
	create   func(path string, perm fs.FileMode) (*os.File, error)
	write    func(f *os.File, b []byte) (int, error)
	sync     func(f *os.File) error // a file or a folder
	truncate func(f *os.File, size int64) error
	rename   func(from, to string) error
	remove   func(path string) error // a file, or a folder with all in it; a missing one is no error
}

func hostDisk() disk {
	return disk{
		mkdir: func(path string) error { return os.MkdirAll(path, 0o750) },
		create: func(path string, perm fs.FileMode) (*os.File, error) {
			return os.OpenFile(filepath.Clean(path), os.O_RDWR|os.O_CREATE|os.O_TRUNC, perm)
		},
		write:    func(f *os.File, b []byte) (int, error) { return f.Write(b) },
		sync:     func(f *os.File) error { return f.Sync() },
		truncate: func(f *os.File, size int64) error { return f.Truncate(size) },
		rename:   os.Rename,
		remove:   os.RemoveAll,
	}
}

// put writes a file as a whole: it is never seen half-written, but may be lost in a power cut.
func (d disk) put(path string, data []byte) error {
	f, err := d.stage(path, data, 0o640)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return d.rename(f.Name(), path)
}

// stage writes data into a temporary file beside path. The caller closes it.
func (d disk) stage(path string, data []byte, perm fs.FileMode) (*os.File, error) {
	f, err := d.create(path+".tmp", perm)
	if err != nil {
		return nil, err
	}
	if err := d.writeAll(f, data); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// writeAll writes data. A write that stops short is an error.
func (d disk) writeAll(f *os.File, data []byte) error {
	n, err := d.write(f, data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	return err
}

// prepare writes and syncs the temporary file that publish puts in place.
func (d disk) prepare(path string, data []byte, perm fs.FileMode) error {
	f, err := d.stage(path, data, perm)
	if err != nil {
		return err
	}
	return errors.Join(d.sync(f), f.Close())
}

// syncDir makes the names in a folder last.
func (d disk) syncDir(path string) error {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(d.sync(f), f.Close())
}

// replace puts a file in place so that after a power cut there is the old or the new one, whole.
func (d disk) replace(path string, data []byte, perm fs.FileMode) error {
	if err := d.prepare(path, data, perm); err != nil {
		return err
	}
	if err := d.rename(path+".tmp", path); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

// trouble tells a person what the machine wouldn't do with the log.
func trouble(doing string, err error) error {
	var known *imx.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return imx.Errorf(imx.Exhausted, "%s: no space is left on the log's disk: %w", doing, err).
			WithHint("free some space on that disk; what was acknowledged is kept")
	}
	return imx.Errorf(imx.Internal, "%s: %w", doing, err)
}
