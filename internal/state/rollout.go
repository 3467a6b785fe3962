package state

import "imx"

// changeRollout returns the service as an event about its rollout, or about its way back, leaves it.
func changeRollout(s *imx.State, e imx.Event) (imx.Service, string, error) {
	switch b := e.Body.(type) {
	case imx.RolloutStepped:
		return with(s, e, b.Service, rolling(e, b.Release, func(r *imx.Rollout) { stepped(r, e, b) }))
	case imx.RolloutWaits:
		return with(s, e, b.Service, rolling(e, b.Release, func(r *imx.Rollout) { r.Waits = b.Reason }))
	case imx.RolloutPaused:
		return with(s, e, b.Service, rolling(e, b.Release, func(r *imx.Rollout) { r.Paused = e.By }))
	case imx.RolloutPromoted:
		return with(s, e, b.Service, func(v *imx.Service) error { return promoted(v, e, b) })
	case imx.TurnedBad:
		return with(s, e, b.Service, func(v *imx.Service) error { return turnedBad(v, e, b) })
	case imx.HoldEnded:
		return with(s, e, b.Service, func(v *imx.Service) error { return holdEnded(v, e) })
	case imx.WayBackChanged:
		return with(s, e, b.Service, func(v *imx.Service) error { return wayBackChanged(v, e, b.Way) })
	default:
		return imx.Service{}, "", misfit(e, "it isn't about a service")
	}
}

// rolling edits the rollout of a release that is being rolled out.
func rolling(e imx.Event, release int, edit func(*imx.Rollout)) func(*imx.Service) error {
	return func(v *imx.Service) error {
		if release != v.Target || v.Target == v.Current {
			return misfit(e, "release %d of service %q isn't being rolled out", release, v.Name)
		}
		edit(&v.Rollout)
		return nil
	}
}

func stepped(r *imx.Rollout, e imx.Event, b imx.RolloutStepped) {
	r.Step, r.Since, r.Reason, r.Waits, r.Confirm = b.Step, e.Time, b.Reason, "", false
}

func promoted(v *imx.Service, e imx.Event, b imx.RolloutPromoted) error {
	if b.Step != v.Rollout.Step {
		return misfit(e, "the rollout of release %d of service %q is at step %d, not %d", b.Release, v.Name, v.Rollout.Step, b.Step)
	}
	return rolling(e, b.Release, func(r *imx.Rollout) {
		r.Confirm, r.Whole, r.Paused, r.Waits = true, r.Whole || b.Whole, "", ""
	})(v)
}

func turnedBad(v *imx.Service, e imx.Event, b imx.TurnedBad) error {
	r, ok := v.Release(b.To)
	switch {
	case b.From != v.Target || v.Target != v.Current:
		return misfit(e, "service %q isn't at release %d", v.Name, b.From)
	case !ok || b.To == b.From || r.State != imx.ReleaseGood:
		return misfit(e, "release %d of service %q is nothing to go back to", b.To, v.Name)
	}
	goBack(v, e, r, b.Reason)
	return judge(v, e, b.From, imx.ReleaseFailed, b.Reason)
}

func holdEnded(v *imx.Service, e imx.Event) error {
	if v.Hold == nil {
		return misfit(e, "service %q isn't held", v.Name)
	}
	v.Hold = nil
	return nil
}

func wayBackChanged(v *imx.Service, e imx.Event, way imx.WayBack) error {
	if v.Destroyed {
		return misfit(e, "service %q is destroyed", v.Name)
	}
	v.WayBack = way
	return nil
}
