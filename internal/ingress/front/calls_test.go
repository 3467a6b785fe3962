package front_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"imx/internal/ingress/front"
)

// confinedWord makes the test's program one that is confined.
const confinedWord = "__confined"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == confinedWord {
		if err := confined(os.Args[2]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// confined gives up system calls, and tries what it may and what it may not.
func confined(dir string) error {
	if err := errors.Join(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), front.ConfineCalls()); err != nil {
		return err
	}
	for what, try := range map[string]func() error{
		"start a program":       func() error { return unix.Exec("/bin/true", []string{"true"}, nil) },
		"start a process":       func() error { return exec.Command("/bin/true").Run() },
		"enter a namespace":     func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"mount":                 func() error { return unix.Mount("none", dir, "tmpfs", 0, "") },
		"look into another":     func() error { return unix.PtraceAttach(os.Getppid()) },
		"make a device":         func() error { return unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR, 0x103) },
		"have a file of memory": func() error { _, err := unix.MemfdCreate("x", 0); return err },
		"change its user":       func() error { return unix.Setuid(0) },
		"send another a signal": func() error { return unix.Kill(os.Getppid(), 0) },
		"load a kernel's program": func() error {
			_, _, errno := unix.Syscall(unix.SYS_BPF, 0, 0, 0)
			return errno
		},
	} {
		if err := try(); !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("it may %s: %w", what, err)
		}
	}
	var all sync.WaitGroup
	errs := make([]error, 40)
	for i := range errs { // as many threads, for each is in the kernel
		all.Go(func() { errs[i] = works(filepath.Join(dir, fmt.Sprint(i))) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// works does what a front does, with files and with sockets.
func works(path string) error {
	if err := errors.Join(os.WriteFile(path, []byte("text"), 0o600), os.Rename(path, path+".old"), os.Remove(path+".old")); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	return conn.Close()
}

func TestAConfinedProcessMakesNoOtherCallsThanItNeeds(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), os.Args[0], confinedWord, t.TempDir()).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, strings.TrimSpace(string(out)))
	}
}
