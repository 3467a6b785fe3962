// How instances are run with crun: from where it can't be written to, and let go by its pipe, or by crun itself where that differs.

package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"imx/internal/engine/local"
)

func TestInstancesAreRunWithTheMachinesCrunFromWhereItCantBeWrittenTo(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	place := filepath.Join("/run/imx-"+m.cfg.ID, "mnt", "programs", "crun")
	for n := 1; n <= 2; n++ { // the machine's crun is replaced in between
		bin := t.TempDir()
		copyFile(t, local.Runtime(), filepath.Join(bin, "crun"))
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		r := m.release("web", n)
		x := e.healthy(t, r, 1)[0]
		if used := conmonArgs(t, m, x.ID); !slices.Contains(used, place) {
			t.Errorf("conmon was started with %q, without %s", used, place)
		}
		if !sameFile(t, place, filepath.Join(bin, "crun")) {
			t.Errorf("%s isn't the machine's crun of now", place)
		}
		if f, err := os.OpenFile(place, os.O_WRONLY, 0); err == nil {
			_ = f.Close()
			t.Error("crun can be written to")
		}
		if code, err := e.Exec(t.Context(), x.ID, []string{"/bin/app", "child"}, testWriter{t}); code != 0 || err != nil {
			t.Errorf("a program beside it: %d, %v", code, err)
		}
	}
}

func TestAnInstanceOfACrunThatHoldsItOtherwiseIsStartedByThatCrun(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	bin := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
for id; do :; done
for arg; do case $arg in --root=*) pipe=${arg#--root=}/$id/exec.fifo ;; esac; done
case " $* " in
*" create "*) %[1]s "$@" && mv "$pipe" "$pipe.held" ;;
*" start "*) mv "$pipe.held" "$pipe" && echo "$id" >>%[2]s/started && exec %[1]s "$@" ;;
*) exec %[1]s "$@" ;;
esac
`, local.Runtime(), bin)
	if err := os.WriteFile(filepath.Join(bin, "crun"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	id := e.healthy(t, m.release("web", 1), 1)[0].ID
	if started := strings.TrimSpace(read(t, filepath.Join(bin, "started"))); started != id {
		t.Errorf("crun started %q, not %s", started, id)
	}
}

func TestWhoWaitsAtCrunsPipeIsLetGoOnceAndNobodyElseIs(t *testing.T) {
	cfg := local.Config{ID: fmt.Sprintf("lg%d", os.Getpid()%1000)}
	state := filepath.Join("/run/imx-"+cfg.ID, "crun", "web-1-abcde")
	pipe := filepath.Join(state, "exec.fifo")
	t.Cleanup(func() { _ = os.RemoveAll("/run/imx-" + cfg.ID) })
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := local.LetGo(cfg, "web-1-abcde"); err == nil {
		t.Error("without a pipe somebody was let go")
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := local.LetGo(cfg, "web-1-abcde"); err == nil || !exists(pipe) {
		t.Errorf("with nobody at the pipe: %v, and it is there: %v", err, exists(pipe))
	}
	waits, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	if err := local.LetGo(cfg, "web-1-abcde"); err != nil || exists(pipe) {
		t.Errorf("with somebody at the pipe: %v, and it is there: %v", err, exists(pipe))
	}
	var got [2]byte
	if n, err := waits.Read(got[:]); n != 1 || got[0] != 0 || err != nil {
		t.Errorf("it read %d bytes, %v, %v", n, got, err)
	}
}

// conmonArgs are the arguments that an instance's conmon was started with.
func conmonArgs(t *testing.T, m *machine, id string) []string {
	t.Helper()
	pid := strings.TrimSpace(read(t, filepath.Join(m.cfg.Dir, "instances", id, "conmon.pid")))
	return strings.Split(read(t, "/proc/"+pid+"/cmdline"), "\x00")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.WriteFile(to, []byte(read(t, from)), 0o755); err != nil {
		t.Fatal(err)
	}
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	one, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(one, other)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
