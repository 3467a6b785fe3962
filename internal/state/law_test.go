package state_test

// The laws of the fold, on random histories: what a snapshot of a state is folded on to is what
// the whole log folds to, and nobody who holds a state sees it change.

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/state"
)

// body draws any event about two services; about half of them fit the state.
func body(t *rapid.T, s *imx.State) imx.Body {
	name := rapid.SampledFrom([]string{"web", "db"}).Draw(t, "service")
	v := s.Services[name]
	number := rapid.IntRange(0, len(v.Releases)+1).Draw(t, "release")
	phase := rapid.SampledFrom([]imx.Phase{imx.Starting, imx.Healthy, imx.Unhealthy, imx.Ended}).Draw(t, "phase")
	in := imx.Instance{ID: fmt.Sprintf("%s-%d-%d", name, number, rapid.IntRange(0, 60).Draw(t, "id")), Service: name, Release: number, Phase: phase}
	apply := "a"
	if s.Apply != nil {
		apply = s.Apply.Apply
	}
	next := release(len(v.Releases)+1, rapid.IntRange(0, 3).Draw(t, "replicas"))
	next.Service = name
	if rapid.Bool().Draw(t, "volume") {
		next.Spec.Volumes = []imx.Volume{{Name: "data"}}
	}
	return rapid.SampledFrom([]imx.Body{
		imx.ServerStarted{Version: "1"},
		imx.SuiteSeen{Suite: imx.LockedSuite{Archive: "host", Suite: name}, Codename: "code" + apply},
		imx.FeedKept{Feed: imx.Feed{Name: name, Entries: int64(number)}},
		imx.FeedRemoved{Name: name},
		imx.ApplyStarted{Apply: apply},
		imx.ImageBuilt{Image: imx.Image{Plan: imx.DigestBytes([]byte{byte(number)})}},
		imx.Applied{Apply: apply, Releases: []imx.Release{next}},
		imx.Applied{Apply: apply, Replicas: map[string]int{name: number}},
		imx.ApplyFailed{Apply: apply},
		imx.RolloutFinished{Service: name, Release: v.Target},
		imx.RolloutFailed{Service: name, Release: v.Target, Reason: "no"},
		imx.RolledBack{Service: name, From: v.Target, To: number},
		imx.TrafficMoved{Service: name, Weights: imx.Weights{number: 100}},
		imx.TrafficMoved{Service: name, Weights: imx.Weights{}},
		imx.Scaled{Service: name, Replicas: number},
		imx.Destroyed{Service: name},
		imx.Removed{Service: name},
		rolloutBody(t, name, v, number),
		imx.InstanceStarted{Instance: in},
		imx.InstanceChanged{Instance: in},
		imx.InstanceEnded{Instance: in},
		imx.ManifestPushed{Repository: name},
		trustBody(t, name, number),
		imx.TokenMade{Token: imx.RegistryToken{ID: name, Owner: "ci", Rights: []imx.RegistryRight{imx.Pull}, Repositories: []string{"*"}}},
		imx.TokenRevoked{ID: name},
		imx.QuotaSet{Quota: imx.RegistryQuota{Repositories: name, Manifests: number}},
		imx.MirrorSet{Mirror: imx.RegistryMirror{Name: name, Direction: imx.MirrorTo}},
		imx.MirrorRemoved{Name: name},
		imx.RegistryRepaired{},
	}).Draw(t, "body")
}

// rolloutBody draws an event about a rollout, or a way back.
func rolloutBody(t *rapid.T, name string, v imx.Service, number int) imx.Body {
	return rapid.SampledFrom([]imx.Body{
		imx.RolloutStepped{Service: name, Release: v.Target, Step: number, Share: 10, Reason: "so"},
		imx.RolloutWaits{Service: name, Release: v.Target, Reason: "too little"},
		imx.RolloutPaused{Service: name, Release: v.Target},
		imx.RolloutPromoted{Service: name, Release: v.Target, Step: number, Whole: number > 1},
		imx.TurnedBad{Service: name, From: v.Current, To: number, Reason: "it crashes"},
		imx.HoldEnded{Service: name},
		imx.WayBackChanged{Service: name, Way: imx.WayBack{Release: number, Ready: true}},
		imx.NetworkMended{Mend: imx.Mend{Time: begin(), What: []string{"the rules"}}},
		imx.InstanceTainted{Instance: fmt.Sprintf("%s-%d", name, number), Reason: "odd"},
		imx.TaintEnded{Instance: fmt.Sprintf("%s-%d", name, number)},
	}).Draw(t, "rollout")
}

// trustBody draws an event about who and what is counted on, and about what waits for a yes.
func trustBody(t *rapid.T, name string, number int) imx.Body {
	id := fmt.Sprintf("k%d", rapid.IntRange(0, 3).Draw(t, "key"))
	who := imx.Principal(rapid.SampledFrom([]string{"ada", "ben"}).Draw(t, "person"))
	role := rapid.SampledFrom([]imx.Role{"", imx.RoleBuilder, imx.RoleTester}).Draw(t, "role")
	until := begin().Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "until")) * time.Minute)
	return rapid.SampledFrom([]imx.Body{
		imx.KeyAdded{Key: imx.Key{ID: id, Owner: who, Role: role}},
		imx.KeyEnded{Key: id, Until: until, Compromised: number == 0, Reason: "lost"},
		imx.PersonSet{Person: imx.Person{Name: who, Roles: []imx.Role{imx.RoleReviewer}}},
		imx.PersonRemoved{Person: who},
		imx.EnvironmentSet{Environment: name},
		imx.KeyAdded{Key: imx.Key{ID: id + name, Owner: imx.Server, Role: imx.RoleBuilder, Environment: name}},
		imx.UpstreamSet{Upstream: imx.Upstream{Environment: name, Keys: []string{id + name}}},
		imx.UpstreamRemoved{Environment: name},
		imx.PolicySet{Policy: imx.Policy{Environment: name, Settings: imx.PolicySettings{Reviews: number}}},
		imx.ExceptionMade{Exception: imx.Exception{ID: id, Until: until}},
		imx.ExceptionEnded{Exception: id},
		imx.VerdictGiven{Service: name, Release: number, Verdict: imx.Verdict{Service: name, Allowed: number > 1}},
		imx.CandidateMade{Candidate: imx.Candidate{ID: id + name, Services: []string{name}}},
		imx.Reviewed{Candidate: id + name, Review: imx.Review{By: who, Approves: number > 0}},
		imx.CandidateEnded{Candidate: id + name, State: imx.CandidateRejected, Why: "no"},
		imx.SourceAdded{Source: imx.GitSource{Name: name, URL: id}},
		imx.SourceRemoved{Source: name},
		imx.CommitSeen{Source: name, Commit: &imx.Commit{ID: id}},
	}).Draw(t, "trust")
}

// history folds random events and returns those that fit, as they would be read from the log.
func history(t *rapid.T) []imx.Event {
	s := state.New()
	var events []imx.Event
	for range rapid.IntRange(0, 80).Draw(t, "events") {
		e := imx.Event{Index: s.Next, Time: begin().Add(time.Duration(s.Next) * time.Minute), By: "root", Body: body(t, s)}
		before := text(s)
		if state.Fold(s, e) != nil {
			if text(s) != before {
				t.Fatalf("%T was refused and changed the state", e.Body)
			}
			continue
		}
		if s.Next != e.Index+1 || s.Time != e.Time {
			t.Fatalf("after event %d the next is %d", e.Index, s.Next)
		}
		events = append(events, reread(t, e))
	}
	return events
}

func reread(t *rapid.T, e imx.Event) imx.Event {
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var again imx.Event
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	return again
}

func folded(t *rapid.T, s *imx.State, events []imx.Event) *imx.State {
	for _, e := range events {
		if err := state.Fold(s, e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestASnapshotFoldedOnIsTheWholeLogFolded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := history(t)
		whole := text(folded(t, state.New(), events))
		if again := text(folded(t, state.New(), events)); again != whole {
			t.Fatal("the same events give two states")
		}
		cut := rapid.IntRange(0, len(events)).Draw(t, "cut")
		prefix := folded(t, state.New(), events[:cut])
		var snapshot imx.State
		if err := json.Unmarshal([]byte(text(prefix)), &snapshot); err != nil {
			t.Fatal(err)
		}
		if text(&snapshot) != text(prefix) {
			t.Fatal("a state isn't what its JSON says")
		}
		if got := text(folded(t, &snapshot, events[cut:])); got != whole {
			t.Fatalf("a snapshot after %d events, folded on:\n%s\ninstead of\n%s", cut, got, whole)
		}
	})
}

func TestAClonedStateNeverChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := history(t)
		cut := rapid.IntRange(0, len(events)).Draw(t, "cut")
		s := folded(t, state.New(), events[:cut])
		held := state.Clone(s)
		before := text(held)
		if text(s) != before {
			t.Fatal("a clone differs")
		}
		whole := text(folded(t, s, events[cut:]))
		if text(held) != before {
			t.Fatal("folding on changed a state that somebody held")
		}
		if text(folded(t, held, events[cut:])) != whole {
			t.Fatal("the clone, folded on, gives another state")
		}
	})
}

// A state that others read is never changed by what comes after it, whatever that is.
func TestTheStateBeforeAnEventStaysAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := history(t)
		s, folded := state.New(), folded(t, state.New(), events)
		var before []*imx.State
		var texts []string
		for len(events) > 0 {
			n := rapid.IntRange(1, min(3, len(events))).Draw(t, "at once")
			before, texts = append(before, s), append(texts, text(s))
			next, err := state.After(s, events[:n]...)
			if err != nil {
				t.Fatal(err)
			}
			s, events = next, events[n:]
		}
		if text(s) != text(folded) {
			t.Fatalf("by steps it became\n%s\ninstead of\n%s", text(s), text(folded))
		}
		for i, was := range before {
			if text(was) != texts[i] {
				t.Fatalf("what came later changed step %d", i)
			}
		}
	})
}

// Whatever the history: what a service says of itself holds together.
func TestAServiceNeverContradictsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := state.New()
		for _, e := range history(t) {
			folded(t, s, []imx.Event{e})
			for _, v := range s.Services {
				coherent(t, v)
			}
		}
	})
}

func coherent(t *rapid.T, v imx.Service) {
	for i, r := range v.Releases {
		if r.Number != i+1 || r.Service != v.Name || r.Address != v.Address {
			t.Fatalf("release %d of %s is %d of %s", i+1, v.Name, r.Number, r.Service)
		}
	}
	current, ok := v.Release(v.Current)
	if v.Current != 0 && (!ok || current.State == imx.ReleasePending) {
		t.Fatalf("%s is at release %d, which is %q", v.Name, v.Current, current.State)
	}
	if _, ok := v.Release(v.Target); v.Target != 0 && !ok {
		t.Fatalf("%s goes to release %d, which it hasn't", v.Name, v.Target)
	}
	if v.Destroyed && (v.Target != 0 || v.Current != 0 || v.Replicas != 0) {
		t.Fatalf("%s is destroyed and wants something: %+v", v.Name, v)
	}
	if v.Current != 0 && v.Target == v.Current && v.Replicas != v.CurrentReplicas {
		t.Fatalf("%s rolls nothing out and wants %d and %d instances", v.Name, v.Replicas, v.CurrentReplicas)
	}
	if v.Target == v.Current && v.Rollout != (imx.Rollout{}) {
		t.Fatalf("%s rolls nothing out and is at %+v", v.Name, v.Rollout)
	}
	if v.Destroyed && (v.Hold != nil || v.WayBack != (imx.WayBack{})) {
		t.Fatalf("%s is destroyed, and held or kept: %+v", v.Name, v)
	}
	if !v.Destroyed && v.Removed {
		t.Fatalf("%s is removed and not destroyed", v.Name)
	}
}

// Whatever the history: what the state has forgotten of a service lies behind its horizon.
func TestWhatWasForgottenLiesBehindTheHorizon(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := state.New()
		folded(t, s, []imx.Event{
			{Body: imx.ApplyStarted{Apply: "a"}},
			{Index: 1, Body: imx.Applied{Apply: "a", Releases: []imx.Release{release(1, rapid.IntRange(0, 2).Draw(t, "replicas"))}}},
		})
		told := map[string]imx.Instance{}
		for i := range rapid.IntRange(0, 60).Draw(t, "ends") {
			in := imx.Instance{ID: fmt.Sprint(i), Service: "web", Release: 1, Phase: imx.Ended}
			in.Ended = begin().Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "minute")) * time.Minute)
			told[in.ID] = in
			folded(t, s, []imx.Event{{Index: s.Next, Time: begin(), Body: imx.InstanceEnded{Instance: in}}})
		}
		for id, in := range told {
			if _, known := s.Instances[id]; !known && in.Ended.After(state.Horizon(s)["web"]) {
				t.Fatalf("%s ended at %s, was forgotten, and counts as new", id, in.Ended)
			}
		}
	})
}
