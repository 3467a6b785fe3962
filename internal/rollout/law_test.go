package rollout_test

// What must hold whatever happens, on random histories of releases, rollbacks, scalings, crashes,
// sick instances, engines that say no and machines that go down. Releases
// come with and without volumes, and with any number of instances.

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/rollout"
)

// history is a world to which random things happen, while the laws are kept an eye on.
type history struct {
	*world
	t       *rapid.T
	instant map[string]int // what was decided at this instant
	at      time.Time
}

func begin(t *rapid.T) *history {
	h := &history{world: newWorld(io.Discard), t: t}
	h.law = h.watch
	h.newRelease()
	return h
}

// replicas are wanted whatever the release: what a volume allows is for Next to know.
func (h *history) replicas() int { return rapid.IntRange(1, 4).Draw(h.t, "replicas") }

func (h *history) newRelease() {
	s := imx.Spec{
		Health:   imx.Health{Every: imx.Duration(time.Second)},
		Deadline: imx.Duration(30 * time.Second), Drain: imx.Duration(10 * time.Second), Grace: imx.Duration(5 * time.Second),
	}
	for _, name := range rapid.SampledFrom([][]string{nil, nil, {"data"}, {"data"}, {"cache"}, {"data", "cache"}}).Draw(h.t, "volumes") {
		s.Volumes = append(s.Volumes, imx.Volume{Name: name})
	}
	h.release(s, h.habit(), h.replicas())
}

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

func (h *history) habit() habit {
	return rapid.SampledFrom([]habit{
		{healthy: time.Second},
		{healthy: 7 * time.Second},
		{healthy: time.Minute},
		{},
		{crash: time.Second},
		{healthy: time.Second, crash: 5 * time.Second},
		{healthy: 2 * time.Second, crash: 2 * time.Minute},
	}).Draw(h.t, "habit")
}

// live draws one of the instances, or returns false.
func (h *history) live() (imx.Instance, bool) {
	if len(h.instances) == 0 {
		return imx.Instance{}, false
	}
	in := rapid.SampledFrom(h.instances).Draw(h.t, "instance")
	return in, in.Phase != imx.Stopping
}

// something happens.
func (h *history) something() {
	clear(h.instant) // it may change what is wanted
	switch rapid.SampledFrom([]string{"time", "time", "time", "release", "rollback", "scale", "kill", "sick", "heal", "connections", "vanish", "habit", "refuse", "allow"}).Draw(h.t, "what") {
	case "time":
		h.run(time.Duration(rapid.IntRange(0, 60_000).Draw(h.t, "milliseconds")) * time.Millisecond)
	case "release":
		h.newRelease()
	case "rollback":
		if n := h.want.Current.Number; n > 0 {
			h.target(rapid.IntRange(1, n).Draw(h.t, "to"))
		}
	case "scale":
		h.resize(h.replicas())
	case "kill":
		if in, ok := h.live(); ok {
			h.end(in.ID, "was killed", imx.Exit{Code: 137})
		}
	case "sick":
		if in, ok := h.live(); ok && in.Phase == imx.Healthy {
			h.phase(in.ID, imx.Unhealthy, "sick")
		}
	case "heal":
		if in, ok := h.live(); ok && in.Phase == imx.Unhealthy {
			h.phase(in.ID, imx.Healthy, "")
		}
	case "connections":
		h.open[rapid.IntRange(1, len(h.releases)).Draw(h.t, "release")] = rapid.IntRange(-1, 2).Draw(h.t, "open")
	case "vanish":
		for len(h.instances) > 0 {
			h.end(h.instances[0].ID, "gone", imx.Exit{Code: -1})
		}
		h.routes = nil
	case "habit":
		h.habits[rapid.IntRange(1, len(h.releases)).Draw(h.t, "release")-1] = h.habit()
	case "refuse":
		what := rapid.SampledFrom([]string{"scale", "route"}).Draw(h.t, "refused")
		h.refused[fmt.Sprintf("%s %d", what, rapid.IntRange(1, len(h.releases)).Draw(h.t, "release"))] = "no"
	case "allow":
		clear(h.refused)
	}
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
	case rollout.Stop:
		h.keepsTraffic(before)
	case rollout.Route:
		h.routeIsDue(before, a.Weights)
	case rollout.Finish:
		if len(before.Routes) != 1 || before.Routes[a.Release] == 0 {
			h.t.Fatalf("release %d is finished while the traffic goes %v", a.Release, before.Routes)
		}
	case rollout.Fail:
		clear(h.instant) // from here on something else is wanted
		if before.Routes[a.Release] > 0 {
			h.t.Fatalf("release %d failed with traffic on it", a.Release)
		}
		if a.Reason == "" {
			h.t.Fatal("a release failed without a reason")
		}
	}
}

// Law: what was decided isn't decided otherwise in the same instant.
func (h *history) once(what string, value int) {
	if old, decided := h.instant[what]; decided && old != value {
		h.t.Fatalf("%s to %d, in the instant in which it was to %d", what, value, old)
	}
	h.instant[what] = value
}

// Law: traffic goes to a release only when enough of it is healthy, or when it is the last known
// good one and nothing else serves better.
func (h *history) routeIsDue(before rollout.Seen, w imx.Weights) {
	if len(w) != 1 {
		h.t.Fatalf("traffic is split, %v", w)
	}
	for number := range w {
		h.once("route", number)
		have := healthy(before, w)
		if have >= h.wanted(number) || (number == h.want.Current.Number && have >= healthy(before, before.Routes)) {
			return
		}
		h.t.Fatalf("traffic goes to release %d with %d of %d healthy", number, have, h.wanted(number))
	}
}

// Law: a service keeps as many healthy instances in the traffic as it had, or as it needs, unless
// they hold a volume that the target needs.
func (h *history) keepsTraffic(before rollout.Seen) {
	need := h.want.Replicas
	for number := range h.routes {
		if number != h.want.Target.Number && h.numbered(number).Spec.Shares(h.want.Target.Spec) {
			return
		}
		need = min(need, h.wanted(number))
	}
	had, has := healthy(before, h.routes), healthy(h.seen(), h.routes)
	if has < min(had, need) {
		h.t.Fatalf("%d healthy instances had the traffic, now %d of %d", had, has, need)
	}
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

func (h *history) happens() *history {
	for range rapid.IntRange(0, 40).Draw(h.t, "events") {
		h.something()
		h.settle()
	}
	return h
}

func TestTheLawsHoldInEveryHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { begin(t).happens() })
}

// whole checks that nothing but the release is there, in full health, and that nothing is left to do.
func (h *history) whole(release int) {
	h.t.Helper()
	if h.want.Current.Number != release || h.want.Target.Number != release {
		h.t.Fatalf("it should have come to release %d: %s", release, h.summary())
	}
	for _, in := range h.instances {
		if in.Release != release || in.Phase != imx.Healthy {
			h.t.Fatalf("%s of release %d is %s: %s", in.ID, in.Release, in.Phase, h.summary())
		}
	}
	if len(h.instances) != h.wanted(release) || h.routes[release] == 0 || len(h.routes) != 1 {
		h.t.Fatalf("%d instances are wanted: %s", h.wanted(release), h.summary())
	}
	asked := h.asked
	h.run(24 * time.Hour)
	if h.asked > asked+2 {
		h.t.Fatalf("with nothing left to do, it was asked %d times in a day", h.asked-asked)
	}
}

func (h *history) everythingWorks() {
	for i := range h.habits {
		h.habits[i] = habit{healthy: time.Second}
	}
	clear(h.open)
	clear(h.refused)
}

func TestWhatGetsHealthyEndsAsTheOnlyRelease(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := begin(t).happens()
		h.everythingWorks()
		clear(h.instant)
		h.newRelease()
		h.habits[len(h.habits)-1] = habit{healthy: time.Second}
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
		h.newRelease()
		current := h.want.Current.Number
		h.habits[len(h.habits)-1] = rapid.SampledFrom([]habit{{}, {crash: time.Second}}).Draw(t, "bad habit")
		h.run(10 * time.Minute)
		h.whole(current)
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
		h.run(time.Minute)
		if len(h.instances) > 0 || len(h.routes) > 0 {
			t.Fatalf("left: %s", h.summary())
		}
	})
}
