package corpus_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imx"
)

// leastPrivilege fails the test unless every process of an instance runs as a user other than root, with no
// capability and no way to one, and unless nothing that it can write to is executable.
func leastPrivilege(t *testing.T, in imx.Instance) {
	t.Helper()
	pids := processes(t, in.Pid)
	if len(pids) == 0 {
		t.Errorf("%s: no process has the namespace of process %d", in.ID, in.Pid)
	}
	for _, pid := range pids {
		text, err := os.ReadFile(filepath.Join(pid, "status"))
		if err != nil {
			continue // it ended meanwhile
		}
		status := map[string][]string{}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			status[key] = strings.Fields(value)
		}
		name := fmt.Sprintf("%s: process %s (%s)", in.ID, filepath.Base(pid), strings.Join(status["Name"], " "))
		for _, key := range []string{"Uid", "Gid"} {
			if len(status[key]) != 4 || slices.Contains(status[key], "0") {
				t.Errorf("%s has %s %v", name, key, status[key])
			}
		}
		for key, want := range map[string]string{
			"CapInh": noCapability, "CapPrm": noCapability, "CapEff": noCapability, "CapBnd": noCapability, "CapAmb": noCapability,
			"NoNewPrivs": "1", "Seccomp": "2",
		} {
			if got := strings.Join(status[key], " "); got != want {
				t.Errorf("%s has %s %s, not %s", name, key, got, want)
			}
		}
	}
	mounts(t, in)
}

const noCapability = "0000000000000000"

// processes returns the folders below /proc of what is in the process's PID namespace.
func processes(t *testing.T, pid int) []string {
	t.Helper()
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		t.Error(err)
		return nil
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(p string) bool {
		other, err := os.Readlink(filepath.Join(p, "ns/pid"))
		return err != nil || other != space
	})
}

// mounts checks that the root is read-only and that programs can't be run from what can be written to.
func mounts(t *testing.T, in imx.Instance) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", in.Pid))
	if err != nil {
		t.Error(err)
		return
	}
	root := false
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line) // proc(5): the fifth is the place, the sixth what holds there
		if len(fields) < 6 {
			t.Errorf("%s: mountinfo has %q", in.ID, line)
			continue
		}
		place, options := fields[4], strings.Split(fields[5], ",")
		root = root || place == "/"
		switch {
		case place == "/" && !slices.Contains(options, "ro"):
			t.Errorf("%s: the root is mounted %s", in.ID, fields[5])
		case slices.Contains(options, "rw") && !slices.Contains(options, "noexec"):
			t.Errorf("%s: %s is mounted %s", in.ID, place, fields[5])
		}
	}
	if !root {
		t.Errorf("%s: no root in its mountinfo", in.ID)
	}
}
