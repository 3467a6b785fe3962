// Package sim is a whole server without a machine: the real log, decisions and loop over an engine in memory, with a clock of
// its own. What happens in a world follows from what is done to it and from its seed alone, so that a history can be told again.
//
// It is for trying a template's deploy block before it is real, and for the laws of docs/rollout.md, which it watches over. It
// has no processes, no network and no disk.
package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/control"
	"imx/internal/engine/fake"
	"imx/internal/reconcile"
)

// Config is what a world begins with.
type Config struct {
	Seed  uint64
	Start time.Time
	// Tick is how long a round of the engine's checks takes; 0 means a second.
	Tick time.Duration
	// Lawless leaves the laws unwatched: they cost more than the decisions.
	Lawless bool
}

// World is a server and what it looks after. It isn't for several goroutines at once.
type World struct {
	tick    time.Duration
	now     time.Time
	rng     *rand.Rand
	log     *journal
	control *control.Control
	engine  *fake.Engine
	mortal  *mortal
	loop    *reconcile.Loop
	traffic *traffic
	laws    *laws
	ids     int
}

// New returns a world in which a server has just been started.
func New(cfg Config) (*World, error) {
	w := &World{tick: cfg.Tick, now: cfg.Start, rng: rand.New(rand.NewPCG(cfg.Seed, 0)), log: newJournal()} //nolint:gosec // it has to be told again
	if w.tick == 0 {
		w.tick = time.Second
	}
	w.engine = fake.New(w.clock)
	w.traffic = newTraffic(w.rng)
	w.mortal = &mortal{refused: map[string]error{}, where: w.serviceOf}
	if !cfg.Lawless {
		w.laws = newLaws(w)
		w.log.told, w.mortal.watch = w.laws.told, w.laws.watch
	}
	return w, w.boot()
}

func (w *World) clock() time.Time { return w.now }

// serviceOf is whose an instance is.
func (w *World) serviceOf(id string) string {
	for _, in := range w.engine.Seen().Instances {
		if in.ID == id {
			return in.Service
		}
	}
	return ""
}

// boot starts a server over what there is.
func (w *World) boot() error {
	var err error
	w.control, err = control.Open(control.Config{
		Log: w.log, Now: w.clock, Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10}), 8), Version: "sim",
		NewID: func() string { w.ids++; return fmt.Sprintf("a%d", w.ids) },
	})
	w.mortal.Engine = w.engine
	w.loop = reconcile.New(reconcile.Config{
		Control: w.control, Engine: w.mortal, Pass: pass, Count: w.traffic.counted, Now: w.clock, Log: slog.New(slog.DiscardHandler),
	})
	return err
}

// pass lets everything start: there is nothing that could do harm.
func pass(_ context.Context, r imx.Release) (admission.Pass, error) {
	return admission.ForTrial(r), nil
}

// Now is what the world's clock shows.
func (w *World) Now() time.Time { return w.now }

// Control is what people's words go to. After a Die there is another.
func (w *World) Control() *control.Control { return w.control }

// Engine is what instances are on. After a Die there is another.
func (w *World) Engine() *fake.Engine { return w.engine }

// Service returns a service as it is, the zero one where there is none.
func (w *World) Service(name string) imx.Service { return w.control.State().Services[name] }

// Broken are the laws that were broken by now, and how.
func (w *World) Broken() []Breach {
	if w.laws == nil {
		return nil
	}
	return w.laws.broken
}

// Person notes that a person did something to the world: what imx then does isn't flapping.
func (w *World) Person() {
	if w.laws != nil {
		clear(w.laws.changes)
	}
}

// Apply releases services, at once and unproved. The image of each is its Spec's name of it.
// Errors: as control's.
func (w *World) Apply(by imx.Principal, specs ...imx.Spec) ([]imx.Release, error) {
	id, err := w.control.Begin(by, "", imx.Source{})
	if err != nil {
		return nil, err
	}
	return w.Release(by, id, "", specs...)
}

// Release ends an apply that was begun: by releasing services, if they stand where base has them ("" is anywhere), and otherwise
// by its failure.
func (w *World) Release(by imx.Principal, apply string, base imx.Digest, specs ...imx.Spec) ([]imx.Release, error) {
	w.Person()
	p := control.Promotion{Apply: apply, Expect: base, Judged: unjudged}
	for _, s := range specs {
		p.Candidates = append(p.Candidates, control.Candidate{Spec: s, Image: imx.Image{Name: s.Image, Digest: imx.DigestBytes([]byte(s.Image))}})
	}
	releases, err := w.control.Promote(by, p)
	if err != nil {
		if closing := w.control.Fail(by, apply, err); closing != nil {
			return nil, closing
		}
	}
	return releases, err
}

// unjudged lets a release be made: it is of nothing.
func unjudged(*imx.State, []imx.Release) ([]imx.Body, error) { return nil, nil }

// Run lets time pass. It returns what the world is found to do wrong.
func (w *World) Run(ctx context.Context, d time.Duration) error {
	for end := w.now.Add(d); ; {
		wake, err := w.settle(ctx)
		if err != nil || !w.now.Before(end) {
			return err
		}
		step := w.tick
		if w.still() {
			step = end.Sub(w.now)
			if wake > 0 {
				step = min(step, wake)
			}
		}
		w.pass(max(step, time.Millisecond))
	}
}

// pass lets time pass in which nothing is decided.
func (w *World) pass(d time.Duration) {
	w.traffic.serve(w, d)
	w.now = w.now.Add(d)
	w.engine.Tick()
}

// settle decides and acts until nothing changes any more, and returns when to look again. What was done to the engine is looked at once
// more: that nothing is to be seen of it yet is no change.
func (w *World) settle(ctx context.Context) (time.Duration, error) {
	const most = 40
	for quiet, i := 0, 0; i < most; i++ {
		size, calls := w.log.Size(), w.mortal.calls
		wake, err := w.loop.Step(ctx)
		switch {
		case w.mortal.dead:
			if err := w.Die(); err != nil {
				return 0, err
			}
			continue
		case err != nil && w.mortal.refusing("observe"):
			return w.tick, nil
		case err != nil:
			return 0, fmt.Errorf("sim: a step failed: %w", err)
		}
		if quiet++; w.log.Size() != size {
			quiet = 0
		}
		if quiet > 1 || quiet == 1 && w.mortal.calls == calls {
			return wake, nil
		}
		if w.mortal.refusals > 0 {
			w.mortal.refusals = 0
			return time.Second, nil
		}
	}
	return 0, imx.Errorf(imx.Internal, "sim: at %s the server never comes to rest", w.now.Format(time.RFC3339))
}

// still reports whether nothing but traffic happens on the engine until somebody decides something.
func (w *World) still() bool {
	for _, in := range w.engine.Seen().Instances {
		switch in.Phase {
		case imx.Healthy:
			if in.Reason != "" || w.traffic.habit(in).Crash > 0 {
				return false
			}
		case imx.Starting, imx.Stopping:
			return false
		case imx.Unhealthy:
			if w.traffic.habit(in).Crash > 0 {
				return false
			}
		case imx.Warm, imx.Ended:
		}
	}
	return true
}

// Die ends the server and starts the next over what is on the log and on the engine.
func (w *World) Die() error {
	w.engine = w.engine.Restarted()
	w.mortal.dead, w.mortal.dieAt = false, 0
	w.traffic.forget()
	return w.boot()
}

// DieAt lets the server die at one of its next calls of the engine: before it takes effect, or after it.
func (w *World) DieAt(call int, when Moment) {
	w.mortal.dieAt, w.mortal.when = w.mortal.calls+call, when
}

// Blind lets time pass in which the server sees nothing and does nothing.
func (w *World) Blind(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.pass(w.tick)
	}
}

// Jump sets the clock ahead, or back.
func (w *World) Jump(d time.Duration) { w.now = w.now.Add(d) }

// Refuse makes the engine say no to an operation ("scale", "stop", "route", "keep", "observe"), until err is nil.
func (w *World) Refuse(operation string, err error) {
	if err == nil {
		delete(w.mortal.refused, operation)
		return
	}
	w.mortal.refused[operation] = err
}
