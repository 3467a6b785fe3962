package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"imx"
)

// decider gathers one decision.
type decider struct {
	want    Wanted
	seen    Seen
	now     time.Time
	by      map[int]count // by release
	actions []Action
	wake    time.Duration
}

func (d *decider) do(a ...Action) { d.actions = append(d.actions, a...) }

// wakeAt asks for another decision at a time, if that is still to come.
func (d *decider) wakeAt(t time.Time) {
	if wait := t.Sub(d.now); wait > 0 && (d.wake == 0 || wait < d.wake) {
		d.wake = wait
	}
}

// takeDown leaves nothing of the service: no traffic first, then no instances.
func (d *decider) takeDown() {
	if len(d.seen.Routes) > 0 || d.seen.Preview != 0 {
		d.do(Route{})
	}
	for _, number := range d.releases() {
		d.scaleDown(number, 0)
	}
}

// replace brings the service from its current release to its target.
func (d *decider) replace() {
	target := d.want.Target.Number
	if only(d.seen.Routes, target) {
		d.do(Finish{Release: target})
		return
	}
	if d.goesBack() {
		d.whole(d.enough())
		return
	}
	if reason := d.peerFailed(); reason != "" {
		d.giveUp(reason)
		return
	}
	switch steps := d.steps(); {
	case d.rolls():
		d.roll()
	case len(steps) > 0:
		d.step(steps)
	default:
		d.atOnce()
	}
}

// atOnce moves all the traffic in one step, unless a person stopped that or the target's group isn't ready.
func (d *decider) atOnce() {
	n := d.replicas(d.want.Target.Number)
	reason := ""
	if d.by[d.want.Target.Number].healthy >= n {
		reason = d.holdup()
	}
	d.wait(reason)
	if reason != "" || d.want.Rollout.Paused != "" {
		d.stand(n)
		return
	}
	d.whole(n)
}

// goesBack reports whether the target was good before: nothing is tried of it, and nothing stands in its way.
func (d *decider) goesBack() bool { return d.want.Target.State == imx.ReleaseGood }

// enough is how many healthy instances of a release that is gone back to take over the traffic: as many as have
// it now, and no more than may be missing.
func (d *decider) enough() int {
	n := d.replicas(d.want.Target.Number)
	if n == 0 {
		return 0
	}
	may := n - d.want.Target.Spec.How().Unavailable.Down(n)
	return max(1, min(may, d.routed()))
}

// whole brings the target up beside the current release, and moves all the traffic at once when enough of it is healthy.
func (d *decider) whole(enough int) {
	target := d.want.Target.Number
	if d.by[target].healthy >= enough {
		if reason := d.unroutable(); reason != "" {
			d.giveUp(reason)
			return
		}
		d.route(imx.Weights{target: Whole}, 0)
		return
	}
	if reason := d.failure(enough); reason != "" {
		d.giveUp(reason)
		return
	}
	d.wakeAt(d.deadline())
	d.stand(d.replicas(target))
}

// stand brings so many instances of the target up beside the current release, which stays as it is.
func (d *decider) stand(replicas int) {
	d.bring(replicas)
	d.holdCurrent()
	d.cleanUp()
}

// holdCurrent keeps the current release as it was while the target starts beside it, unless it has
// to let go of a volume. It comes after bring: a current release that can't be repaired must not
// keep its successor from starting, which has a deadline and then makes way.
func (d *decider) holdCurrent() {
	current := d.want.Current.Number
	if current == 0 || d.shares(current, d.want.Target.Number) {
		return
	}
	if d.by[current].healthy > d.routed() && d.routed() < d.replicas(current) {
		d.routeTo(current)
	}
	d.replaceTainted(current, d.replicas(current))
	d.scaleUp(current, d.replicas(current))
	d.scaleDown(current, d.replicas(current))
}

// bring gets so many of the target's instances, and makes those let go of its volumes that hold them. The
// traffic stays where it is: while a volume changes hands it has nowhere better to go.
func (d *decider) bring(replicas int) {
	target := d.want.Target.Number
	for _, number := range d.releases() {
		if number != target && d.shares(number, target) {
			d.scaleDown(number, 0)
		}
	}
	d.replaceTainted(target, replicas)
	if d.want.Target.Number != d.want.Current.Number {
		d.replaceLate()
	}
	d.scaleUp(target, replicas)
	d.scaleDown(target, d.replicas(target))
}

// giveUp fails the target. Where it has traffic, the current release has it back first, in one move; if that hasn't the instances
// for it, which is so only in the middle of a rolling replacement, they are brought back first. Without traffic
// the target's instances go at once.
func (d *decider) giveUp(reason string) {
	target, current := d.want.Target.Number, d.want.Current.Number
	reached := d.seen.Routes[target] > 0 || d.seen.Preview == target
	if reached && (d.straight() || d.by[current].healthy >= min(d.replicas(current), max(1, d.routed()))) {
		d.route(imx.Weights{current: Whole}, 0)
	}
	d.do(Fail{Release: target, Reason: reason}) // before its instances go, or a server that dies in between would start them anew
	if !reached {
		d.scaleDown(target, 0)
	}
}

// straight reports whether the current release, which shares the traffic, has kept its instances meanwhile and can have
// all of it at once. It only hasn't in the middle of a rolling replacement.
func (d *decider) straight() bool {
	current := d.want.Current.Number
	if d.seen.Routes[current] == 0 || d.by[current].healthy == 0 {
		return false
	}
	for number := range d.seen.Routes {
		if number != current && d.spec(number).How().Strategy == imx.Rolling {
			return false
		}
	}
	return true
}

// keep holds a service at its release: the traffic there, as many instances as wanted, the bad
// ones replaced, nothing left of other releases but the way back, and that one ready.
func (d *decider) keep() {
	if reason := d.turnedBad(); reason != "" {
		d.do(Revert{From: d.want.Target.Number, To: d.want.Back.Number, Reason: reason})
		return
	}
	target := d.want.Target.Number
	have := d.by[target]
	due := have.healthy >= d.replicas(target) || have.healthy >= d.routed() || d.straight()
	if due && have.healthy > 0 {
		d.routeTo(target)
	}
	d.bring(d.replicas(target))
	if due && have.healthy == 0 { // nothing answers there yet: what makes something answer comes first
		d.routeTo(target)
	}
	d.cleanUp()
	if have.live == d.replicas(target) {
		d.replaceBad(target)
		d.stopWarm(target)
	}
	d.wayBack()
}

// stopWarm stops those instances of a release that were kept for the way to it and aren't wanted on it.
func (d *decider) stopWarm(number int) {
	ids := []string{}
	for _, in := range d.seen.Instances {
		if in.Release == number && in.Phase == imx.Warm {
			ids = append(ids, in.ID)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		d.do(Stop{Instance: id, Reason: "no longer wanted"})
	}
}

// route moves the traffic and the preview, where they aren't there already.
func (d *decider) route(w imx.Weights, preview int) {
	if !maps.Equal(d.seen.Routes, w) || d.seen.Preview != preview {
		d.do(Route{Weights: w, Preview: preview})
	}
}

// routeTo gives a release all the traffic, whatever number that is written as.
func (d *decider) routeTo(number int) {
	if !only(d.seen.Routes, number) || d.seen.Preview != 0 {
		d.do(Route{Weights: imx.Weights{number: Whole}})
	}
}

// routed is how many healthy instances the traffic reaches now.
func (d *decider) routed() int {
	n := 0
	for number := range d.seen.Routes {
		n += d.by[number].healthy
	}
	return n
}

// only reports whether all traffic goes to the release.
func only(w imx.Weights, number int) bool { return len(w) == 1 && w[number] > 0 }

// releases are the numbers of all releases that have instances, in order.
func (d *decider) releases() []int { return slices.Sorted(maps.Keys(d.by)) }

// replicas is how many instances a release should have: of one that holds a volume there is never
// a second, whatever number the service came from.
func (d *decider) replicas(number int) int {
	n := d.want.Replicas
	if number != d.want.Target.Number {
		n = d.want.CurrentReplicas
	}
	if d.spec(number).Exclusive() {
		n = min(n, 1)
	}
	return n
}

// shares reports whether instances of the two releases, or two of the one, could hold one volume.
func (d *decider) shares(a, b int) bool { return d.spec(a).Shares(d.spec(b)) }

// spec is that of a release, or the target's for one that isn't known.
func (d *decider) spec(number int) imx.Spec {
	switch number {
	case d.want.Current.Number:
		return d.want.Current.Spec
	case d.want.Back.Number:
		return d.want.Back.Spec
	}
	for _, r := range d.want.Extra {
		if r.Number == number {
			return r.Spec
		}
	}
	return d.want.Target.Spec
}

// scaleDown leaves so many of a release's instances, and its tainted ones beside them. Those and warm ones go with the last.
func (d *decider) scaleDown(number, replicas int) {
	have := d.by[number]
	switch {
	case replicas == 0 && have.live+have.warm+have.tainted > 0:
		d.do(Scale{Release: number, Replicas: 0})
	case have.live > replicas:
		d.do(Scale{Release: number, Replicas: replicas + have.tainted})
	}
}

// scaleUp starts what is missing of a release, unless its last instance ended too recently or
// another, also one that is stopping, still holds a volume that it needs. Warm ones are there at once.
func (d *decider) scaleUp(number, replicas int) {
	if d.by[number].live >= replicas {
		return
	}
	for _, other := range d.releases() {
		if d.shares(number, other) {
			return
		}
	}
	if at := nextStart(d.past(number), number, within(d.spec(number))); at.After(d.now) && d.by[number].warm == 0 && at.Sub(d.now) <= LastBackOff {
		d.wakeAt(at)
		return
	}
	d.do(Scale{Release: number, Replicas: replicas + d.by[number].tainted})
}

// past are the instances whose ends delay a release's next start. To a release that is gone back to nothing counts that was before.
func (d *decider) past(number int) []imx.Instance {
	if number != d.want.Target.Number || d.want.Target.Number == d.want.Current.Number || !d.goesBack() {
		return d.seen.Ended
	}
	return slices.DeleteFunc(slices.Clone(d.seen.Ended), d.older)
}

// older reports whether an instance was started before the rollout began.
func (d *decider) older(in imx.Instance) bool { return in.Started.Before(d.want.Since) }

// cleanUp lets every release go that has no part in anything, once its connections ended or
// had the time to, but for the way back, which is kept then. Those that had to let go of a volume were so at once, by bring.
func (d *decider) cleanUp() {
	for _, number := range d.releases() {
		if number == d.want.Target.Number || number == d.want.Current.Number ||
			d.seen.Routes[number] > 0 || d.shares(number, d.want.Target.Number) {
			continue
		}
		back := number == d.want.Back.Number
		switch have := d.by[number]; {
		case have.live == 0 && (have.warm == 0 || back), back && d.proving(number):
			continue
		case have.live > 0 && !d.drained(number):
			continue
		case back:
			d.keepBack()
		default:
			d.do(Scale{Release: number, Replicas: 0})
		}
	}
}

// drained reports whether a release without traffic has finished its connections, or had the time to.
func (d *decider) drained(number int) bool {
	until := d.want.Moved.Add(d.drain(number))
	if d.by[number].idle {
		until = earlier(until, d.want.Moved.Add(Settle))
	}
	if !until.After(d.now) {
		return true
	}
	d.wakeAt(until)
	if !d.by[number].idle {
		d.wakeAt(d.now.Add(Look))
	}
	return false
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (d *decider) drain(number int) time.Duration { return time.Duration(d.spec(number).Drain) }

// replaceBad stops an instance that stayed unhealthy or never got healthy; the missing one is
// then started anew. One at a time, and none while another is still on its way: where all are
// unhealthy for a reason outside of them, restarting them all would make it worse.
func (d *decider) replaceBad(number int) {
	list := slices.Clone(d.seen.Instances)
	slices.SortFunc(list, func(a, b imx.Instance) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
	})
	for _, in := range list {
		if in.Release != number {
			continue
		}
		limit, since := patience(in, d.spec(number))
		if limit == 0 {
			continue
		}
		if at := since.Add(limit); at.After(d.now) {
			d.wakeAt(at)
			continue
		}
		if in.Phase == imx.Unhealthy && d.by[number].starting > 0 {
			continue
		}
		d.do(Stop{Instance: in.ID, Reason: d.lasting(in, since)})
		return
	}
}

// lasting says for how long an instance has been in its phase.
func (d *decider) lasting(in imx.Instance, since time.Time) string {
	return quote(fmt.Sprintf("%s for %s", in.Phase, d.now.Sub(since).Round(time.Second)), in.Reason)
}

// askedAtLeast bounds what one check counts for of an unhealthy instance's patience: engines ask such a one more often than Every.
const askedAtLeast = 5 * time.Second

// patience is how long an instance may stay in its phase, and since when it is in it; 0 is for ever. One that was
// thawed starts when it was, and has all the time that its template gives to one that starts.
func patience(in imx.Instance, spec imx.Spec) (time.Duration, time.Time) {
	switch in.Phase {
	case imx.Unhealthy:
		if in.Changed.IsZero() {
			return time.Nanosecond, in.Started
		}
		return max(Patience*min(time.Duration(spec.Health.Every), askedAtLeast), 1), in.Changed
	case imx.Starting:
		return cmp.Or(within(spec), deadline(spec)), started(in)
	case imx.Healthy, imx.Warm, imx.Stopping, imx.Ended:
	}
	return 0, time.Time{}
}

// within is how long an instance may take to be healthy before it is replaced; 0 if the template says nothing of it.
func within(spec imx.Spec) time.Duration {
	if spec.Health.Start == nil {
		return 0
	}
	return time.Duration(spec.Health.Start.Within)
}

// replaceLate stops the target's instances that took too long to get healthy. They count as ones that ended by themselves.
func (d *decider) replaceLate() {
	target := d.want.Target
	if within(target.Spec) == 0 {
		return
	}
	var late []Stop
	for _, in := range d.seen.Instances {
		if in.Release != target.Number || in.Phase != imx.Starting {
			continue
		}
		limit, since := patience(in, target.Spec)
		if at := since.Add(limit); at.After(d.now) {
			d.wakeAt(at)
			continue
		}
		late = append(late, Stop{Instance: in.ID, Reason: d.lasting(in, since)})
	}
	slices.SortFunc(late, func(a, b Stop) int { return cmp.Compare(a.Instance, b.Instance) })
	for _, stop := range late {
		d.do(stop)
	}
}

// started is when an instance last began: when it was started, or thawed.
func started(in imx.Instance) time.Time {
	if in.Phase == imx.Starting && in.Changed.After(in.Started) {
		return in.Changed
	}
	return in.Started
}
