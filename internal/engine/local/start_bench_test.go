// The price of an instance's start, beside what it costs by hand: with crun alone, with conmon and crun, and with the network and the
// limits that an instance has.

package local_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
type meter struct {
	groups []string
	spent  []time.Duration
}

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

// time counts what f costs.
func (m *meter) time(b *testing.B, f func() error) {
	b.Helper()
	before := m.now(b)
	if err := f(); err != nil {
		b.Fatal(err)
	}
	m.spent = append(m.spent, m.now(b)-before)
}

func (m *meter) now(b *testing.B) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, group := range m.groups {
		sum += groupCPU(b, group)
	}
	return sum
}

// report shows the median, and the mean beside it.
func (m *meter) report(b *testing.B) {
	b.Helper()
	slices.Sort(m.spent)
	var sum time.Duration
	for _, d := range m.spent {
		sum += d
	}
	b.ReportMetric(float64(m.spent[len(m.spent)/2].Microseconds())/1000, "p50-cpu-ms/start")
	b.ReportMetric(float64(sum.Microseconds())/1000/float64(len(m.spent)), "cpu-ms/start")
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

// BenchmarkStart is a start by the engine, up to the return of Scale.
func BenchmarkStart(b *testing.B) {
	m, e, r := startable(b)
	e.scale(b, r, 1) // the root is mounted, the rules are there
	meter := newMeter(b, e)
	for b.Loop() {
		meter.time(b, func() error { return scale(b, e, r, 2) })
		b.StopTimer()
		e.until(b, r, 2, imx.Healthy)
		e.scale(b, r, 1)
		e.until(b, r, 1, imx.Healthy)
		m.compare(b, e)
		b.StartTimer()
	}
	meter.report(b)
}

func startable(b *testing.B) (*machine, *runningEngine, imx.Release) {
	b.Helper()
	m := newMachine(b)
	r := m.release("web", 1)
	r.Spec.Health.HTTP = nil
	return m, m.running(b), r
}

// BenchmarkBareCrun is `crun run --detach` alone: what it starts is without output, exit status, network and limits.
func BenchmarkBareCrun(b *testing.B) {
	_, e, r := startable(b)
	id := e.healthy(b, r, 1)[0].ID
	meter := newMeter(b, e)
	for n := 0; b.Loop(); n++ {
		name, group := fmt.Sprintf("bare%d", n), ""
		meter.time(b, func() (err error) {
			group, err = e.BareCrun(b.Context(), id, name)
			return err
		})
		b.StopTimer()
		if err := e.EndGroup(b.Context(), group, name); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	meter.report(b)
}

// BenchmarkBareConmon is conmon and crun by hand: what they start outlives who started it, and keeps its output and exit status. It
// has no network of its own and no limits.
func BenchmarkBareConmon(b *testing.B) {
	byHand(b, func(h *local.ByHand, name string, _ int) error { return h.Bare(b.Context(), name) })
}

// BenchmarkByHand is that with a network namespace on a bridge and limits: the least that an instance needs.
func BenchmarkByHand(b *testing.B) {
	byHand(b, func(h *local.ByHand, name string, n int) error { return h.Whole(b.Context(), name, n) })
}

func byHand(b *testing.B, start func(h *local.ByHand, name string, n int) error) {
	b.Helper()
	_, e, r := startable(b)
	h, err := e.ByHand(e.healthy(b, r, 1)[0].ID)
	if err != nil {
		b.Fatal(err)
	}
	ownNetns(b)
	if err := h.Prepare(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := h.Clear(b.Context()); err != nil {
			b.Error(err)
		}
	}()
	meter := newMeter(b, e)
	for n := 0; b.Loop(); n++ {
		name := fmt.Sprintf("hand%d", n)
		meter.time(b, func() error { return start(h, name, n) })
		b.StopTimer()
		if err := h.End(b.Context(), name); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	meter.report(b)
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
