package state

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"imx"
)

func foldService(s *imx.State, e imx.Event) error {
	v, name, err := change(s, e)
	if err != nil {
		return err
	}
	put(&s.Services, name, v)
	failedCandidate(s, e)
	outdate(s, e, name)
	return nil
}

// change returns the service as an event about it leaves it, with its name.
func change(s *imx.State, e imx.Event) (imx.Service, string, error) {
	switch b := e.Body.(type) {
	case imx.RolloutFinished:
		return with(s, e, b.Service, func(v *imx.Service) error { return finished(v, e, b.Release) })
	case imx.RolloutFailed:
		return with(s, e, b.Service, func(v *imx.Service) error { return failed(v, e, b) })
	case imx.RolledBack:
		return with(s, e, b.Service, func(v *imx.Service) error { return rolledBack(v, e, b) })
	case imx.TrafficMoved:
		return with(s, e, b.Service, func(v *imx.Service) error { return moved(v, e, b.Weights) })
	case imx.Scaled:
		return with(s, e, b.Service, func(v *imx.Service) error { return scaled(v, e, b) })
	case imx.SizeFreed:
		return with(s, e, b.Service, func(v *imx.Service) error { return sizeFreed(v, e) })
	case imx.Destroyed:
		return with(s, e, b.Service, func(v *imx.Service) error { return destroyed(v, e, b) })
	case imx.Removed:
		return with(s, e, b.Service, func(v *imx.Service) error { return removed(v, e) })
	default:
		return changeRollout(s, e)
	}
}

// with returns a changed copy of the named service.
func with(s *imx.State, e imx.Event, name string, edit func(*imx.Service) error) (imx.Service, string, error) {
	v, ok := s.Services[name]
	if !ok {
		return v, name, misfit(e, "there is no service %q", name)
	}
	err := edit(&v)
	return v, name, err
}

func finished(v *imx.Service, e imx.Event, release int) error {
	if release != v.Target {
		return misfit(e, "release %d of service %q isn't its target: release %d is", release, v.Name, v.Target)
	}
	v.Current, v.CurrentReplicas = release, v.Replicas
	v.Rollout, v.Finished, v.WayBack = imx.Rollout{}, e.Time, imx.WayBack{}
	reason := ""
	if r, _ := v.Release(release); v.Replicas == 0 {
		reason = r.Reason
		if r.State == imx.ReleasePending {
			reason = Untried
		}
	}
	return judge(v, e, release, imx.ReleaseGood, reason)
}

// Untried is the Reason of a release that became good without having run.
const Untried = "no instance of it was wanted, so it wasn't tried"

func failed(v *imx.Service, e imx.Event, b imx.RolloutFailed) error {
	if b.Release != v.Target || v.Target == v.Current {
		return misfit(e, "release %d of service %q isn't being rolled out", b.Release, v.Name)
	}
	v.Target, v.Since, v.Rollout = v.Current, e.Time, imx.Rollout{}
	if h := v.Hold; h != nil && h.From == v.Current && h.By != imx.Server {
		v.Hold = nil // what a person went back from is what it is at again: there is nothing to hold it at
	}
	comeBack(v)
	return judge(v, e, b.Release, imx.ReleaseFailed, b.Reason)
}

// judge sets the state of a release in a copy of the service's releases.
func judge(v *imx.Service, e imx.Event, release int, state imx.ReleaseState, reason string) error {
	i := slices.IndexFunc(v.Releases, func(r imx.Release) bool { return r.Number == release })
	if i < 0 {
		return misfit(e, "service %q has no release %d", v.Name, release)
	}
	v.Releases = slices.Clone(v.Releases)
	v.Releases[i].State, v.Releases[i].Reason = state, reason
	return nil
}

func rolledBack(v *imx.Service, e imx.Event, b imx.RolledBack) error {
	r, ok := v.Release(b.To)
	switch {
	case v.Destroyed:
		return misfit(e, "service %q is destroyed", v.Name)
	case b.From != v.Target:
		return misfit(e, "the target of service %q is release %d, not %d", v.Name, v.Target, b.From)
	case !ok || r.State != imx.ReleaseGood:
		return misfit(e, "release %d of service %q was never good", b.To, v.Name)
	}
	if err := supersede(v, e, fmt.Sprintf("it was rolled back to release %d before it was judged", b.To)); err != nil {
		return err
	}
	goBack(v, e, r, b.Reason)
	return nil
}

// goBack makes an earlier release the target, and holds the service there.
func goBack(v *imx.Service, e imx.Event, r imx.Release, reason string) {
	v.Hold = &imx.Hold{By: e.By, Reason: reason, From: v.Target, Since: e.Time}
	from, _ := v.Release(v.Target)
	comeBack(v)
	if v.Stopped != nil {
		v.Replicas, v.Stopped = v.Stopped.Replicas, nil
	}
	resize(v, from, r)
	v.Target, v.Since, v.Rollout = r.Number, e.Time, imx.Rollout{}
	if v.Target == v.Current {
		v.CurrentReplicas = v.Replicas
	}
}

// supersede ends the release that is being rolled out, if there is one, because something else is
// wanted now.
func supersede(v *imx.Service, e imx.Event, reason string) error {
	if r, ok := v.Release(v.Target); !ok || r.State != imx.ReleasePending {
		return nil
	}
	return judge(v, e, v.Target, imx.ReleaseSuperseded, reason)
}

// comeBack drops the number of instances that was to come with a rollout. Before the first good
// release there is no other.
func comeBack(v *imx.Service) {
	if v.Current != 0 {
		v.Replicas = v.CurrentReplicas
	}
}

func moved(v *imx.Service, e imx.Event, weights imx.Weights) error {
	for number := range weights {
		if _, ok := v.Release(number); !ok {
			return misfit(e, "service %q has no release %d", v.Name, number)
		}
	}
	v.Routes, v.Moved = nil, e.Time
	if len(weights) > 0 {
		v.Routes = maps.Clone(weights)
	}
	return nil
}

func scaled(v *imx.Service, e imx.Event, b imx.Scaled) error {
	if v.Destroyed || b.Replicas < 0 {
		return misfit(e, "service %q can't have %d instances", v.Name, b.Replicas)
	}
	had := v.Stopped
	v.Stopped = nil
	if b.Denied {
		v.Stopped = &imx.Stopped{Release: v.Target, Replicas: v.Replicas, Reason: b.Reason, Time: e.Time}
		if had != nil {
			v.Stopped.Replicas = had.Replicas
		}
	}
	v.Replicas, v.CurrentReplicas = b.Replicas, b.Replicas
	sized(v, e, b)
	return nil
}

// sized notes who chose the number of instances of a service that has a scale block. What a person puts to sleep wakes up
// by itself; every other number of theirs stays. What the policy stops has the number that it had when it may go on.
func sized(v *imx.Service, e imx.Event, b imx.Scaled) {
	r, _ := v.Release(v.Target)
	if r.Spec.Scale == nil || b.Denied {
		return
	}
	was := v.Sizing.Fixed
	v.Sizing = imx.Sizing{Since: e.Time, Reason: b.Reason, Fixed: was}
	if e.By != imx.Server {
		v.Sizing.Fixed = e.By
	}
	if b.Replicas == 0 && r.Spec.Sleeps() {
		v.Sizing.Fixed = ""
	}
}

func sizeFreed(v *imx.Service, e imx.Event) error {
	if v.Destroyed || v.Sizing.Fixed == "" {
		return misfit(e, "nobody has fixed the number of instances of service %q", v.Name)
	}
	v.Sizing.Fixed = ""
	return nil
}

// resize brings the number of instances of a service that goes back to a release within what that allows. One that sleeps
// and goes back to a release that nothing would wake gets the instances that the release began with.
func resize(v *imx.Service, from, to imx.Release) {
	slept := v.Replicas == 0 && v.SizesItself() && from.Spec.Sleeps()
	switch {
	case to.Spec.Scale == nil:
		v.Sizing = imx.Sizing{}
		if slept {
			v.Replicas = to.Spec.Replicas
		}
	case v.Sizing.Fixed == "":
		v.Replicas = to.Spec.Within(v.Replicas)
	}
	if to.Spec.Exclusive() {
		v.Replicas = min(v.Replicas, 1)
	}
}

func destroyed(v *imx.Service, e imx.Event, b imx.Destroyed) error {
	if v.Destroyed {
		return misfit(e, "service %q is destroyed already", v.Name)
	}
	if err := supersede(v, e, "the service was destroyed before it was judged"); err != nil {
		return err
	}
	v.Destroyed, v.VolumesToo, v.Since = true, b.Volumes, e.Time
	v.Target, v.Current, v.Replicas, v.CurrentReplicas, v.Hold, v.Routes, v.Stopped = 0, 0, 0, 0, nil, nil, nil
	v.Rollout, v.WayBack, v.Finished, v.Sizing = imx.Rollout{}, imx.WayBack{}, time.Time{}, imx.Sizing{}
	return nil
}

func removed(v *imx.Service, e imx.Event) error {
	if !v.Destroyed {
		return misfit(e, "service %q isn't destroyed", v.Name)
	}
	v.Removed = true
	return nil
}
