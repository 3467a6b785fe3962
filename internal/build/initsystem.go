package build

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// idlePrograms are the programs by which maintainer scripts tell an init system what to start. No image
// has one and no rule takes what these write, so while scripts run they say "done" at once: each of
// their calls, of which a package with a service makes four or five, costs more than all else that
// its scripts do. invoke-rc.d isn't among them: policy-rc.d answers it.
func idlePrograms() []string {
	return []string{"usr/bin/deb-systemd-helper", "usr/bin/deb-systemd-invoke", "usr/sbin/update-rc.d"}
}

// idle lays a program that does nothing over each of idlePrograms that is there. Nothing on disk
// changes. dpkg couldn't replace them any more, so they must be unpacked.
func (s *sandbox) idle() error {
	const name = "nothing"
	file := filepath.Join(s.packages(), name)
	if err := errors.Join(os.WriteFile(file, []byte("#!/bin/sh\nexit 0\n"), 0o600), os.Chmod(file, 0o755)); err != nil { //nolint:gosec // a program
		return err
	}
	nothing := filepath.Join(s.root, packagesDir, name) // what is mounted from there is read-only too
	root, err := unix.Open(s.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(root) }() // it was only looked through
	for _, name := range idlePrograms() {
		if err := cover(nothing, root, name); err != nil {
			return err
		}
	}
	return nil
}

// cover mounts a file over one of the root's, if that is there.
func cover(file string, root int, name string) error {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	fd, err := retry(func() (int, error) { return unix.Openat2(root, name, &how) })
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(unix.Mount(file, "/proc/thread-self/fd/"+strconv.Itoa(fd), "", unix.MS_BIND, ""), unix.Close(fd))
}
