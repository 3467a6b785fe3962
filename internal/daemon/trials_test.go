package daemon_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"imx/internal/daemon"
)

func TestMachinesThatComeAndGoAtTheSameTimeLoseNoFolder(t *testing.T) {
	data := t.TempDir()
	trials := daemon.NewTrials(data)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				dir, err := trials.Folder()
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.Remove(dir); err != nil {
					t.Error(err)
				}
				trials.Tidy()
			}
		})
	}
	all.Wait()
	if _, err := os.Stat(filepath.Join(data, "trial")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
}

// static returns a program for the probe: nothing asks what it does.
func static(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "probe")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\""+text+"\") }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

func TestAnotherVersionOrProbeIsAnotherSandbox(t *testing.T) {
	if _, err := exec.LookPath("crun"); err != nil {
		t.Skip("there is no crun")
	}
	one, other := static(t, "one"), static(t, "other")
	seen := map[string]string{}
	for _, c := range [][2]string{{"1.0", one}, {"1.1", one}, {"1.0", other}} {
		d, err := daemon.Sandbox(c[0], c[1])
		if err != nil {
			t.Fatal(err)
		}
		again, err := daemon.Sandbox(c[0], c[1])
		if err != nil || again != d {
			t.Errorf("%v: %s, then %s, %v", c, d, again, err)
		}
		if before, ok := seen[string(d)]; ok {
			t.Errorf("%v has the sandbox of %s", c, before)
		}
		seen[string(d)] = c[0] + " " + c[1]
	}
}
