package sim

import (
	"context"

	"imx"
	"imx/internal/admission"
	"imx/internal/engine"
)

// Moment is when in a call a server dies.
type Moment int

// The moments.
const (
	Before Moment = iota
	After
)

// mortal is an engine whose server dies at one of its calls, and that says no to some. Each call is watched.
type mortal struct {
	engine.Engine

	calls, dieAt int
	when         Moment
	dead         bool
	refused      map[string]error
	refusals     int
	watch        func(c call, do func() error) error
	where        func(instance string) (service string)
}

// call is what is done to the engine.
type call struct {
	operation string
	service   string
	release   imx.Release
	replicas  int
	route     engine.Route
}

func (m *mortal) refusing(operation string) bool { return m.refused[operation] != nil }

func (m *mortal) do(c call, act func() error) error {
	m.calls++
	died := imx.Errorf(imx.Unavailable, "the server died")
	if m.dead || m.calls == m.dieAt && m.when == Before {
		m.dead = true
		return died
	}
	if err := m.refused[c.operation]; err != nil {
		m.refusals++
		return err
	}
	err := m.watched(c, act)
	if m.calls == m.dieAt {
		m.dead = true
		return died
	}
	return err
}

func (m *mortal) watched(c call, act func() error) error {
	if m.watch == nil {
		return act()
	}
	return m.watch(c, act)
}

// Observe implements engine.Engine.
func (m *mortal) Observe(ctx context.Context) (imx.Seen, error) {
	if err := m.refused["observe"]; err != nil {
		return imx.Seen{}, err
	}
	return m.Engine.Observe(ctx)
}

// Scale implements engine.Runner. In a world each release has its Pass.
func (m *mortal) Scale(ctx context.Context, p admission.Pass, r imx.Release, n int) error {
	if err := p.Covers(r); err != nil {
		return err
	}
	return m.do(call{operation: "scale", service: r.Service, release: r, replicas: n}, func() error { return m.Engine.Scale(ctx, p, r, n) })
}

// Stop implements engine.Runner.
func (m *mortal) Stop(ctx context.Context, id, reason string) error {
	return m.do(call{operation: "stop", service: m.where(id)}, func() error { return m.Engine.Stop(ctx, id, reason) })
}

// Route implements engine.Engine.
func (m *mortal) Route(ctx context.Context, r engine.Route) error {
	return m.do(call{operation: "route", service: r.Service, route: r}, func() error { return m.Engine.Route(ctx, r) })
}

// Keep implements engine.Engine.
func (m *mortal) Keep(ctx context.Context, r imx.Release, n int) error {
	return m.do(call{operation: "keep", service: r.Service, release: r, replicas: n}, func() error { return m.Engine.Keep(ctx, r, n) })
}

// Remove implements engine.Runner.
func (m *mortal) Remove(ctx context.Context, service string, v engine.Volumes) error {
	return m.do(call{operation: "remove", service: service}, func() error { return m.Engine.Remove(ctx, service, v) })
}
