package reconcile

import (
	"time"

	"imx"
	"imx/internal/rollout"
)

// View shows how a service's rollout stands at a moment, by what was counted of it.
func View(v imx.Service, counted map[int]imx.Counted, now time.Time) imx.RolloutView {
	w := wanted(v, nil)
	view := imx.RolloutView{
		Service: v.Name, Current: v.Current, Target: v.Target, Routes: v.Routes, Rollout: v.Rollout, Counted: counted,
	}
	if until := v.Finished.Add(time.Duration(w.Target.Spec.How().Window)); v.Target == v.Current && !v.Finished.IsZero() && now.Before(until) {
		view.Until = until
	}
	verdict := rollout.Judged(w, rollout.Seen{Routes: v.Routes, Counted: counted}, now)
	view.Outcome, view.Verdict = string(verdict.Outcome), verdict.Reason
	return view
}
