// The price of a route's swap, of freezing and thawing, of checks and of measuring.
// CPU time is what counts: wall times depend on what else the machine does.

package local_test

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/engine"
)

// BenchmarkRoute swaps all traffic of a service between two releases of three instances each.
func BenchmarkRoute(b *testing.B) {
	m := newMachine(b)
	e := m.running(b)
	one, two := m.release("web", 1), m.release("web", 2)
	e.healthy(b, one, 3)
	e.healthy(b, two, 3)
	for n := 0; b.Loop(); n++ {
		w := imx.Weights{1 + n%2: 1}
		if err := e.Route(b.Context(), engine.Route{Service: "web", Releases: []imx.Release{one, two}, Weights: w}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWarm freezes 20 instances and thaws them again. It reports what an instance costs this process for the one
// (cpu-ms/freeze) and the other, with its check (cpu-ms/thaw), and how long it takes from a Scale until all are healthy.
func BenchmarkWarm(b *testing.B) {
	const count = 20
	m := newMachine(b)
	e := m.running(b)
	r := m.warmable(1)
	r.Spec.Health.Every = imx.Duration(time.Minute)
	e.healthy(b, r, count)
	var froze, thawed time.Duration
	var waits []time.Duration
	for b.Loop() {
		before := ownCPU(b)
		e.keep(b, r, count)
		e.until(b, r, count, imx.Warm)
		froze += ownCPU(b) - before
		before = ownCPU(b)
		start := time.Now()
		e.scale(b, r, count)
		e.until(b, r, count, imx.Healthy)
		waits = append(waits, time.Since(start))
		thawed += ownCPU(b) - before
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / float64(b.N*count) }
	slices.Sort(waits)
	b.ReportMetric(each(froze), "cpu-ms/freeze")
	b.ReportMetric(each(thawed), "cpu-ms/thaw")
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "p50-ms/20-healthy")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "p99-ms/20-healthy")
}

// BenchmarkCommandCheck reports what a check by a command costs, with all that it starts.
func BenchmarkCommandCheck(b *testing.B) {
	m := newMachine(b)
	e := m.running(b)
	r := m.release("web", 1)
	r.Spec.Health.HTTP = nil
	id := e.healthy(b, r, 1)[0].ID
	before := ownCPU(b)
	for b.Loop() {
		if err := e.CheckCommand(b.Context(), id, "/bin/app", "child"); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((ownCPU(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/check")
}

func ownCPU(tb testing.TB) time.Duration {
	tb.Helper()
	var total time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			tb.Fatal(err)
		}
		total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return total
}

// BenchmarkLoad measures ten instances that run, for what their scale block asks about and for all that `imx ps` shows; cpu-us is what
// one costs the server.
func BenchmarkLoad(b *testing.B) {
	const instances = 10
	m := newMachine(b)
	e := m.running(b)
	r := m.release("web", 1)
	r.Spec.Health.Every = imx.Duration(time.Hour) // so that little else is measured
	r.Spec.Scale = &imx.Scaling{Min: instances, Max: instances, CPU: 50}
	e.healthy(b, r, instances)
	for name, services := range map[string][]string{"for-scaling": {"web"}, "for-ps": nil} {
		b.Run(name, func(b *testing.B) {
			before := ownCPU(b)
			for b.Loop() {
				load, err := e.Load(b.Context(), services...)
				if err != nil || len(load.Usage) != instances {
					b.Fatalf("%d of %d instances were measured: %v", len(load.Usage), instances, err)
				}
			}
			b.ReportMetric(float64((ownCPU(b)-before).Microseconds())/float64(b.N)/instances, "cpu-us/instance")
		})
	}
}
