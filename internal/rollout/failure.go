package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"imx"
)

// count is what there is of one release.
type count struct {
	live     int // neither stopping nor ended, nor tainted
	healthy  int // tainted ones, too: they have traffic until they are replaced
	starting int // of those that are live
	warm     int // not live: frozen
	// tainted are to be replaced though they run; so many of them are healthy.
	tainted, taintedWell int
	idle                 bool // no connection is open to any of its instances, and that is known
}

// tally counts the instances of each release that has any that haven't ended.
func tally(instances []imx.Instance) map[int]count {
	by := map[int]count{}
	for _, in := range instances {
		if in.Phase == imx.Ended {
			continue
		}
		c, known := by[in.Release]
		c.idle = (c.idle || !known) && in.Flows == 0
		switch in.Phase {
		case imx.Healthy, imx.Starting, imx.Unhealthy:
			c = c.with(in)
		case imx.Warm:
			c.warm++
		case imx.Stopping, imx.Ended:
		}
		by[in.Release] = c
	}
	return by
}

// with counts one that runs.
func (c count) with(in imx.Instance) count {
	if in.Phase == imx.Healthy {
		c.healthy++
	}
	switch {
	case replaced(in):
		c.tainted++
		if in.Phase == imx.Healthy {
			c.taintedWell++
		}
		return c
	case in.Phase == imx.Starting:
		c.starting++
	}
	c.live++
	return c
}

func deadline(spec imx.Spec) time.Duration {
	return cmp.Or(time.Duration(spec.Deadline), DefaultDeadline)
}

// begun is when the rollout came to its step, or began.
func (d *decider) begun() time.Time {
	if since := d.want.Rollout.Since; since.After(d.want.Since) {
		return since
	}
	return d.want.Since
}

// deadline is when the target has failed if it isn't healthy. Where it waits for a volume, the
// instance that holds it gets the time to stop on top.
func (d *decider) deadline() time.Time {
	at := d.begun().Add(deadline(d.want.Target.Spec))
	if d.shares(d.want.Current.Number, d.want.Target.Number) {
		at = at.Add(time.Duration(d.want.Current.Spec.Grace))
	}
	return at
}

// unroutable says why a target that is healthy has failed all the same: the engine won't give it the
// traffic, and its time is over. Otherwise it is "".
func (d *decider) unroutable() string {
	if d.seen.Trouble == "" || d.now.Before(d.deadline()) {
		return ""
	}
	return quote(fmt.Sprintf("release %d was healthy and could not get the traffic within %s",
		d.want.Target.Number, deadline(d.want.Target.Spec)), d.seen.Trouble)
}

// ends are the target's instances that ended by themselves since a time, the latest first.
func (d *decider) ends(since time.Time) []imx.Instance {
	return slices.DeleteFunc(byItself(d.seen.Ended, d.want.Target.Number, since, within(d.want.Target.Spec)), vanished)
}

// failure says why a target that should come to so many healthy instances has failed, or "" while it hasn't.
func (d *decider) failure(wanted int) string {
	target, have := d.want.Target, d.by[d.want.Target.Number]
	ends := slices.DeleteFunc(d.ends(d.begun()), d.older)
	switch {
	case len(ends) >= Tries:
		last := ends[0]
		return quote(fmt.Sprintf("%d instances of release %d ended before it was healthy; the last, %s", len(ends), target.Number, last.ID), ending(last))
	case d.now.Before(d.deadline()):
		return ""
	}
	limit := deadline(target.Spec)
	if in, ok := d.worst(); ok {
		return quote(fmt.Sprintf("%d of %d instances of release %d were healthy after %s; %s is %s",
			have.healthy, wanted, target.Number, limit, in.ID, in.Phase), in.Reason)
	}
	if len(ends) > 0 {
		return quote(fmt.Sprintf("release %d wasn't healthy after %s; its last instance, %s", target.Number, limit, ends[0].ID), ending(ends[0]))
	}
	return quote(fmt.Sprintf("no instance of release %d was started within %s", target.Number, limit), d.seen.Trouble)
}

// worst is an instance of the target that isn't healthy, one with a reason if there is any.
func (d *decider) worst() (imx.Instance, bool) {
	bad := slices.DeleteFunc(slices.Clone(d.seen.Instances), func(in imx.Instance) bool {
		return in.Release != d.want.Target.Number || in.Phase == imx.Healthy || in.Phase == imx.Warm || in.Phase == imx.Ended
	})
	if len(bad) == 0 {
		return imx.Instance{}, false
	}
	return slices.MinFunc(bad, func(a, b imx.Instance) int {
		if (a.Reason == "") != (b.Reason == "") {
			return cmp.Compare(b.Reason, a.Reason) // the empty one comes last
		}
		return cmp.Compare(a.ID, b.ID)
	}), true
}

// quote adds what an instance or the engine said to what imx says.
func quote(said, reason string) string {
	if reason == "" {
		return said
	}
	return said + ": " + reason
}

// ending is how an instance ended, in its own words where it has any.
func ending(in imx.Instance) string {
	switch {
	case in.Reason != "":
		return in.Reason
	case in.Exit == nil:
		return "ended"
	case in.Exit.OOM:
		return "ran out of memory"
	case in.Exit.Wanted:
		return fmt.Sprintf("wasn't healthy within %s", in.Ended.Sub(in.Started).Round(time.Second))
	}
	return fmt.Sprintf("exited with %d", in.Exit.Code)
}

// vanished reports whether nobody saw how the instance ended: a machine that went down takes
// instances with it, which says nothing about their release.
func vanished(in imx.Instance) bool { return in.Exit != nil && in.Exit.Code < 0 && !in.Exit.OOM }

// byItself returns the release's instances that ended after a time without imx having stopped them, or because they took
// too long to start, the latest first.
func byItself(ended []imx.Instance, release int, after time.Time, within time.Duration) []imx.Instance {
	var list []imx.Instance
	for _, in := range ended {
		wanted := in.Exit != nil && in.Exit.Wanted && !late(in, within)
		if in.Release == release && !wanted && in.Ended.After(after) {
			list = append(list, in)
		}
	}
	slices.SortFunc(list, func(a, b imx.Instance) int {
		return cmp.Or(b.Ended.Compare(a.Ended), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// late reports whether an instance had all the time that it may take to get healthy, and never did.
func late(in imx.Instance, within time.Duration) bool {
	return within > 0 && in.Ready.IsZero() && in.Ended.Sub(in.Started) >= within
}

// nextStart is when an instance of the release may be started again. The wait doubles with each
// generation that ended by itself: instances that ended together are one generation, and one that
// lived longer than the longest wait begins the count anew. One that was well until nobody saw how it ended is replaced at once.
func nextStart(ended []imx.Instance, release int, within time.Duration) time.Time {
	list := slices.DeleteFunc(byItself(ended, release, time.Time{}, within), func(in imx.Instance) bool {
		return vanished(in) && !in.Ready.IsZero()
	})
	if len(list) == 0 {
		return time.Time{}
	}
	wait, born := FirstBackOff, list[0].Started
	lived := list[0].Ended.Sub(born)
	for _, in := range list[1:] {
		if lived >= LastBackOff || wait >= LastBackOff {
			break
		}
		if in.Ended.After(born) {
			continue
		}
		wait, born, lived = 2*wait, in.Started, in.Ended.Sub(in.Started)
	}
	return list[0].Ended.Add(min(wait, LastBackOff))
}
