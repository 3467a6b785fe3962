package probe

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"imx"
)

// gainPrivileges tries to become more than the instance's user without a capability. It runs on a thread of its own,
// so that what succeeds changes nothing else.
func gainPrivileges() []Attempt {
	done := make(chan []Attempt)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- privileges()
	}()
	all := <-done
	for i := range all {
		all[i].Refusal = imx.RefusePrivileges
	}
	return all
}

func privileges() []Attempt {
	other := 0
	if os.Getuid() == 0 {
		other = 1
	}
	return []Attempt{
		tried("have a capability", hasNone()),
		denied("give itself a capability (capset)", capset()),
		tried("run without no_new_privs", noNewPrivileges()),
		denied(fmt.Sprintf("become user %d (setuid)", other), call(unix.SYS_SETUID, uintptr(other))),
		denied(fmt.Sprintf("become group %d (setgid)", other), groupOther()),
		denied("make a user namespace (unshare)", call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)),
		denied("make a mount namespace (unshare)", call(unix.SYS_UNSHARE, unix.CLONE_NEWNS)),
		denied("mount a file system", plain(unix.Mount("tmpfs", "/tmp", "tmpfs", 0, ""))),
		denied("trace another process (ptrace)", plain(unix.PtraceSeize(1))),
		denied("change its root (chroot)", plain(unix.Chroot("/tmp"))),
		denied("make a device (mknod)", device()),
		denied("load a BPF program", call(unix.SYS_BPF, 0)),
	}
}

// denied is an attempt that must fail for want of a right: what fails for another reason was allowed to try.
func denied(what string, err error) Attempt {
	a := tried(what, err)
	a.Refused = errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSYS)
	return a
}

// call makes a system call on this thread alone.
func call(number, argument uintptr) error {
	if _, _, failed := unix.RawSyscall(number, argument, 0, 0); failed != 0 {
		return failed
	}
	return nil
}

func groupOther() error {
	other := 0
	if os.Getgid() == 0 {
		other = 1
	}
	return call(unix.SYS_SETGID, uintptr(other))
}

func device() error {
	path := "/tmp/" + mark
	err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))) //nolint:gosec // a small number
	if err == nil {
		_ = os.Remove(path) // it ends with the instance
	}
	return plain(err)
}

func capset() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: 1 << unix.CAP_SYS_ADMIN, Permitted: 1 << unix.CAP_SYS_ADMIN}}
	return plain(unix.Capset(&header, &data[0]))
}

// hasNone is an error, which is what is wanted, if every set of capabilities is empty.
func hasNone() error {
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if value := status(set); strings.Trim(value, "0") != "" || value == "" {
			return nil
		}
	}
	return errors.New("all its sets are empty")
}

func noNewPrivileges() error {
	if status("NoNewPrivs") == "1" {
		return errors.New("it is set")
	}
	return nil
}

// status returns a field of what the kernel tells of this process.
func status(field string) string {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && name == field {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
