// Package scale decides how many instances a service should have, by what its instances were measured to do and by the
// bounds that hold at the moment.
//
// It only decides, and gives its reason. Next is called again and again with what is wanted and what was measured; it
// remembers nothing. It measures nothing, starts nothing and doesn't judge whether an instance is healthy.
package scale

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"imx"
)

// Wanted is a service whose number of instances follows something.
type Wanted struct {
	Scaling  imx.Scaling
	Replicas int       // now
	Changed  time.Time // when Replicas last changed; zero if never
	// Rollout says what may change while a release is being rolled out.
	Rollout Freedom
	// Active is when a connection was last open, or came; zero where that isn't known yet.
	Active time.Time
	// Knocks is how many connections came while there was no instance for them, and From where the first came from.
	Knocks int
	From   string
}

// Freedom says how a number may change.
type Freedom int

// The freedoms.
const (
	Free  Freedom = iota
	Raise         // it may grow only
	Bound         // it stays
)

// Sample is what a service's instances did over a few seconds that end At.
type Sample struct {
	At time.Time
	// CPU and Memory are percents of an instance's limit; Connections and Requests are per second.
	CPU, Memory, Connections, Requests Sum
}

// Sum is what instances come to together.
type Sum struct {
	Total float64
	Of    int // how many instances told: 0 means that nothing is known
}

// Decision is how many instances there should be, and why. Where that is the number that there is, the reason says what
// keeps it from another, or nothing.
type Decision struct {
	Replicas int
	Reason   string
}

// The numbers by which is scaled.
const (
	// Tolerance is by how many percent a measure may be off what is asked for before anything changes.
	Tolerance = 10
	// Gap is how far two samples may be apart for the time between them to count as measured.
	Gap = 30 * time.Second
	// FewAtOnce is how many instances may always be started in one step; beyond that the number at most doubles.
	FewAtOnce = 4
)

// Next decides how many instances there should be now, and when to ask again although nothing is measured anew; 0 for never.
// The samples are in the order of their times.
func Next(w Wanted, samples []Sample, now time.Time) (Decision, time.Duration) {
	b := boundsAt(w.Scaling, now)
	d := b.decide(w, samples, now)
	switch grows := d.Replicas > w.Replicas; {
	case d.Replicas == w.Replicas, w.Rollout == Free, w.Rollout == Raise && grows:
	default:
		d = stay(w, "a rollout is under way: "+d.Reason)
	}
	wake := time.Duration(0)
	if !b.until.IsZero() {
		wake = b.until.Sub(now)
	}
	return d, wake
}

// bounds are what holds at a moment, until it changes.
type bounds struct {
	least, most int
	says        string // by which schedule
	until       time.Time
}

func boundsAt(c imx.Scaling, now time.Time) bounds {
	b := bounds{least: c.Min, most: c.Max}
	set := false
	for _, s := range c.Schedules {
		open, until := s.Open(now)
		if !until.IsZero() && (b.until.IsZero() || until.Before(b.until)) {
			b.until = until
		}
		if !open {
			continue
		}
		least, most := s.Min, cmp.Or(s.Max, c.Max)
		if !set || least > b.least {
			b.says = s.Name
		}
		if set {
			least, most = max(least, b.least), max(most, b.most)
		}
		b.least, b.most, set = least, max(least, most), true
	}
	return b
}

// whose names what set the bounds.
func (b bounds) whose() string {
	if b.says == "" {
		return "outside of each schedule"
	}
	return "by schedule " + b.says
}

func stay(w Wanted, reason string) Decision { return Decision{w.Replicas, reason} }

func (b bounds) decide(w Wanted, samples []Sample, now time.Time) Decision {
	switch {
	case w.Replicas < b.least:
		return Decision{b.least, b.because(w, fmt.Sprintf("at least %d", b.least))}
	case w.Replicas > b.most:
		return Decision{b.most, b.because(w, fmt.Sprintf("at most %d", b.most))}
	case w.Replicas == 0 && w.Knocks > 0:
		return Decision{1, fmt.Sprintf("a connection came from %s", cmp.Or(w.From, "somewhere"))}
	case w.Replicas == 0:
		return stay(w, "")
	case b.idle(w, now):
		return Decision{0, fmt.Sprintf("no connection for %s", imx.Duration(now.Sub(later(w.Active, w.Changed)).Round(time.Second)))}
	}
	if len(measures(w.Scaling)) == 0 {
		if len(w.Scaling.Schedules) == 0 || w.Replicas == max(b.least, 1) {
			return stay(w, "")
		}
		return Decision{max(b.least, 1), b.because(w, fmt.Sprintf("%d", max(b.least, 1)))}
	}
	if up := b.up(w, samples, now); up.Replicas > w.Replicas || up.Reason != "" {
		return up
	}
	return b.down(w, samples, now)
}

func (b bounds) because(w Wanted, says string) string {
	if len(w.Scaling.Schedules) == 0 {
		return "scale says " + says
	}
	return says + " " + b.whose()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// idle reports whether the last connection is long enough ago for the last instance to go.
func (b bounds) idle(w Wanted, now time.Time) bool {
	limit := time.Duration(w.Scaling.Idle)
	return b.least == 0 && limit > 0 && !w.Active.IsZero() && now.Sub(w.Active) >= limit && now.Sub(w.Changed) >= limit
}

// measure is something that is asked of instances.
type measure struct {
	name, unit string
	target     float64 // an instance's
	of         func(Sample) Sum
}

func measures(c imx.Scaling) []measure {
	all := []measure{
		{"cpu", " %", float64(c.CPU), func(s Sample) Sum { return s.CPU }},
		{"memory", " %", float64(c.Memory), func(s Sample) Sum { return s.Memory }},
		{"connections", "/s", c.Connections, func(s Sample) Sum { return s.Connections }},
		{"requests", "/s", c.Requests, func(s Sample) Sum { return s.Requests }},
	}
	return slices.DeleteFunc(all, func(m measure) bool { return m.target <= 0 })
}

// ask is how many instances a measure asks for, and in which words. Instances that told nothing count as idle where more
// are asked for, and as fully at work where fewer are: neither a start nor a silent instance changes the number.
type ask struct {
	replicas int
	says     string
	known    bool
}

func (m measure) ask(s Sample, replicas int) ask {
	sum := m.of(s)
	if sum.Of == 0 || math.IsNaN(sum.Total) || math.IsInf(sum.Total, 0) || sum.Total < 0 {
		return ask{replicas: replicas}
	}
	is := sum.Total / m.target // in instances
	mean := sum.Total / float64(max(sum.Of, 1))
	says := fmt.Sprintf("%s at %.3g%s per instance, %.4g%s wanted", m.name, mean, m.unit, m.target, m.unit)
	const slack = float64(Tolerance) / 100
	silent := float64(max(0, replicas-sum.Of))
	switch n := float64(replicas); {
	case is > n*(1+slack):
		return ask{whole(is), says, true}
	case is+silent < n*(1-slack):
		return ask{min(replicas, whole((is+silent)*(1+slack/2))), says, true}
	}
	return ask{replicas, says, true}
}

// whole rounds a number of instances up, but for what is there by the way numbers are kept.
func whole(n float64) int { return int(math.Ceil(min(n, math.MaxInt32) - 1e-9)) }

// most is the ask for the most instances at a sample. It is unknown where one of the measures is.
func most(w Wanted, s Sample) ask {
	top := ask{known: true}
	for _, m := range measures(w.Scaling) {
		a := m.ask(s, w.Replicas)
		if a.replicas > top.replicas || a.replicas == top.replicas && top.says == "" {
			top.replicas, top.says = a.replicas, a.says
		}
		top.known = top.known && a.known
	}
	return top
}

// up is more instances, if the last sample asks for them and the last change is long enough ago.
func (b bounds) up(w Wanted, samples []Sample, now time.Time) Decision {
	if len(samples) == 0 || now.Sub(samples[len(samples)-1].At) > Gap {
		return stay(w, "")
	}
	last := samples[len(samples)-1]
	a := most(w, last)
	switch {
	case a.replicas <= w.Replicas:
		return stay(w, "")
	case w.Replicas >= b.most:
		return stay(w, fmt.Sprintf("%s, and there are %d, the most %s", a.says, b.most, b.limit()))
	case now.Sub(w.Changed) < time.Duration(w.Scaling.Up), !last.At.After(w.Changed):
		return stay(w, "")
	}
	return Decision{min(a.replicas, b.most, max(2*w.Replicas, w.Replicas+FewAtOnce)), a.says}
}

func (b bounds) limit() string {
	if b.says == "" {
		return "that scale allows"
	}
	return "that schedule " + b.says + " allows"
}

// down is fewer instances, if all samples for long enough ask for no more. Never fewer than half at once.
func (b bounds) down(w Wanted, samples []Sample, now time.Time) Decision {
	since := later(w.Changed, now.Add(-time.Duration(w.Scaling.Down)))
	if now.Sub(w.Changed) < time.Duration(w.Scaling.Down) || !covers(samples, since, now) {
		return stay(w, "")
	}
	top := ask{}
	for _, s := range samples {
		if s.At.Before(since) {
			continue
		}
		a := most(w, s)
		if !a.known || a.replicas >= w.Replicas {
			return stay(w, "")
		}
		if a.replicas > top.replicas || top.says == "" {
			top = a
		}
	}
	n := max(top.replicas, b.least, 1, (w.Replicas+1)/2)
	if n >= w.Replicas {
		return stay(w, "")
	}
	return Decision{n, fmt.Sprintf("for %s at most %s", w.Scaling.Down, top.says)}
}

// covers reports whether samples tell of all of a time, from its very beginning and without a gap.
func covers(samples []Sample, since, now time.Time) bool {
	var at time.Time
	for _, s := range samples {
		if s.At.After(since) && s.At.Sub(at) > Gap {
			return false
		}
		at = s.At
	}
	return at.After(since) && now.Sub(at) <= Gap
}
