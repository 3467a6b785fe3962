// The price of an instance's start, beside what it costs by hand: with crun alone, with conmon and crun, and with the network and the
// limits that an instance has.

package local_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"imx"
	"imx/internal/engine/local"
)

// meter counts CPU time the same way for all sides: what this process and all that it starts use, wherever the machine's version 2
// cgroup tree has them. That leaves out what the kernel does in threads of its own.
type meter struct{ groups []string }

// newMeter puts this process into a cgroup, and counts that and the engine's.
func newMeter(b *testing.B, e *runningEngine) *meter {
	b.Helper()
	engine := filepath.Dir(e.Cgroup("any"))
	own := filepath.Join(filepath.Dir(engine), fmt.Sprintf("imx-meter-%d", os.Getpid()))
	before := currentGroup(b, filepath.Dir(engine))
	if err := errors.Join(os.Mkdir(own, 0o700), enter(own)); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := errors.Join(enter(before), os.Remove(own)); err != nil {
			b.Error(err)
		}
	})
	return &meter{groups: []string{own, engine}}
}

// currentGroup is this process's place in the version 2 tree.
func currentGroup(b *testing.B, tree string) string {
	b.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if place, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join(tree, place)
		}
	}
	b.Fatalf("no version 2 cgroup in %q", text)
	return ""
}

func enter(group string) error {
	return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0o600)
}

// cost is what f costs.
func (m *meter) cost(b *testing.B, f func() error) time.Duration {
	b.Helper()
	before := m.now(b)
	if err := f(); err != nil {
		b.Fatal(err)
	}
	return m.now(b) - before
}

func (m *meter) now(b *testing.B) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, group := range m.groups {
		sum += groupCPU(b, group)
	}
	return sum
}

// groupCPU is all the CPU time that processes of a version 2 cgroup and those below it have used, ended ones too.
func groupCPU(tb testing.TB, group string) time.Duration {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(group, "cpu.stat"))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var usec int64
		if n, _ := fmt.Sscanf(line, "usage_usec %d", &usec); n == 1 {
			return time.Duration(usec) * time.Microsecond
		}
	}
	tb.Fatalf("no usage in %q", data)
	return 0
}

// BenchmarkStarts starts the same program in turn by
//
//	imx           the engine, up to the return of Scale: with a network namespace, an address, rules, limits and a record
//	hand          conmon, crun and ip by hand: with a network namespace and an address on a bridge, and limits
//	conmon        these by hand, but for ip: what outlives who started it and keeps its output and exit status, without network and limits
//	crun          `crun run --detach` alone
//
// and reports the medians of what each costs. The program does nothing, for what it did would count for whoever takes longer to return.
func BenchmarkStarts(b *testing.B) {
	w := newWays(b)
	spent := map[string][]time.Duration{}
	for n := 0; b.Loop(); n++ {
		for _, way := range w.all() {
			name := fmt.Sprintf("%s%d", way.name, n)
			spent[way.name] = append(spent[way.name], w.cost(b, func() error { return way.start(name, n) }))
			if err := way.end(name); err != nil {
				b.Fatal(err)
			}
		}
		w.machine.compare(b, w.engine)
	}
	for name, each := range spent {
		slices.Sort(each)
		b.ReportMetric(float64(each[len(each)/2].Microseconds())/1000, name+"-p50-ms")
	}
}

// ways are the sides of BenchmarkStarts.
type ways struct {
	*meter

	machine *machine
	engine  *runningEngine
	hand    *local.ByHand
	start   func() error
	end     func() error
}

// way starts one, and takes it away again.
type way struct {
	name  string
	start func(name string, n int) error
	end   func(name string) error
}

func newWays(b *testing.B) *ways {
	b.Helper()
	if runtime.GOARCH != "amd64" {
		b.Skip("the program that does nothing is one for amd64")
	}
	ownNetns(b)
	m := newMachine(b)
	r := m.release("web", 1)
	r.Spec.Health.HTTP, r.Config.Command = nil, []string{"/bin/still"}
	e := m.running(b)
	like := e.healthy(b, r, 1)[0].ID // and it stays: a Scale ends the newest first
	w := &ways{machine: m, engine: e}
	w.start = func() error { return scale(b, e, r, 2) }
	w.end = func() error {
		e.until(b, r, 2, imx.Healthy)
		e.scale(b, r, 1)
		e.until(b, r, 1, imx.Healthy)
		return nil
	}
	hand, err := e.ByHand(like)
	if err == nil {
		err = hand.Prepare(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := hand.Clear(context.Background()); err != nil {
			b.Error(err)
		}
	})
	w.hand, w.meter = hand, newMeter(b, e)
	return w
}

func (w *ways) all() []way {
	ctx := context.Background()
	return []way{
		{"imx", func(string, int) error { return w.start() }, func(string) error { return w.end() }},
		{"hand", func(name string, n int) error { return w.hand.Whole(ctx, name, n) }, func(name string) error { return w.hand.End(ctx, name) }},
		{"conmon", func(name string, _ int) error { return w.hand.Bare(ctx, name) }, func(name string) error { return w.hand.End(ctx, name) }},
		{"crun", func(name string, _ int) error { return w.hand.Crun(ctx, name) }, func(name string) error { return w.hand.End(ctx, name) }},
	}
}

// ownNetns takes away again what `ip netns add` leaves on a machine that never had any.
func ownNetns(b *testing.B) {
	b.Helper()
	const dir = "/run/netns"
	if _, err := os.Stat(dir); err == nil {
		return
	}
	b.Cleanup(func() {
		_ = syscall.Unmount(dir, syscall.MNT_DETACH) // it is no mount where nothing was added
		_ = os.Remove(dir)
	})
}
