package state_test

// State is what everybody reads, so what each event means must be plain and must never change:
// logs that were written years ago are folded by this code. One table holds the meaning of every
// event, as a story of one service; the laws hold for any story.

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"imx"
	"imx/internal/state"
)

func begin() time.Time { return time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC) }

// at is the time of the event with an index: one a second.
func at(index int64) time.Time { return begin().Add(time.Duration(index) * time.Second) }

func address() netip.Addr { return netip.MustParseAddr("10.66.0.1") }

func release(number, replicas int) imx.Release {
	return imx.Release{Service: "web", Number: number, Address: address(), Spec: imx.Spec{Name: "web", Replicas: replicas}}
}

// story folds bodies one after the other.
type story struct {
	t *testing.T
	s *imx.State
}

func tell(t *testing.T) *story {
	t.Helper()
	return &story{t: t, s: state.New()}
}

func (st *story) event(body imx.Body) imx.Event {
	return imx.Event{Index: st.s.Next, Time: at(st.s.Next), By: "root", Body: body}
}

func (st *story) then(bodies ...imx.Body) *story {
	st.t.Helper()
	for _, b := range bodies {
		if err := state.Fold(st.s, st.event(b)); err != nil {
			st.t.Fatal(err)
		}
	}
	return st
}

func (st *story) apply(b imx.Applied) *story {
	st.t.Helper()
	b.Apply = fmt.Sprintf("apply-%d", st.s.Next)
	return st.then(imx.ApplyStarted{Apply: b.Apply}, b)
}

// refuses checks that an event doesn't fit, that the error names it and that the state is as before.
func (st *story) refuses(body imx.Body, why string) {
	st.t.Helper()
	before := text(st.s)
	e := st.event(body)
	err := state.Fold(st.s, e)
	if imx.KindOf(err) != imx.Internal || !strings.Contains(err.Error(), fmt.Sprintf("event %d (%s)", e.Index, e.Kind())) ||
		!strings.Contains(err.Error(), why) {
		st.t.Errorf("%T: %v; want it refused because %q", body, err, why)
	}
	if after := text(st.s); after != before {
		st.t.Errorf("%T was refused and changed the state:\n%s", body, cmp.Diff(before, after))
	}
}

func text(s *imx.State) string {
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (st *story) web(want imx.Service) {
	st.t.Helper()
	got := st.s.Services["web"]
	want.Name, want.Address = "web", address()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(imx.Service{}, "Releases"), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		st.t.Errorf("after %d events, - is wanted:\n%s", st.s.Next, diff)
	}
}

// releases checks the states of all releases, "1 good, 2 failed: it crashed".
func (st *story) releases(want string) {
	st.t.Helper()
	var list []string
	for _, r := range st.s.Services["web"].Releases {
		list = append(list, strings.TrimSuffix(fmt.Sprintf("%d %s: %s", r.Number, r.State, r.Reason), ": "))
	}
	if got := strings.Join(list, ", "); got != want {
		st.t.Errorf("releases: %s; want %s", got, want)
	}
}

func TestTheLifeOfAServiceFromItsFirstReleaseToItsNamesake(t *testing.T) {
	st := tell(t)
	st.apply(imx.Applied{Releases: []imx.Release{release(1, 3)}, Replicas: map[string]int{"web": 3}})
	st.web(imx.Service{Replicas: 3, Target: 1, Since: at(1)})
	st.releases("1 pending")

	st.then(imx.TrafficMoved{Service: "web", Weights: imx.Weights{1: 100}}, imx.RolloutFinished{Service: "web", Release: 1})
	st.web(imx.Service{Replicas: 3, CurrentReplicas: 3, Current: 1, Target: 1, Since: at(1), Finished: at(3), Routes: imx.Weights{1: 100}, Moved: at(2)})
	st.releases("1 good")

	st.apply(imx.Applied{Releases: []imx.Release{release(2, 3)}})
	st.web(imx.Service{Replicas: 3, CurrentReplicas: 3, Current: 1, Target: 2, Since: at(5), Finished: at(3), Routes: imx.Weights{1: 100}, Moved: at(2)})

	st.then(imx.RolloutFailed{Service: "web", Release: 2, Reason: "it crashed"})
	st.web(imx.Service{Replicas: 3, CurrentReplicas: 3, Current: 1, Target: 1, Since: at(6), Finished: at(3), Routes: imx.Weights{1: 100}, Moved: at(2)})
	st.releases("1 good, 2 failed: it crashed")

	st.apply(imx.Applied{Releases: []imx.Release{release(3, 3)}})
	st.then(imx.TrafficMoved{Service: "web", Weights: imx.Weights{3: 100}}, imx.RolloutFinished{Service: "web", Release: 3})
	st.then(imx.RolledBack{Service: "web", From: 3, To: 1})
	st.web(imx.Service{Replicas: 3, CurrentReplicas: 3, Current: 3, Target: 1, Since: at(11), Finished: at(10), Hold: &imx.Hold{By: "root", From: 3, Since: at(11)}, Routes: imx.Weights{3: 100}, Moved: at(9)})
	st.releases("1 good, 2 failed: it crashed, 3 good")

	st.then(imx.RolloutFinished{Service: "web", Release: 1}, imx.Scaled{Service: "web", Replicas: 5})
	st.web(imx.Service{Replicas: 5, CurrentReplicas: 5, Current: 1, Target: 1, Since: at(11), Finished: at(12), Hold: &imx.Hold{By: "root", From: 3, Since: at(11)}, Routes: imx.Weights{3: 100}, Moved: at(9)})

	st.apply(imx.Applied{Replicas: map[string]int{"web": 2}})
	st.web(imx.Service{Replicas: 2, CurrentReplicas: 2, Current: 1, Target: 1, Since: at(11), Finished: at(12), Hold: &imx.Hold{By: "root", From: 3, Since: at(11)}, Routes: imx.Weights{3: 100}, Moved: at(9)})

	st.then(imx.Destroyed{Service: "web", Volumes: true})
	st.web(imx.Service{Since: at(16), Moved: at(9), Destroyed: true, VolumesToo: true})
	st.then(imx.TrafficMoved{Service: "web"}, imx.Removed{Service: "web"})
	st.web(imx.Service{Since: at(16), Moved: at(17), Destroyed: true, VolumesToo: true, Removed: true})

	st.apply(imx.Applied{Releases: []imx.Release{release(4, 1)}})
	st.web(imx.Service{Replicas: 1, Target: 4, Since: at(20), Moved: at(17)})
	st.releases("1 good, 2 failed: it crashed, 3 good, 4 pending")
}

func TestAFirstReleaseThatFailsLeavesNoTarget(t *testing.T) {
	st := tell(t).apply(imx.Applied{Releases: []imx.Release{release(1, 1)}})
	st.then(imx.RolloutFailed{Service: "web", Release: 1, Reason: "no"})
	st.web(imx.Service{Replicas: 1, Since: at(2)})
}

func TestARolloutStepsWaitsIsStoppedAndGoesOn(t *testing.T) {
	st := tell(t).apply(imx.Applied{Releases: []imx.Release{release(1, 1)}}).then(imx.RolloutFinished{Service: "web", Release: 1})
	st.refuses(imx.RolloutPaused{Service: "web", Release: 1}, "isn't being rolled out")
	st.apply(imx.Applied{Releases: []imx.Release{release(2, 1)}})
	st.then(imx.RolloutStepped{Service: "web", Release: 2, Reason: "it begins"}, imx.RolloutWaits{Service: "web", Release: 2, Reason: "too little"},
		imx.RolloutPaused{Service: "web", Release: 2})
	want := imx.Rollout{Since: at(5), Reason: "it begins", Waits: "too little", Paused: "root"}
	if got := st.s.Services["web"].Rollout; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	st.refuses(imx.RolloutPromoted{Service: "web", Release: 2, Step: 1}, "is at step 0")
	st.then(imx.RolloutPromoted{Service: "web", Release: 2, Whole: true}, imx.RolloutStepped{Service: "web", Release: 2, Step: 1, Reason: "promoted"})
	want = imx.Rollout{Step: 1, Since: at(9), Reason: "promoted", Whole: true}
	if got := st.s.Services["web"].Rollout; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	st.then(imx.RolloutFinished{Service: "web", Release: 2})
	if got := st.s.Services["web"].Rollout; got != (imx.Rollout{}) {
		t.Errorf("afterwards it is at %+v", got)
	}
}

func TestWhatTurnedBadIsFailedAndTheServiceHeld(t *testing.T) {
	st := tell(t).apply(imx.Applied{Releases: []imx.Release{release(1, 1)}}).then(imx.RolloutFinished{Service: "web", Release: 1})
	st.apply(imx.Applied{Releases: []imx.Release{release(2, 1)}}).then(imx.RolloutFinished{Service: "web", Release: 2})
	st.refuses(imx.TurnedBad{Service: "web", From: 1, To: 2}, "isn't at release 1")
	st.refuses(imx.TurnedBad{Service: "web", From: 2, To: 3}, "nothing to go back to")
	st.refuses(imx.HoldEnded{Service: "web"}, "isn't held")
	st.then(imx.TurnedBad{Service: "web", From: 2, To: 1, Reason: "it crashes"})
	st.releases("1 good, 2 failed: it crashes")
	if v := st.s.Services["web"]; v.Target != 1 || v.Hold == nil || v.Hold.From != 2 || v.Hold.Reason != "it crashes" {
		t.Errorf("the service is %+v", v)
	}
	st.then(imx.HoldEnded{Service: "web"})
	if st.s.Services["web"].Hold != nil {
		t.Error("it is still held")
	}
}

// number checks how many instances are wanted of the target, and of the current release.
func (st *story) number(target, current int) {
	st.t.Helper()
	if v := st.s.Services["web"]; v.Replicas != target || v.CurrentReplicas != current {
		st.t.Errorf("after %d events: %d of the target and %d of the current release are wanted, want %d and %d",
			st.s.Next, v.Replicas, v.CurrentReplicas, target, current)
	}
}

func TestTheNumberOfAnApplyOnlyStaysIfItsReleaseGetsGood(t *testing.T) {
	st := tell(t).apply(imx.Applied{Releases: []imx.Release{release(1, 3)}}).then(imx.RolloutFinished{Service: "web", Release: 1})
	st.number(3, 3)
	st.apply(imx.Applied{Releases: []imx.Release{release(2, 1)}, Replicas: map[string]int{"web": 1}})
	st.number(1, 3)
	st.then(imx.RolloutFailed{Service: "web", Release: 2, Reason: "no"})
	st.number(3, 3)

	st.apply(imx.Applied{Releases: []imx.Release{release(3, 5)}, Replicas: map[string]int{"web": 5}})
	st.apply(imx.Applied{Replicas: map[string]int{"web": 6}}) // of the release that is still being rolled out
	st.number(6, 3)
	st.then(imx.RolledBack{Service: "web", From: 3, To: 1})
	st.number(3, 3)

	st.apply(imx.Applied{Releases: []imx.Release{release(4, 5)}, Replicas: map[string]int{"web": 5}})
	st.then(imx.RolloutFinished{Service: "web", Release: 4})
	st.number(5, 5)
	st.apply(imx.Applied{Releases: []imx.Release{release(5, 2)}, Replicas: map[string]int{"web": 2}})
	st.then(imx.Scaled{Service: "web", Replicas: 4})
	st.number(4, 4)
}

func TestAReleaseThatHoldsAVolumeComesBackWithOneInstance(t *testing.T) {
	holder := release(1, 1)
	holder.Spec.Volumes = []imx.Volume{{Name: "data"}}
	st := tell(t).apply(imx.Applied{Releases: []imx.Release{holder}}).then(imx.RolloutFinished{Service: "web", Release: 1})
	st.apply(imx.Applied{Releases: []imx.Release{release(2, 3)}, Replicas: map[string]int{"web": 3}})
	st.then(imx.RolloutFinished{Service: "web", Release: 2}, imx.RolledBack{Service: "web", From: 2, To: 1})
	st.number(1, 3)
	st.then(imx.RolloutFinished{Service: "web", Release: 1})
	st.number(1, 1)
}

func TestAReleaseOfWhichNoInstanceWasWantedSaysThatItNeverRan(t *testing.T) {
	st := tell(t).apply(imx.Applied{Releases: []imx.Release{release(1, 1)}})
	st.then(imx.RolloutFinished{Service: "web", Release: 1}, imx.Scaled{Service: "web", Replicas: 0})
	st.apply(imx.Applied{Releases: []imx.Release{release(2, 0)}}).then(imx.RolloutFinished{Service: "web", Release: 2})
	st.releases("1 good, 2 good: no instance of it was wanted, so it wasn't tried")
	st.then(imx.RolledBack{Service: "web", From: 2, To: 1}, imx.RolloutFinished{Service: "web", Release: 1})
	st.then(imx.RolledBack{Service: "web", From: 1, To: 2}, imx.RolloutFinished{Service: "web", Release: 2})
	st.releases("1 good, 2 good: no instance of it was wanted, so it wasn't tried")
	st.then(imx.RolledBack{Service: "web", From: 2, To: 1}, imx.RolloutFinished{Service: "web", Release: 1})
	st.then(imx.Scaled{Service: "web", Replicas: 2}, imx.RolledBack{Service: "web", From: 1, To: 2}, imx.RolloutFinished{Service: "web", Release: 2})
	st.releases("1 good, 2 good")
}

func TestAnApplyIsOpenUntilItEndsEitherWay(t *testing.T) {
	st := tell(t).then(imx.ServerStarted{}, imx.ApplyStarted{Apply: "a", Plan: "sha256:00"})
	if s := st.s; s.Apply == nil || s.Apply.Apply != "a" || s.ApplyBy != "root" || s.ApplyAt != at(1) {
		t.Errorf("open: %+v", s)
	}
	st.refuses(imx.ApplyStarted{Apply: "b"}, `apply "a" is still open`)
	st.refuses(imx.Applied{Apply: "b"}, `apply "b" isn't open`)
	st.refuses(imx.ApplyFailed{Apply: "b"}, `apply "b" isn't open`)
	for _, end := range []imx.Body{imx.ApplyFailed{Apply: "a"}, imx.Applied{Apply: "a"}} {
		if s := st.then(end).s; s.Apply != nil || s.ApplyBy != "" || !s.ApplyAt.IsZero() {
			t.Errorf("after %T: %+v", end, s)
		}
		st.then(imx.ApplyStarted{Apply: "a"})
	}
}

func TestImagesAndSuitesAreRemembered(t *testing.T) {
	suite := func(name string, hour int) imx.LockedSuite {
		return imx.LockedSuite{Archive: "host", Suite: name, Date: begin().Add(time.Duration(hour) * time.Hour)}
	}
	st := tell(t).then(
		imx.SuiteSeen{Suite: suite("bookworm", 1)}, imx.SuiteSeen{Suite: suite("bookworm-security", 1)},
		imx.SuiteSeen{Suite: suite("bookworm", 2)},
		imx.SuiteSeen{Suite: suite("bookworm", 1)}, // two that fetch at once may tell it in this order
		imx.ImageBuilt{Image: imx.Image{Name: "web", Plan: "p1", Digest: "d1"}},
		imx.ManifestPushed{Repository: "web"},
		imx.Collected{},
	)
	want := []imx.LockedSuite{suite("bookworm", 2), suite("bookworm-security", 1)}
	if diff := cmp.Diff(want, st.s.Suites); diff != "" {
		t.Error(diff)
	}
	if got := st.s.Images["p1"].Digest; got != "d1" {
		t.Errorf("image of plan p1: %s", got)
	}
}

func instance(id string, phase imx.Phase) imx.Instance {
	return imx.Instance{ID: id, Service: "web", Release: 1, Phase: phase, Started: begin()}
}

func TestAnInstanceIsAsItWasLastSeenAndHasChangedWhenItsPhaseDid(t *testing.T) {
	st := tell(t).apply(imx.Applied{Releases: []imx.Release{release(1, 1)}})
	st.then(imx.InstanceStarted{Instance: instance("web-1-a", imx.Starting)})
	st.then(imx.InstanceChanged{Instance: instance("web-1-a", imx.Healthy)})
	sick := instance("web-1-a", imx.Healthy)
	sick.Reason = "slow"
	st.then(imx.InstanceChanged{Instance: sick})
	if in := st.s.Instances["web-1-a"]; in.Phase != imx.Healthy || in.Reason != "slow" || in.Changed != at(3) {
		t.Errorf("%+v", in)
	}
	st.refuses(imx.InstanceEnded{Instance: sick}, "is still healthy")
	st.then(imx.InstanceEnded{Instance: instance("web-1-a", imx.Ended)})
	if in := st.s.Instances["web-1-a"]; in.Phase != imx.Ended || in.Ended != at(5) {
		t.Errorf("%+v", in)
	}
	st.refuses(imx.InstanceChanged{Instance: sick}, "has ended")
	st.refuses(imx.InstanceStarted{Instance: imx.Instance{ID: "x", Service: "db"}}, `no service "db"`)
	st.refuses(imx.InstanceStarted{Instance: imx.Instance{Service: "web"}}, "no id")
}

// ends lets so many instances end, of which the earliest don't stay; it returns the ids of those that do.
func (st *story) ends(total, stay int) []string {
	var kept []string
	for i := range total {
		in := instance(fmt.Sprintf("web-1-%03d", i), imx.Ended)
		minute := (i * 7) % total // ends aren't always noticed in order
		in.Ended = begin().Add(time.Duration(minute) * time.Minute)
		if minute >= total-stay {
			kept = append(kept, in.ID)
		}
		st.then(imx.InstanceEnded{Instance: in})
	}
	return kept
}

func TestTheNewestEndedInstancesOfAServiceAreKept(t *testing.T) {
	for _, c := range []struct{ replicas, stay int }{{0, 20}, {1, 27}, {10, 90}} {
		st := tell(t).apply(imx.Applied{Releases: []imx.Release{release(1, c.replicas)}})
		st.then(imx.InstanceStarted{Instance: instance("alive", imx.Healthy)})
		want := append([]string{"alive"}, st.ends(100, c.stay)...)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(st.s.Instances))); diff != "" {
			t.Errorf("%d replicas: %s", c.replicas, diff)
		}
	}
}

func TestTheHorizonTellsForgottenInstancesFromNewOnes(t *testing.T) {
	st := tell(t).apply(imx.Applied{Releases: []imx.Release{release(1, 1)}})
	st.ends(19, 19)
	if h := state.Horizon(st.s); len(h) != 0 {
		t.Errorf("nothing was forgotten, and the horizon is %v", h)
	}
	st = tell(t).apply(imx.Applied{Releases: []imx.Release{release(1, 1)}})
	st.ends(100, 27)
	want := map[string]time.Time{"web": begin().Add(73 * time.Minute)}
	if diff := cmp.Diff(want, state.Horizon(st.s)); diff != "" {
		t.Error(diff)
	}
}

func TestEventsThatDontFitAreNamedAndChangeNothing(t *testing.T) {
	st := tell(t).apply(imx.Applied{Releases: []imx.Release{release(1, 1)}})
	moved := release(2, 1)
	moved.Address = netip.MustParseAddr("10.66.0.9")
	for _, c := range []struct {
		body imx.Body
		why  string
	}{
		{imx.RolloutFinished{Service: "db", Release: 1}, `no service "db"`},
		{imx.RolloutFinished{Service: "web", Release: 2}, "isn't its target"},
		{imx.RolloutFailed{Service: "web", Release: 2}, "isn't being rolled out"},
		{imx.RolledBack{Service: "web", From: 2, To: 1}, "is release 1, not 2"},
		{imx.RolledBack{Service: "web", From: 1, To: 1}, "was never good"},
		{imx.TrafficMoved{Service: "web", Weights: imx.Weights{7: 100}}, "no release 7"},
		{imx.Scaled{Service: "web", Replicas: -1}, "can't have -1"},
		{imx.Removed{Service: "web"}, "isn't destroyed"},
	} {
		st.refuses(c.body, c.why)
	}
	st.then(imx.ApplyStarted{Apply: "a"})
	st.refuses(imx.Applied{Apply: "a", Releases: []imx.Release{release(3, 1)}}, "should be number 2")
	st.refuses(imx.Applied{Apply: "a", Releases: []imx.Release{moved}}, "not the service's")
	st.refuses(imx.Applied{Apply: "a", Replicas: map[string]int{"db": 1}}, `no service "db"`)
	st.then(imx.Destroyed{Service: "web"})
	st.refuses(imx.Destroyed{Service: "web"}, "is destroyed already")
	st.refuses(imx.Scaled{Service: "web", Replicas: 1}, "can't have 1")
	st.refuses(imx.RolledBack{Service: "web", From: 0, To: 1}, "is destroyed")
	st.refuses(imx.Applied{Apply: "a", Replicas: map[string]int{"web": 1}}, `no service "web"`)

	if err := state.Fold(st.s, imx.Event{Index: 99, Body: imx.ServerStarted{}}); imx.KindOf(err) != imx.Internal || !strings.Contains(err.Error(), "should come next") {
		t.Errorf("an event out of order: %v", err)
	}
	if err := state.Fold(st.s, imx.Event{Index: st.s.Next}); imx.KindOf(err) != imx.Internal {
		t.Errorf("an event without a body: %v", err)
	}
}

func TestWhatThePolicyStoppedIsRememberedUntilSomebodyWantsSomethingElse(t *testing.T) {
	stopped := func() *story {
		st := tell(t).apply(imx.Applied{Releases: []imx.Release{release(1, 3)}}).then(imx.RolloutFinished{Service: "web", Release: 1})
		st.apply(imx.Applied{Releases: []imx.Release{release(2, 3)}}).then(imx.RolloutFinished{Service: "web", Release: 2})
		st.then(imx.Scaled{Service: "web", Replicas: 5}, imx.Scaled{Service: "web", Replicas: 0, Reason: "never", Denied: true})
		return st.then(imx.Scaled{Service: "web", Replicas: 0, Reason: "again", Denied: true})
	}
	st := stopped()
	if s := st.s.Services["web"].Stopped; s == nil || s.Release != 2 || s.Replicas != 5 || s.Reason != "again" {
		t.Fatalf("%+v", s)
	}
	for what, then := range map[string]struct {
		body     imx.Body
		replicas int
	}{
		"scaled":      {imx.Scaled{Service: "web", Replicas: 3}, 3},
		"rolled back": {imx.RolledBack{Service: "web", From: 2, To: 1}, 5},
		"destroyed":   {imx.Destroyed{Service: "web"}, 0},
	} {
		st := stopped().then(then.body)
		if v := st.s.Services["web"]; v.Stopped != nil || v.Replicas != then.replicas {
			t.Errorf("%s: %+v", what, v)
		}
	}
	st = stopped().apply(imx.Applied{Replicas: map[string]int{"web": 2}})
	if v := st.s.Services["web"]; v.Stopped != nil || v.Replicas != 2 {
		t.Errorf("applied: %+v", v)
	}
}

func TestAnEnvironmentsPolicyGoesBackToImxsOwn(t *testing.T) {
	st := tell(t).then(imx.PolicySet{Policy: imx.Policy{Environment: "staging"}, Reason: "audit"})
	if _, ok := st.s.Policies["staging"]; !ok || st.s.PolicyChanges["staging"].Reason != "audit" {
		t.Errorf("%+v", st.s)
	}
	st.then(imx.PolicySet{Policy: imx.Policy{Environment: "staging"}, Shipped: true, Reason: "over"})
	if _, ok := st.s.Policies["staging"]; ok || st.s.PolicyChanges["staging"].Reason != "over" {
		t.Errorf("%+v", st.s)
	}
}
