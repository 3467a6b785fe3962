package erofs

import (
	"os"

	"golang.org/x/sys/unix"
)

// immutable is the flag of chattr +i (FS_IMMUTABLE_FL, linux/fs.h).
const immutable = 0x00000010

// Lock has the file system refuse all changes of a file, and another in its place, where it can: a
// second lock on what digests guard, so a failure changes nothing. A file that is locked already keeps its ctime.
func Lock(file string) { changeFlags(file, func(flags int) int { return flags | immutable }) }

// Unlock undoes Lock. A file that isn't there is none to unlock.
func Unlock(file string) { changeFlags(file, func(flags int) int { return flags &^ immutable }) }

func changeFlags(file string, change func(int) int) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close() // read-only
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || change(flags) == flags {
		return
	}
	_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, change(flags))
}
