package pipeline

import (
	"context"
	"sync"
)

// gate keeps collections of garbage away from whatever counts on things that it found. Any number of those
// are inside at once; a collection begins when none is, and those that come meanwhile wait for it. A
// collection that waits keeps nobody out: it is patient, and they are never slower for it than one slice.
type gate struct {
	mu       sync.Mutex
	inside   int
	sweeping bool
	changed  chan struct{} // closed at the next change; nil if nobody waits
}

// enter goes in, unless ctx ends first. The caller calls leave once.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	err = g.when(ctx, func() bool { return !g.sweeping }, func() { g.inside++ })
	return func() { g.change(func() { g.inside-- }) }, err
}

// sweep goes in alone.
func (g *gate) sweep(ctx context.Context) (leave func(), err error) {
	err = g.when(ctx, func() bool { return !g.sweeping && g.inside == 0 }, func() { g.sweeping = true })
	return func() { g.change(func() { g.sweeping = false }) }, err
}

// busy says how many are inside.
func (g *gate) busy() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside
}

// when waits until the gate is as wanted and changes it in the same moment.
func (g *gate) when(ctx context.Context, wanted func() bool, change func()) error {
	for {
		g.mu.Lock()
		if wanted() {
			change()
			g.mu.Unlock()
			return nil
		}
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (g *gate) change(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}
