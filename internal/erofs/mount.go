package erofs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"imx"
)

// Mount mounts the image file at target, a directory, read-only, without devices and setuid. The image's
// parts must be beside it (PartFile). No loop device is used where the kernel mounts EROFS from files (Linux
// 6.12 and newer); before, one is taken that goes away with the mount, and of an image with parts a copy
// that does, too. Neither the image nor a part may change while it is mounted.
// Errors: NotFound without the image, a part or target; Unavailable where the kernel has no EROFS.
func Mount(image, target string) error {
	if _, err := os.Stat(target); err != nil {
		return mountError(err, image, target)
	}
	parts, err := Parts(image)
	if err != nil {
		return mountError(err, image, target)
	}
	files, err := openParts(image, parts)
	if err != nil {
		return err
	}
	defer closeAll(files)
	err = mountFiles(image, files, target)
	if errors.Is(err, unix.ENOTBLK) {
		err = mountFlat(image, files, target)
	}
	return mountError(err, image, target)
}

// mountFiles mounts an image from files. ENOTBLK is a kernel that can't.
func mountFiles(image string, parts []*os.File, target string) error {
	config, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(config)
	source, err := os.Open(image)
	if err != nil {
		return err
	}
	defer source.Close() // read-only
	name := image        // as it is shown among the mounts
	if len(name) > maxOption {
		name = procPath(source)
	}
	err = unix.FsconfigSetString(config, "source", name)
	for _, f := range parts {
		err = errors.Join(err, unix.FsconfigSetString(config, "device", procPath(f)))
	}
	err = errors.Join(err, unix.FsconfigSetFlag(config, "ro"))
	if direct(parts) {
		// The page cache would otherwise hold each block twice, for the file and for the file system on it. A
		// kernel that doesn't know the option says EINVAL.
		_ = unix.FsconfigSetFlag(config, "directio")
	}
	if err != nil {
		return err
	}
	if err := unix.FsconfigCreate(config); err != nil {
		return err
	}
	const attributes = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID
	mount, err := unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	return unix.MoveMount(mount, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// maxOption is how long the kernel lets an option of a mount be.
const maxOption = 255

// procPath names an open file for the kernel, however long its own path is.
func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// direct reports whether the files can be read past the page cache. Reads from an image with parts are
// aligned to BlockSize only, which not every disk takes.
func direct(parts []*os.File) bool {
	for _, f := range parts {
		var st unix.Statx_t
		err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
		if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 || st.Dio_offset_align == 0 || st.Dio_offset_align > BlockSize {
			return false
		}
	}
	return true
}

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
	var known *imx.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return fmt.Errorf("mounting %s: %w", image, err)
	case errors.Is(err, fs.ErrNotExist):
		return imx.Errorf(imx.NotFound, "mounting %s at %s: %w", image, target, err)
	case errors.Is(err, unix.ENODEV):
		return imx.Errorf(imx.Unavailable, "mounting %s: this kernel has no EROFS: %w", image, err).
			WithHint("load it with \"modprobe erofs\", or run a kernel that has it")
	}
	return fmt.Errorf("erofs: mounting %s at %s: %w", image, target, err)
}
