// Package local runs instances on this Linux machine: crun under conmon, so that they outlive the
// server; one read-only EROFS root per image, a network namespace behind the firewall each, limits,
// no capabilities, a system call filter. It builds no image, decides no rollout and gives out no
// service address.
//
// What must be known again after the server's death is in Config.Dir (see store); what the kernel
// holds bears Config.ID in its name. Both are compared and put right by Open.
package local

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"imx"
	"imx/internal/admission"
	"imx/internal/engine"
	"imx/internal/erofs"
)

// Engine implements engine.Engine.
type Engine struct {
	launcher
	roots *roots
	flows *flowCount
	rules rules
	wake  chan struct{} // to Run: what Observe returns has changed

	// gate is held for reading while something is made, for writing while what nothing needs is
	// removed.
	gate sync.RWMutex

	mu        sync.Mutex
	instances map[string]*instance
	routes    map[string]engine.Route
	last      netip.Addr             // the address that was given out last
	scaling   map[string]*sync.Mutex // by service
	uses      uses
}

var _ engine.Engine = (*Engine)(nil)

// uses are what keeps a root mounted beside an instance. Engine.mu guards the maps.
type uses struct {
	kits     map[string]int      // how many commands use a root that is no release's, by its key
	kept     map[string]*keeping // releases that are kept for the way back, by their key
	verifier verifier
}

// instance is what the engine holds of one in memory. Engine.mu guards record, starting, watched
// and fails; init and monitor are set once, before starting ends.
type instance struct {
	record   record
	release  imx.Release
	starting bool // a Scale is still making it
	watched  bool // a goroutine of Run watches it
	fails    int  // failed checks in a row
	init     *handle
	monitor  *handle
	nudge    chan struct{} // wakes the goroutine that watches it
	told     chan struct{} // closed when it is told to stop
	settling sync.Mutex    // held while its end is recorded and what it leaves is removed
	freezing sync.Mutex    // held while its processes are frozen or thawed
}

// Open takes over the engine's folder: every instance that runs is adopted, what ended meanwhile
// is recorded, what was half made is removed. It starts nothing and leaves the rules in force as
// they are; Run brings those up to date. The error is of kind Conflict if another engine of the
// machine uses an overlapping range of addresses, or this one's instances run in another.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	e, err := takeOver(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return e, e.settleNetwork()
}

// takeOver is Open without a look at the network.
func takeOver(ctx context.Context, cfg Config) (*Engine, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	s, err := newStore(cfg.Dir)
	if err != nil {
		return nil, err
	}
	groups, err := findCgroups(cfg.ID)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		launcher:  launcher{cfg: cfg, store: s, cgroups: groups},
		roots:     &roots{cfg: cfg, store: s, checker: &erofs.Checker{Locks: !cfg.Guest}, ready: map[string]prepared{}},
		flows:     &flowCount{open: cfg.Open},
		rules:     rules{held: map[int]io.Closer{}},
		wake:      make(chan struct{}, 1),
		uses:      uses{kits: map[string]int{}, verifier: newVerifier()},
		instances: map[string]*instance{},
		scaling:   map[string]*sync.Mutex{},
	}
	if e.routes, err = s.loadRoutes(); err != nil {
		return nil, err
	}
	if e.uses.kept, err = s.loadKept(); err != nil {
		return nil, err
	}
	return e, e.adopt(ctx)
}

// settleNetwork makes sure that the configured range of addresses is this engine's to use, and that
// what runs already is in it.
func (e *Engine) settleNetwork() error {
	runs := slices.ContainsFunc(e.all(), func(in *instance) bool { return !in.record.Cleared })
	before := e.store.network()
	switch {
	case before.IsValid() && before != e.cfg.Network && runs:
		return imx.Errorf(imx.Conflict, "instances of this server run in the network %s, so it can't change to %s", before, e.cfg.Network).
			WithHint("start it with --network %s, or destroy its services first", before)
	case runs:
		if err := e.cfg.claim(); err != nil {
			return err
		}
	default:
		if err := e.cfg.unclaimed(); err != nil {
			return err
		}
		if before != e.cfg.Network {
			if err := e.cfg.unclaim(); err != nil {
				return err
			}
		}
	}
	return e.store.putNetwork(e.cfg.Network)
}

// Scale implements engine.Runner.
func (e *Engine) Scale(ctx context.Context, p admission.Pass, r imx.Release, n int) error {
	lock := e.serviceLock(r.Service)
	lock.Lock()
	defer lock.Unlock()
	live := e.inPhase(r, runs)
	surplus, wanted := live[:max(0, len(live)-n)], live[max(0, len(live)-n):]
	if n == 0 && e.sleeps(r) {
		return errors.Join(e.noteKept(r), e.stopAll(ctx, "no longer wanted", surplus...))
	}
	if n == 0 {
		surplus = append(surplus, e.inPhase(r, isWarm)...)
		return errors.Join(e.stopAll(ctx, "no longer wanted", surplus...), e.letGo(ctx, r))
	}
	e.keepRunning(ctx, wanted)
	if missing := n - len(live); missing > 0 {
		if err := p.Covers(r); err != nil {
			return err
		}
		if err := e.soundAgain(r); err != nil {
			return err
		}
		thawed, err := e.thawSome(ctx, r, missing)
		if err := errors.Join(err, e.startAll(ctx, r, missing-thawed)); err != nil || !e.sleeps(r) {
			return err
		}
		return e.letGo(ctx, r) // its instances keep its root now
	}
	return e.stopAll(ctx, "no longer wanted", surplus...)
}

// sleeps reports whether a release that has no instance waits for a connection: then its root stays mounted.
func (e *Engine) sleeps(r imx.Release) bool {
	route := e.routeOf(r.Service)
	return r.Spec.Sleeps() && route != nil && route.Weights[r.Number] > 0
}

// serviceLock lets one Scale or Remove of a service go on at a time.
func (e *Engine) serviceLock(service string) *sync.Mutex {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.scaling[service] == nil {
		e.scaling[service] = &sync.Mutex{}
	}
	return e.scaling[service]
}

// inPhase returns the ids of the release's instances that are in a phase and haven't ended, those
// first that a Scale would stop first.
func (e *Engine) inPhase(r imx.Release, is func(imx.Phase) bool) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var seen []imx.Instance
	for _, in := range e.instances {
		if x := in.record.Instance; x.Service == r.Service && x.Release == r.Number && is(x.Phase) && !in.init.gone() {
			seen = append(seen, x)
		}
	}
	slices.SortFunc(seen, func(a, b imx.Instance) int {
		return cmp.Or(health(a)-health(b), b.Started.Compare(a.Started), cmp.Compare(b.ID, a.ID))
	})
	ids := make([]string, len(seen))
	for i, x := range seen {
		ids[i] = x.ID
	}
	return ids
}

func health(i imx.Instance) int {
	if i.Phase == imx.Healthy {
		return 1
	}
	return 0
}

func runs(p imx.Phase) bool { return p == imx.Starting || p == imx.Healthy || p == imx.Unhealthy }

func isWarm(p imx.Phase) bool { return p == imx.Warm }

// Observe implements engine.Engine.
func (e *Engine) Observe(ctx context.Context) (imx.Seen, error) {
	all := e.all()
	for _, in := range all {
		e.settle(ctx, in)
	}
	var counts map[netip.Addr]int
	if len(all) > 0 {
		counts = e.flows.count()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := imx.Seen{Routes: map[string]imx.Weights{}, Mode: e.mode(), Instances: []imx.Instance{}}
	for _, id := range slices.Sorted(maps.Keys(e.instances)) {
		r := e.instances[id].record
		x := r.Instance
		switch {
		case r.draining():
			x.Reason = engine.Draining(x.Reason)
		case r.Freezing:
			x.Reason = engine.Draining(engine.Freezing)
		}
		if x.Phase != imx.Ended {
			x.Flows = counts[x.Address]
			if counts == nil {
				x.Flows = -1
			}
		}
		seen.Instances = append(seen.Instances, x)
	}
	for service, r := range e.routes {
		if r.Weights != nil {
			seen.Routes[service] = maps.Clone(r.Weights)
		}
		seen.Previews = engine.WithPreview(seen.Previews, r)
	}
	for _, k := range e.uses.kept {
		seen.Kept = append(seen.Kept, k.seen())
	}
	slices.SortFunc(seen.Kept, engine.CompareKept)
	seen.Mended = slices.Clone(e.rules.mended)
	return seen, nil
}

func (e *Engine) mode() []string {
	return []string{
		"crun under conmon", "EROFS root", e.cgroups.mode(), "no capabilities", "seccomp strict",
		"nftables by netlink",
	}
}

// Remove implements engine.Runner.
func (e *Engine) Remove(ctx context.Context, service string, v engine.Volumes) error {
	lock := e.serviceLock(service)
	lock.Lock()
	defer lock.Unlock()
	ended := e.of(service)
	for _, in := range ended {
		if e.settleNow(ctx, in) {
			continue
		}
		id := in.record.Instance.ID // never changes
		e.mu.Lock()
		phase := in.record.Instance.Phase
		e.mu.Unlock()
		if phase == imx.Ended {
			return imx.Errorf(imx.Unavailable, "what instance %s left could not be removed yet", id).
				WithHint("the server's log says why")
		}
		return imx.Errorf(imx.Conflict, "service %q still has instance %s", service, id).
			WithHint("scale its releases to 0 first")
	}
	if err := e.unroute(ctx, service); err != nil {
		return err
	}
	for _, in := range ended {
		if err := e.forget(in); err != nil {
			return err
		}
	}
	if err := e.letGoAll(service); err != nil {
		return err
	}
	if v == engine.DeleteVolumes {
		if err := removeVolumes(e.store.volume(service)); err != nil {
			return err
		}
	}
	return e.tidy(ctx)
}

// tidy removes what no instance and no route needs. With none left, nothing of the engine stays
// outside its folder.
func (e *Engine) tidy(ctx context.Context) error {
	e.gate.Lock()
	defer e.gate.Unlock()
	err := e.roots.sweep(ctx, e.inUse)
	e.mu.Lock()
	empty := len(e.routes) == 0 && len(e.uses.kept) == 0 && !slices.ContainsFunc(slices.Collect(maps.Values(e.instances)), func(in *instance) bool {
		return !in.record.Cleared
	})
	e.mu.Unlock()
	if !empty {
		return err
	}
	return errors.Join(err, e.vanish(ctx))
}

// inUse reports whether an instance of the release still has something in the kernel, or it is kept. The root of one that
// was found to be changed isn't used for being kept: what is mounted next is looked at first.
func (e *Engine) inUse(key string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, in := range e.instances {
		if !in.record.Cleared && releaseKey(in.record.Instance.Service, in.record.Instance.Release) == key {
			return true
		}
	}
	k, kept := e.uses.kept[key]
	return e.uses.kits[key] > 0 || kept && k.Fault == ""
}

func (e *Engine) all() []*instance {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Values(e.instances))
}

// of returns a service's instances.
func (e *Engine) of(service string) []*instance {
	return slices.DeleteFunc(e.all(), func(in *instance) bool { return in.record.Instance.Service != service })
}

// poke wakes Run.
func (e *Engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default: // it will wake anyway
	}
}

func (in *instance) wake() {
	select {
	case in.nudge <- struct{}{}:
	default:
	}
}

// keep writes a record that is in memory already. A failure is only logged: what is lost by it is
// what a server that died before the next successful write would not know.
func (e *Engine) keep(ctx context.Context, r record) {
	if err := e.store.putInstance(r); err != nil {
		e.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a record could not be written",
			slog.String("instance", r.Instance.ID), slog.Any("error", err))
	}
}

func unknown(id string) error {
	return imx.Errorf(imx.NotFound, "the engine knows no instance %q", id).
		WithHint("see `imx ps --all` for those that it keeps")
}
