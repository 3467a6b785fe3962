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

// bounds are how many instances more than wanted there may be of both releases, and how many fewer healthy ones.
func (d *decider) bounds() (surge, missing int) {
	how := d.want.Target.Spec.How()
	a, b := d.replicas(d.want.Target.Number), d.replicas(d.want.Current.Number)
	surge, missing = max(0, how.Surge.Up(max(a, b))), max(0, how.Unavailable.Down(min(a, b)))
	if surge == 0 && missing == 0 {
		surge = 1
	}
	return surge, missing
}

// atATime is how many instances are replaced at once.
func (d *decider) atATime() int {
	surge, missing := d.bounds()
	return surge + missing
}

// needed is how many instances of the current release are needed beside so many healthy ones of the target: it has what they don't
// stand in for, less what may be missing.
func (d *decider) needed(stand int) int {
	a, b := d.replicas(d.want.Target.Number), d.replicas(d.want.Current.Number)
	_, missing := d.bounds()
	return max(0, min(b, (b*(a-stand)+a-1)/a-missing))
}

// batch is how it stands with the next instances that are replaced.
type batch struct {
	goes    bool // they may be
	reached bool // the traffic reaches the target
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
	b := batch{goes: reason == "" && d.want.Rollout.Paused == "" && (d.seen.Routes[target] > 0 || !d.asked())}
	if b.goes && d.by[target].healthy >= d.replicas(target) {
		if reason := d.unroutable(); reason != "" {
			d.giveUp(reason)
			return
		}
		d.route(imx.Weights{target: Whole}, 0)
		return
	}
	b.reached = d.proportion(b)
	d.exchange(b)
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
	if reason := d.holdup(); reason != "" && have >= min(d.atATime(), d.replicas(d.want.Target.Number)) {
		return reason
	}
	if !d.asked() || d.seen.Routes[d.want.Target.Number] == 0 {
		return ""
	}
	if v := d.judged(); v.Outcome == judge.TooLittle {
		return v.Reason
	}
	return ""
}

// asked reports whether the first instances have to be judged by their metrics before others follow them.
func (d *decider) asked() bool {
	return d.want.Target.Spec.How().Judge != nil && !d.want.Rollout.Confirm && !d.want.Rollout.Whole
}

// proportion shares the traffic by healthy instances. The target's part doesn't grow while it may not go on, but for
// its first. It reports whether the target has any.
func (d *decider) proportion(b batch) bool {
	target, current := d.want.Target.Number, d.want.Current.Number
	is, was := d.by[target].healthy, d.by[current].healthy
	old := d.seen.Routes[target]
	switch {
	case d.strays() && was < min(d.replicas(current), max(1, d.routed())):
		return old > 0 // the current release comes back first
	case is == 0 || d.want.Rollout.Paused != "" && old == 0 || d.holdup() != "":
		if was > 0 && d.strays() {
			d.routeTo(current)
			return false
		}
		return old > 0
	}
	share := max(1, min(most, (Whole*is+(is+was)/2)/(is+was)))
	if !b.goes && old > 0 {
		share = min(share, old)
	}
	d.route(imx.Weights{current: Whole - share, target: share}, 0)
	return true
}

// exchange stops of the current release what isn't needed any more, brings back what it lacks, and starts as many of the target as there
// is room for. What of the target is healthy counts once it has traffic; while it may not go on, the current release loses nothing.
func (d *decider) exchange(b batch) {
	target, current := d.want.Target.Number, d.want.Current.Number
	stand, ill := 0, 0
	if b.reached {
		stand = d.by[target].healthy
		ill = d.by[target].live - d.by[target].starting - stand
	}
	keep, least := d.needed(stand), d.needed(stand+ill)
	if !b.goes {
		keep = max(keep, min(d.by[current].live, d.needed(0)))
	}
	d.scaleDown(current, keep)
	d.scaleUp(current, least)
	surge, _ := d.bounds()
	room := max(d.replicas(target), d.replicas(current)) + surge - max(least, min(d.by[current].live, keep))
	n := max(d.by[target].live, min(d.replicas(target), room))
	if !b.goes {
		n = max(d.by[target].live, min(n, d.atATime()))
	}
	d.bring(n)
}
