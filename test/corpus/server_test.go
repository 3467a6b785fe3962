package corpus_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"imx"
)

// Each folder has a few ports of the machine to choose from, so that folders that run at once don't
// take each other's.
const (
	firstPort = 21000
	portsEach = 10
)

// server is a real imx server and the binary to ask it with.
type server struct {
	binary string
	data   string
	mu     sync.Mutex // held by an apply: a server does one at a time
}

// startServer starts a server, and purges it when the test ends. Its data folder stays between runs, below the user's cache
// folder (or $IMX_TEST_CACHE), but of what is in it only the archive's lists and packages do.
func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{binary: filepath.Join(t.TempDir(), "imx"), data: filepath.Join(cacheDir(t), "corpus")}
	run(t, time.Minute*3, []string{"CGO_ENABLED=0"}, "go", "build", "-o", s.binary, "imx/cmd/imx")
	for _, part := range []string{"build", "registry", "log", "engine", "network"} {
		if err := os.RemoveAll(filepath.Join(s.data, part)); err != nil {
			t.Fatal(err)
		}
	}
	network := fmt.Sprintf("10.235.%d.0/24", os.Getpid()%256)
	cmd := exec.Command(s.binary, "server", "--data", s.data, "--listen", "none", "--network", network)
	said, err := os.Create(filepath.Join(t.TempDir(), "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()
		run(t, time.Minute, nil, s.binary, "server", "purge", "--yes", "--data", s.data)
		if t.Failed() {
			text, _ := os.ReadFile(said.Name())
			t.Logf("the server wrote:\n%s", text)
		}
	})
	ready, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(ready, "answers on") {
		t.Fatalf("the server didn't come up: %q, %v", ready, err)
	}
	return s
}

func cacheDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("IMX_TEST_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "imx-test")
}

// run runs a program to its end and returns its output; another exit status than 0 fails the test.
func run(t *testing.T, limit time.Duration, env []string, program string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, tail(stderr.String(), 20), out)
	}
	return out
}

func tail(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n-1):], "")
}

// asks runs an imx command and decodes the JSON that it prints.
func asks[T any](t *testing.T, s *server, limit time.Duration, args ...string) T {
	t.Helper()
	var v T
	out := run(t, limit, nil, s.binary, append([]string{"--data", s.data, "--json"}, args...)...)
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("imx %v prints %q: %v", args, out, err)
	}
	return v
}

// published is the setting of a template that says where the machine listens.
var published = regexp.MustCompile(`(?m)^(\s*publish\s*=\s*)\d+`)

// copied copies a folder, with a free port of the machine in place of the published one, and prepares it. It returns
// the copy and where the service will answer.
func (s *server) copied(t *testing.T, name string, port int) (folder, address string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(folder, os.DirFS(name)); err != nil {
		t.Fatal(err)
	}
	address = freePort(t, port)
	_, number, _ := strings.Cut(address, ":")
	template := filepath.Join(folder, name+".imx.hcl")
	text, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(published.FindAll(text, -1)); n != 1 {
		t.Fatalf("the template publishes %d ports", n)
	}
	if err := os.WriteFile(template, published.ReplaceAll(text, []byte("${1}"+number)), 0o600); err != nil {
		t.Fatal(err)
	}
	if prepare := preparations()[name]; prepare != nil {
		prepare(t, s, folder)
	}
	return folder, address
}

// freePort finds a port from first on that nobody listens on.
func freePort(t *testing.T, first int) string {
	t.Helper()
	for port := first; port < first+portsEach; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("127.0.0.1:%d", port)
	}
	t.Fatalf("ports %d to %d of the machine are taken", first, first+portsEach-1)
	return ""
}

func (s *server) build(t *testing.T, folder string) imx.Image {
	t.Helper()
	images := asks[struct{ Images []imx.Image }](t, s, buildLimit, "build", folder).Images
	if len(images) != 1 {
		t.Fatalf("the template has %d images", len(images))
	}
	return images[0]
}

// apply releases the folder and waits until its service is healthy.
func (s *server) apply(t *testing.T, folder, service string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), applyLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, s.binary, "--data", s.data, "apply", "--yes", folder).CombinedOutput()
	if err != nil {
		defer s.destroy(t, service)
		t.Fatalf("imx apply: %v\n%s\n%s", err, tail(string(out), 20), s.lastLines(service))
	}
}

// destroy takes the service down, with its volumes.
func (s *server) destroy(t *testing.T, service string) {
	t.Helper()
	run(t, time.Minute, nil, s.binary, "--data", s.data, "destroy", service, "--volumes", "--yes")
}

// instances returns the service's instances that run.
func (s *server) instances(t *testing.T, service string) []imx.Instance {
	t.Helper()
	all := asks[[]imx.Instance](t, s, time.Minute, "ps", "--service", service)
	if len(all) == 0 {
		t.Error("no instance runs")
	}
	return all
}

// lastLines returns what the service's last instances wrote, for a test that fails.
func (s *server) lastLines(service string) string {
	out, err := exec.Command(s.binary, "--data", s.data, "--json", "ps", "--all", "--service", service).Output()
	var all []imx.Instance
	if err != nil || json.Unmarshal(out, &all) != nil {
		return fmt.Sprintf("its instances can't be listed: %v", err)
	}
	var text strings.Builder
	for _, in := range all {
		lines, err := exec.Command(s.binary, "--data", s.data, "logs", "--tail", "30", in.ID).CombinedOutput()
		fmt.Fprintf(&text, "%s is %s (%s) and wrote:\n%s", in.ID, in.Phase, in.Reason, lines)
		if err != nil {
			fmt.Fprintln(&text, err)
		}
	}
	return text.String()
}
