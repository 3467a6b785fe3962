package inside_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx/internal/inside"
)

// The test's own process stands for an instance: it is one of the machine.
func TestAPathIsSeenAsTheProcessSeesIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "greeting")
	if err := os.WriteFile(path, []byte("hello, world"), 0o640); err != nil {
		t.Fatal(err)
	}
	found, err := inside.File(os.Getpid(), path, 5)
	if err != nil || !found.There || found.Mode != 0o640 || string(found.Content) != "hello" || found.UID != uint32(os.Getuid()) {
		t.Errorf("%+v, %v", found, err)
	}
	if missing, err := inside.File(os.Getpid(), path+"/below/it", 5); err != nil || missing.There {
		t.Errorf("what isn't there: %+v, %v", missing, err)
	}
	if root, err := inside.File(os.Getpid(), "/", 5); err != nil || !root.There {
		t.Errorf("the root: %+v, %v", root, err)
	}
}

// Whoever controls the instance can put a pipe where a file was just seen, and keep it open without writing to it.
func TestAFileThatTurnsIntoAPipeKeepsNobodyWaiting(t *testing.T) {
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, []byte("x"), 0o600), unix.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	held, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var swaps sync.WaitGroup
	swapping, stop := context.WithCancel(t.Context())
	swaps.Go(func() {
		for swapping.Err() == nil {
			_ = unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, pipe, unix.RENAME_EXCHANGE)
		}
	})
	done := make(chan string, 1)
	go func() {
		for range 20_000 {
			if found, err := inside.File(os.Getpid(), file, 5); err != nil || !found.There || len(found.Content) > 1 {
				done <- fmt.Sprintf("%+v, %v", found, err)
				return
			}
		}
		done <- ""
	}()
	select {
	case wrong := <-done:
		if wrong != "" {
			t.Error(wrong)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for the pipe")
	}
	stop()
	swaps.Wait()
	_ = held.Close()
}

func TestAProcessIsFoundByItsPathItsNameAndALinkToIt(t *testing.T) {
	link := filepath.Join(t.TempDir(), "server")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("this machine has no sleep")
	}
	if err := os.Symlink(sleep, link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), link, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	all, err := inside.Processes(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(p inside.Process) bool { return p.Pid == cmd.Process.Pid })
	if i < 0 {
		t.Fatal("it isn't among the processes")
	}
	for name, want := range map[string]bool{sleep: true, "sleep": true, link: true, "bash": false, "/usr/bin/nothing": false} {
		if all[i].Runs(name) != want {
			t.Errorf("runs %s: %v", name, !want)
		}
	}
	if !inside.IsUser(cmd.Process.Pid, "root", 0) || inside.IsUser(cmd.Process.Pid, "root", 1) {
		t.Error("root is uid 0 and no other")
	}
}

func TestAPortIsListenedOnUntilItIsClosed(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := int(netip.MustParseAddrPort(l.Addr().String()).Port())
	ports, err := inside.Listens(os.Getpid())
	if err != nil || !slices.Contains(ports, port) || !slices.IsSorted(ports) {
		t.Errorf("port %d isn't in %v: %v", port, ports, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if ports, err := inside.Listens(os.Getpid()); err != nil || slices.Contains(ports, port) {
		t.Errorf("closed port %d is in %v: %v", port, ports, err)
	}
}

func TestAProcessThatIsGoneHasNothing(t *testing.T) {
	const never = 1 << 30
	if _, err := inside.File(never, "/", 1); err == nil {
		t.Error("it has files")
	}
	if _, err := inside.Processes(never); err == nil {
		t.Error("it has processes")
	}
	if _, err := inside.Listens(never); err == nil {
		t.Error("it has ports")
	}
}

func TestAProcessThatWasKilledIsEndingBeforeAnybodyWaitsForIt(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Skipf("this machine has no sleep: %v", err)
	}
	pid := cmd.Process.Pid
	if inside.Ending(pid) || inside.Ending(0) {
		t.Error("what runs is ending, or what is no process")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !inside.Ending(pid); {
		if time.Now().After(deadline) {
			t.Fatal("it was killed, and isn't ending")
		}
	}
	_ = cmd.Wait() // it was killed
	if !inside.Ending(pid) {
		t.Error("what is gone isn't ending")
	}
}
