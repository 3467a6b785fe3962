package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Runtime is the program that confines instances, by its absolute path: conmon doesn't search.
func Runtime() string {
	if path, err := exec.LookPath("crun"); err == nil {
		return path
	}
	return "/usr/bin/crun"
}

// runtime is the program as instances are run with it: where nobody can write to it, if placeRuntime has mounted it there, and it
// hasn't been replaced on the machine since.
func (c Config) runtime() string {
	program, placed := Runtime(), c.runtimePlace()
	if sameFile(program, placed) {
		return placed
	}
	return program
}

func (c Config) runtimePlace() string { return filepath.Join(c.mountDir(), "programs", "crun") }

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// placeRuntime mounts crun where it is read-only, so that no instance can write to it by way of /proc/self/exe. Each crun makes sure
// of that by itself, with such a mount that only it has, from which it executes itself once more; one that runs from a read-only
// mount needn't, which is an execution less for each start and each command.
func (rs *roots) placeRuntime() error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	program, place := Runtime(), rs.cfg.runtimePlace()
	if sameFile(program, place) {
		return nil
	}
	if err := unmount(place); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(place, nil, 0o600); err != nil {
		return err
	}
	return mountReadOnly(program, place)
}

// mountReadOnly mounts a file at another. At no moment can it be written to there.
func mountReadOnly(file, target string) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, file, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("mounting %s: %w", file, err)
	}
	defer unix.Close(tree) // what is mounted stays
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY, Propagation: unix.MS_PRIVATE})
	if err == nil {
		err = unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	if err != nil {
		return fmt.Errorf("mounting %s read-only: %w", file, err)
	}
	return nil
}

// errHeldOtherwise means that an instance's first process doesn't wait as crun 1.8 has it wait.
var errHeldOtherwise = errors.New("it doesn't wait at crun's pipe")

// unblock has an instance's first process go on, which crun has created and which waits at a named pipe: by what is all of `crun start`
// but for reading its configuration, and its own start, which costs as much as all that the engine does by itself.
// The error is errHeldOtherwise where nobody reads the pipe; nothing has changed then.
func (c Config) unblock(id string) error {
	pipe := filepath.Join(c.crunDir(), id, "exec.fifo")
	fd, err := unix.Open(pipe, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return errHeldOtherwise
	}
	defer unix.Close(fd) // what was written has been taken
	// crun takes an instance for created as long as the pipe is there, and for running afterwards.
	if err := os.Remove(pipe); err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte{0})
	return err
}
