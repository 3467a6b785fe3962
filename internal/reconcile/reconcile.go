// Package reconcile is the loop that makes what runs agree with what is wanted: it observes the
// engine, writes down what it saw, asks package rollout what to do next, and does that.
//
// It decides nothing itself and keeps nothing that matters: killed between any two steps, the
// next run observes where things stand and goes on from there.
package reconcile

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/control"
	"imx/internal/engine"
	"imx/internal/rollout"
)

// Config is what a Loop joins.
type Config struct {
	Control *control.Control
	Engine  engine.Engine
	// Pass asks whether an instance of a release may start now. Errors: Refused with the reasons why not.
	Pass func(ctx context.Context, r imx.Release) (admission.Pass, error)
	// Count returns what a service's releases' own metrics and imx's probes told since the rollout's step, by release; what
	// rollout.Seen.Counted says. Nil: nothing is counted.
	Count func(v imx.Service) map[int]imx.Counted
	// Prove is how often a way back is proved; 0 means rollout.ProveEvery.
	Prove time.Duration
	Now   func() time.Time
	Log   *slog.Logger
}

// Loop reconciles one engine with one log.
type Loop struct {
	cfg       Config
	poke      chan struct{}
	trouble   map[string]error // by service: what the engine last said no to
	failed    string           // what the last round failed of, "" if it didn't
	strangers []string         // what was last seen that the log doesn't know
	proofs    map[string]proof // of the ways back, by service
	returning *returning       // nil before the first look
}

// New returns a Loop. It starts nothing.
func New(cfg Config) *Loop {
	return &Loop{cfg: cfg, poke: make(chan struct{}, 1), trouble: map[string]error{}, proofs: map[string]proof{}}
}

// Poke makes the loop look again soon. It never blocks.
func (l *Loop) Poke() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// retry is how long the loop waits after the engine failed to do something.
const retry = time.Second

// Run reconciles until ctx ends: after each change of the state or the engine, and when a
// decision asked to be woken. What fails is tried again each second, and logged when it begins to
// fail or fails of something else.
func (l *Loop) Run(ctx context.Context) error {
	for {
		changed := l.cfg.Control.Changed()
		wake := l.round(ctx)
		if !l.wait(ctx, changed, wake) {
			return nil
		}
	}
}

// round is one step, and returns when to look again at the latest.
func (l *Loop) round(ctx context.Context) time.Duration {
	wake, err := l.Step(ctx)
	if err == nil || ctx.Err() != nil {
		l.failed = ""
		return wake
	}
	if l.failed != err.Error() {
		l.cfg.Log.LogAttrs(ctx, slog.LevelError, "reconciling failed", slog.Any("error", err))
	}
	l.failed = err.Error()
	return retry
}

// wait returns false when ctx has ended. A wake of 0 waits for a change alone.
func (l *Loop) wait(ctx context.Context, changed <-chan struct{}, wake time.Duration) bool {
	var timer <-chan time.Time
	if wake > 0 {
		t := time.NewTimer(wake)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-changed:
	case <-l.poke:
	case <-timer:
	}
	return true
}

// Step observes, writes down, decides and acts once, and returns when to look again at the latest. It isn't called beside Run.
func (l *Loop) Step(ctx context.Context) (time.Duration, error) {
	seen, err := l.cfg.Engine.Observe(ctx)
	if err != nil {
		return 0, err
	}
	news, strangers := Observed(l.cfg.Control.State(), seen, l.cfg.Now())
	for _, what := range strangers {
		if !slices.Contains(l.strangers, what) {
			l.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "the engine has what the log doesn't know and can't tell", slog.String("what", what))
		}
	}
	l.strangers = strangers
	if err := l.cfg.Control.Record(imx.Server, news...); err != nil {
		return 0, err
	}
	m := newMoment(l.cfg.Control.State(), seen)
	waits, wake, err := l.waiting(ctx, m)
	if err != nil {
		return 0, err
	}
	for _, name := range m.names {
		v := m.state.Services[name]
		if v.Removed || len(waits[name]) > 0 {
			continue
		}
		next, err := l.service(ctx, v, m)
		if err != nil {
			if ctx.Err() != nil {
				return 0, err
			}
			l.note(ctx, name, err)
			next = retry
		} else {
			delete(l.trouble, name)
		}
		if next > 0 && (wake == 0 || next < wake) {
			wake = next
		}
	}
	return wake, nil
}

// note logs an engine's refusal when it is a new one.
func (l *Loop) note(ctx context.Context, service string, err error) {
	if old := l.trouble[service]; old == nil || old.Error() != err.Error() {
		l.cfg.Log.LogAttrs(ctx, slog.LevelError, "the engine failed", slog.String("service", service), slog.Any("error", err))
	}
	l.trouble[service] = err
}

// service does what rollout.Next decides for one service.
func (l *Loop) service(ctx context.Context, v imx.Service, m *moment) (time.Duration, error) {
	w := wanted(v, m)
	w.Prove = l.cfg.Prove
	decision := rollout.Next(w, l.present(v, w, m), l.cfg.Now())
	for _, a := range decision.Actions {
		if err := l.act(ctx, v, a, m); err != nil {
			return 0, err
		}
	}
	if v.Destroyed && len(decision.Actions) == 0 && len(m.of[v.Name].live) == 0 {
		return 0, l.remove(ctx, v)
	}
	return decision.Wake, nil
}

func (l *Loop) remove(ctx context.Context, v imx.Service) error {
	volumes := engine.KeepVolumes
	if v.VolumesToo {
		volumes = engine.DeleteVolumes
	}
	if err := l.cfg.Engine.Remove(ctx, v.Name, volumes); err != nil {
		return err
	}
	return l.cfg.Control.Record(imx.Server, imx.Removed{Service: v.Name})
}
