package fake

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/engine"
)

// Admit implements engine.Engine.
func (e *Engine) Admit(_ context.Context, r imx.Release) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.fault("admit"); err != nil {
		return err
	}
	return e.portsFree(r)
}

func (e *Engine) portsFree(r imx.Release) error {
	for _, port := range engine.Ports(r) {
		if holder := e.holder(r.Service, port); holder != "" {
			return imx.Errorf(imx.Conflict, "port %d, which service %q publishes, is taken by %s", port, r.Service, holder).
				WithHint("publish another port, or end what holds this one")
		}
	}
	return nil
}

// holder names who but the service itself holds a port.
func (e *Engine) holder(service string, port int) string {
	if who := e.taken[port]; who != "" {
		return "process " + who
	}
	for other, route := range e.routes {
		for _, r := range route.Releases {
			if other != service && slices.Contains(engine.Ports(r), port) {
				return "service " + other
			}
		}
	}
	return ""
}

// Scale implements engine.Runner.
func (e *Engine) Scale(_ context.Context, p admission.Pass, r imx.Release, n int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	running := e.inPhase(r, (*instance).runs)
	slices.SortFunc(running, func(a, b *instance) int { return cmp.Or(health(a)-health(b), cmp.Compare(b.ID, a.ID)) })
	for _, in := range running[:max(0, len(running)-n)] {
		in.stop(e.clock(), "no longer wanted")
	}
	for _, in := range running[max(0, len(running)-n):] {
		in.cooling = false
	}
	warm := e.inPhase(r, (*instance).warm)
	sleeps := r.Spec.Sleeps() && e.routes[r.Service].Weights[r.Number] > 0
	switch {
	case n == 0 && sleeps:
		e.kept[key(r.Service, r.Number)] = imx.Kept{Service: r.Service, Release: r.Number, Verified: e.clock()}
		return nil
	case sleeps:
		delete(e.kept, key(r.Service, r.Number))
	}
	if n == 0 {
		for _, in := range warm {
			in.stop(e.clock(), "no longer wanted")
		}
		delete(e.kept, key(r.Service, r.Number))
		return nil
	}
	missing := max(0, n-len(running))
	if missing > 0 {
		if err := p.Covers(r); err != nil {
			return err
		}
	}
	thawed := warm[:min(missing, len(warm))]
	for _, in := range thawed {
		in.move(imx.Starting, e.clock())
	}
	var errs []error
	for range missing - len(thawed) {
		if err := e.fault("scale"); err != nil {
			errs = append(errs, err)
			continue
		}
		in := e.newInstance(r)
		e.instances[in.ID] = in
	}
	return errors.Join(errs...)
}

// inPhase returns the release's instances that are in a phase, by their names.
func (e *Engine) inPhase(r imx.Release, is func(*instance) bool) []*instance {
	var found []*instance
	for _, in := range e.instances {
		if in.Service == r.Service && in.Release == r.Number && is(in) {
			found = append(found, in)
		}
	}
	slices.SortFunc(found, byID)
	return found
}

// Keep implements engine.Engine.
func (e *Engine) Keep(_ context.Context, r imx.Release, n int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.fault("keep"); err != nil {
		return err
	}
	if e.routes[r.Service].LeadsTo(r.Number) {
		return engine.StillRouted(r)
	}
	if r.Spec.Exclusive() || r.Spec.How().Warm != imx.WarmFrozen {
		n = 0
	}
	if _, ok := e.kept[key(r.Service, r.Number)]; !ok {
		e.kept[key(r.Service, r.Number)] = imx.Kept{Service: r.Service, Release: r.Number, Verified: e.clock()}
	}
	for _, in := range append(e.inPhase(r, (*instance).warm), e.inPhase(r, (*instance).runs)...) {
		switch {
		case n > 0 && in.Phase == imx.Warm:
			n--
		case n > 0 && in.Phase == imx.Healthy:
			in.cooling = true
			n--
		default:
			in.stop(e.clock(), "no longer wanted")
		}
	}
	return nil
}

// health orders the instances that a Scale stops first before the others.
func health(in *instance) int {
	if in.Phase == imx.Healthy {
		return 1
	}
	return 0
}

// Stop implements engine.Runner.
func (e *Engine) Stop(_ context.Context, id, reason string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.fault("stop"); err != nil {
		return err
	}
	in := e.instances[id]
	if in == nil {
		return unknown(id)
	}
	in.stop(e.clock(), reason)
	return nil
}

func (in *instance) stop(now time.Time, reason string) {
	if !in.runs() && !in.warm() {
		return
	}
	in.until = now.Add(in.drain)
	if !in.lost.IsZero() {
		in.until = in.lost.Add(in.drain)
	}
	in.drained = in.Ready.IsZero() || in.warm() || in.Phase == imx.Unhealthy || !in.until.After(now)
	in.move(imx.Stopping, now)
	in.Reason = reason
}

// Route implements engine.Engine.
func (e *Engine) Route(_ context.Context, r engine.Route) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.fault("route"); err != nil {
		return err
	}
	if len(r.Releases) == 0 {
		r.Releases = e.routes[r.Service].Releases
	}
	for _, release := range r.Releases {
		if err := e.portsFree(release); err != nil {
			return err
		}
	}
	r.Weights = maps.Clone(r.Weights)
	e.routes[r.Service] = r
	list := e.of(r.Service)
	for _, in := range list {
		in.cooling = in.cooling && !r.LeadsTo(in.Release)
	}
	e.noteOf(r.Service, list, e.clock())
	return nil
}

// Observe implements engine.Engine.
func (e *Engine) Observe(context.Context) (imx.Seen, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.fault("observe"); err != nil {
		return imx.Seen{}, err
	}
	return e.seen(), nil
}

// Seen is what Observe returns where nothing fails, for who looks at the engine from outside.
func (e *Engine) Seen() imx.Seen {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen()
}

func (e *Engine) seen() imx.Seen {
	seen := imx.Seen{Routes: map[string]imx.Weights{}, Mode: []string{"in memory"}}
	for _, k := range slices.Sorted(maps.Keys(e.kept)) {
		seen.Kept = append(seen.Kept, e.kept[k])
	}
	slices.SortFunc(seen.Kept, engine.CompareKept)
	list := slices.SortedFunc(maps.Values(e.instances), byID)
	seen.Instances = make([]imx.Instance, 0, len(list))
	for _, in := range list {
		x := in.Instance
		switch {
		case x.Phase == imx.Stopping && !in.drained:
			x.Reason = engine.Draining(x.Reason)
		case x.Phase == imx.Healthy && in.cooling:
			x.Reason = engine.Draining(engine.Freezing)
		}
		seen.Instances = append(seen.Instances, x)
	}
	for service, route := range e.routes {
		if route.Weights != nil {
			seen.Routes[service] = maps.Clone(route.Weights)
		}
		seen.Previews = engine.WithPreview(seen.Previews, route)
	}
	return seen
}

// Logs implements engine.Engine. It ignores Follow: the reader ends where the log now ends.
func (e *Engine) Logs(_ context.Context, id string, o imx.LogOptions) (io.ReadCloser, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.fault("logs"); err != nil {
		return nil, err
	}
	in := e.instances[id]
	if in == nil {
		return nil, unknown(id)
	}
	lines := strings.SplitAfter(in.log.String(), "\n")
	lines = lines[:len(lines)-1]
	if o.Tail > 0 {
		lines = lines[max(0, len(lines)-o.Tail):]
	}
	var text strings.Builder
	for _, line := range lines {
		if !o.Times {
			_, line, _ = strings.Cut(line, " stdout ")
		}
		text.WriteString(line)
	}
	return io.NopCloser(strings.NewReader(text.String())), nil
}

// Remove implements engine.Runner. The fake has no volumes.
func (e *Engine) Remove(_ context.Context, service string, _ engine.Volumes) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.fault("remove"); err != nil {
		return err
	}
	for _, in := range e.instances {
		if in.Service == service && in.Phase != imx.Ended {
			return imx.Errorf(imx.Conflict, "service %q still has instance %s", service, in.ID).
				WithHint("scale its releases to 0 first")
		}
	}
	maps.DeleteFunc(e.instances, func(_ string, in *instance) bool { return in.Service == service })
	maps.DeleteFunc(e.kept, func(_ string, k imx.Kept) bool { return k.Service == service })
	delete(e.routes, service)
	return nil
}

func unknown(id string) error {
	return imx.Errorf(imx.NotFound, "the engine knows no instance %q", id).WithHint("see `imx ps --all` for those that it keeps")
}
