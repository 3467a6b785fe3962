package sim_test

// Random histories of several services on one server: people who apply beside each other, roll back, scale, promote, pause, abort,
// release holds and take services down; releases of every strategy, alone and in groups, that crash or never get healthy; metrics
// that lie; observations that are lost; clocks that jump; servers that die before or after any call of the engine; engines that say no.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"imx"
	"imx/internal/sim"
)

// history is a world to which things happen as a seed has it.
type history struct {
	*sim.World

	ctx     context.Context    //nolint:containedctx // a history is one test's
	short   map[instances]bool // those that end by themselves
	seed    uint64
	rng     *rand.Rand
	applies []apply // that are begun, or were when their server died
	last    time.Time
	specs   map[string]int // releases of each service, for their images' names
	did     []string       // what happened, for who reads why it went wrong
}

// instances are those of a release.
type instances struct {
	service string
	release int
}

// apply is one that somebody began.
type apply struct {
	id    string
	base  imx.Digest
	specs []imx.Spec
}

func begin(ctx context.Context, seed uint64) (*history, error) {
	start := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	w, err := sim.New(sim.Config{Seed: seed, Start: start})
	return &history{World: w, ctx: ctx, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), specs: map[string]int{}, short: map[instances]bool{}, last: start}, err
}

func (h *history) n(most int) int     { return h.rng.IntN(most) }
func (h *history) chance(in int) bool { return h.rng.IntN(in) == 0 }

func one[T any](h *history, of ...T) T { return of[h.n(len(of))] }

func (h *history) note(format string, args ...any) {
	h.did = append(h.did, fmt.Sprintf("%s  %s", h.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...)))
}

func (h *history) name() string { return one(h, "web", "api", "jobs") }

// something happens.
func (h *history) something() error {
	switch one(h, "time", "time", "time", "person", "person", "person", "instance", "engine", "server") {
	case "time":
		return h.pass(time.Duration(h.n(90)) * time.Second)
	case "person":
		h.Person()
		return h.person()
	case "instance":
		h.instance()
	case "engine":
		h.engine()
	case "server":
		return h.server()
	}
	return nil
}

func (h *history) pass(d time.Duration) error {
	h.note("%s pass", d)
	return h.Run(d)
}

// Run lets time pass.
func (h *history) Run(d time.Duration) error { return h.World.Run(h.ctx, d) }

// settle lets the server see what happened.
func (h *history) settle() error { return h.Run(0) }

// person does what people do. What is refused to them is no fault.
func (h *history) person() error {
	name, by := h.name(), imx.Principal(one(h, "ada", "bob"))
	switch wish := one(h, "begin", "release", "apply", "apply", "group", "rollback", "scale", "promote", "pause", "abort", "unhold", "destroy"); wish {
	case "begin":
		h.begins(by, h.spec(name, ""))
	case "release":
		h.releases(by)
	case "apply":
		h.begins(by, h.spec(name, ""))
		h.releases(by)
	case "group":
		h.begins(by, h.spec("web", "shop"), h.spec("api", "shop"))
		h.releases(by)
	case "rollback":
		_, err := h.Control().Rollback(by, name, 0)
		h.note("%s rolls %s back: %v", by, name, err)
	case "scale":
		replicas := h.n(5)
		_, err := h.Control().Scale(by, name, replicas)
		h.note("%s scales %s to %d: %v", by, name, replicas, err)
	case "promote":
		_, err := h.Control().PromoteRollout(by, name, imx.PromoteRequest{Whole: h.chance(3)})
		h.note("%s promotes %s: %v", by, name, err)
	case "pause":
		_, err := h.Control().PauseRollout(by, name, "")
		h.note("%s pauses %s: %v", by, name, err)
	case "abort":
		_, err := h.Control().AbortRollout(by, name, "no")
		h.note("%s aborts %s: %v", by, name, err)
	case "unhold":
		_, err := h.Control().ReleaseHold(by, name, "again")
		h.note("%s releases the hold of %s: %v", by, name, err)
	case "destroy":
		if h.chance(5) {
			err := h.Control().Destroy(by, false, name)
			h.note("%s destroys %s: %v", by, name, err)
		}
	}
	return nil
}

// begins opens an apply, if nobody else has one open.
func (h *history) begins(by imx.Principal, specs ...imx.Spec) {
	var names []string
	for _, s := range specs {
		names = append(names, s.Name)
	}
	base := h.Control().State().Base(names)
	id, err := h.Control().Begin(by, "", imx.Source{})
	h.note("%s begins an apply of %v: %v", by, names, err)
	if err == nil {
		h.applies = append(h.applies, apply{id, base, specs})
	}
}

// releases ends the apply that was begun last. That of a dead server was ended by the next.
func (h *history) releases(by imx.Principal) {
	if len(h.applies) == 0 {
		return
	}
	a := h.applies[len(h.applies)-1]
	h.applies = nil
	open := h.Control().State().Apply
	if open == nil || open.Apply != a.id {
		return
	}
	for _, s := range a.specs {
		next := 1
		if v := h.Service(s.Name); len(v.Releases) > 0 {
			next = v.Releases[len(v.Releases)-1].Number + 1
		}
		habit := h.habit()
		h.Behave(s.Name, next, habit)
		h.short[instances{s.Name, next}] = habit.Crash > 0
	}
	releases, err := h.Release(by, a.id, a.base, a.specs...)
	h.note("%s releases %d: %v", by, len(releases), err)
}

func (h *history) spec(name, group string) imx.Spec {
	h.specs[name]++
	s := imx.Spec{
		Name: name, Image: fmt.Sprintf("%s:%d", name, h.specs[name]), Replicas: 1 + h.n(4),
		Health: imx.Health{Every: imx.Duration(time.Second)}, Deadline: imx.Duration(30 * time.Second),
		Drain: imx.Duration(5 * time.Second), Grace: imx.Duration(5 * time.Second),
	}
	if group == "" && h.chance(5) {
		s.Volumes = []imx.Volume{{Name: one(h, "data", "cache"), Path: "/data"}}
	}
	if group != "" || h.chance(4) == false {
		s.Deploy = h.deploy(group)
	}
	return s
}

func (h *history) deploy(group string) *imx.Deploy {
	d := &imx.Deploy{
		Strategy: one(h, imx.BlueGreen, imx.Rolling, imx.Canary), Group: group,
		Window: imx.Duration(one(h, 0, time.Minute, 10*time.Minute)), Warm: one(h, imx.WarmFrozen, imx.WarmStopped),
	}
	if h.chance(2) {
		d.Judge = &imx.Measure{AtLeast: 50, Slack: 0.01}
	}
	switch d.Strategy {
	case imx.Rolling:
		d.Surge = one(h, imx.Amount{}, imx.Amount{Count: 1}, imx.Amount{Percent: 50})
		d.Unavailable = one(h, imx.Amount{}, imx.Amount{Count: 1}, imx.Amount{Percent: 50})
	case imx.BlueGreen:
		if h.chance(2) {
			d.Steps = []imx.Step{h.step(0)}
		}
	case imx.Canary:
		share := 0
		for range 1 + h.n(3) {
			share = min(99, share+1+h.n(40))
			d.Steps = append(d.Steps, h.step(share))
		}
	}
	return d
}

func (h *history) step(share int) imx.Step {
	return imx.Step{Share: share, Confirm: h.chance(4), Pause: imx.Duration(one(h, 0, 5*time.Second, time.Minute))}
}

func (h *history) habit() sim.Habit {
	return one(h,
		sim.Habit{Healthy: time.Second}, sim.Habit{Healthy: time.Second}, sim.Habit{Healthy: 7 * time.Second},
		sim.Habit{Healthy: time.Second, Errors: 0.2}, sim.Habit{Healthy: time.Minute}, sim.Habit{Never: true},
		sim.Habit{Never: true, Crash: time.Second}, sim.Habit{Healthy: time.Second, Crash: 5 * time.Second}, sim.Habit{Healthy: time.Second, Crash: 2 * time.Minute},
	)
}

// instance lets something become of an instance by itself.
func (h *history) instance() {
	seen := h.Engine().Seen()
	var live []imx.Instance
	for _, in := range seen.Instances {
		if in.Phase == imx.Starting || in.Phase == imx.Healthy || in.Phase == imx.Unhealthy {
			live = append(live, in)
		}
	}
	if len(live) == 0 {
		return
	}
	in := live[h.n(len(live))]
	switch fate := one(h, "kill", "sick", "heal", "connections"); fate {
	case "kill":
		h.Engine().Crash(in.ID, 137)
	case "sick":
		h.Engine().Sicken(in.ID, "sick")
		h.Engine().Tick()
	case "heal":
		h.Engine().Sicken(in.ID, "")
		h.Engine().Tick()
	case "connections":
		h.Engine().SetFlows(in.ID, h.n(3))
	}
	h.note("something becomes of %s", in.ID)
}

func (h *history) engine() {
	switch one(h, "refuse", "allow", "traffic", "lie", "rot", "blind") {
	case "refuse":
		what := one(h, "scale", "route", "keep", "stop")
		h.note("the engine refuses to %s", what)
		h.Refuse(what, errors.New("no"))
	case "allow":
		h.allow()
	case "traffic":
		h.Ask(h.name(), one(h, 0.0, 1, 50))
	case "lie":
		h.Lie(h.chance(2))
	case "rot":
		name := h.name()
		if back, ok := h.Service(name).Previous(); ok {
			h.note("the root of release %d of %s is changed", back.Number, name)
			h.Engine().Spoil(name, back.Number, "its root was changed")
		}
	case "blind":
		h.note("nothing is observed")
		h.Refuse("observe", errors.New("the engine is busy"))
	}
}

func (h *history) allow() {
	for _, what := range []string{"scale", "route", "keep", "stop", "observe"} {
		h.Refuse(what, nil)
	}
}

func (h *history) server() error {
	switch one(h, "dies", "dies", "at once", "blind", "forward", "back") {
	case "dies":
		call := 1 + h.n(4)
		h.note("the server dies at its call %d", call)
		h.DieAt(call, one(h, sim.Before, sim.After))
	case "at once":
		h.note("the server dies")
		return h.Die()
	case "blind":
		d := time.Duration(1+h.n(120)) * time.Second
		h.note("the server sleeps for %s", d)
		h.Blind(d)
	case "forward":
		h.Jump(time.Duration(1+h.n(7200)) * time.Second)
		h.note("the clock jumps ahead")
	case "back":
		if h.Now().After(h.last) {
			h.last = h.Now()
		}
		h.Jump(-time.Duration(1+h.n(600)) * time.Second)
		h.note("the clock jumps back")
	}
	return nil
}

// happens lets a number of things happen.
func (h *history) happens(most int) error {
	for range 10 + h.n(most) {
		if err := h.something(); err != nil {
			return err
		}
		if err := h.settle(); err != nil {
			return err
		}
		if len(h.Broken()) > 0 {
			return nil
		}
	}
	return nil
}

// everythingWorks from now on: what is made anew gets healthy, the engine does what it is told, the clock is right.
func (h *history) everythingWorks() {
	h.allow()
	h.Lie(false)
	h.DieAt(-1, sim.Before)
	if h.Now().Before(h.last) {
		h.Jump(h.last.Sub(h.Now()))
	}
	for _, in := range h.Engine().Seen().Instances {
		if h.short[instances{in.Service, in.Release}] { // what it does was settled when it was started
			h.Engine().Crash(in.ID, 1)
		}
	}
	for name, v := range h.Control().State().Services {
		h.Ask(name, 50)
		for _, r := range v.Releases {
			h.Behave(name, r.Number, sim.Habit{Healthy: time.Second})
			h.Engine().Spoil(name, r.Number, "")
		}
	}
	seen := h.Engine().Seen()
	for _, in := range seen.Instances {
		h.Engine().Sicken(in.ID, "")
		h.Engine().SetFlows(in.ID, 0)
	}
	h.Engine().Tick()
}
