package soak_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/client"
	"imx/internal/daemon"
	"imx/internal/engine/local"
)

const (
	service  = "web"
	replicas = 4
)

// server is a real one in a process of its own. Whoever kills it starts it again, as systemd would.
type server struct {
	binary, data, network, template string
	port                            int
	client                          *client.Client
	log                             bytes.Buffer // written by one process at a time

	mu   sync.Mutex
	cmd  *exec.Cmd
	ups  []time.Duration // how long each start took until it answered
	most usage
}

// usage is the most that a server's process has taken.
type usage struct{ memory, files int }

// newServer builds imx and the program of the instances, and starts a server in a folder and a range of addresses of its own.
func newServer(t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{binary: filepath.Join(dir, "imx"), data: filepath.Join(dir, "data"), template: filepath.Join(dir, "web"), port: freePort(t)}
	if err := os.Mkdir(s.template, 0o700); err != nil {
		t.Fatal(err)
	}
	build(t, s.binary, "imx/cmd/imx")
	build(t, filepath.Join(s.template, "app"), "../../internal/engine/local/testdata/app")
	for n := range 16 {
		// Large enough that no address is given out twice: what is lost is told from whose address it was.
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 253, byte(16 * n), 0}), 20)
		if local.CheckNetwork(p, "none") == nil {
			s.network = p.String()
		}
	}
	s.client = client.New(filepath.Join(s.data, daemon.SocketName))
	t.Cleanup(func() { s.remove(t) })
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	return s
}

func build(t *testing.T, path, pkg string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return int(netip.MustParseAddrPort(l.Addr().String()).Port())
}

// start returns once the server answers.
func (s *server) start() error {
	began := time.Now()
	cmd := exec.Command(s.binary, "server", "--data", s.data, "--listen", "none", "--network", s.network)
	cmd.Stderr = &s.log
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	ready, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(ready, "answers on") {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("the server didn't come up: %q, %w\n%s", ready, err, s.log.String())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd = cmd
	s.ups = append(s.ups, time.Since(began))
	return nil
}

// end ends the server's process, as a signal does.
func (s *server) end(sig unix.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig) // it may be gone
	_ = s.cmd.Wait()
	s.cmd = nil
}

// measure notes what the server's process takes now.
func (s *server) measure() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	proc := fmt.Sprintf("/proc/%d", s.cmd.Process.Pid)
	status, _ := os.ReadFile(proc + "/status") // gone: nothing is found in it
	for line := range strings.Lines(string(status)) {
		var kB int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kB); n == 1 {
			s.most.memory = max(s.most.memory, kB<<10)
		}
	}
	files, _ := os.ReadDir(proc + "/fd")
	s.most.files = max(s.most.files, len(files))
}

// imx runs a command as a person would.
func (s *server) imx(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Env = append(os.Environ(), "IMX_DATA="+s.data)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// write makes the template of a round: each one's release is another.
func (s *server) write(round int) error {
	text := fmt.Sprintf(`
image "app" {
  user    = "65534"
  command = ["/app"]
  file "/app" {
    content = file("app")
    mode    = "0755"
  }
}
service "web" {
  image       = image.app
  replicas    = %d
  environment = { PORT = "8000", ROUND = "%d" }
  drain       = "3s"
  grace       = "3s"
  port "http" {
    container = 8000
    publish   = %d
  }
  health {
    every    = "200ms"
    timeout  = "500ms"
    failures = 2
    http {
      port = "http"
      path = "/healthz"
    }
  }
}
`, replicas, round, s.port)
	return os.WriteFile(filepath.Join(s.template, "web.imx.hcl"), []byte(text), 0o600)
}

// apply releases the first round; it has to succeed.
func (s *server) apply(t *testing.T, round int) {
	t.Helper()
	if err := s.write(round); err != nil {
		t.Fatal(err)
	}
	if out, err := s.imx(t.Context(), "apply", "--yes", s.template); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// running is what the engine's records say of an instance that lives. They are there without a server, too.
type running struct {
	imx.Instance

	monitor int
}

func (s *server) running() []running {
	files, _ := filepath.Glob(filepath.Join(s.data, "engine", "instances", "*", "instance.json"))
	var list []running
	for _, file := range files {
		var r struct {
			Instance imx.Instance `json:"instance"`
			Init     struct {
				Pid int `json:"pid"`
			} `json:"init"`
			Monitor struct {
				Pid int `json:"pid"`
			} `json:"monitor"`
		}
		text, err := os.ReadFile(file)
		if err != nil || json.Unmarshal(text, &r) != nil || r.Init.Pid == 0 || r.Instance.Phase == imx.Ended || unix.Kill(r.Init.Pid, 0) != nil {
			continue
		}
		r.Instance.Pid = r.Init.Pid
		list = append(list, running{r.Instance, r.Monitor.Pid})
	}
	return list
}

// awaitWhole waits until nothing is under way any more and the service has all its instances: after the longest back-off at the latest.
func (s *server) awaitWhole(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * time.Minute); ; <-tick.C {
		status, err := s.client.Status(t.Context(), time.Time{})
		v := status.State.Services[service]
		healthy := 0
		for _, in := range status.State.Instances {
			if in.Phase == imx.Healthy && in.Release == v.Current {
				healthy++
			}
		}
		if err == nil && status.State.Apply == nil && v.Current == v.Target && v.Current > 0 && healthy == v.Replicas && len(v.Routes) == 1 && v.Routes[v.Current] > 0 {
			return
		}
		if time.Now().After(end) {
			out, _ := s.imx(t.Context(), "status")
			t.Fatalf("it never is whole again: %v\n%s\n%s", err, out, s.log.String())
		}
	}
}

// leavesNothing takes all down in good order, and looks for what is left.
func (s *server) leavesNothing(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"log", "verify"}, {"destroy", "--all", "--yes"}} {
		if out, err := s.imx(t.Context(), args...); err != nil {
			t.Errorf("imx %v: %v\n%s", args, err, out)
		}
	}
	s.end(unix.SIGTERM)
	traces, err := daemon.Traces(s.data)
	if err != nil || len(traces) > 0 {
		t.Errorf("left on the machine: %v, %q", err, traces)
	}
	if left := s.processes(); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
}

// processes are the command lines of those that name the data folder.
func (s *server) processes() []string {
	var left []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(s.data)) {
			left = append(left, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	slices.Sort(left)
	return left
}

// remove leaves nothing of a test that failed.
func (s *server) remove(t *testing.T) {
	t.Helper()
	s.end(unix.SIGKILL)
	if out, err := s.imx(context.Background(), "server", "purge", "--yes", "--data", s.data); err != nil {
		t.Errorf("purging: %v\n%s", err, out)
	}
}
