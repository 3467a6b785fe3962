package erofs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	goerofs "github.com/erofs/go-erofs"
	"golang.org/x/sys/unix"

	"imx/internal/disk"
)

// mountFlat mounts the way that kernels before 6.12 need, whatever this one can do: through a loop
// device. Neither do these take a device for each part readily, nor do those before 6.4 know blocks as small, so
// it is a copy that has the parts' content in itself. The copy has no name, and goes with the device.
func mountFlat(image string, parts []*os.File, target string) error {
	file, err := os.Open(image)
	if err != nil {
		return err
	}
	defer file.Close() // read-only
	if len(parts) > 0 {
		flat, err := flatten(file, parts)
		if err != nil {
			return disk.Error(err, fmt.Sprintf("copying %s into one file", image))
		}
		defer flat.Close()
		file = flat
	}
	// Another process may take the free device first, so it tries a few times.
	for range 10 {
		err = mountLoop(file, target)
		if !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	return err
}

// flatten copies an image and its parts into a file without a name, beside the image.
func flatten(image *os.File, parts []*os.File) (*os.File, error) {
	var devices []io.ReaderAt
	for _, f := range parts {
		devices = append(devices, f)
	}
	source, err := goerofs.Open(endless{image}, goerofs.WithExtraDevices(devices...))
	if err != nil {
		return nil, err
	}
	fd, err := unix.Open(filepath.Dir(image.Name()), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	flat := os.NewFile(uintptr(fd), image.Name()+" in one file")
	w := goerofs.Create(flat)
	if err := errors.Join(w.CopyFrom(unsized{source}), w.Close()); err != nil {
		return nil, errors.Join(err, flat.Close())
	}
	return flat, nil
}

// endless is a file with zeros after its end: go-erofs reads a little more than there is of an inode at the end.
type endless struct{ io.ReaderAt }

func (e endless) ReadAt(p []byte, offset int64) (int, error) {
	n, err := e.ReaderAt.ReadAt(p, offset)
	if n > 0 && errors.Is(err, io.EOF) {
		clear(p[n:])
		return len(p), nil
	}
	return n, err
}

// unsized is a file system that go-erofs takes for no image, whose size of blocks it would keep.
type unsized struct{ fs.FS }

// Stat implements fs.StatFS.
func (u unsized) Stat(name string) (fs.FileInfo, error) { return fs.Stat(u.FS, name) }

// ReadDir implements fs.ReadDirFS.
func (u unsized) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(u.FS, name) }

// ReadLink gives go-erofs the target of a symbolic link.
func (u unsized) ReadLink(name string) (string, error) { return fs.ReadLink(u.FS, name) }

// mountLoop mounts a file through a loop device that the kernel frees at the unmount.
func mountLoop(file *os.File, target string) error {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return fmt.Errorf("finding a free loop device: %w", err)
	}
	device := fmt.Sprintf("/dev/loop%d", n)
	loop, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer loop.Close()
	config := unix.LoopConfig{
		Fd:   uint32(file.Fd()), //nolint:gosec // descriptors fit
		Size: 4096,
		Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR},
	}
	if err := unix.IoctlLoopConfigure(int(loop.Fd()), &config); err != nil {
		return fmt.Errorf("setting %s up: %w", device, err)
	}
	const flags = unix.MS_RDONLY | unix.MS_NODEV | unix.MS_NOSUID
	return unix.Mount(device, target, "erofs", flags, "")
}
