package daemon

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	"imx"
	"imx/internal/control"
	"imx/internal/engine/local"
	"imx/internal/reconcile"
	"imx/internal/review"
	"imx/internal/state"
)

// viewer answers questions from the state, the log and the engine.
type viewer struct {
	*server
	version imx.Version
}

// Version says which imx this is.
func (v viewer) Version() imx.Version { return v.version }

// Status shows the state now, or at a time.
func (v viewer) Status(ctx context.Context, at time.Time) (imx.Status, error) {
	if !at.IsZero() {
		past, err := v.control.At(at)
		if err != nil {
			return imx.Status{}, err
		}
		return imx.Status{Version: v.version.Version, State: *past}, nil
	}
	seen, err := v.engine.Observe(ctx)
	if err != nil {
		return imx.Status{}, err
	}
	usage, err := v.meter.usage(ctx)
	if err != nil {
		return imx.Status{}, err
	}
	now := *v.control.State()
	now.Instances = maps.Clone(now.Instances)
	for id, in := range now.Instances {
		if u, ok := usage[id]; ok {
			in.Usage = &u
			now.Instances[id] = in
		}
	}
	checkpoint := v.log.Checkpoint()
	return imx.Status{
		Version: v.version.Version, State: now, Mode: slices.Concat(seen.Mode, v.room.mode(), v.keeper.Mode()), Checkpoint: &checkpoint, Environment: v.judge.Environment(),
	}, nil
}

// Why follows the chain from an instance, or from the newest one of a service by that name, back to
// the commit.
func (v viewer) Why(_ context.Context, id string) (imx.Why, error) {
	s := v.control.State()
	in, ok := s.Instances[id]
	if !ok {
		in, ok = newest(maps.Values(s.Instances), id)
	}
	if !ok {
		return imx.Why{}, imx.Errorf(imx.NotFound, "there is no instance %q", id).WithHint("imx ps --all lists those that are known")
	}
	r, ok := s.Services[in.Service].Release(in.Release)
	if !ok {
		return imx.Why{}, imx.Errorf(imx.Internal, "the log doesn't hold release %d of service %s", in.Release, in.Service)
	}
	w := imx.Why{Instance: in, Release: r, Image: r.Image, Plan: r.Plan, Source: r.Source}
	if c, ok := s.Candidates[r.Candidate]; ok {
		c.Reviews = review.Marked(s, c)
		w.Candidate = &c
	}
	if v, ok := s.Verdicts[r.Service][r.Number]; ok {
		w.Verdict = &v
	}
	var err error
	if w.ImagePlan, err = v.pipeline.ImagePlan(r.Image.Plan); err != nil {
		return w, err
	}
	for e, err := range v.control.Events(0) {
		if err != nil {
			return w, err
		}
		if made(e, w) {
			w.Events = append(w.Events, e)
		}
	}
	return w, nil
}

// made reports whether an event is part of how the instance came to be.
func made(e imx.Event, w imx.Why) bool {
	switch b := e.Body.(type) {
	case imx.ApplyStarted:
		return b.Apply == w.Release.Apply
	case imx.Applied:
		return b.Apply == w.Release.Apply
	case imx.ImageBuilt:
		return b.Image.Digest == w.Image.Digest
	case imx.InstanceStarted:
		return b.Instance.ID == w.Instance.ID
	case imx.InstanceChanged:
		return b.Instance.ID == w.Instance.ID
	case imx.InstanceEnded:
		return b.Instance.ID == w.Instance.ID
	case imx.InstanceTainted:
		return b.Instance == w.Instance.ID
	case imx.TaintEnded:
		return b.Instance == w.Instance.ID
	}
	return false
}

// Events yields the log from an index on.
func (v viewer) Events(ctx context.Context, from int64, follow bool) iter.Seq2[imx.Event, error] { //nolint:revive // flag-parameter: the signature is that of api.Viewer
	if follow {
		return v.control.Follow(ctx, from)
	}
	return v.control.Events(from)
}

// Rollout is how a service's rollout stands now.
func (v viewer) Rollout(_ context.Context, service string) (imx.RolloutView, error) {
	s, known := v.control.State().Services[service]
	if !known {
		return imx.RolloutView{}, imx.Errorf(imx.NotFound, "there is no service %q", service).WithHint("imx status lists the services")
	}
	return reconcile.View(s, v.counter.Counted(s), time.Now()), nil
}

// History is what the log has of a service's rollouts.
func (v viewer) History(_ context.Context, service string) ([]imx.Event, error) {
	if _, known := v.control.State().Services[service]; !known {
		return nil, imx.Errorf(imx.NotFound, "there is no service %q", service).WithHint("imx status lists the services")
	}
	list := []imx.Event{}
	for e, err := range v.control.Events(0) {
		if err != nil {
			return nil, err
		}
		if e, about := state.History(e, service); about {
			list = append(list, e)
		}
	}
	return list, nil
}

// CheckLog verifies the log from its files, as `imx log verify` does without a server.
func (v viewer) CheckLog(ctx context.Context, earlier ...imx.Checkpoint) (imx.LogCheck, error) {
	return VerifyLog(ctx, v.data, earlier...)
}

// fits checks that a record is an event, and the one that belongs at its index.
func fits(index int64, record []byte) error {
	var e imx.Event
	if err := json.Unmarshal(record, &e); err != nil {
		return err
	}
	if e.Index != index {
		return imx.Errorf(imx.Refused, "event %d stands at place %d", e.Index, index)
	}
	return nil
}

// operator changes what is wanted and waits until it is so.
type operator struct {
	*server
}

// Rollback goes back to an earlier release.
func (o operator) Rollback(ctx context.Context, by imx.Principal, service string, to int, report imx.Report) (imx.Release, error) {
	return o.pipeline.Rollback(ctx, by, service, to, report)
}

// Scale sets a service's number of instances, or gives it back to its scale block.
func (o operator) Scale(_ context.Context, by imx.Principal, service string, req imx.ScaleRequest, _ imx.Report) (imx.Service, error) {
	if req.Auto {
		return o.control.Unfix(by, service)
	}
	return o.control.Scale(by, service, *req.Replicas)
}

// Destroy takes services down and waits until nothing of them runs any more.
func (o operator) Destroy(ctx context.Context, by imx.Principal, services []string, volumes bool, report imx.Report) error {
	return o.pipeline.Destroy(ctx, by, control.Volumes(volumes), services, report)
}

// logs shows what instances wrote, with the newest instance of a service standing for it.
type logs struct {
	engine *local.Engine
}

// Logs returns the log of an instance, or of the newest instance of a service by that name.
func (l logs) Logs(ctx context.Context, name string, o imx.LogOptions) (io.ReadCloser, error) {
	seen, err := l.engine.Observe(ctx)
	if err != nil {
		return nil, err
	}
	if in, ok := newest(slices.Values(seen.Instances), name); ok {
		name = in.ID
	}
	return l.engine.Logs(ctx, name, o)
}

// newest returns the instance of a service that was started last.
func newest(instances iter.Seq[imx.Instance], service string) (found imx.Instance, ok bool) {
	for in := range instances {
		if in.Service == service && in.Started.After(found.Started) {
			found, ok = in, true
		}
	}
	return found, ok
}
