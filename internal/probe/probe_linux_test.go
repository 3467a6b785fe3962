package probe_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imx"
	"imx/internal/probe"
)

// try runs a task in this process, which nothing confines: what a probe tries must work here, or a refusal means nothing.
func try(t *testing.T, task probe.Task) []probe.Attempt {
	t.Helper()
	var out bytes.Buffer
	if code := probe.Main(t.Context(), task.Args()[1:], &out); code != 0 {
		t.Fatalf("status %d: %s", code, out.String())
	}
	attempts, whole := probe.Read(&out)
	if !whole {
		t.Fatal("what it wrote isn't whole")
	}
	return attempts
}

func TestWhatNothingForbidsIsSeenToWork(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may do all of it")
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	attempts := try(t, probe.Task{Cannot: imx.Cannot{Connect: []string{l.Addr().String()}, Write: []string{dir, file, filepath.Join(dir, "new")}, Run: []string{"true"}}})
	if len(attempts) != 5 {
		t.Errorf("%d attempts: %+v", len(attempts), attempts)
	}
	for _, a := range attempts {
		if a.Refused {
			t.Errorf("%s: %s", a.Tried, a.Got)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "as it was" {
		t.Errorf("trying to write wrote %q, %v", text, err)
	}
}

func TestTheForeignProgramRunsWhereNothingForbidsIt(t *testing.T) {
	if err := probe.RunForeign(t.TempDir()); err != nil {
		t.Errorf("out of a folder: %v", err)
	}
	if err := probe.RunFromMemory(); err != nil {
		t.Errorf("out of memory: %v", err)
	}
}

func TestWhatCannotBeReachedIsRefused(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, a := range try(t, probe.Task{Reach: []string{closed}, Cannot: imx.Cannot{Run: []string{"no-such-program"}}}) {
		if !a.Refused || a.Got == "" {
			t.Errorf("%+v", a)
		}
	}
}

func TestHalfAnAnswerIsNotTakenForAWhole(t *testing.T) {
	if _, whole := probe.Read(strings.NewReader(`{"tried":"x","got":"y","refused":true}` + "\n")); whole {
		t.Error("it is whole")
	}
	if code := probe.Main(t.Context(), []string{"no task"}, &bytes.Buffer{}); code == 0 {
		t.Error("it tried what is no task")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"tried":"x"}` + "\n" + probe.Done))
	f.Fuzz(func(_ *testing.T, b []byte) { probe.Read(bytes.NewReader(b)) })
}
