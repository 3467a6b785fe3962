package reconcile

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/rollout"
)

// returning is a loop's memory of what comes back after its machine, or all that ran on it, went down. A server that dies meanwhile
// finds anew what hasn't begun.
type returning struct {
	since time.Time
	began map[string]time.Time // by service that comes back: when it was let start; zero while it waits
	up    map[string]bool      // of those, which have answered
}

// comesBack finds what there is to come back, at the loop's first look: services of which nothing is left, and of whose last
// instance nobody saw how it ended.
func (l *Loop) comesBack(m *moment) {
	r := &returning{since: l.cfg.Now(), began: map[string]time.Time{}, up: map[string]bool{}}
	for _, name := range m.names {
		v, of := m.state.Services[name], m.of[name]
		if v.Destroyed || v.Current == 0 || v.Replicas == 0 || len(of.live) > 0 || len(of.ended) == 0 {
			continue
		}
		last := slices.MaxFunc(of.ended, func(a, b imx.Instance) int { return a.Ended.Compare(b.Ended) })
		if last.Exit != nil && last.Exit.Code < 0 {
			r.began[name] = time.Time{}
		}
	}
	l.returning = r
}

// waiting says which services have to wait for others that come back, and when to look again. When none is to come back any more, it
// tells how long that took.
func (l *Loop) waiting(ctx context.Context, m *moment) (waits map[string][]string, wake time.Duration, err error) {
	if l.returning == nil {
		l.comesBack(m)
		l.sayCircles(ctx, m)
	}
	r, now := l.returning, l.cfg.Now()
	if len(r.began) == 0 {
		return nil, 0, nil
	}
	for {
		var due []string
		if due, waits, wake = rollout.Due(l.standing(m), now); len(due) == 0 {
			break
		}
		for _, name := range due {
			r.began[name] = now
		}
	}
	left := false
	for name, at := range r.began {
		late := at.Add(rollout.ReturnPatience).Sub(now)
		switch {
		case r.up[name] || !at.IsZero() && late <= 0:
			continue
		case !at.IsZero() && (wake == 0 || late < wake):
			wake = late
		}
		left = true
	}
	if left {
		return waits, wake, nil
	}
	return nil, 0, l.returned(now)
}

// standing is how it stands with each service that isn't destroyed.
func (l *Loop) standing(m *moment) []rollout.Returning {
	var all []rollout.Returning
	for _, name := range m.names {
		v := m.state.Services[name]
		if v.Destroyed {
			continue
		}
		r := rollout.Returning{Service: name, Up: true}
		current, _ := v.Release(v.Current)
		for _, p := range current.Spec.Connect {
			r.Connects = append(r.Connects, p.Service)
		}
		if began, comes := l.returning.began[name]; comes {
			r.Began = began
			r.Up = v.Replicas == 0 || slices.ContainsFunc(m.of[name].live, func(in *imx.Instance) bool { return in.Phase == imx.Healthy })
			l.returning.up[name] = r.Up
		}
		all = append(all, r)
	}
	return all
}

// sayCircles names those that come back at once because they connect to each other.
func (l *Loop) sayCircles(ctx context.Context, m *moment) {
	if len(l.returning.began) == 0 {
		return
	}
	for _, circle := range rollout.Circles(l.standing(m)) {
		l.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "services that connect to each other in a circle come back at once, none after the others",
			slog.String("services", strings.Join(circle, ", ")))
	}
}

// returned writes down that what had gone down is back.
func (l *Loop) returned(now time.Time) error {
	r := l.returning
	back := imx.ServicesReturned{Took: imx.Duration(now.Sub(r.since).Round(time.Millisecond))}
	for name := range r.began {
		if r.up[name] {
			back.Services = append(back.Services, name)
		} else {
			back.Late = append(back.Late, name)
		}
	}
	slices.Sort(back.Services)
	slices.Sort(back.Late)
	clear(r.began)
	return l.cfg.Control.Record(imx.Server, back)
}
