package cli_test

// A real server for scripts: started in the background, known to be ready by what it prints and
// not by waiting, and gone with all that it ran when the script ends, however that goes.

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"imx/internal/cli"
)

func TestServerScripts(t *testing.T) {
	t.Parallel()
	if cli.ClientOnly {
		t.Skip("this is the client-only build")
	}
	if os.Geteuid() != 0 {
		t.Skip("a server that runs instances needs root")
	}
	testscript.Run(t, e2eParams(t, "testdata/e2e"))
}

// server [FLAG]... starts the real server on the data folder and returns once it answers;
// `server stop` has it end in good order and `server kill` at once, and then server.log holds what
// it wrote. Whatever is left of it when the script ends is purged.
func server(ts *testscript.TestScript, negated bool, args []string) {
	if negated {
		ts.Fatalf("unsupported: ! server")
	}
	s := processOf(ts)
	if len(args) != 1 || args[0] != "stop" && args[0] != "kill" {
		s.start(ts, args)
		return
	}
	if s.cmd == nil {
		ts.Fatalf("no server runs")
	}
	sig := syscall.SIGTERM
	if args[0] == "kill" {
		sig = syscall.SIGKILL
	}
	s.end(ts, sig)
	ts.Check(os.WriteFile(ts.MkAbs("server.log"), []byte(s.log.String()), 0o600))
}

// serverProcess is the server of a script's data folder, running while cmd is set.
type serverProcess struct {
	cmd *exec.Cmd
	log *syncBuffer
}

type serverKey struct{}

// processOf returns the script's server of its present data folder, among those that params has a place for.
func processOf(ts *testscript.TestScript) *serverProcess {
	all, ok := ts.Value(serverKey{}).(map[string]*serverProcess)
	if !ok {
		ts.Fatalf("the script was set up without a server")
	}
	data := ts.Getenv("IMX_DATA")
	if all[data] == nil {
		all[data] = &serverProcess{}
	}
	return all[data]
}

func (s *serverProcess) start(ts *testscript.TestScript, flags []string) {
	if s.cmd != nil {
		ts.Fatalf("a server runs already")
	}
	imx, data := ts.Getenv("IMX"), ts.Getenv("IMX_DATA")
	args := append([]string{"server", "--data", data, "--listen", "127.0.0.1:0"}, flags...)
	cmd := exec.Command(imx, args...)
	cmd.Env = append(os.Environ(), "IMX_PROBE="+ts.Getenv("IMX_PROBE"))
	s.log = &syncBuffer{}
	cmd.Stderr = s.log
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	s.cmd = cmd
	ts.Defer(func() {
		s.end(ts, syscall.SIGTERM)
		if out, err := exec.Command(imx, "server", "purge", "--yes", "--data", data).CombinedOutput(); err != nil {
			ts.Logf("purge: %v\n%s", err, out)
		}
	})
	ready, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(ready, "answers on") {
		s.end(ts, syscall.SIGKILL)
		ts.Fatalf("the server didn't come up: %q, %v\n%s", ready, err, s.log)
	}
}

// end ends the server, if it runs, and waits until it is gone. Of one that the race detector watched, it looks for what that saw.
func (s *serverProcess) end(ts *testscript.TestScript, sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	_ = s.cmd.Wait()
	s.cmd = nil
	if log := s.log.String(); strings.Contains(log, "WARNING: DATA RACE") {
		ts.Fatalf("the server has a race:\n%s", log)
	}
}

// syncBuffer may be read while a process still writes into it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
