package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// collecting TEMPLATE applies the template with one of three contents again and again while everything that
// isn't needed is collected without pause, and then kills the server within collections. No apply and no
// collection may fail but by the kill, and afterwards each content can be applied.
func collecting(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: collecting TEMPLATE")
	}
	binary := ts.Getenv("IMX")
	run := func(args ...string) (string, error) {
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "IMX_DATA="+ts.Getenv("IMX_DATA"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	template := ts.MkAbs(args[0])
	round := func(n int) {
		text := regexp.MustCompile(`"round [0-9]+"`).ReplaceAllString(ts.ReadFile(template), fmt.Sprintf("%q", fmt.Sprint("round ", n%3)))
		ts.Check(os.WriteFile(template, []byte(text), 0o600))
		if out, err := run("apply", "--yes", filepath.Dir(template)); err != nil {
			ts.Fatalf("round %d: %v\n%s", n, err, out)
		}
	}
	stop, collected := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				collected <- nil
				return
			default:
			}
			if out, err := run("gc", "--grace", "0s"); err != nil {
				collected <- fmt.Errorf("%w: %s", err, out)
				return
			}
		}
	}()
	for n := range 9 {
		round(n)
	}
	close(stop)
	ts.Check(<-collected)
	s := processOf(ts)
	for n := range 4 {
		round(n)
		gc := exec.Command(binary, "gc", "--grace", "0s")
		gc.Env = append(os.Environ(), "IMX_DATA="+ts.Getenv("IMX_DATA"))
		stderr, err := gc.StderrPipe()
		ts.Check(err)
		ts.Check(gc.Start())
		if n%2 == 0 { // at once, or when something is told
			_, _ = stderr.Read(make([]byte, 1))
		}
		s.end(ts, syscall.SIGKILL)
		_ = gc.Wait() // it may have lost its server, or have been done
		s.start(ts, nil)
	}
	for n := range 3 {
		round(n)
	}
}
