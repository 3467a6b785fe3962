package sim

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"imx"
	"imx/internal/engine/fake"
)

// Habit is what the instances of a release do.
type Habit struct {
	Healthy time.Duration // how long after its start one is; at the next round of checks, at the earliest
	Never   bool          // it never is
	Crash   time.Duration // how long after its start it ends by itself; 0 is never
	Errors  float64       // the share of its requests that fail
}

// traffic is who asks services, and what is counted of their answers.
type traffic struct {
	rng    *rand.Rand
	rate   map[string]float64 // requests per second, by service
	habits map[string]Habit   // by service and release
	counts map[string]*count
	liar   bool // the metrics are no numbers
}

// count is what was counted of a service since its rollout's step, as a server remembers it.
type count struct {
	target, current int
	since           time.Time
	by              map[int]imx.Counted
}

func newTraffic(rng *rand.Rand) *traffic {
	return &traffic{rng: rng, rate: map[string]float64{}, habits: map[string]Habit{}, counts: map[string]*count{}}
}

func nameOf(service string, release int) string { return fmt.Sprintf("%s-%d", service, release) }

func (f *traffic) habit(in imx.Instance) Habit { return f.habits[nameOf(in.Service, in.Release)] }

// forget is what the death of a server does to what it counted.
func (f *traffic) forget() { clear(f.counts) }

// Behave says what the instances of a release do that are started from now on, and how many of its requests fail from now on.
func (w *World) Behave(service string, release int, h Habit) {
	w.traffic.habits[nameOf(service, release)] = h
	ticks := func(d time.Duration) int { return int((d + w.tick - 1) / w.tick) }
	w.engine.Behave(service, release, fake.Behaviour{Ticks: max(0, ticks(h.Healthy)-1), Never: h.Never, CrashAfter: ticks(h.Crash), Exit: 1})
}

// Ask sets how many requests a second come to a service.
func (w *World) Ask(service string, perSecond float64) { w.traffic.rate[service] = perSecond }

// Lie makes all metrics unreadable, or readable again.
func (w *World) Lie(lies bool) { w.traffic.liar = lies }

// serve lets requests come in for a time.
func (f *traffic) serve(w *World, d time.Duration) {
	if len(f.rate) == 0 {
		return
	}
	s := w.control.State()
	seen := w.engine.Seen()
	healthy := map[string]bool{}
	for _, in := range seen.Instances {
		if in.Phase == imx.Healthy {
			healthy[nameOf(in.Service, in.Release)] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		v := s.Services[name]
		if f.rate[name] <= 0 || v.Destroyed {
			continue
		}
		f.answer(v, seen.Routes[name], healthy, f.rate[name]*d.Seconds())
	}
}

// answer shares requests among the releases of a service that have healthy instances.
func (f *traffic) answer(v imx.Service, routes imx.Weights, healthy map[string]bool, requests float64) {
	total := 0
	for number, share := range routes {
		if healthy[nameOf(v.Name, number)] {
			total += share
		}
	}
	by := f.of(v).by
	for _, r := range v.Releases { // in order: what is drawn has to be drawn again alike
		name := nameOf(v.Name, r.Number)
		if routes[r.Number] == 0 || !healthy[name] {
			continue
		}
		n := requests * float64(routes[r.Number]) / float64(total)
		c := by[r.Number]
		c.Requests += n
		c.Errors += f.failed(n, f.habits[name].Errors)
		by[r.Number] = c
	}
}

// failed draws how many of n requests fail, each with a probability: by the normal distribution, which is near enough for what is counted.
func (f *traffic) failed(n, probability float64) float64 {
	if probability <= 0 || n <= 0 {
		return 0
	}
	spread := math.Sqrt(n * probability * (1 - probability))
	return min(n, max(0, n*probability+spread*f.rng.NormFloat64()))
}

// of is what is counted of a service, begun anew where its rollout came to another step. Of a release that took over, what was counted
// of the one before stays.
func (f *traffic) of(v imx.Service) *count {
	c := f.counts[v.Name]
	is := count{target: v.Target, current: v.Current, since: v.Rollout.Since, by: map[int]imx.Counted{}}
	switch {
	case c == nil:
	case c.current != v.Current && v.Target == v.Current:
		if was, known := c.by[c.current]; known {
			is.by[c.current] = was
		}
	case c.target == is.target && c.current == is.current && c.since.Equal(is.since):
		return c
	}
	f.counts[v.Name] = &is
	return &is
}

// counted is what the loop is told.
func (f *traffic) counted(v imx.Service) map[int]imx.Counted {
	by := map[int]imx.Counted{}
	for number, c := range f.of(v).by {
		if f.liar {
			c = imx.Counted{Requests: math.NaN(), Errors: -1, Seconds: math.Inf(1), Missing: "connection refused"}
		}
		by[number] = c
	}
	return by
}
