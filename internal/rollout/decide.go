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
	if len(d.seen.Routes) > 0 {
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
	if d.by[target].healthy >= d.replicas(target) {
		if reason := d.unroutable(); reason != "" {
			d.giveUp(reason)
			return
		}
		d.do(Route{Weights: imx.Weights{target: Whole}})
		return
	}
	if reason := d.failure(); reason != "" {
		d.giveUp(reason)
		return
	}
	d.wakeAt(d.deadline())
	d.bring(target)
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
	d.scaleUp(current)
	d.scaleDown(current, d.replicas(current))
}

// bring gets the target's instances, and makes those let go of its volumes that hold them. The
// traffic stays where it is: while a volume changes hands it has nowhere better to go.
func (d *decider) bring(target int) {
	for _, number := range d.releases() {
		if number != target && d.shares(number, target) {
			d.scaleDown(number, 0)
		}
	}
	d.scaleUp(target)
	d.scaleDown(target, d.replicas(target))
}

// giveUp fails the target. Its instances go at once: traffic never reached them.
func (d *decider) giveUp(reason string) {
	target := d.want.Target.Number
	d.scaleDown(target, 0)
	d.do(Fail{Release: target, Reason: reason})
}

// keep holds a service at its release: the traffic there, as many instances as wanted, the bad
// ones replaced, and nothing left of other releases.
func (d *decider) keep() {
	target := d.want.Target.Number
	have := d.by[target]
	due := have.healthy >= d.replicas(target) || have.healthy >= d.routed()
	if due && have.healthy > 0 {
		d.routeTo(target)
	}
	d.bring(target)
	if due && have.healthy == 0 { // nothing answers there yet: what makes something answer comes first
		d.routeTo(target)
	}
	d.cleanUp()
	if have.live == d.replicas(target) {
		d.replaceBad(target)
	}
}

func (d *decider) routeTo(number int) {
	if !only(d.seen.Routes, number) {
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
	if number == d.want.Current.Number {
		return d.want.Current.Spec
	}
	for _, r := range d.want.Extra {
		if r.Number == number {
			return r.Spec
		}
	}
	return d.want.Target.Spec
}

func (d *decider) scaleDown(number, replicas int) {
	if d.by[number].live > replicas {
		d.do(Scale{Release: number, Replicas: replicas})
	}
}

// scaleUp starts what is missing of a release, unless its last instance ended too recently or
// another, also one that is stopping, still holds a volume that it needs.
func (d *decider) scaleUp(number int) {
	replicas := d.replicas(number)
	if d.by[number].live >= replicas {
		return
	}
	for _, other := range d.releases() {
		if d.shares(number, other) {
			return
		}
	}
	if at := nextStart(d.seen.Ended, number); at.After(d.now) {
		d.wakeAt(at)
		return
	}
	d.do(Scale{Release: number, Replicas: replicas})
}

// cleanUp scales every release that has no part in anything to 0, once its connections ended or
// had the time to. Those that had to let go of a volume were so at once, by bring.
func (d *decider) cleanUp() {
	for _, number := range d.releases() {
		if number == d.want.Target.Number || number == d.want.Current.Number ||
			d.seen.Routes[number] > 0 || d.by[number].live == 0 || d.shares(number, d.want.Target.Number) {
			continue
		}
		until := d.want.Moved.Add(d.drain(number))
		if d.by[number].idle {
			until = earlier(until, d.want.Moved.Add(Settle))
		}
		if !until.After(d.now) {
			d.do(Scale{Release: number, Replicas: 0})
			continue
		}
		d.wakeAt(until)
		if !d.by[number].idle {
			d.wakeAt(d.now.Add(Look))
		}
	}
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
		limit, since := d.patience(in)
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
		d.do(Stop{Instance: in.ID, Reason: quote(fmt.Sprintf("%s for %s", in.Phase, d.now.Sub(since).Round(time.Second)), in.Reason)})
		return
	}
}

// patience is how long an instance may stay in its phase, and since when it is in it; 0 is for ever.
func (d *decider) patience(in imx.Instance) (time.Duration, time.Time) {
	spec := d.want.Target.Spec
	switch in.Phase {
	case imx.Unhealthy:
		if in.Changed.IsZero() {
			return time.Nanosecond, in.Started
		}
		return max(Patience*time.Duration(spec.Health.Every), 1), in.Changed
	case imx.Starting:
		return deadline(spec), in.Started
	case imx.Healthy, imx.Stopping, imx.Ended:
	}
	return 0, time.Time{}
}
