package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"imx"
	"imx/internal/gc"
)

const (
	// keptReleases is how many good releases of a service are kept to go back to, beside the current one.
	keptReleases = 10
	// usualGrace is for how long what was just made stays, needed or not.
	usualGrace = 24 * time.Hour
	// slice is for how long at most builds wait for a collection, but for its look at all there is.
	slice = 300 * time.Millisecond
)

// Enter keeps what is found in the stores from being collected until leave is called: for whoever adds to them
// outside of this package, or reads several things that belong together.
func (p *Pipeline) Enter(ctx context.Context) (leave func(), err error) { return p.gate.enter(ctx) }

// Collect removes what nothing needs any more: gc.Roots says what is needed. It waits until no build is on its
// way, and lets those that come go on after a moment. What it removed is on the log, also where it ended early.
// Errors: those of the stores; Unavailable if ctx ends.
func (p *Pipeline) Collect(ctx context.Context, by imx.Principal, req imx.CollectRequest, report imx.Report) (imx.Collection, error) {
	grace := usualGrace
	if req.Grace != nil {
		grace = time.Duration(*req.Grace)
	}
	if grace < 0 {
		return imx.Collection{}, imx.Errorf(imx.Invalid, "a grace of %s lies in the future", grace).WithHint("give 0 or more")
	}
	c := collection{Pipeline: p, before: p.cfg.Now().Add(-grace), report: report, began: p.cfg.Now(), kinds: map[string]imx.CollectedKind{}}
	if req.DryRun {
		err := c.look(ctx)
		return c.result(req.DryRun), err
	}
	var err error
	for more := true; more && err == nil; {
		more, err = c.slice(ctx)
	}
	done := c.result(req.DryRun)
	if done.Things > 0 {
		if logged := p.cfg.Control.Record(by, imx.Collected{Collection: done}); err == nil {
			err = logged
		}
	}
	if err == nil {
		report(imx.Progress{
			Step: collectStep, Status: imx.StepDone, Done: int64(done.Things), Total: int64(done.Things),
			Unit: "things", Message: "freed " + done.Size.String(), Seconds: p.cfg.Now().Sub(c.began).Seconds(),
		})
	}
	return done, err
}

const collectStep = "collect"

// collection is one call of Collect.
type collection struct {
	*Pipeline

	before time.Time
	began  time.Time
	report imx.Report
	kinds  map[string]imx.CollectedKind
	things int
}

// unneeded looks at the stores as they are now.
func (c *collection) unneeded(ctx context.Context) ([]gc.Found, error) {
	var stores []gc.Store
	for _, open := range c.cfg.Stores {
		stores = append(stores, open())
	}
	views, err := c.Images(ctx)
	if err != nil {
		return nil, err
	}
	var newest []imx.Image
	for _, v := range views {
		newest = append(newest, v.Image)
	}
	return gc.Unneeded(stores, gc.Roots(*c.cfg.Control.State(), newest, keptReleases), c.before)
}

// look counts what would go.
func (c *collection) look(ctx context.Context) error {
	leave, err := c.gate.sweep(ctx)
	if err != nil {
		return c.ended(err)
	}
	defer leave()
	found, err := c.unneeded(ctx)
	if err != nil {
		return err
	}
	for _, f := range found {
		size, err := f.In.Size(f.Thing)
		if err != nil {
			return err
		}
		c.count(f.Thing, size)
	}
	return nil
}

// slice removes for a while what goes first, and reports whether there is more. It looks anew each time: a
// build may have found use for something meanwhile.
func (c *collection) slice(ctx context.Context) (more bool, err error) {
	if n := c.gate.busy(); n > 0 {
		c.say("waiting for %s to end", several(n, "build"))
	}
	leave, err := c.gate.sweep(ctx)
	if err != nil {
		return false, c.ended(err)
	}
	defer leave()
	found, err := c.unneeded(ctx)
	if err != nil {
		return false, err
	}
	for began, i := c.cfg.Now(), 0; i < len(found); i++ {
		if i > 0 && c.cfg.Now().Sub(began) > slice {
			c.say("%d things are left", len(found)-i)
			return true, ctx.Err()
		}
		size, err := found[i].In.Size(found[i].Thing)
		if err != nil {
			return false, err
		}
		if err := found[i].In.Remove(found[i].Thing); err != nil {
			return false, err
		}
		c.count(found[i].Thing, size)
	}
	return false, nil
}

func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (c *collection) say(format string, args ...any) {
	c.report(imx.Progress{
		Step: collectStep, Status: imx.StepRunning, Done: int64(c.things), Unit: "things", Message: fmt.Sprintf(format, args...),
	})
}

func (*collection) ended(err error) error {
	return imx.Errorf(imx.Unavailable, "stopped waiting for builds to end: %w", err).WithHint("what was removed stays removed; run it again for the rest")
}

func (c *collection) count(t gc.Thing, size imx.Size) {
	k := c.kinds[string(t.Kind)]
	k.Kind = string(t.Kind)
	k.Things++
	k.Size += size
	c.kinds[k.Kind] = k
	c.things++
}

func (c *collection) result(dry imx.DryRun) imx.Collection {
	all := imx.Collection{DryRun: dry, Kinds: []imx.CollectedKind{}}
	for _, k := range slices.SortedFunc(maps.Values(c.kinds), func(a, b imx.CollectedKind) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Kind, b.Kind))
	}) {
		all.Kinds = append(all.Kinds, k)
		all.Things += k.Things
		all.Size += k.Size
	}
	return all
}
