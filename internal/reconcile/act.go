package reconcile

import (
	"context"
	"fmt"

	"imx"
	"imx/internal/engine"
	"imx/internal/rollout"
)

// wanted is what a service should come to.
func wanted(v imx.Service) rollout.Wanted {
	w := rollout.Wanted{
		Service: v.Name, Replicas: v.Replicas, CurrentReplicas: v.CurrentReplicas,
		Since: v.Since, Moved: v.Moved, Destroyed: v.Destroyed, Extra: v.Releases,
	}
	w.Target, _ = v.Release(v.Target)
	w.Current, _ = v.Release(v.Current)
	return w
}

// present is what there is of a service: its live instances and routes as the engine sees them,
// its ended instances as the log remembers them.
func (l *Loop) present(v imx.Service, s *imx.State, seen imx.Seen) rollout.Seen {
	p := rollout.Seen{Routes: seen.Routes[v.Name]}
	for _, in := range seen.Instances {
		if in.Service == v.Name && in.Phase != imx.Ended {
			if in.Changed.IsZero() { // an engine need not know: the log does
				in.Changed = s.Instances[in.ID].Changed
			}
			p.Instances = append(p.Instances, in)
		}
	}
	for _, in := range s.Instances {
		if in.Service == v.Name && in.Phase == imx.Ended {
			p.Ended = append(p.Ended, in)
		}
	}
	if err := l.trouble[v.Name]; err != nil {
		p.Trouble = err.Error()
	}
	return p
}

// act does one action. What it did in the engine it then writes down; killed in between, the
// next step sees what was done and writes that down.
func (l *Loop) act(ctx context.Context, v imx.Service, a rollout.Action, seen imx.Seen) error {
	switch a := a.(type) {
	case rollout.Scale:
		r, ok := v.Release(a.Release)
		if !ok { // nothing but an end is ever decided of it
			return l.stopStrangers(ctx, v.Name, a.Release, seen)
		}
		return l.scale(ctx, r, a.Replicas)
	case rollout.Stop:
		return l.cfg.Engine.Stop(ctx, a.Instance, a.Reason)
	case rollout.Route:
		return l.route(ctx, v, a.Weights)
	case rollout.Finish:
		return l.cfg.Control.Record(imx.Server, imx.RolloutFinished{Service: v.Name, Release: a.Release})
	case rollout.Fail:
		return l.cfg.Control.Record(imx.Server, imx.RolloutFailed{Service: v.Name, Release: a.Release, Reason: a.Reason})
	default:
		return fmt.Errorf("reconcile: an action of unknown type %T", a)
	}
}

// scale asks for a pass whether or not something has to start for it: the engine knows that, and stops surplus
// instances without one.
func (l *Loop) scale(ctx context.Context, r imx.Release, n int) error {
	pass, denied := l.cfg.Pass(ctx, r)
	err := l.cfg.Engine.Scale(ctx, pass, r, n)
	if denied != nil && imx.KindOf(err) == imx.Refused {
		return denied
	}
	return err
}

// stopStrangers stops the instances of a release that the log doesn't know: the log may have been
// put back to an older state than the engine's.
func (l *Loop) stopStrangers(ctx context.Context, service string, release int, seen imx.Seen) error {
	for _, in := range seen.Instances {
		if in.Service != service || in.Release != release || in.Phase == imx.Stopping || in.Phase == imx.Ended {
			continue
		}
		if err := l.cfg.Engine.Stop(ctx, in.ID, "the log doesn't know its release"); err != nil {
			return err
		}
	}
	return nil
}

func (l *Loop) route(ctx context.Context, v imx.Service, w imx.Weights) error {
	r := engine.Route{Service: v.Name, Weights: w}
	for number := range w {
		rel, ok := v.Release(number)
		if !ok {
			return imx.Errorf(imx.Internal, "the log doesn't hold release %d of service %s", number, v.Name)
		}
		r.Releases = append(r.Releases, rel)
	}
	if err := l.cfg.Engine.Route(ctx, r); err != nil {
		return err
	}
	return l.cfg.Control.Record(imx.Server, imx.TrafficMoved{Service: v.Name, Weights: w})
}
