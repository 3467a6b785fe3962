package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"imx/internal/daemon"
)

// strike SIGNAL init|conmon INSTANCE sends a signal to an instance's first process, or to the monitor that keeps it.
func strike(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: strike SIGNAL init|conmon INSTANCE")
	}
	var r struct{ Init, Monitor struct{ Pid int } }
	text, err := os.ReadFile(filepath.Join(ts.Getenv("IMX_DATA"), "engine", "instances", args[2], "instance.json"))
	ts.Check(err)
	ts.Check(json.Unmarshal(text, &r))
	pid := r.Init.Pid
	if args[1] == "conmon" {
		pid = r.Monitor.Pid
	}
	if pid <= 1 {
		ts.Fatalf("%s has no %s", args[2], args[1])
	}
	ts.Check(syscall.Kill(pid, unix.SignalNum(args[0])))
}

// pick NAME SERVICE sets a variable to the id of the service's instance that is healthy, the first of several.
func pick(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: pick NAME SERVICE")
	}
	ts.Check(ts.Exec(ts.Getenv("IMX"), "ps", "--service", args[1]))
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if fields := strings.Fields(line); strings.HasPrefix(line, args[1]+"-") && strings.Contains(line, " healthy ") {
			ts.Setenv(args[0], fields[0])
			return
		}
	}
	ts.Fatalf("%s has no healthy instance", args[1])
}

// flush takes away what the server's table of packet filter rules has, as `nft flush ruleset` would.
func flush(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: flush")
	}
	found, err := daemon.Traces(ts.Getenv("IMX_DATA"))
	ts.Check(err)
	for _, trace := range found {
		if strings.HasPrefix(trace, "table ") {
			ts.Check(ts.Exec("nft", append([]string{"flush"}, strings.Fields(trace)...)...))
			return
		}
	}
	ts.Fatalf("the server has no table")
}
