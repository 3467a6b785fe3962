// Package scaler is the loop that keeps the number of instances of services with a scale block where that says: it measures,
// asks package scale what the number should be, and tells control, which writes it down with its reason.
//
// It decides nothing itself, starts nothing, and keeps nothing that matters: what it measured is gone with it, and the next
// measures for a while before fewer instances are enough.
package scaler

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"imx"
	"imx/internal/control"
	"imx/internal/scale"
)

// Every is how often is measured.
const Every = 5 * time.Second

// Config is what a Loop joins.
type Config struct {
	Control *control.Control
	// Load measures what services' instances do now.
	Load func(ctx context.Context, services []string) (imx.Load, error)
	// Open counts the connections that are open to a service's instances; -1 where that can't be told.
	Open func(ctx context.Context, service string) (int, error)
	// Asked is imx.Load.Asked.
	Asked func() map[string]int64
	// Requests is how many requests each of a release's instances has answered by its own metrics, as far as that is known.
	Requests func(ctx context.Context, r imx.Release, instances []imx.Instance) map[string]float64
	Now      func() time.Time
	Log      *slog.Logger
}

// Loop sizes the services of one log.
type Loop struct {
	cfg   Config
	poke  chan struct{}
	last  imx.Load
	known map[string]*history

	mu     sync.Mutex
	knocks map[string]knock
}

// history is what is known of one service.
type history struct {
	samples []scale.Sample
	active  time.Time
	said    string // what keeps it from another number, as last logged
}

type knock struct {
	count int
	from  string
}

// New returns a Loop. It starts nothing.
func New(cfg Config) *Loop {
	return &Loop{cfg: cfg, poke: make(chan struct{}, 1), known: map[string]*history{}, knocks: map[string]knock{}}
}

// Knock tells that a connection came for a service that has no instance. It never blocks.
func (l *Loop) Knock(service, from string) {
	l.mu.Lock()
	k := l.knocks[service]
	if k.count++; k.count == 1 {
		k.from = from
	}
	l.knocks[service] = k
	l.mu.Unlock()
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// Run sizes services until ctx ends. What fails is logged and tried again with the next look.
func (l *Loop) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := l.cfg.Control.Changed()
		if len(sized(l.cfg.Control.State())) > 0 {
			changed = nil // nothing of it matters before the next look
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-l.poke:
			l.answer(ctx)
			continue
		case <-timer.C:
		}
		timer.Reset(l.Look(ctx))
	}
}

// answer decides for the services for which connections came, without measuring anything.
func (l *Loop) answer(ctx context.Context) {
	l.mu.Lock()
	names := slices.Sorted(maps.Keys(l.knocks))
	l.mu.Unlock()
	s := l.cfg.Control.State()
	for _, name := range names {
		l.decide(ctx, s.Services[name])
	}
}

// Look measures and decides once, and returns when to look again.
func (l *Loop) Look(ctx context.Context) time.Duration {
	s := l.cfg.Control.State()
	services := sized(s)
	maps.DeleteFunc(l.known, func(name string, _ *history) bool {
		return !slices.ContainsFunc(services, func(v imx.Service) bool { return v.Name == name })
	})
	if len(services) == 0 {
		l.last = imx.Load{}
		return Every
	}
	if err := l.measure(ctx, s, services); err != nil && ctx.Err() == nil {
		l.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "what services' instances do could not be measured", slog.Any("error", err))
	}
	next := Every
	for _, v := range services {
		if wake := l.decide(ctx, v); wake > 0 {
			next = min(next, wake)
		}
	}
	return next
}

// sized are the services whose number imx sets by itself.
func sized(s *imx.State) []imx.Service {
	var list []imx.Service
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		if v := s.Services[name]; v.SizesItself() {
			list = append(list, v)
		}
	}
	return list
}

// measure adds a sample of each service.
func (l *Loop) measure(ctx context.Context, s *imx.State, services []imx.Service) error {
	var names []string
	for _, v := range services {
		names = append(names, v.Name)
	}
	load, err := l.cfg.Load(ctx, names)
	if err != nil {
		return err
	}
	load.Requests, load.Asked = map[string]float64{}, l.cfg.Asked()
	for _, v := range services {
		maps.Copy(load.Requests, l.requests(ctx, s, v))
	}
	for _, v := range services {
		h := l.history(v.Name)
		if arrived(v.Name, l.last, load) {
			h.active = load.Time
		}
		sample := scale.Between(v.Name, serving(s, v), l.last, load)
		r, _ := v.Release(v.Target)
		oldest := load.Time.Add(-time.Duration(r.Spec.Scale.Down) - 2*scale.Gap)
		h.samples = slices.DeleteFunc(append(h.samples, sample), func(x scale.Sample) bool { return x.At.Before(oldest) })
	}
	l.last = load
	return nil
}

// requests asks a service's instances what they have answered, if that is what it is scaled by.
func (l *Loop) requests(ctx context.Context, s *imx.State, v imx.Service) map[string]float64 {
	r, _ := v.Release(v.Target)
	if r.Spec.Scale.Requests <= 0 {
		return nil
	}
	var instances []imx.Instance
	for _, id := range serving(s, v) {
		if in := s.Instances[id]; in.Release == r.Number {
			instances = append(instances, in)
		}
	}
	return l.cfg.Requests(ctx, r, instances)
}

func arrived(service string, before, after imx.Load) bool {
	was, had := before.Arrivals[service]
	is, has := after.Arrivals[service]
	return had && has && is != was || before.Asked[service] != after.Asked[service]
}

// serving are the healthy instances of a service that have traffic.
func serving(s *imx.State, v imx.Service) []string {
	var ids []string
	for id, in := range s.Instances {
		if in.Service == v.Name && in.Phase == imx.Healthy && v.Routes[in.Release] > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// history is what is known of a service. One that is seen for the first time counts as active just now.
func (l *Loop) history(service string) *history {
	if l.known[service] == nil {
		l.known[service] = &history{active: l.cfg.Now()}
	}
	return l.known[service]
}

// decide asks for a service's number, and has it written down.
func (l *Loop) decide(ctx context.Context, v imx.Service) time.Duration {
	l.mu.Lock()
	knocked := l.knocks[v.Name]
	delete(l.knocks, v.Name)
	l.mu.Unlock()
	if !v.SizesItself() {
		return 0
	}
	h, now := l.history(v.Name), l.cfg.Now()
	r, _ := v.Release(v.Target)
	w := scale.Wanted{
		Scaling: *r.Spec.Scale, Replicas: v.Replicas, Changed: v.Sizing.Since, Rollout: freedom(v, r),
		Active: h.active, Knocks: knocked.count, From: knocked.from,
	}
	d, wake := scale.Next(w, h.samples, now)
	switch {
	case d.Replicas == v.Replicas:
		l.say(ctx, v.Name, h, d.Reason)
		return wake
	case d.Replicas == 0 && l.inUse(ctx, v.Name):
		h.active = now
		return wake
	}
	h.said = ""
	if err := l.cfg.Control.Size(v, d.Replicas, d.Reason); err != nil && ctx.Err() == nil {
		l.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a service could not be scaled", slog.String("service", v.Name), slog.Any("error", err))
	}
	return wake
}

// say logs what keeps a service from another number, when that begins.
func (l *Loop) say(ctx context.Context, service string, h *history, reason string) {
	if begins := reason != "" && h.said == ""; begins {
		l.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "a service stays as it is", slog.String("service", service), slog.String("reason", reason))
	}
	h.said = reason
}

// inUse reports whether a connection is open to a service, or that can't be asked now.
func (l *Loop) inUse(ctx context.Context, service string) bool {
	open, err := l.cfg.Open(ctx, service)
	return err != nil || open > 0
}

// freedom says what may change while a release is rolled out. More instances take longer to get healthy, which is held against
// a release at its deadline: they are started only while a canary has reached its step.
func freedom(v imx.Service, target imx.Release) scale.Freedom {
	if v.Target == v.Current {
		return scale.Free
	}
	how := target.Spec.How()
	reached := v.Rollout.Step < len(how.Steps) && v.Routes[v.Target] > 0 && v.Routes[v.Target] >= how.Steps[v.Rollout.Step].Share
	if how.Strategy == imx.Canary && reached {
		return scale.Raise
	}
	return scale.Bound
}
