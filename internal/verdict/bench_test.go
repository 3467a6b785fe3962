package verdict_test

import (
	"encoding/json"
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

// report tells the 99th percentile and the median of how long something took, and the processor time of each.
func report(b *testing.B, took []time.Duration, before time.Duration) {
	b.Helper()
	b.ReportMetric(float64((spent(b)-before).Microseconds())/float64(len(took)), "cpu-µs/op")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-µs")
}

func BenchmarkVerdictFromCache(b *testing.B) {
	w := large(b)
	var took []time.Duration
	before := spent(b)
	for b.Loop() {
		began := time.Now()
		if _, err := w.Pass(b.Context(), release()); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	report(b, took, before)
}

// The first verdict of a server that just came up: no signature was looked at, and its policy wasn't compiled yet.
func BenchmarkVerdictFirst(b *testing.B) {
	w := large(b)
	var took []time.Duration
	before := spent(b)
	for b.Loop() {
		j := w.judge(staging)
		began := time.Now()
		if _, err := j.Release(b.Context(), release()); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	report(b, took, before)
}

func BenchmarkVerdictCold(b *testing.B) {
	w := large(b)
	if v := w.verdict(imx.ForRelease, release()); !v.Allowed {
		b.Fatalf("%+v", v.Conditions)
	}
	var took []time.Duration
	before := spent(b)
	for b.Loop() {
		began := time.Now()
		if _, err := w.Release(b.Context(), release()); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	report(b, took, before)
}
