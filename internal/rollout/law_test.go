package rollout_test

// What must hold whatever happens: the laws that docs/rollout.md states, on the histories of history_test.go.

import (
	"flag"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/judge"
	"imx/internal/rollout"
)

// wanted is how many instances there should be of a release.
func (h *history) wanted(number int) int {
	n := h.want.Replicas
	if number != h.want.Target.Number {
		n = h.want.CurrentReplicas
	}
	if h.numbered(number).Spec.Exclusive() {
		n = min(n, 1)
	}
	return n
}

func healthy(s rollout.Seen, w imx.Weights) int {
	n := 0
	for _, in := range s.Instances {
		if w[in.Release] > 0 && in.Phase == imx.Healthy {
			n++
		}
	}
	return n
}

func only(release int) imx.Weights { return imx.Weights{release: rollout.Whole} }

// watch checks each action against the moment before it.
func (h *history) watch(before rollout.Seen, a rollout.Action) {
	if !h.at.Equal(h.now) {
		h.at, h.instant = h.now, map[string]int{}
	}
	switch a := a.(type) {
	case rollout.Scale:
		h.once(fmt.Sprintf("scale %d", a.Release), a.Replicas)
		h.keepsTraffic(before)
		h.sharesNoVolume()
		h.keepsTheWayBack(a)
		h.staysWithinItsSurge(a)
	case rollout.Stop:
		if !h.holdsVolumeTainted(before, a.Instance) {
			h.keepsTraffic(before)
		}
		h.hadItsTime(before, a)
	case rollout.Keep:
		if before.Routes[a.Release] > 0 || before.Preview == a.Release {
			h.t.Fatalf("release %d is put away with traffic on it", a.Release)
		}
	case rollout.Route:
		h.routeIsDue(before, a)
	case rollout.Advance:
		h.stepIsDue(before, a)
	case rollout.Finish:
		h.changes++
		if len(before.Routes) != 1 || before.Routes[a.Release] == 0 {
			h.t.Fatalf("release %d is finished while the traffic goes %v", a.Release, before.Routes)
		}
	case rollout.Fail:
		h.failsCleanly(before, a)
	case rollout.Revert:
		h.changes++
		clear(h.instant)
	case rollout.Report, rollout.Wait:
	}
	const most = 4 // it takes over, turns bad, is gone back from, and the way back fails
	if h.changes > most {
		h.t.Fatalf("%d releases came and went without a person: %s", h.changes, h.summary())
	}
}

// Law: what was decided isn't decided otherwise in the same instant.
func (h *history) once(what string, value int) {
	if old, decided := h.instant[what]; decided && old != value {
		h.t.Fatalf("%s to %d, in the instant in which it was to %d", what, value, old)
	}
	h.instant[what] = value
}

// steps are those that the target has to go through, which the laws know by themselves.
func (h *history) steps() []imx.Step {
	target, current := h.want.Target, h.want.Current
	how := target.Spec.How()
	switch {
	case current.Number == 0, target.State == imx.ReleaseGood, current.Spec.Shares(target.Spec), how.Strategy == imx.Rolling,
		h.wanted(current.Number) == 0, h.wanted(target.Number) == 0:
		return nil
	case how.Preview != 0 && len(how.Steps) == 0 && how.Strategy == imx.BlueGreen:
		return []imx.Step{{}}
	}
	return how.Steps
}

func (h *history) rolls() bool {
	how, current := h.want.Target.Spec.How(), h.want.Current
	return how.Strategy == imx.Rolling && h.want.Target.State != imx.ReleaseGood && current.Number != 0 && current.Number != h.want.Target.Number &&
		!current.Spec.Shares(h.want.Target.Spec) && h.wanted(current.Number) > 0 && h.wanted(h.want.Target.Number) > 0
}

// Law: traffic goes to a release only when enough of it is healthy, or when it is the last known
// good one and nothing else serves better; a share never exceeds its step's, and what is gone back to waits for nothing.
func (h *history) routeIsDue(before rollout.Seen, a rollout.Route) {
	target, current := h.want.Target.Number, h.want.Current.Number
	total := 0
	for number, share := range a.Weights {
		total += share
		if share < 1 || number != target && number != current {
			h.t.Fatalf("%d %% of the traffic goes to release %d", share, number)
		}
	}
	if total != rollout.Whole {
		h.t.Fatalf("the shares are %v", a.Weights)
	}
	if a.Preview != 0 && (a.Preview != target || healthy(before, only(target)) == 0) {
		h.t.Fatalf("the preview leads to release %d", a.Preview)
	}
	switch {
	case len(a.Weights) == 1 && a.Weights[current] > 0:
		h.currentIsDue(before)
	case len(a.Weights) == 1:
		h.wholeIsDue(before)
	case a.Weights[target] > before.Routes[target]:
		h.shareIsDue(before, a.Weights[target])
	}
}

func (h *history) currentIsDue(before rollout.Seen) {
	current := h.want.Current.Number
	have := healthy(before, only(current))
	if have >= h.wanted(current) || have >= healthy(before, before.Routes) || have > 0 && before.Routes[current] > 0 {
		return
	}
	h.t.Fatalf("traffic goes to release %d with %d of %d healthy", current, have, h.wanted(current))
}

func (h *history) wholeIsDue(before rollout.Seen) {
	target := h.want.Target
	have, want := healthy(before, only(target.Number)), h.wanted(target.Number)
	if target.State == imx.ReleaseGood {
		want = min(want-target.Spec.How().Unavailable.Down(want), max(1, healthy(before, before.Routes)))
	}
	if have < want {
		h.t.Fatalf("all the traffic goes to release %d with %d of %d healthy", target.Number, have, want)
	}
	if steps := h.steps(); h.want.Rollout.Step < len(steps) && !h.want.Rollout.Whole {
		h.t.Fatalf("release %d gets all the traffic at step %d of %d", target.Number, h.want.Rollout.Step, len(steps))
	}
	if h.want.Rollout.Paused != "" && target.State != imx.ReleaseGood {
		h.t.Fatalf("release %d gets all the traffic while %s has paused it", target.Number, h.want.Rollout.Paused)
	}
}

func (h *history) shareIsDue(before rollout.Seen, share int) {
	target := h.want.Target.Number
	have, most, need := healthy(before, only(target)), 99, 1
	if steps := h.steps(); len(steps) > 0 {
		at := min(h.want.Rollout.Step, len(steps)-1)
		most = steps[at].Share
		need = max(1, (most*h.wanted(target)+99)/100)
	} else if !h.rolls() {
		h.t.Fatalf("release %d, which has no steps, gets %d %% of the traffic", target, share)
	}
	if share > most || have < need || h.want.Rollout.Paused != "" {
		h.t.Fatalf("release %d gets %d %% of the traffic, with %d healthy, of %d %% and %d: %s", target, share, have, most, need, h.summary())
	}
}

// Law: no step is left that wasn't judged, or that a person hasn't promoted.
func (h *history) stepIsDue(before rollout.Seen, a rollout.Advance) {
	r, steps := h.earlier, h.steps()
	if r.Since.IsZero() || a.Step == len(steps) && r.Whole {
		return
	}
	if a.Step != r.Step+1 || r.Paused != "" || a.Reason == "" {
		h.t.Fatalf("from step %d to %d, paused by %q, because of %q", r.Step, a.Step, r.Paused, a.Reason)
	}
	if r.Confirm {
		return
	}
	was, target := steps[r.Step], h.want.Target.Number
	if was.Confirm || h.now.Sub(r.Since) < time.Duration(was.Pause) {
		h.t.Fatalf("step %+v was left after %s without a person", was, h.now.Sub(r.Since))
	}
	if m := h.want.Target.Spec.How().Judge; m != nil && was.Share > 0 {
		c, old := before.Counted[target], before.Counted[h.want.Current.Number]
		v := judge.Compare(*m, judge.Tally{Requests: c.Requests, Errors: c.Errors, Seconds: c.Seconds, Timed: c.Timed},
			judge.Tally{Requests: old.Requests, Errors: old.Errors, Seconds: old.Seconds, Timed: old.Timed}, "")
		if v.Outcome != judge.NotWorse {
			h.t.Fatalf("a step was left after %+v", v)
		}
	}
}

// Law: what is given up has no traffic any more, but for one in the middle of a rolling replacement, or where nothing else serves.
func (h *history) failsCleanly(before rollout.Seen, a rollout.Fail) {
	h.changes++
	clear(h.instant) // from here on something else is wanted
	current := h.want.Current.Number
	rolling := h.numbered(a.Release).Spec.How().Strategy == imx.Rolling
	if before.Routes[a.Release] > 0 && !rolling && healthy(before, only(current)) > 0 {
		h.t.Fatalf("release %d failed with traffic on it", a.Release)
	}
	if a.Reason == "" {
		h.t.Fatal("a release failed without a reason")
	}
}

// Law: a service keeps as many healthy instances in the traffic as it had, or as it needs, which is less by what a rolling
// replacement may be without, unless they hold a volume that the target needs.
func (h *history) keepsTraffic(before rollout.Seen) {
	need := h.want.Replicas
	for number := range h.routes {
		if number != h.want.Target.Number && h.numbered(number).Spec.Shares(h.want.Target.Spec) {
			return
		}
		need = min(need, h.wanted(number))
	}
	if h.rolls() {
		need -= h.want.Target.Spec.How().Unavailable.Down(min(h.wanted(h.want.Target.Number), h.wanted(h.want.Current.Number)))
	}
	had, has := healthy(before, h.routes), healthy(h.seen(), h.routes)
	if has < min(had, need) {
		h.t.Fatalf("%d healthy instances had the traffic, now %d of %d: %s", had, has, need, h.summary())
	}
}

// holdsVolumeTainted reports whether an instance has to go before another can take its place: it is tainted, and its volume has one holder.
func (h *history) holdsVolumeTainted(before rollout.Seen, id string) bool {
	return slices.ContainsFunc(before.Instances, func(in imx.Instance) bool {
		return in.ID == id && in.Taint != nil && h.numbered(in.Release).Spec.Exclusive()
	})
}

// Law: the current release, and the one that a rollback goes to, are never let go of, unless another needs their volume. Of a
// current one that is replaced some instances after the other, the last goes when the target stands in for it.
func (h *history) keepsTheWayBack(a rollout.Scale) {
	if a.Replicas > 0 || a.Release == h.want.Target.Number || h.numbered(a.Release).Spec.Shares(h.want.Target.Spec) {
		return
	}
	current := a.Release == h.want.Current.Number
	if current && h.wanted(a.Release) > 0 && !h.rolls() || a.Release == h.want.Back.Number {
		h.t.Fatalf("release %d is let go of: %s", a.Release, h.summary())
	}
}

// Law: a rolling replacement starts no more than it may.
func (h *history) staysWithinItsSurge(a rollout.Scale) {
	if !h.rolls() || a.Release != h.want.Target.Number {
		return
	}
	how, most := h.want.Target.Spec.How(), max(h.wanted(h.want.Target.Number), h.wanted(h.want.Current.Number))
	surge := how.Surge.Up(most)
	if how.Unavailable.Down(min(h.wanted(h.want.Target.Number), h.wanted(h.want.Current.Number))) == 0 {
		surge = max(surge, 1)
	}
	if n := len(h.world.live(h.want.Target.Number)) + len(h.world.live(h.want.Current.Number)); a.Replicas > h.liveBefore && n > most+surge {
		h.t.Fatalf("%d instances live of %d and %d: %s", n, most, surge, h.summary())
	}
}

// Law: an instance that starts has the time for it that its template gives, counted from when it was started or thawed.
func (h *history) hadItsTime(before rollout.Seen, a rollout.Stop) {
	for _, in := range before.Instances {
		if in.ID != a.Instance || in.Phase != imx.Starting || in.Taint != nil {
			continue
		}
		if had := h.now.Sub(in.Changed); had < h.mayTake(in) {
			h.t.Fatalf("%s is stopped %s after it was started, and may take %s", in.ID, had, h.mayTake(in))
		}
	}
}

// mayTake is how long an instance may take to get healthy.
func (h *history) mayTake(in imx.Instance) time.Duration {
	s := h.numbered(in.Release).Spec
	if s.Health.Start != nil {
		return time.Duration(s.Health.Start.Within)
	}
	return time.Duration(s.Deadline)
}

// Law: of a release on its way no instance starts for longer than it may. One that doesn't get healthy in its time counts
// as one that ended, so that such a release fails.
func TestNoInstanceStartsForLongerThanItMay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := begin(t)
		h.habits[0] = habit{healthy: time.Second}
		h.run(time.Minute)
		h.happens()
		h.everythingWorks()
		clear(h.instant)
		h.run(time.Hour)
		h.changes = 0
		h.newRelease()
		h.releases[len(h.releases)-1].Spec.Health.Start = &imx.Pace{Within: imx.Duration(3 * time.Second)}
		h.want.Target = h.releases[len(h.releases)-1]
		h.habits[len(h.habits)-1] = habit{healthy: rapid.SampledFrom([]time.Duration{0, 7 * time.Second}).Draw(t, "healthy")}
		current := h.want.Current.Number
		for range 600 {
			h.run(500 * time.Millisecond)
			for _, in := range h.instances {
				if in.Release == h.want.Target.Number && h.want.Target.Number != current && in.Phase == imx.Starting && h.now.Sub(in.Changed) > h.mayTake(in) {
					t.Fatalf("%s starts for %s: %s", in.ID, h.now.Sub(in.Changed), h.summary())
				}
			}
		}
		if last := h.releases[len(h.releases)-1]; last.State != imx.ReleaseFailed && current != 0 && h.wanted(last.Number) > 0 {
			t.Fatalf("release %d, of which no instance starts in time, is %s: %s", last.Number, last.State, h.summary())
		}
	})
}

// Law: a volume never has two holders, whichever releases have it. One that is stopping still is a holder.
func (h *history) sharesNoVolume() {
	holder := map[string]string{}
	for _, in := range h.instances {
		for _, v := range h.numbered(in.Release).Spec.Volumes {
			if other, held := holder[v.Name]; held {
				h.t.Fatalf("%s and %s hold volume %q: %s", other, in.ID, v.Name, h.summary())
			}
			holder[v.Name] = in.ID
		}
	}
}

// How many hundreds of histories are tried. A night's worth: go test ./internal/rollout -run Histor -hundreds 10000 -timeout 12h.
var hundreds = flag.Int("hundreds", 100, "how many hundreds of random histories the laws are tried on")

func TestTheLawsHoldInEveryHistory(t *testing.T) {
	for range *hundreds {
		rapid.Check(t, func(t *rapid.T) { begin(t).happens() })
	}
}

// whole checks that nothing but the release and its way back is there, in full health, and that nothing is left to do but
// to prove that.
func (h *history) whole(release int) {
	h.t.Helper()
	if h.want.Current.Number != release || h.want.Target.Number != release {
		h.t.Fatalf("it should have come to release %d: %s", release, h.summary())
	}
	live := 0
	for _, in := range h.instances {
		switch {
		case in.Taint != nil:
			h.t.Fatalf("%s is tainted, and still %s: %s", in.ID, in.Phase, h.summary())
		case in.Release == release && in.Phase == imx.Healthy:
			live++
		case in.Release != h.want.Back.Number || in.Phase == imx.Unhealthy:
			h.t.Fatalf("%s of release %d is %s: %s", in.ID, in.Release, in.Phase, h.summary())
		}
	}
	if live != h.wanted(release) || h.routes[release] == 0 || len(h.routes) != 1 || h.preview != 0 {
		h.t.Fatalf("%d instances are wanted: %s", h.wanted(release), h.summary())
	}
	if back := h.want.Back.Number; back != 0 && (!h.want.Way.Ready || h.want.Way.Release != back) {
		h.t.Fatalf("the way back to release %d is %+v", back, h.want.Way)
	}
	asked := h.asked
	h.run(3 * time.Hour)
	if proofs := int(3 * time.Hour / rollout.ProveEvery); h.asked > asked+2+8*proofs {
		h.t.Fatalf("with nothing left to do, it was asked %d times in three hours", h.asked-asked)
	}
}

func TestWhatGetsHealthyEndsAsTheOnlyRelease(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := begin(t).happens()
		h.everythingWorks()
		clear(h.instant)
		h.newRelease()
		h.habits[len(h.habits)-1] = habit{healthy: time.Second}
		for range 5 { // as many steps as there may be
			h.run(10 * time.Minute)
			h.want.Rollout.Confirm = true
		}
		h.run(10 * time.Minute)
		h.whole(len(h.releases))
	})
}

func TestWhatNeverGetsHealthyFailsAndLeavesTheCurrentRelease(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := begin(t)
		h.habits[0] = habit{healthy: time.Second}
		h.run(time.Minute) // there is something to stay on
		h.happens()
		h.everythingWorks()
		clear(h.instant)
		h.run(time.Hour) // what was on its way may have arrived
		h.changes = 0
		h.newRelease()
		current := h.want.Current.Number
		h.habits[len(h.habits)-1] = rapid.SampledFrom([]habit{{}, {crash: time.Second}}).Draw(t, "bad habit")
		h.run(20 * time.Minute)
		h.whole(current)
	})
}

func TestARollbackAlwaysEndsOnItsTarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := begin(t)
		h.habits[0] = habit{healthy: time.Second}
		h.run(time.Minute)
		h.happens()
		h.everythingWorks()
		clear(h.instant)
		to := 0
		for _, r := range h.releases {
			if r.State == imx.ReleaseGood && r.Number != h.want.Target.Number {
				to = r.Number
			}
		}
		if to == 0 || !h.rollback(to) {
			t.Skip("there is nothing to go back to")
		}
		h.changes = 0
		for n := range h.instances { // what was fatally ill before is no fault of the release
			if in := &h.instances[n]; in.Phase == imx.Unhealthy {
				in.Phase = imx.Healthy
			}
		}
		h.run(20 * time.Minute)
		h.whole(to)
		if !h.want.Held {
			t.Fatal("the rollback isn't held")
		}
	})
}

func TestTheSameMomentGivesTheSameDecisionInWhateverOrderItIsTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := begin(t)
		for range rapid.IntRange(0, 20).Draw(t, "events") {
			h.something() // and isn't acted upon yet
			seen := h.seen()
			first := rollout.Next(h.want, seen, h.now)
			seen.Instances = rapid.Permutation(seen.Instances).Draw(t, "instances")
			seen.Ended = rapid.Permutation(seen.Ended).Draw(t, "ended")
			seen.Kept = rapid.Permutation(seen.Kept).Draw(t, "kept")
			h.want.Extra = rapid.Permutation(slices.Clone(h.want.Extra)).Draw(t, "releases")
			if again := rollout.Next(h.want, seen, h.now); !reflect.DeepEqual(first, again) {
				t.Fatalf("%+v and %+v", first, again)
			}
		}
	})
}

func TestADestroyedServiceLeavesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := begin(t).happens()
		h.law = func(rollout.Seen, rollout.Action) {}
		h.want.Destroyed, h.want.Target, h.want.Current, h.want.Replicas = true, imx.Release{}, imx.Release{}, 0
		h.rightClock()
		h.run(time.Minute)
		if len(h.instances) > 0 || len(h.routes) > 0 {
			t.Fatalf("left: %s", h.summary())
		}
	})
}
