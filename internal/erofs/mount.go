package erofs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"imx"
)

// Mount mounts the image file at target, a directory, read-only, without devices and setuid. No
// loop device is used where the kernel mounts EROFS from files (Linux 6.12 and newer); before, one
// is taken that goes away with the mount. The image must not change while it is mounted.
// Errors: NotFound without the image or target; Unavailable where the kernel has no EROFS.
func Mount(image, target string) error {
	for _, p := range []string{image, target} {
		if _, err := os.Stat(p); err != nil {
			return mountError(err, image, target)
		}
	}
	// directio: the page cache would otherwise hold each block twice, for the image's file and for
	// the file system on it. A kernel that doesn't know the option says EINVAL.
	err := unix.Mount(image, target, "erofs", mountFlags, "directio")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount(image, target, "erofs", mountFlags, "")
	}
	if errors.Is(err, unix.ENOTBLK) {
		err = mountLoop(image, target)
	}
	return mountError(err, image, target)
}

const mountFlags = unix.MS_RDONLY | unix.MS_NODEV | unix.MS_NOSUID

// Unmount takes the mount at target away. Processes that still have files of it open keep them.
// It is no error if nothing is mounted there.
func Unmount(target string) error {
	err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("erofs: unmounting %s: %w", target, err)
}

func mountError(err error, image, target string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return imx.Errorf(imx.NotFound, "mounting %s at %s: %w", image, target, err)
	case errors.Is(err, unix.ENODEV):
		return imx.Errorf(imx.Unavailable, "mounting %s: this kernel has no EROFS: %w", image, err).
			WithHint("load it with \"modprobe erofs\", or run a kernel that has it")
	}
	return fmt.Errorf("erofs: mounting %s at %s: %w", image, target, err)
}

// mountLoop mounts through a loop device that the kernel frees at the unmount. Another process
// may take the free device first, so it tries a few times.
func mountLoop(image, target string) error {
	var err error
	for range 10 {
		err = tryLoop(image, target)
		if !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	return err
}

func tryLoop(image, target string) error {
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
	file, err := os.Open(image)
	if err != nil {
		return err
	}
	defer file.Close()
	config := unix.LoopConfig{
		Fd:   uint32(file.Fd()), //nolint:gosec // descriptors fit
		Size: 4096,
		Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR},
	}
	if err := unix.IoctlLoopConfigure(int(loop.Fd()), &config); err != nil {
		return fmt.Errorf("setting %s up: %w", device, err)
	}
	return unix.Mount(device, target, "erofs", mountFlags, "")
}
