package rollout

import (
	"fmt"

	"imx"
	"imx/internal/judge"
)

// rolls reports whether instances are replaced some after the other.
func (d *decider) rolls() bool {
	return d.want.Target.Spec.How().Strategy == imx.Rolling && !d.alone()
}

// bounds are how many instances of both releases there may be, and how many healthy ones there must be.
func (d *decider) bounds() (live, healthy int) {
	how := d.want.Target.Spec.How()
	a, b := d.replicas(d.want.Target.Number), d.replicas(d.want.Current.Number)
	surge, may := how.Surge.Up(max(a, b)), how.Unavailable.Down(min(a, b))
	if surge <= 0 && may <= 0 {
		surge = 1
	}
	return max(a, b) + max(surge, 0), max(0, min(a, b)-max(may, 0))
}

// batch is how many instances are replaced at once.
func (d *decider) batch() int {
	live, healthy := d.bounds()
	return max(1, live-healthy-max(0, d.replicas(d.want.Current.Number)-d.replicas(d.want.Target.Number)))
}

// roll replaces some instances after the other. A healthy one gets its share of the traffic, and what it can
// stand in for of the current release goes.
func (d *decider) roll() {
	target := d.want.Target.Number
	if reason := d.rollingBad(); reason != "" {
		d.giveUp(reason)
		return
	}
	reason := d.rollingWaits()
	d.wait(reason)
	goes := reason == "" && d.want.Rollout.Paused == ""
	if goes && d.by[target].healthy >= d.replicas(target) {
		if reason := d.unroutable(); reason != "" {
			d.giveUp(reason)
			return
		}
		d.route(imx.Weights{target: Whole}, 0)
		return
	}
	d.proportion(goes)
	d.exchange(goes)
	d.cleanUp()
}

// rollingBad says why a target in the middle of a rolling replacement has failed, or "".
func (d *decider) rollingBad() string {
	if reason := d.sick(); reason != "" {
		return reason
	}
	if v := d.judged(); v.Outcome == judge.Worse {
		return v.Reason
	}
	since := d.begun()
	if d.seen.Routes[d.want.Target.Number] > 0 && d.want.Moved.After(since) {
		since = d.want.Moved // each one that got its share was a step
	}
	over := since.Add(deadline(d.want.Target.Spec))
	if d.seen.Trouble == "" || over.After(d.now) {
		return ""
	}
	return quote(fmt.Sprintf("release %d got no further within %s", d.want.Target.Number, deadline(d.want.Target.Spec)), d.seen.Trouble)
}

// rollingWaits says why no further instance is replaced: the group isn't ready, or the first ones can't be judged yet.
func (d *decider) rollingWaits() string {
	have := d.by[d.want.Target.Number].healthy
	if reason := d.holdup(); reason != "" && have >= min(d.batch(), d.replicas(d.want.Target.Number)) {
		return reason
	}
	if d.want.Target.Spec.How().Judge == nil || d.want.Rollout.Confirm || d.want.Rollout.Whole || d.seen.Routes[d.want.Target.Number] == 0 {
		return ""
	}
	if v := d.judged(); v.Outcome == judge.TooLittle {
		return v.Reason
	}
	return ""
}

// proportion shares the traffic by healthy instances. The target's part doesn't grow while it may not go on, but for its first.
func (d *decider) proportion(goes bool) {
	target, current := d.want.Target.Number, d.want.Current.Number
	is, was := d.by[target].healthy, d.by[current].healthy
	old := d.seen.Routes[target]
	switch {
	case d.strays() && was < min(d.replicas(current), max(1, d.routed())):
		return // the current release comes back first
	case is == 0 || d.want.Rollout.Paused != "" && old == 0 || d.holdup() != "":
		if was > 0 && d.strays() {
			d.routeTo(current)
		}
		return
	}
	share := max(1, min(most, (Whole*is+(is+was)/2)/(is+was)))
	if !goes && old > 0 {
		share = min(share, old)
	}
	d.route(imx.Weights{current: Whole - share, target: share}, 0)
}

// exchange stops of the current release what isn't needed any more, brings back what it lacks, and starts as many of the target as there
// is room for. What of the target is healthy counts once it has traffic, and while it may not go on not at all.
func (d *decider) exchange(goes bool) {
	target, current := d.want.Target.Number, d.want.Current.Number
	live, healthy := d.bounds()
	stand, ill := 0, 0
	if d.seen.Routes[target] > 0 {
		stand = d.by[target].healthy
		ill = d.by[target].live - d.by[target].starting - stand
	}
	if !goes {
		stand = min(stand, max(0, healthy-d.by[current].live)) // no fewer of the current release than there are
	}
	keep := max(0, min(d.replicas(current), healthy-stand))
	d.scaleDown(current, keep)
	least := max(0, min(d.replicas(current), healthy-stand-ill))
	d.scaleUp(current, least)
	room := live - max(least, min(d.by[current].live, keep))
	n := max(d.by[target].live, min(d.replicas(target), room))
	if !goes {
		n = max(d.by[target].live, min(n, d.batch()))
	}
	d.bring(n)
}
