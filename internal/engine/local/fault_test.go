// What becomes of instances when something around them dies or fails: the server in the middle of
// a start, conmon, the firewall, the disk, the image's file.

package local_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/engine"
	"imx/internal/engine/local"
	"imx/internal/network"
)

func TestAServerKilledInTheMiddleOfStartsLeavesNothingHalfMade(t *testing.T) {
	// Each step of a start is known by what it leaves.
	steps := map[string]func(m *machine) string{
		"record":    func(m *machine) string { return m.cfg.Dir + "/instances/*/instance.json" },
		"layer":     func(m *machine) string { return m.cfg.Dir + "/releases/*/layer.erofs" },
		"root":      func(m *machine) string { return "/run/imx-" + m.cfg.ID + "/mnt/roots/*" },
		"namespace": func(m *machine) string { return "/run/imx-" + m.cfg.ID + "/netns/*" },
		"link":      func(m *machine) string { return "/sys/class/net/imx-" + m.cfg.ID + "-*" },
		"cgroup":    func(m *machine) string { return "/sys/fs/cgroup/unified/imx-" + m.cfg.ID + "/*/init" },
		"bundle":    func(m *machine) string { return m.cfg.Dir + "/instances/*/config.json" },
		"conmon":    func(m *machine) string { return m.cfg.Dir + "/instances/*/conmon.pid" },
		"crun":      func(m *machine) string { return "/run/imx-" + m.cfg.ID + "/crun/*/status" },
		"created":   func(m *machine) string { return m.cfg.Dir + "/instances/*/init.pid" },
	}
	for name, pattern := range steps {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			r := m.release("web", 1)
			server := m.server(t, r, 3)
			await(t, "step "+name, func() bool { found, _ := filepath.Glob(pattern(m)); return len(found) > 0 })
			if err := server.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = server.Wait() // killed
			e := m.running(t)
			m.compare(t, e)
			e.healthy(t, r, 3)
			m.compare(t, e)
		})
	}
}

// compare waits until exactly the instances that the engine shows have anything on the machine:
// what an ended one leaves may take a moment to go.
func (m *machine) compare(tb testing.TB, e *runningEngine) {
	tb.Helper()
	patience := time.After(30 * time.Second)
	for {
		odd := m.difference(tb, e)
		if odd == "" {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-patience:
			tb.Fatal(odd)
		}
	}
}

// difference says what is on the machine that the engine doesn't show, or the other way round.
func (m *machine) difference(tb testing.TB, e *runningEngine) string {
	tb.Helper()
	seen, err := e.Observe(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	var want []string
	for _, x := range seen.Instances {
		if x.Phase == imx.Ended {
			continue
		}
		want = append(want, x.ID)
		if unix.Kill(x.Pid, 0) != nil {
			return fmt.Sprintf("%s is %s and its process %d isn't there", x.ID, x.Phase, x.Pid)
		}
	}
	run := "/run/imx-" + m.cfg.ID
	for _, dir := range []string{run + "/netns", run + "/crun", m.cgroup("unified"), m.cgroup("memory")} {
		if got := names(tb, dir); !slices.Equal(got, want) {
			return fmt.Sprintf("%s holds %v, want %v", dir, got, want)
		}
	}
	links, err := filepath.Glob("/sys/class/net/imx-" + m.cfg.ID + "-*")
	if err != nil || len(links) != len(want) {
		return fmt.Sprintf("%d instances have the interfaces %v, %v", len(want), links, err)
	}
	return ""
}

func (m *machine) cgroup(tree string) string {
	return filepath.Join("/sys/fs/cgroup", tree, "imx-"+m.cfg.ID)
}

// names lists the directories and files in dir; in a cgroup only the groups.
func names(tb testing.TB, dir string) []string {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		tb.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		if e.IsDir() || !strings.Contains(dir, "/cgroup/") {
			list = append(list, e.Name())
		}
	}
	return list
}

func TestAKilledServersInstancesAreAdopted(t *testing.T) {
	m := newMachine(t)
	r := m.release("web", 1)
	server := m.server(t, r, 2)
	var before []imx.Instance
	await(t, "server has started its instances", func() bool {
		before = nil
		records, _ := filepath.Glob(filepath.Join(m.cfg.Dir, "instances", "*", "instance.json"))
		for _, file := range records {
			if x := m.instance(t, filepath.Base(filepath.Dir(file))); x.Phase == imx.Healthy {
				before = append(before, x)
			}
		}
		return len(before) == 2
	})
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait() // killed
	m.tell(t, before[0].ID, "/say"+query(map[string]string{"line": "nobody is listening"}))
	m.tell(t, before[1].ID, "/exit?code=9")
	e := m.running(t)
	if x := e.until(t, r, 1, imx.Ended)[0]; x.ID != before[1].ID || x.Exit.Code != 9 {
		t.Errorf("the one that ended without a server shows %+v, %+v", x, x.Exit)
	}
	x := e.until(t, r, 1, imx.Healthy)[0]
	if x.ID != before[0].ID || x.Pid != before[0].Pid {
		t.Errorf("adopted %+v, was %+v", x, before[0])
	}
	if got := m.log(t, e, x.ID); !strings.Contains(got, "nobody is listening") {
		t.Errorf("its log: %q", got)
	}
	m.compare(t, e)
}

func TestAnInstanceWhoseMonitorDiedIsEnded(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	x := e.healthy(t, r, 1)[0]
	m.kill(t, x.ID, "monitor")
	got := e.until(t, r, 1, imx.Ended)[0]
	if got.Exit.Code != -1 || got.Exit.Wanted || !strings.Contains(got.Reason, "conmon") {
		t.Errorf("it ended with %+v: %s", got.Exit, got.Reason)
	}
	// Nobody may have reaped it, but it can't do anything any more.
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", x.Pid)); err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("process %d is still there: %s", x.Pid, stat)
	}
	m.compare(t, e)
}

func TestAnInstanceKilledFromOutsideSaysBySignal(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	e.healthy(t, r, 2)
	x := e.until(t, r, 2, imx.Healthy)[0]
	m.kill(t, x.ID, "init")
	got := e.until(t, r, 1, imx.Ended)[0]
	if got.ID != x.ID || got.Exit.Code != 137 || got.Reason != "its process was ended by SIGKILL" {
		t.Errorf("%s ended with %+v: %s", got.ID, got.Exit, got.Reason)
	}
}

func TestAnInstanceDeafToItsStopSignalIsKilled(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Spec.Environment["DEAF"] = "1"
	r.Spec.Grace = imx.Duration(200 * time.Millisecond)
	e.healthy(t, r, 1)
	e.scale(t, r, 0)
	if x := e.until(t, r, 1, imx.Ended)[0]; !x.Exit.Wanted || x.Exit.Code != 137 {
		t.Errorf("it ended with %+v", x.Exit)
	}
}

// failingFirewall says no while err is set.
type failingFirewall struct {
	local.Firewall
	err error
}

func (f *failingFirewall) Apply(ctx context.Context, r network.Ruleset) error {
	if f.err != nil {
		return f.err
	}
	return f.Firewall.Apply(ctx, r)
}

func TestNoInstanceStartsAndNoTrafficMovesWithoutItsRules(t *testing.T) {
	m := newMachine(t)
	firewall := &failingFirewall{Firewall: m.cfg.Firewall}
	m.cfg.Firewall = firewall
	e := m.open(t) // without Run, which would try again
	r, next := m.release("web", 1), m.release("web", 2)
	if err := scale(t, e, r, 1); err != nil {
		t.Fatal(err)
	}
	firewall.err = errors.New("no rules today")
	if err := scale(t, e, next, 2); !errors.Is(err, firewall.err) {
		t.Errorf("Scale returned %v", err)
	}
	err := e.Route(t.Context(), engine.Route{Service: "web", Releases: []imx.Release{r}, Weights: imx.Weights{1: 1}})
	if !errors.Is(err, firewall.err) {
		t.Errorf("Route returned %v", err)
	}
	seen, err := e.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range seen.Instances {
		if x.Release == 2 && (x.Phase != imx.Ended || !strings.Contains(x.Reason, "no rules today")) {
			t.Errorf("an instance without rules is %s: %s", x.Phase, x.Reason)
		}
	}
	if len(seen.Routes) != 0 {
		t.Errorf("the failed route is shown: %v", seen.Routes)
	}
	if l, err := net.Listen("tcp", fmt.Sprintf(":%d", m.ports[0])); err != nil {
		t.Errorf("the failed route holds its port: %v", err)
	} else {
		l.Close()
	}
}

func TestAFullDiskStartsNothingAndSaysSo(t *testing.T) {
	m := newMachine(t)
	opened := m.open(t)
	opened.FailWrites(fmt.Errorf("write: %w", unix.ENOSPC))
	e := m.run(t, opened)
	err := scale(t, e, m.release("web", 1), 2)
	if imx.KindOf(err) != imx.Exhausted || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got the error %v", err)
	}
	m.compare(t, e)
	if left := names(t, filepath.Join(m.cfg.Dir, "instances")); len(left) != 0 {
		t.Errorf("left on the disk: %v", left)
	}
}

func TestAPublishedPortIsTakenForOthers(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	e.healthy(t, r, 1)
	if err := e.Route(t.Context(), engine.Route{Service: "web", Releases: []imx.Release{r}, Weights: imx.Weights{1: 1}}); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"", "127.0.0.1"} {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, m.ports[0]))
		if !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("listening on the published port of %q: %v", host, err)
		}
		if err == nil {
			l.Close()
		}
	}
}

func TestAnEngineWithInstancesKeepsItsNetwork(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	e.healthy(t, r, 1)
	e.stop()
	other := m.cfg
	other.Network = newMachine(t).cfg.Network
	if _, err := local.Open(t.Context(), other); imx.KindOf(err) != imx.Conflict {
		t.Errorf("with instances in another network, Open returned %v", err)
	}
	e = m.running(t)
	e.scale(t, r, 0)
	e.until(t, r, 1, imx.Ended)
	if err := e.Remove(t.Context(), "web", engine.DeleteVolumes); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Open(t.Context(), other); err != nil {
		t.Errorf("with nothing left, Open returned %v", err)
	}
}

func TestOpenConnectionsAreCounted(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	e.healthy(t, r, 1)
	if err := e.Route(t.Context(), engine.Route{Service: "web", Releases: []imx.Release{r}, Weights: imx.Weights{1: 1}}); err != nil {
		t.Fatal(err)
	}
	flows := func(n int) func() bool {
		return func() bool { return e.until(t, r, 1, imx.Healthy)[0].Flows == n }
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", m.ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "open connection is counted", flows(1))
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "closed connection isn't counted", flows(0))
}

// kill sends SIGKILL to an instance's "init" or "monitor" process.
func (m *machine) kill(t *testing.T, id, which string) {
	t.Helper()
	record := map[string]any{}
	readJSON(t, filepath.Join(m.cfg.Dir, "instances", id, "instance.json"), &record)
	pid, ok := record[which].(map[string]any)["pid"].(float64)
	if !ok || pid <= 1 {
		t.Fatalf("the record of %s has no %s: %v", id, which, record)
	}
	if err := unix.Kill(int(pid), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
