package cli_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
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
	var r struct {
		Init struct {
			Pid int `json:"pid"`
		} `json:"init"`
		Monitor struct {
			Pid int `json:"pid"`
		} `json:"monitor"`
	}
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

// machinedown takes away what a machine that goes down does of a dead server: all processes, mounts, network namespaces, links, cgroups,
// rules and routes. The records say then that they are of another start of the machine, as they would.
func machinedown(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: machinedown")
	}
	engine := filepath.Join(ts.Getenv("IMX_DATA"), "engine")
	keep := filepath.Join(ts.Getenv("WORK"), "kept")
	ts.Check(ts.Exec("cp", "-a", engine, keep))
	ts.Check(daemon.Purge(context.Background(), ts.Getenv("IMX_DATA")))
	ts.Check(os.RemoveAll(engine))
	ts.Check(os.Rename(keep, engine))
	records, err := filepath.Glob(filepath.Join(engine, "instances", "*", "instance.json"))
	ts.Check(err)
	for _, path := range records {
		text, err := os.ReadFile(path)
		ts.Check(err)
		boot := regexp.MustCompile(`"boot": ?"[^"]*"`).ReplaceAll(text, []byte(`"boot":"another"`))
		ts.Check(os.WriteFile(path, boot, 0o600))
	}
}

// before FIRST THEN checks that in the last command's output the last line that matches THEN comes after the last that matches FIRST.
func before(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: before FIRST THEN")
	}
	last := func(pattern string) int {
		found := regexp.MustCompile(pattern).FindAllStringIndex(ts.ReadFile("stdout"), -1)
		if len(found) == 0 {
			ts.Fatalf("nothing matches %q", pattern)
		}
		return found[len(found)-1][0]
	}
	if last(args[0]) > last(args[1]) {
		ts.Fatalf("%q doesn't come before %q", args[0], args[1])
	}
}

// fill DIR leaves no byte on a folder's file system, in a file "ballast".
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fill DIR")
	}
	f, err := os.Create(filepath.Join(args[0], "ballast"))
	ts.Check(err)
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}
