package procs_test

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"imx/internal/procs"
)

// started is a process that lives until the test ends.
func started(t *testing.T, flags uintptr) int {
	t.Helper()
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	return cmd.Process.Pid
}

func TestProcessesAreTogetherThatShareANamespaceOfTheKind(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes namespaces")
	}
	near, apart := started(t, 0), started(t, syscall.CLONE_NEWNS)
	for _, c := range []struct {
		pid  int
		kind string
		with []int
		sans []int
	}{
		{os.Getpid(), "pid", []int{os.Getpid(), near, apart}, nil},
		{os.Getpid(), "mnt", []int{os.Getpid(), near}, []int{apart}},
		{apart, "mnt", []int{apart}, []int{os.Getpid(), near}},
	} {
		all, err := procs.Together(c.pid, c.kind)
		if err != nil || !slices.IsSorted(all) {
			t.Errorf("%v, %v", all, err)
		}
		for _, pid := range c.with {
			if !slices.Contains(all, pid) {
				t.Errorf("%s of %d: %d isn't in %v", c.kind, c.pid, pid, all)
			}
		}
		for _, pid := range c.sans {
			if slices.Contains(all, pid) {
				t.Errorf("%s of %d: %d is in %v", c.kind, c.pid, pid, all)
			}
		}
	}
}

func TestAProcessThatIsNotThereHasNoCompany(t *testing.T) {
	if _, err := procs.Together(math.MaxInt32, "pid"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
