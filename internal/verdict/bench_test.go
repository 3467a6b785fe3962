package verdict_test

import (
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// large is a world whose image has the evidence of one of 300 packages: an SBOM of 1 MB, a scan that found 300 vulnerabilities.
func large(b *testing.B) *world {
	b.Helper()
	w := newWorld(b)
	w.stateAll()
	raw := json.RawMessage(w.scanned(image().Digest, 300))
	for kind, predicate := range map[string]json.RawMessage{
		imx.PredicateScan: raw, imx.PredicateSPDX: json.RawMessage(`{"x":"` + strings.Repeat("0123456789abcdef", 1<<16) + `"}`),
	} {
		w.put(w.seal(imx.Principal(imx.RoleOf(kind)), image().Digest, kind, predicate))
	}
	return w
}

// spent is the processor time of this process so far.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// meter takes how long each of many calls takes, by the clock and in processor time of the thread that makes it.
type meter struct {
	wall, cpu []time.Duration
	before    time.Duration // of the process, before the first
}

// metered has this goroutine keep its thread, so that the thread's processor time is the calls' own.
func metered(b *testing.B) *meter {
	b.Helper()
	runtime.LockOSThread()
	b.Cleanup(runtime.UnlockOSThread)
	return &meter{before: spent(b)}
}

func (m *meter) time(b *testing.B, call func()) {
	b.Helper()
	began, used := time.Now(), thread(b)
	call()
	m.cpu = append(m.cpu, thread(b)-used)
	m.wall = append(m.wall, time.Since(began))
}

// thread is the processor time of this thread so far.
func thread(b *testing.B) time.Duration {
	b.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// report tells the 99th percentiles and medians, and the processor time that the whole process took for each call: the collector's, too.
func (m *meter) report(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64((spent(b)-m.before).Microseconds())/float64(len(m.wall)), "cpu-µs/op")
	for unit, took := range map[string][]time.Duration{"wall-µs": m.wall, "cpu-µs": m.cpu} {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-"+unit)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-"+unit)
	}
}

func BenchmarkVerdictFromCache(b *testing.B) {
	w := large(b)
	m := metered(b)
	for b.Loop() {
		m.time(b, func() {
			if _, err := w.Pass(b.Context(), release()); err != nil {
				b.Fatal(err)
			}
		})
	}
	m.report(b)
}

// The first verdict of a server that just came up: no signature was looked at, and its policy wasn't compiled yet.
func BenchmarkVerdictFirst(b *testing.B) {
	w := large(b)
	m := metered(b)
	for b.Loop() {
		j := w.judge(staging)
		m.time(b, func() {
			if _, err := j.Release(b.Context(), release()); err != nil {
				b.Fatal(err)
			}
		})
	}
	m.report(b)
}

func BenchmarkVerdictCold(b *testing.B) {
	w := large(b)
	if v := w.verdict(imx.ForRelease, release()); !v.Allowed {
		b.Fatalf("%+v", v.Conditions)
	}
	m := metered(b)
	for b.Loop() {
		m.time(b, func() {
			if _, err := w.Release(b.Context(), release()); err != nil {
				b.Fatal(err)
			}
		})
	}
	m.report(b)
}
