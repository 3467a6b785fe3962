package rollout_test

// Random histories of releases with every strategy, rollbacks, scalings, crashes, sick instances, metrics that lie, engines
// that say no, observations that are lost, clocks that jump, servers that die between two actions, and machines that go
// down. Releases come with and without volumes, and with any number of instances.

import (
	"fmt"
	"io"
	"time"

	"pgregory.net/rapid"

	"imx"
)

// history is a world to which random things happen, while the laws are kept an eye on.
type history struct {
	*world
	t       *rapid.T
	instant map[string]int // what was decided at this instant
	at      time.Time
	changes int // releases that changed since a person last did something
	// furthest is the latest time that the clock ever showed before it jumped back.
	furthest time.Time
}

func begin(t *rapid.T) *history {
	h := &history{world: newWorld(io.Discard), t: t}
	h.law = h.watch
	h.happened = func() { clear(h.instant) }
	h.newRelease()
	return h
}

// replicas are wanted whatever the release: what a volume allows is for Next to know.
func (h *history) replicas() int { return rapid.IntRange(1, 5).Draw(h.t, "replicas") }

func (h *history) newRelease() {
	h.changes = 0
	s := imx.Spec{
		Health:   imx.Health{Every: imx.Duration(time.Second)},
		Deadline: imx.Duration(30 * time.Second), Drain: imx.Duration(10 * time.Second), Grace: imx.Duration(5 * time.Second),
	}
	for _, name := range rapid.SampledFrom([][]string{nil, nil, nil, nil, {"data"}, {"data"}, {"cache"}, {"data", "cache"}}).Draw(h.t, "volumes") {
		s.Volumes = append(s.Volumes, imx.Volume{Name: name})
	}
	if rapid.IntRange(0, 3).Draw(h.t, "deploy") > 0 {
		s.Deploy = deploy(h.t)
	}
	if within := rapid.SampledFrom([]time.Duration{0, 0, 3 * time.Second, 20 * time.Second}).Draw(h.t, "within"); within > 0 {
		s.Health.Start = &imx.Pace{Within: imx.Duration(within)}
	}
	h.release(s, h.habit(), h.replicas())
}

// deploy draws how a release takes the place of another.
func deploy(t *rapid.T) *imx.Deploy {
	d := &imx.Deploy{
		Strategy: rapid.SampledFrom([]imx.Strategy{imx.BlueGreen, imx.Rolling, imx.Rolling, imx.Canary, imx.Canary}).Draw(t, "strategy"),
		Window:   imx.Duration(rapid.SampledFrom([]time.Duration{0, time.Minute, 10 * time.Minute}).Draw(t, "window")),
		Warm:     rapid.SampledFrom([]imx.Warmth{imx.WarmFrozen, imx.WarmFrozen, imx.WarmStopped, ""}).Draw(t, "warm"),
	}
	if rapid.Bool().Draw(t, "judged") {
		d.Judge = &imx.Measure{AtLeast: 50, Slack: 0.01}
	}
	switch d.Strategy {
	case imx.Rolling:
		amount := rapid.SampledFrom([]imx.Amount{{}, {Count: 1}, {Count: 2}, {Percent: 25}, {Percent: 100}})
		d.Surge, d.Unavailable = amount.Draw(t, "surge"), amount.Draw(t, "unavailable")
	case imx.BlueGreen:
		d.Preview = rapid.SampledFrom([]int{0, 9000}).Draw(t, "preview")
		if rapid.Bool().Draw(t, "shown") {
			d.Steps = []imx.Step{step(t, 0)}
		}
	case imx.Canary:
		share := 0
		for range rapid.IntRange(0, 3).Draw(t, "steps") {
			share = min(99, share+rapid.IntRange(0, 40).Draw(t, "share"))
			d.Steps = append(d.Steps, step(t, share))
		}
	}
	return d
}

func step(t *rapid.T, share int) imx.Step {
	return imx.Step{
		Share: share, Confirm: rapid.IntRange(0, 3).Draw(t, "confirm") == 0,
		Pause: imx.Duration(rapid.SampledFrom([]time.Duration{0, 0, 5 * time.Second, time.Minute}).Draw(t, "pause")),
	}
}

func (h *history) habit() habit {
	return rapid.SampledFrom([]habit{
		{healthy: time.Second},
		{healthy: 7 * time.Second},
		{healthy: time.Second, errors: 0.2},
		{healthy: time.Minute},
		{},
		{crash: time.Second},
		{healthy: time.Second, crash: 5 * time.Second},
		{healthy: 2 * time.Second, crash: 2 * time.Minute},
	}).Draw(h.t, "habit")
}

// live draws one of the instances that run, or returns false.
func (h *history) live() (imx.Instance, bool) {
	if len(h.instances) == 0 {
		return imx.Instance{}, false
	}
	in := rapid.SampledFrom(h.instances).Draw(h.t, "instance")
	return in, in.Phase != imx.Stopping && in.Phase != imx.Warm
}

// something happens.
func (h *history) something() {
	clear(h.instant) // it may change what is wanted
	switch rapid.SampledFrom([]string{"time", "time", "time", "person", "person", "instance", "instance", "engine", "server"}).Draw(h.t, "who") {
	case "time":
		h.run(time.Duration(rapid.IntRange(0, 90_000).Draw(h.t, "milliseconds")) * time.Millisecond)
	case "person":
		h.person()
	case "instance":
		h.instance()
	case "engine":
		h.engine()
	case "server":
		h.server()
	}
}

// person does what only people do.
func (h *history) person() {
	h.changes = 0
	r, under := &h.want.Rollout, h.want.Target.Number != h.want.Current.Number && h.want.Target.State != imx.ReleaseGood
	switch rapid.SampledFrom([]string{"release", "rollback", "scale", "promote", "whole", "pause", "abort", "unhold"}).Draw(h.t, "wish") {
	case "release":
		h.newRelease()
	case "rollback":
		if n := h.want.Current.Number; n > 0 {
			h.rollback(rapid.IntRange(1, n).Draw(h.t, "to"))
		}
	case "scale":
		h.resize(h.replicas())
	case "promote":
		if under {
			r.Confirm, r.Paused, r.Waits = true, "", ""
		}
	case "whole":
		if under {
			r.Confirm, r.Whole, r.Paused, r.Waits = true, true, "", ""
		}
	case "pause":
		if under {
			r.Paused = "ada"
		}
	case "abort":
		if under {
			h.failed(h.want.Target.Number)
		}
	case "unhold":
		h.want.Held = false
	}
}

func (h *history) instance() {
	switch rapid.SampledFrom([]string{"kill", "sick", "heal", "connections", "habit", "taint", "untaint"}).Draw(h.t, "fate") {
	case "kill":
		if in, ok := h.live(); ok {
			h.end(in.ID, "was killed", imx.Exit{Code: 137})
		}
	case "sick":
		if in, ok := h.live(); ok && in.Phase == imx.Healthy {
			h.phase(in.ID, imx.Unhealthy, "sick")
		}
	case "heal":
		if in, ok := h.live(); ok && in.Phase == imx.Unhealthy {
			h.phase(in.ID, imx.Healthy, "")
		}
	case "taint":
		if len(h.instances) > 0 {
			in := rapid.SampledFrom(h.instances).Draw(h.t, "tainted")
			h.taint(in.ID, &imx.Taint{By: "ada", Reason: "it was looked into"})
		}
	case "untaint":
		for _, in := range h.instances {
			h.taint(in.ID, nil)
		}
	case "connections":
		h.open[h.any()] = rapid.IntRange(-1, 2).Draw(h.t, "open")
	case "habit":
		h.habits[h.any()-1] = h.habit()
	}
}

func (h *history) any() int { return rapid.IntRange(1, len(h.releases)).Draw(h.t, "release") }

func (h *history) engine() {
	switch rapid.SampledFrom([]string{"vanish", "refuse", "allow", "traffic", "lie", "rot", "flush"}).Draw(h.t, "engine") {
	case "vanish":
		for len(h.instances) > 0 {
			h.end(h.instances[0].ID, "gone", imx.Exit{Code: -1})
		}
		h.routes, h.preview = nil, 0
		clear(h.kept)
	case "refuse":
		what := rapid.SampledFrom([]string{"scale", "route", "keep"}).Draw(h.t, "refused")
		h.refused[fmt.Sprintf("%s %d", what, h.any())] = "no"
	case "allow":
		clear(h.refused)
	case "traffic":
		h.rate = rapid.SampledFrom([]float64{0, 1, 50}).Draw(h.t, "rate")
	case "lie":
		h.liar = !h.liar
	case "rot":
		if n := h.any(); h.kept[n] == "" {
			if _, kept := h.kept[n]; kept {
				h.kept[n] = "its root was changed"
			}
		}
	case "flush":
		h.routes, h.preview = nil, 0
	}
}

func (h *history) server() {
	switch rapid.SampledFrom([]string{"dies", "blind", "forward", "back"}).Draw(h.t, "server") {
	case "dies":
		h.dieAfter = rapid.IntRange(1, 4).Draw(h.t, "actions")
	case "blind": // nothing is observed, and nothing decided, for a time in which things go on
		end := h.now.Add(time.Duration(rapid.IntRange(1, 120).Draw(h.t, "seconds")) * time.Second)
		for at, due := h.upcoming(); due && at.Before(end); at, due = h.upcoming() {
			if at.After(h.now) {
				h.serve(at.Sub(h.now))
				h.now = at
			}
			h.happen()
		}
		h.now = end
	case "forward":
		h.now = h.now.Add(time.Duration(rapid.IntRange(1, 7200).Draw(h.t, "seconds")) * time.Second)
	case "back":
		h.furthest = later(h.furthest, h.now)
		h.now = h.now.Add(-time.Duration(rapid.IntRange(1, 600).Draw(h.t, "seconds")) * time.Second)
	}
}

func (h *history) happens() *history {
	for range rapid.IntRange(10, 50).Draw(h.t, "events") {
		h.something()
		h.settle()
	}
	return h
}

func (h *history) everythingWorks() {
	for i := range h.habits {
		h.habits[i] = habit{healthy: time.Second}
	}
	clear(h.open)
	clear(h.refused)
	h.liar, h.rate, h.dieAfter = false, 50, 0
	for number := range h.kept {
		h.kept[number] = ""
	}
	h.rightClock()
}

// rightClock puts the clock right again that had jumped back.
func (h *history) rightClock() { h.now = later(h.now, h.furthest) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
