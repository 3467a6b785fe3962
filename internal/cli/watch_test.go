package cli_test

// `imx check --watch` must show what the files say now, and be seen to end: these tests change files under it and
// wait for what it prints.

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"imx/internal/cli"
	"imx/internal/term"
)

// screen is an output on which a test waits for text.
type screen struct {
	mu      sync.Mutex
	text    string
	changed chan struct{}
}

func newScreen() *screen { return &screen{changed: make(chan struct{})} }

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text += string(b)
	close(s.changed)
	s.changed = make(chan struct{})
	return len(b), nil
}

// wait returns what was printed since the last wait, as soon as it has the text in it.
func (s *screen) wait(t *testing.T, text string) string {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		all, changed := s.text, s.changed
		if strings.Contains(all, text) {
			s.text = ""
			s.mu.Unlock()
			return all
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%q didn't come: %q", text, all)
		}
	}
}

const watched = "image \"a\" {\n  command = [\"/a\"]\n  user    = \"nobody\"\n}\n"

// watching starts imx check --watch and returns its output and what ends it, with its exit status.
func watching(t *testing.T, stream func(*screen) term.Stream, args ...string) (*screen, func() int) {
	t.Helper()
	s := newScreen()
	ctx, cancel := context.WithCancel(t.Context())
	status := make(chan int, 1)
	go func() {
		status <- cli.Main(ctx, append([]string{"check", "--watch"}, args...), cli.Process{
			Terminal: &term.Terminal{Out: stream(s), Err: stream(s)}, Env: func(string) string { return "" },
		})
	}()
	end := sync.OnceValue(func() int { cancel(); return <-status })
	t.Cleanup(func() { end() })
	return s, end
}

func pipe(s *screen) term.Stream { return term.Stream{Writer: s} }

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	// As editors do: beside it, then in its place.
	if err := os.WriteFile(path+"~", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

func TestWatchShowsEveryChangeOfWhatACheckDependsOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	main := filepath.Join(dir, "main.imx.hcl")
	put(t, main, watched)
	s, end := watching(t, pipe, dir)
	s.wait(t, "ok: 1 image, 0 services")
	put(t, main, strings.Replace(watched, "nobody", "root", 1))
	s.wait(t, "runs as root")
	put(t, main, strings.Replace(watched, "user", "usr", 1))
	s.wait(t, "error: 1 mistake")
	// a file that it names and that isn't there yet, in a folder that isn't there yet
	put(t, main, strings.Replace(watched, "}", "  file \"/f\" {\n    content = file(\"sub/deep/f\")\n  }\n}", 1))
	s.wait(t, `there is no file "sub/deep/f"`)
	put(t, filepath.Join(dir, "sub/deep/f"), "x")
	s.wait(t, "ok: 1 image")
	put(t, filepath.Join(dir, "sub/deep/f"), "\xff") // taken in as bytes
	put(t, filepath.Join(dir, "checks/own.rego"), "# METADATA\n# title: Own\n# custom:\n#   id: own\n#   severity: low\npackage own\ndeny contains {\"message\": \"own rule\"} if input.images\n")
	s.wait(t, "own rule")
	put(t, filepath.Join(dir, "checks/own.rego"), "package own\ndeny contains")
	s.wait(t, "own.rego:2: error")
	if err := os.RemoveAll(filepath.Join(dir, "checks")); err != nil {
		t.Fatal(err)
	}
	s.wait(t, "ok: 1 image")
	if status := end(); status != 130 {
		t.Errorf("exit status %d", status)
	}
}

func TestWatchDrawsOverTheLastOnATerminalAndWritesLinesOfJSONWhereAsked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "main.imx.hcl"), watched)
	s, end := watching(t, func(s *screen) term.Stream {
		return term.Stream{Writer: s, Size: func() (int, int) { return 80, 24 }}
	}, dir)
	if text := s.wait(t, "ctrl-c ends it\n"); !strings.HasPrefix(text, "\x1b[2J") || strings.Count(text, "\x1b[2J") != 1 {
		t.Errorf("%q", text)
	}
	put(t, filepath.Join(dir, "main.imx.hcl"), strings.Replace(watched, "nobody", "root", 1))
	if text := s.wait(t, "ctrl-c ends it\n"); !strings.HasPrefix(text, "\x1b[2J") {
		t.Errorf("%q", text)
	}
	if status := end(); status != 130 {
		t.Errorf("exit status %d", status)
	}
	s, end = watching(t, pipe, "--json", dir)
	if text := s.wait(t, "root-user"); strings.Count(text, "\n") != 1 {
		t.Errorf("not one line: %q", text)
	}
	end()
}
