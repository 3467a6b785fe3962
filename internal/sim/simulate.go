package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"imx"
	"imx/internal/rollout"
)

// Supposed is what a release is supposed to do that takes the place of another, which does everything well.
type Supposed struct {
	Seed       uint64
	Requests   float64       // a second, to each service
	ErrorShare float64       // of the requests that it gets, from 0 to 1
	Starts     time.Duration // how long after its start an instance is healthy
	Crash      time.Duration // how long after its start an instance ends by itself; 0 is never
	Never      bool          // no instance of it is ever healthy
	Longest    time.Duration // how long is looked at; 0 means a day
}

// Line is one thing that happened in a simulation.
type Line struct {
	After   imx.Duration `json:"after"` // since the release was made
	Service string       `json:"service"`
	Says    string       `json:"says"`
}

// End is how a simulation of a service ended.
type End struct {
	Service string `json:"service"`
	// State is good where the new release took over and kept it, failed where it was given up or gone back from, and pending where it
	// still waits.
	State  imx.ReleaseState `json:"state"`
	Reason string           `json:"reason,omitempty"`
	After  imx.Duration     `json:"after"` // when that was so
	// Least is the fewest healthy instances that its traffic ever reached, and Wanted how many there should be.
	Least  int `json:"least"`
	Wanted int `json:"wanted"`
}

// Told is what came of a simulation.
type Told struct {
	Lines []Line `json:"timeline"`
	Ends  []End  `json:"ends"`
	// Laws are those that were watched, and Broken those of them that didn't hold.
	Laws   []string `json:"laws"`
	Broken []Breach `json:"broken,omitempty"`
}

// simulation is a release of services that replaces one like it.
type simulation struct {
	*World

	supposed Supposed
	began    time.Time
	next     int64 // the first event that wasn't told
	told     Told
	ends     map[string]*End
}

const (
	settled = 10 * time.Minute // what runs is old enough that nothing of its beginning is left
	precise = 100 * time.Millisecond
	look    = 24 * time.Hour
)

// Simulate releases services anew in a world in which they run, and tells what happens: until all of them have ended, with the
// time in which a release that took over may be gone back from. A person promotes what waits for one. The same services and suppositions
// give the same timeline.
func Simulate(ctx context.Context, specs []imx.Spec, s Supposed) (Told, error) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w, err := New(Config{Seed: s.Seed, Start: start, Tick: precise})
	if err != nil {
		return Told{}, err
	}
	if s.Longest == 0 {
		s.Longest = look
	}
	run := &simulation{World: w, supposed: s, told: Told{Laws: Laws(), Lines: []Line{}}, ends: map[string]*End{}}
	if err := run.before(ctx, specs); err != nil {
		return Told{}, err
	}
	if err := run.release(specs); err != nil {
		return Told{}, err
	}
	for w.Now().Before(run.began.Add(s.Longest)) && run.under() {
		if err := ctx.Err(); err != nil {
			return run.told, err
		}
		if err := run.step(ctx); err != nil {
			return run.told, err
		}
	}
	return run.result(), nil
}

// before brings up what the services are supposed to be replaced from: releases that are like them and do well.
func (s *simulation) before(ctx context.Context, specs []imx.Spec) error {
	var old []imx.Spec
	for _, spec := range specs {
		was := spec
		was.Image = spec.Image + " as it was"
		was.Replicas = max(1, spec.Replicas)
		old = append(old, was)
		s.Behave(spec.Name, 1, Habit{Healthy: time.Second})
		s.Ask(spec.Name, s.supposed.Requests)
	}
	if _, err := s.Apply("you", old...); err != nil {
		return err
	}
	return s.Run(ctx, settled)
}

func (s *simulation) release(specs []imx.Spec) error {
	if len(specs) == 0 {
		return imx.Errorf(imx.Invalid, "there is no service to release")
	}
	p := s.supposed
	for _, spec := range specs {
		s.Behave(spec.Name, 2, Habit{Healthy: p.Starts, Never: p.Never, Crash: p.Crash, Errors: p.ErrorShare})
		s.ends[spec.Name] = &End{Service: spec.Name, State: imx.ReleasePending, Least: spec.Replicas, Wanted: spec.Replicas}
	}
	s.began, s.next = s.Now(), s.log.Size()
	_, err := s.Apply("you", specs...)
	return err
}

// step lets as much time pass as it takes until something may happen.
func (s *simulation) step(ctx context.Context) error {
	wake, err := s.settle(ctx)
	if err != nil {
		return err
	}
	s.tell()
	s.count()
	if s.confirm() {
		return nil
	}
	far := s.tick
	if s.still() {
		if far = rollout.ProveEvery; wake > 0 {
			far = min(far, wake)
		}
	}
	s.pass(max(far, s.tick))
	return nil
}

// confirm lets a person promote what waits for one.
func (s *simulation) confirm() bool {
	promoted := false
	for _, name := range s.names() {
		v := s.Service(name)
		steps := rollout.Steps(v)
		if v.Rollout.Waits == "" || v.Rollout.Step >= len(steps) || v.Rollout.Confirm || !steps[v.Rollout.Step].Confirm || s.supposed.waits(v) {
			continue
		}
		_, err := s.Control().PromoteRollout("you", name, imx.PromoteRequest{Reason: "as is supposed of you"})
		promoted = promoted || err == nil
	}
	return promoted
}

// waits reports whether it is too little traffic that a service waits for: no person promotes that here.
func (p Supposed) waits(v imx.Service) bool {
	target, _ := v.Release(v.Target)
	m := target.Spec.How().Judge
	return m != nil && p.Requests == 0 && v.Routes[v.Target] > 0
}

func (s *simulation) names() []string { return slices.Sorted(maps.Keys(s.ends)) }

// under reports whether anything may still become of a release.
func (s *simulation) under() bool {
	for _, name := range s.names() {
		v, end := s.Service(name), s.ends[name]
		r, _ := v.Release(2)
		switch {
		case v.Target != v.Current:
			return true
		case end.State == imx.ReleaseGood && r.State == imx.ReleaseGood && v.Hold == nil &&
			s.Now().Before(v.Finished.Add(time.Duration(r.Spec.How().Window))) && s.mayTurn():
			return true
		case len(v.Routes) != 1:
			return true
		}
	}
	return s.Now().Equal(s.began)
}

// mayTurn reports whether a release that took over could still turn bad.
func (s *simulation) mayTurn() bool {
	p := s.supposed
	return p.Crash > 0 || p.ErrorShare > 0
}

// count notes how much of each service is there.
func (s *simulation) count() {
	for _, name := range s.names() {
		at := s.laws.scene(name)
		s.ends[name].Least = min(s.ends[name].Least, at.healthy(at.routes))
	}
}

// tell takes what is new on the log into the timeline.
func (s *simulation) tell() {
	for e, err := range s.Control().Events(s.next) {
		if err != nil {
			return // it is in memory
		}
		s.next = e.Index + 1
		service, says := s.says(e)
		if says != "" {
			s.told.Lines = append(s.told.Lines, Line{imx.Duration(e.Time.Sub(s.began)), service, says})
		}
	}
}

// ends notes how a release ended.
func (s *simulation) ended(service string, state imx.ReleaseState, e imx.Event, reason string) {
	end := s.ends[service]
	end.State, end.Reason, end.After = state, reason, imx.Duration(e.Time.Sub(s.began))
}

// says tells of an event, "" where it isn't worth a line.
func (s *simulation) says(e imx.Event) (service, says string) {
	switch b := e.Body.(type) {
	case imx.RolloutStepped:
		steps := len(rollout.Steps(s.Service(b.Service)))
		return b.Service, fmt.Sprintf("step %d of %d, %d %%: %s", b.Step+1, max(steps, b.Step)+1, b.Share, b.Reason)
	case imx.RolloutWaits:
		if b.Reason == "" {
			return b.Service, "goes on"
		}
		return b.Service, "waits: " + b.Reason
	case imx.RolloutPromoted:
		return b.Service, "you promote it, as is supposed"
	case imx.TrafficMoved:
		return b.Service, "traffic: " + shares(b.Weights)
	case imx.RolloutFinished:
		if b.Release == 2 {
			s.ended(b.Service, imx.ReleaseGood, e, "")
			return b.Service, "the new release has all the traffic"
		}
		return b.Service, "the old release has all the traffic again"
	case imx.RolloutFailed:
		s.ended(b.Service, imx.ReleaseFailed, e, b.Reason)
		return b.Service, "given up: " + b.Reason
	case imx.TurnedBad:
		s.ended(b.Service, imx.ReleaseFailed, e, b.Reason)
		return b.Service, "goes back: " + b.Reason
	case imx.InstanceEnded:
		if b.Instance.Exit != nil && !b.Instance.Exit.Wanted {
			return b.Instance.Service, b.Instance.ID + " ended by itself"
		}
	}
	return "", ""
}

// shares says where the traffic goes.
func shares(w imx.Weights) string {
	names := map[int]string{1: "old", 2: "new"}
	text := ""
	for _, number := range slices.Sorted(maps.Keys(w)) {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%d %% %s", w[number], names[number])
	}
	if text == "" {
		return "none"
	}
	return text
}

func (s *simulation) result() Told {
	s.tell()
	for _, name := range s.names() {
		end := s.ends[name]
		if end.State == imx.ReleasePending {
			v := s.Service(name)
			end.Reason, end.After = v.Rollout.Waits, imx.Duration(s.Now().Sub(s.began))
		}
		s.told.Ends = append(s.told.Ends, *end)
	}
	s.told.Broken = s.Broken()
	return s.told
}
