// Package fake is an engine in memory, for tests and simulations: its clock, its instances' fates
// and its failures are under the caller's control. It starts no process and opens no port, but
// keeps the same promises as engine/local and passes the same suite.
package fake

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"imx"
	"imx/internal/engine"
)

// Engine is the fake. Time passes for its instances only in Tick.
type Engine struct {
	clock func() time.Time

	mu        sync.Mutex
	instances map[string]*instance
	routes    map[string]engine.Route
	behaviour map[string]Behaviour
	faults    map[string][]error
	taken     map[int]string // foreign holders of ports
	kept      map[string]imx.Kept
	loads     *loads
	made      int // instances made so far: names and addresses count on
	changed   func()
}

// Behaviour is the fate of a release's instances; the zero value gets healthy at the first Tick
// and lives on.
type Behaviour struct {
	Ticks      int    // so many further ticks until it is healthy
	Never      bool   // it never gets healthy
	CrashAfter int    // at this tick of its life it ends by itself; 0 means never
	Exit       int    // with this code
	StopTicks  int    // so many ticks from the stop signal to the end; 0 means at the first
	Flows      int    // established connections that are seen to it
	Says       string // what it writes at its start, in lines
}

type instance struct {
	imx.Instance

	fate    Behaviour
	age     int
	stopped int // ticks since the stop signal
	drain   time.Duration
	lost    time.Time // since when it has no traffic; zero while it has
	until   time.Time // until when one that is stopping may finish its connections
	drained bool      // it got its stop signal
	cooling bool      // it is to be warm when its connections have ended
	sick    string
	log     strings.Builder
}

var _ engine.Engine = (*Engine)(nil)

// New returns an engine without instances, whose instances' times are read from clock.
func New(clock func() time.Time) *Engine {
	return &Engine{
		clock:     clock,
		instances: map[string]*instance{},
		routes:    map[string]engine.Route{},
		behaviour: map[string]Behaviour{},
		faults:    map[string][]error{},
		taken:     map[int]string{},
		kept:      map[string]imx.Kept{},
		loads:     &loads{usage: map[string]imx.Usage{}, arrivals: map[string]int64{}},
		changed:   func() {},
	}
}

// Restarted returns a second engine over the same instances, as after the death of the server:
// what only e's memory held is gone, which is nothing that a caller may rely on.
func (e *Engine) Restarted() *Engine {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := New(e.clock)
	n.instances, n.routes, n.behaviour = e.instances, e.routes, e.behaviour
	n.faults, n.taken, n.kept, n.made, n.loads = e.faults, e.taken, e.kept, e.made, e.loads
	return n
}

// Behave sets the fate of the instances of a release that are started from now on.
func (e *Engine) Behave(service string, release int, b Behaviour) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.behaviour[key(service, release)] = b
}

// Fail makes the next call of an operation fail with err: "admit", "scale", "stop", "route",
// "observe", "load", "logs", "keep" or "remove". For "scale" that is the next instance's start.
func (e *Engine) Fail(operation string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults[operation] = append(e.faults[operation], err)
}

// Take makes a port of the machine taken by a process of that name, "" makes it free.
func (e *Engine) Take(port int, holder string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if holder == "" {
		delete(e.taken, port)
		return
	}
	e.taken[port] = holder
}

// Crash ends an instance as if by itself, with an exit code.
func (e *Engine) Crash(id string, code int) {
	e.change(id, func(in *instance) { in.end(e.clock(), code, exitReason(code)) })
}

// Sicken makes an instance fail its checks from the next Tick on, for a reason; "" heals it.
func (e *Engine) Sicken(id, reason string) {
	e.change(id, func(in *instance) { in.sick = reason })
}

// Spoil makes the root of a kept release one that was changed, for a reason: its warm instances end. "" makes it sound.
func (e *Engine) Spoil(service string, release int, fault string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k, ok := e.kept[key(service, release)]
	if !ok {
		return
	}
	if k.Fault = fault; fault == "" {
		k.Verified = e.clock()
	}
	e.kept[key(service, release)] = k
	for _, in := range e.instances {
		if fault != "" && in.Service == service && in.Release == release && in.warm() {
			in.stop(e.clock(), fault)
		}
	}
}

// Write adds a line to an instance's log.
func (e *Engine) Write(id, line string) {
	e.change(id, func(in *instance) { in.say(e.clock(), line) })
}

// SetFlows sets the number of established connections that are seen to an instance.
func (e *Engine) SetFlows(id string, flows int) {
	e.change(id, func(in *instance) { in.Flows = flows })
}

// Tick lets one round of checks pass for every instance.
func (e *Engine) Tick() {
	e.mu.Lock()
	for _, id := range slices.Sorted(maps.Keys(e.instances)) {
		e.instances[id].tick(e.clock())
	}
	e.noteTraffic(e.clock())
	changed := e.changed
	e.mu.Unlock()
	changed()
}

// Pick returns the instance that the n-th new connection to a service goes to, counting from 0, or
// false where it would be refused. It is the whole network of the fake.
func (e *Engine) Pick(service string, n int) (imx.Instance, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	in, ok := e.pick(service, e.routes[service].Weights, n)
	if ok {
		e.loads.arrivals[service]++
	}
	return in, ok
}

// PickPreview is Pick for the service's preview port.
func (e *Engine) PickPreview(service string, n int) (imx.Instance, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pick(service, preview(e.routes[service]), n)
}

// preview is the weight that a service's preview gives to the release that it leads to.
func preview(r engine.Route) imx.Weights { return imx.Weights{r.Preview: min(1, r.Preview)} }

func (e *Engine) pick(service string, weights imx.Weights, n int) (imx.Instance, bool) {
	backends := backends(e.of(service), weights)
	total := 0
	for release := range backends {
		total += weights[release]
	}
	if total == 0 {
		return imx.Instance{}, false
	}
	slot := n % total
	for _, release := range slices.Sorted(maps.Keys(backends)) {
		if slot < weights[release] {
			of := backends[release]
			return of[n/total%len(of)], true
		}
		slot -= weights[release]
	}
	return imx.Instance{}, false
}

// of are a service's instances, by their names.
func (e *Engine) of(service string) []*instance {
	var list []*instance
	for _, in := range e.instances {
		if in.Service == service {
			list = append(list, in)
		}
	}
	slices.SortFunc(list, byID)
	return list
}

func byID(a, b *instance) int { return strings.Compare(a.ID, b.ID) }

// backends are those of a service's instances that its new connections go to, by release.
func backends(list []*instance, weights imx.Weights) map[int][]imx.Instance {
	backends := map[int][]imx.Instance{}
	for _, phase := range []imx.Phase{imx.Healthy, imx.Unhealthy} {
		if len(backends) > 0 {
			break
		}
		for _, in := range list {
			if in.Phase == phase && weights[in.Release] > 0 {
				backends[in.Release] = append(backends[in.Release], in.Instance)
			}
		}
	}
	return backends
}

// noteTraffic notes which instances new connections don't reach any more.
func (e *Engine) noteTraffic(now time.Time) {
	of := map[string][]*instance{}
	for _, in := range e.instances {
		of[in.Service] = append(of[in.Service], in)
	}
	for service, list := range of {
		e.noteOf(service, list, now)
	}
}

// noteOf is noteTraffic for all instances of one service, in any order.
func (e *Engine) noteOf(service string, list []*instance, now time.Time) {
	reached, route := map[string]bool{}, e.routes[service]
	for _, weights := range []imx.Weights{route.Weights, preview(route)} {
		for _, same := range backends(list, weights) {
			for _, in := range same {
				reached[in.ID] = true
			}
		}
	}
	for _, in := range list {
		switch {
		case reached[in.ID]:
			in.lost = time.Time{}
		case in.lost.IsZero():
			in.lost = now
		}
	}
}

func (e *Engine) change(id string, f func(*instance)) {
	e.mu.Lock()
	if in := e.instances[id]; in != nil {
		f(in)
	}
	changed := e.changed
	e.mu.Unlock()
	changed()
}

// fault takes the next injected failure of an operation, nil where there is none.
func (e *Engine) fault(operation string) error {
	queue := e.faults[operation]
	if len(queue) == 0 {
		return nil
	}
	e.faults[operation] = queue[1:]
	return queue[0]
}

func (e *Engine) newInstance(r imx.Release) *instance {
	e.made++
	b := e.behaviour[key(r.Service, r.Number)]
	drain := time.Duration(r.Spec.Drain)
	if r.Spec.Exclusive() {
		drain = 0
	}
	in := &instance{fate: b, drain: drain, lost: e.clock(), Instance: imx.Instance{
		ID:      fmt.Sprintf("%s-%d-%05d", r.Service, r.Number, e.made),
		Service: r.Service,
		Release: r.Number,
		Image:   r.Image.Digest,
		Address: netip.AddrFrom4([4]byte{10, 213, byte(128 + e.made>>8&127), byte(e.made & 255)}),
		Phase:   imx.Starting,
		Started: e.clock(),
		Changed: e.clock(),
		Flows:   b.Flows,
	}}
	for line := range strings.Lines(b.Says) {
		in.say(e.clock(), strings.TrimSuffix(line, "\n"))
	}
	return in
}

// Run implements engine.Engine: it hands changed to Tick and waits.
func (e *Engine) Run(ctx context.Context, changed func()) error {
	e.mu.Lock()
	e.changed = changed
	e.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (in *instance) tick(now time.Time) {
	in.age++
	switch in.Phase {
	case imx.Ended, imx.Warm:
	case imx.Stopping:
		if in.drained = in.drained || in.Flows == 0 || !now.Before(in.until); !in.drained {
			return
		}
		if in.stopped++; in.stopped > in.fate.StopTicks {
			in.end(now, 0, in.Reason)
		}
	case imx.Starting, imx.Healthy, imx.Unhealthy:
		if in.fate.CrashAfter > 0 && in.age >= in.fate.CrashAfter {
			in.end(now, in.fate.Exit, exitReason(in.fate.Exit))
			return
		}
		in.check(now)
		in.cool(now)
	}
}

// cool freezes an instance that is to be warm and has finished its connections, or has had its time for that.
func (in *instance) cool(now time.Time) {
	if !in.cooling || in.Phase == imx.Healthy && in.Flows > 0 && (in.lost.IsZero() || now.Before(in.lost.Add(in.drain))) {
		return
	}
	in.cooling = false
	if in.Phase != imx.Healthy {
		in.stop(now, "no longer wanted")
		return
	}
	in.Flows = 0
	in.move(imx.Warm, now)
}

func (in *instance) check(now time.Time) {
	switch {
	case in.sick != "" || in.fate.Never:
		in.Reason = in.sick
		if in.fate.Never {
			in.Reason = "the check never passes"
		}
		if in.Phase == imx.Healthy {
			in.move(imx.Unhealthy, now)
		}
	case in.age > in.fate.Ticks:
		in.Reason = ""
		in.move(imx.Healthy, now)
		if in.Ready.IsZero() {
			in.Ready = now
		}
	}
}

func (in *instance) end(now time.Time, code int, reason string) {
	if in.Phase == imx.Ended {
		return
	}
	in.Exit = &imx.Exit{Code: code, Wanted: in.Phase == imx.Stopping}
	in.move(imx.Ended, now)
	in.Reason, in.Ended, in.Flows = reason, now, 0
}

func (in *instance) move(to imx.Phase, now time.Time) {
	if in.Phase != to {
		in.Phase, in.Changed = to, now
	}
}

func (in *instance) say(now time.Time, line string) {
	fmt.Fprintf(&in.log, "%s stdout %s\n", now.UTC().Format(time.RFC3339Nano), line)
}

func (in *instance) runs() bool {
	return in.Phase == imx.Starting || in.Phase == imx.Healthy || in.Phase == imx.Unhealthy
}

func (in *instance) warm() bool { return in.Phase == imx.Warm }

func exitReason(code int) string {
	return fmt.Sprintf("its process ended by itself with code %d", code)
}

func key(service string, release int) string { return fmt.Sprintf("%s-%d", service, release) }
