package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"imx"
	"imx/internal/engine"
	"imx/internal/rollout"
)

// act does one action. What it did in the engine it then writes down; killed in between, the
// next step sees what was done and writes that down.
func (l *Loop) act(ctx context.Context, v imx.Service, a rollout.Action, m *moment) error {
	switch a := a.(type) {
	case rollout.Scale:
		r, ok := v.Release(a.Release)
		if !ok { // nothing but an end is ever decided of it
			return l.stopStrangers(ctx, a.Release, m.of[v.Name].live)
		}
		if v.Target == v.Current && a.Release == wanted(v, nil).Back.Number {
			l.tried(v, r)
		}
		return l.scale(ctx, r, a.Replicas)
	case rollout.Stop:
		return l.cfg.Engine.Stop(ctx, a.Instance, a.Reason)
	case rollout.Route:
		return l.route(ctx, v, a)
	case rollout.Keep:
		return l.keep(ctx, v, a)
	default:
		return l.tell(v, a)
	}
}

// tell writes down what was decided that the engine has no part in.
func (l *Loop) tell(v imx.Service, a rollout.Action) error {
	var body imx.Body
	switch a := a.(type) {
	case rollout.Finish:
		body = imx.RolloutFinished{Service: v.Name, Release: a.Release}
	case rollout.Fail:
		body = imx.RolloutFailed{Service: v.Name, Release: a.Release, Reason: a.Reason}
	case rollout.Advance:
		body = imx.RolloutStepped{Service: v.Name, Release: a.Release, Step: a.Step, Share: a.Share, Reason: a.Reason}
	case rollout.Wait:
		body = imx.RolloutWaits{Service: v.Name, Release: a.Release, Reason: a.Reason}
	case rollout.Revert:
		body = imx.TurnedBad{Service: v.Name, From: a.From, To: a.To, Reason: a.Reason}
	case rollout.Report:
		body = imx.WayBackChanged{Service: v.Name, Way: a.Way}
	default:
		return fmt.Errorf("reconcile: an action of unknown type %T", a)
	}
	return l.cfg.Control.Record(imx.Server, body)
}

func (l *Loop) keep(ctx context.Context, v imx.Service, a rollout.Keep) error {
	r, ok := v.Release(a.Release)
	if !ok {
		return imx.Errorf(imx.Internal, "the log doesn't hold release %d of service %s", a.Release, v.Name)
	}
	return l.cfg.Engine.Keep(ctx, r, a.Replicas)
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
func (l *Loop) stopStrangers(ctx context.Context, release int, live []*imx.Instance) error {
	for _, in := range live {
		if in.Release != release || in.Phase == imx.Stopping {
			continue
		}
		if err := l.cfg.Engine.Stop(ctx, in.ID, "the log doesn't know its release"); err != nil {
			return err
		}
	}
	return nil
}

// route moves the traffic, and writes that down. What only the preview has moved is no news.
func (l *Loop) route(ctx context.Context, v imx.Service, a rollout.Route) error {
	r := engine.Route{Service: v.Name, Weights: a.Weights, Preview: a.Preview}
	numbers := slices.Collect(maps.Keys(a.Weights))
	if a.Preview != 0 {
		numbers = append(numbers, a.Preview)
	}
	slices.Sort(numbers)
	for _, number := range slices.Compact(numbers) {
		rel, ok := v.Release(number)
		if !ok {
			return imx.Errorf(imx.Internal, "the log doesn't hold release %d of service %s", number, v.Name)
		}
		r.Releases = append(r.Releases, rel)
	}
	if err := l.cfg.Engine.Route(ctx, r); err != nil {
		return err
	}
	if maps.Equal(v.Routes, a.Weights) {
		return nil
	}
	return l.cfg.Control.Record(imx.Server, imx.TrafficMoved{Service: v.Name, Weights: a.Weights})
}
