package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"imx"
	"imx/internal/engine"
	"imx/internal/network"
)

// rules is what the engine has in force on the network.
type rules struct {
	mu      sync.Mutex // held over an Apply: rulesets reach the kernel in the order of their making
	applied network.Ruleset
	world   network.World // that applied was made of
	valid   bool          // applied is what is in force
	stale   bool          // the last Apply failed
	held    map[int]io.Closer
	waiting waiting
	mended  []imx.Mend // the latest; Engine.mu guards it
}

// keptMends is how many times are remembered that somebody else's changes were undone: whoever observes the engine sees them soon.
const keptMends = 16

// Route implements engine.Engine.
func (e *Engine) Route(ctx context.Context, r engine.Route) error {
	e.gate.RLock()
	defer e.gate.RUnlock()
	before := e.routeOf(r.Service)
	if len(r.Releases) == 0 && before != nil {
		r.Releases = before.Releases
	}
	if len(r.Releases) == 0 {
		return nil // it never had any traffic
	}
	r.Weights = maps.Clone(r.Weights)
	if err := e.prepareHost(); err != nil {
		return err
	}
	if err := e.hold(r); err != nil {
		return err
	}
	if err := e.store.put(e.store.route(r.Service), r); err != nil {
		e.releasePorts()
		return err
	}
	e.setRoute(r.Service, &r)
	e.keepRunning(ctx, e.ledTo(r))
	if err := e.apply(ctx); err != nil {
		return errors.Join(err, e.restoreRoute(r.Service, before))
	}
	e.releasePorts()
	e.poke()
	return nil
}

// restoreRoute undoes a change of a route that couldn't be brought into force.
func (e *Engine) restoreRoute(service string, before *engine.Route) error {
	e.setRoute(service, before)
	e.releasePorts()
	if before != nil {
		return e.store.put(e.store.route(service), *before)
	}
	return ignoreMissing(os.Remove(e.store.route(service)))
}

// ledTo returns the ids of the instances that a route leads to.
func (e *Engine) ledTo(r engine.Route) []string {
	var ids []string
	for _, release := range r.Releases {
		if r.LeadsTo(release.Number) {
			ids = append(ids, e.inPhase(release, runs)...)
		}
	}
	return ids
}

// routeOf returns a service's route, nil where it has none.
func (e *Engine) routeOf(service string) *engine.Route {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r, ok := e.routes[service]; ok {
		return &r
	}
	return nil
}

// setRoute changes a service's route in memory; nil takes it away.
func (e *Engine) setRoute(service string, r *engine.Route) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r == nil {
		delete(e.routes, service)
		return
	}
	e.routes[service] = *r
}

// unroute takes a service off the network.
func (e *Engine) unroute(ctx context.Context, service string) error {
	if err := ignoreMissing(os.Remove(e.store.route(service))); err != nil {
		return fmt.Errorf("removing the route of %s: %w", service, err)
	}
	e.mu.Lock()
	_, had := e.routes[service]
	delete(e.routes, service)
	e.mu.Unlock()
	if !had {
		return nil
	}
	e.releasePorts()
	e.poke()
	return e.apply(ctx)
}

// refresh brings the rules up to date; what keeps it from that is logged.
func (e *Engine) refresh(ctx context.Context) { e.logRules(ctx, e.apply(ctx)) }

func (e *Engine) logRules(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		logFailure(ctx, e.cfg.Log, "the network rules could not be changed", err)
	}
}

// apply brings the rules that follow from the instances and routes into force, if they aren't, or
// aren't any more.
func (e *Engine) apply(ctx context.Context) error {
	e.rules.mu.Lock()
	defer e.rules.mu.Unlock()
	return e.bring(ctx, e.foreign(ctx))
}

// bring is apply, of rules of which is known what foreign says. The caller holds rules.mu.
func (e *Engine) bring(ctx context.Context, foreign error) error {
	w, empty := e.world()
	if empty {
		return nil // nothing to protect; tidy removes what is left
	}
	if foreign == nil && e.rules.valid && reflect.DeepEqual(e.rules.world, w) {
		e.rules.stale = false
		return nil // it is asked often, and rules are dear to make
	}
	wanted := network.Compute(w)
	if foreign == nil && e.rules.valid && e.rules.applied.Equal(wanted) {
		e.rules.world, e.rules.stale = w, false
		return nil
	}
	e.rules.stale = true
	if err := e.cfg.Firewall.Apply(ctx, wanted); err != nil {
		return fmt.Errorf("changing the network rules: %w", err)
	}
	e.rules.applied, e.rules.world, e.rules.valid, e.rules.stale = wanted, w, true, false
	if imx.KindOf(foreign) == imx.Conflict {
		logFailure(ctx, e.cfg.Log, "somebody changed the network rules; they are put back", foreign)
		e.noteMend(foreign.Error())
	}
	if e.noteTraffic(wanted) {
		e.flows.forget()
	}
	e.sendWaiting(ctx, wanted)
	return nil
}

// keepRules puts the rules back where somebody else changed them, and brings them up to date where that failed before.
func (e *Engine) keepRules(ctx context.Context) {
	e.rules.mu.Lock()
	defer e.rules.mu.Unlock()
	foreign := e.foreign(ctx)
	if foreign == nil && e.rules.valid && !e.rules.stale {
		return
	}
	e.logRules(ctx, e.bring(ctx, foreign))
}

// foreign says what somebody else has changed of the rules since they were applied last, or why that can't be known. It is nil where
// none were. The caller holds rules.mu.
func (e *Engine) foreign(ctx context.Context) error {
	if !e.rules.valid {
		return nil
	}
	return e.cfg.Firewall.Check(ctx)
}

// noteMend remembers that somebody else's changes were undone, for Observe.
func (e *Engine) noteMend(what ...string) {
	e.mu.Lock()
	list := append(e.rules.mended, imx.Mend{Time: time.Now().UTC(), What: what})
	e.rules.mended = slices.Clone(list[max(0, len(list)-keptMends):])
	e.mu.Unlock()
	e.poke()
}

// keepHost puts back what instances need of the machine's network, where somebody took it away.
func (e *Engine) keepHost(ctx context.Context) {
	e.rules.mu.Lock() // or it could come between the parts of a withdraw
	defer e.rules.mu.Unlock()
	mended, err := e.cfg.keepClaimed()
	for _, what := range mended {
		e.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "somebody changed the machine's network; it is put back", slog.String("what", what))
	}
	if err != nil {
		logFailure(ctx, e.cfg.Log, "the machine's network could not be put back", err)
	}
	if len(mended) > 0 {
		e.noteMend(mended...)
	}
}

// noteTraffic notes which instances new connections don't reach any more, and tells whether there are such. The caller holds rules.mu.
func (e *Engine) noteTraffic(r network.Ruleset) (lost bool) {
	reached := map[netip.Addr]bool{}
	for _, p := range r.Pools {
		for _, a := range p.Slots {
			reached[a] = true
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, in := range e.instances {
		switch {
		case in.record.Cleared:
		case reached[in.record.Instance.Address]:
			in.record.Lost = time.Time{}
		case in.record.Lost.IsZero():
			in.record.Lost, lost = time.Now(), true
		}
	}
	return lost
}

// withdraw takes all rules, ports and routes of the engine off the machine.
func (e *Engine) withdraw(ctx context.Context) error {
	e.rules.mu.Lock()
	defer e.rules.mu.Unlock()
	e.rules.valid = false
	e.rules.drop()
	return errors.Join(e.cfg.Firewall.Remove(ctx), e.cfg.unclaim())
}

// world describes the present for package network. It is empty when there is neither an instance
// nor a route.
func (e *Engine) world() (w network.World, empty bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w.Network = e.cfg.Network
	services := map[string]network.ServiceNet{}
	ready := map[string][]imx.Instance{}
	for _, in := range e.instances {
		x := in.record.Instance
		if in.record.Cleared || x.Phase == imx.Ended {
			continue
		}
		services[x.Service] = unrouted(in.release)
		ready[x.Service] = append(ready[x.Service], x)
	}
	for name, r := range e.routes {
		services[name] = routed(r)
	}
	for _, in := range e.instances {
		x := in.record.Instance
		if in.record.Cleared || x.Phase == imx.Ended {
			continue
		}
		service := services[x.Service]
		w.Instances = append(w.Instances, network.Endpoint{
			ID: x.ID, Service: x.Service, Release: x.Release, Address: x.Address, Interface: in.record.Link,
			Ready:   x.Phase == bestPhase(ready[x.Service], service.Weights),
			Shown:   x.Phase == bestPhase(ready[x.Service], imx.Weights{service.Preview.Release: 1}),
			Connect: in.release.Spec.Connect,
		})
	}
	w.Services = slices.SortedFunc(maps.Values(services), func(a, b network.ServiceNet) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(w.Instances, func(a, b network.Endpoint) int { return strings.Compare(a.ID, b.ID) })
	return w, len(services) == 0
}

// bestPhase is the phase of the instances that get a service's traffic: healthy ones, or, if
// no routed one is, those that were healthy once and may still be better than nothing.
func bestPhase(instances []imx.Instance, weights imx.Weights) imx.Phase {
	for _, x := range instances {
		if x.Phase == imx.Healthy && weights[x.Release] > 0 {
			return imx.Healthy
		}
	}
	return imx.Unhealthy
}

// routed describes a service with a route. Where its releases differ in their ports, those of the
// one with the most traffic count, of equals the newest; of the preview those of the release that it leads to.
func routed(r engine.Route) network.ServiceNet {
	best := slices.MaxFunc(r.Releases, func(a, b imx.Release) int {
		if d := r.Weights[a.Number] - r.Weights[b.Number]; d != 0 {
			return d
		}
		return a.Number - b.Number
	})
	shown := best
	for _, release := range r.Releases {
		if release.Number == r.Preview {
			shown = release
		}
	}
	preview := network.Preview{Release: r.Preview}
	preview.Publish, preview.Inside = engine.PreviewOf(shown)
	return network.ServiceNet{
		Name: r.Service, Address: best.Address, Ports: best.Spec.Ports, Weights: r.Weights, Preview: preview, Waits: r.Weights[best.Number] > 0 && best.Spec.Sleeps(),
	}
}

// unrouted describes a service that has had no traffic yet: others may connect to it as soon as
// they may, and are refused until then. Its published ports aren't its own yet.
func unrouted(r imx.Release) network.ServiceNet {
	ports := slices.Clone(r.Spec.Ports)
	for i := range ports {
		ports[i].Publish = 0
	}
	return network.ServiceNet{Name: r.Service, Address: r.Address, Ports: ports}
}
