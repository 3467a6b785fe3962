package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"imx"
)

// plain takes from an error what a person knows already: which path, which address.
func plain(err error) error {
	if number, ok := errors.AsType[unix.Errno](err); ok {
		return number
	}
	return err
}

// mark names what the probe makes.
const mark = "imx-probe-try"

// writeRoot tries to make files on the root file system, and to write to those that are there.
func writeRoot() []Attempt {
	var all []Attempt
	for _, dir := range []string{"/", "/bin", "/etc", "/usr", "/usr/bin", "/usr/lib", "/var", "/home", "/opt"} {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || !onRoot(dir) {
			continue
		}
		all = append(all, under(imx.RefuseWriteRoot, create(filepath.Join(dir, mark))))
	}
	for _, file := range []string{"/etc/passwd", "/etc/hosts", "/etc/resolv.conf"} {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			all = append(all, under(imx.RefuseWriteRoot, write(file)))
		}
	}
	err := plain(unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	return append(all, under(imx.RefuseWriteRoot, tried("mount the root writable", err)))
}

// onRoot reports whether a path lies on the root file system itself.
func onRoot(path string) bool {
	var root, st unix.Stat_t
	return unix.Stat("/", &root) == nil && unix.Stat(path, &st) == nil && root.Dev == st.Dev
}

func create(path string) Attempt {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(path))
	}
	return tried("make the file "+path, plain(err))
}

// write tries to open a path to write to it, and writes nothing. A directory is tried by a file in it.
func write(path string) Attempt {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return create(filepath.Join(path, mark))
	case errors.Is(err, fs.ErrNotExist):
		return create(path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		err = f.Close()
	}
	return tried("write to "+path, plain(err))
}

// run tries a program of the image, without arguments.
func run(program string) Attempt {
	what := "run " + program
	path, err := exec.LookPath(program)
	if err != nil {
		return tried(what, errors.New("there is no such program that it may run"))
	}
	pid, err := spawn(path, path)
	if err == nil {
		_ = unix.Kill(pid, unix.SIGKILL) // it ran: that was all
		var status unix.WaitStatus
		_, _ = unix.Wait4(pid, &status, 0, nil)
	}
	return tried(what, plain(err))
}

func spawn(path, name string) (int, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close() // nothing is written
	return syscall.ForkExec(path, []string{name}, &syscall.ProcAttr{Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}})
}

// runForeign tries to run a program that isn't in the image: from every place that can be written to, and from
// memory.
func runForeign() []Attempt {
	var all []Attempt
	for _, dir := range mountPoints() {
		path := filepath.Join(dir, mark)
		if err := os.WriteFile(path, foreign(), 0o700); err != nil { //nolint:gosec // it must be executable, or it would be refused for that
			continue // no place to put one
		}
		all = append(all,
			under(imx.RefuseForeign, tried("run a program put into "+dir, runs(path))),
			under(imx.RefuseForeign, tried("map a program put into "+dir+" into memory", mapped(path))))
		_ = os.Remove(path) // the place ends with the instance
	}
	return append(all, under(imx.RefuseForeign, tried("run a program out of memory (memfd)", fromMemory())))
}

// mountPoints are where file systems are mounted, but the root, sorted.
func mountPoints() []string {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{"/tmp", "/dev/shm"}
	}
	var points []string
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 5 && f[4] != "/" {
			if info, err := os.Stat(f[4]); err == nil && info.IsDir() {
				points = append(points, f[4])
			}
		}
	}
	slices.Sort(points)
	return slices.Compact(points)
}

// runs starts a foreign program. No error means that it ran.
func runs(path string) error {
	pid, err := spawn(path, mark)
	if err != nil {
		return plain(err)
	}
	var status unix.WaitStatus
	for {
		_, err = unix.Wait4(pid, &status, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil && status.ExitStatus() != foreignStatus {
		return fmt.Errorf("it ended with status %d", status.ExitStatus())
	}
	return err
}

// mapped maps a file as a dynamic loader does.
func mapped(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return plain(err)
	}
	defer f.Close() // read-only
	b, err := unix.Mmap(int(f.Fd()), 0, len(foreign()), unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
	if err == nil {
		err = unix.Munmap(b)
	}
	return plain(err)
}

func fromMemory() error {
	fd, err := unix.MemfdCreate(mark, 0)
	if err != nil {
		return plain(err)
	}
	f := os.NewFile(uintptr(fd), mark)
	defer f.Close() // it is read by the kernel alone
	if _, err := f.Write(foreign()); err != nil {
		return plain(err)
	}
	return runs(fmt.Sprintf("/proc/self/fd/%d", fd))
}
