package state_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/state"
)

// told folds bodies, a minute apart, and returns the state.
func told(t *testing.T, bodies ...imx.Body) *imx.State {
	t.Helper()
	s := state.New()
	for i, b := range bodies {
		e := imx.Event{Index: int64(i), Time: begin().Add(time.Duration(i) * time.Minute), By: "root", Body: b}
		if err := state.Fold(s, e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func minute(n int) time.Time { return begin().Add(time.Duration(n) * time.Minute) }

func TestANewKeyOfARoleEndsTheOneBefore(t *testing.T) {
	s := told(t,
		imx.KeyAdded{Key: imx.Key{ID: "one", Owner: imx.Server, Role: imx.RoleBuilder}},
		imx.KeyAdded{Key: imx.Key{ID: "other", Owner: imx.Server, Role: imx.RoleTester}},
		imx.KeyAdded{Key: imx.Key{ID: "two", Owner: imx.Server, Role: imx.RoleBuilder}},
	)
	if k := s.Keys["one"]; k.Until != minute(2) || k.From != minute(0) {
		t.Errorf("the first counts from %s until %s", k.From, k.Until)
	}
	if !s.Keys["two"].Until.IsZero() || !s.Keys["other"].Until.IsZero() {
		t.Error("a key was ended that nothing took the place of")
	}
}

func TestAKeysEndIsNeverPutOffAndCompromiseNeverTakenBack(t *testing.T) {
	s := told(t,
		imx.KeyAdded{Key: imx.Key{ID: "k", Owner: imx.Server, Role: imx.RoleBuilder}},
		imx.KeyEnded{Key: "k", Until: minute(5), Compromised: true, Reason: "stolen"},
		imx.KeyEnded{Key: "k", Until: minute(9), Reason: "again"},
	)
	if k := s.Keys["k"]; k.Until != minute(5) || !k.Compromised {
		t.Errorf("it ended as %+v", k)
	}
}

func TestWhoIsRemovedTakesTheirKeysAlong(t *testing.T) {
	s := told(t,
		imx.PersonSet{Person: imx.Person{Name: "ada"}}, imx.PersonSet{Person: imx.Person{Name: "ben"}},
		imx.KeyAdded{Key: imx.Key{ID: "a", Owner: "ada"}}, imx.KeyAdded{Key: imx.Key{ID: "b", Owner: "ben"}},
		imx.PersonRemoved{Person: "ada", Reason: "left"},
	)
	if s.Keys["a"].Until != minute(4) || !s.Keys["b"].Until.IsZero() || len(s.People) != 1 {
		t.Errorf("people %v, keys %v", s.People, s.Keys)
	}
}

func TestANewCandidateSupersedesOpenOnesOfItsServices(t *testing.T) {
	s := told(t,
		imx.CandidateMade{Candidate: imx.Candidate{ID: "1", Services: []string{"web", "db"}}},
		imx.CandidateMade{Candidate: imx.Candidate{ID: "2", Services: []string{"mail"}}},
		imx.CandidateMade{Candidate: imx.Candidate{ID: "3", Services: []string{"db"}}},
	)
	for id, want := range map[string]imx.CandidateState{"1": imx.CandidateSuperseded, "2": imx.CandidateOpen, "3": imx.CandidateOpen} {
		if got := s.Candidates[id].State; got != want {
			t.Errorf("candidate %s is %s", id, got)
		}
	}
}

func TestAPersonsLastWordCounts(t *testing.T) {
	s := told(t,
		imx.CandidateMade{Candidate: imx.Candidate{ID: "1", Services: []string{"web"}}},
		imx.Reviewed{Candidate: "1", Review: imx.Review{By: "ada", Approves: true}},
		imx.Reviewed{Candidate: "1", Review: imx.Review{By: "ada"}},
	)
	if r := s.Candidates["1"].Reviews; len(r) != 1 || r[0].Approves {
		t.Errorf("reviews %+v", r)
	}
}

// no is what happens when a reviewer says no to a candidate, after they got known.
func no(id string) []imx.Body {
	return []imx.Body{
		imx.Reviewed{Candidate: id, Review: imx.Review{By: "ben", Bundle: imx.DigestBytes([]byte(id))}},
		imx.CandidateEnded{Candidate: id, State: imx.CandidateRejected, Why: "ben: no"},
	}
}

func of(id, plan, service string) imx.CandidateMade {
	return imx.CandidateMade{Candidate: imx.Candidate{ID: id, Plan: imx.Digest(plan), Environment: "p", Services: []string{service}}}
}

// others are so many candidates that ended after each other.
func others(n int) []imx.Body {
	var bodies []imx.Body
	for i := range n + 1 {
		bodies = append(bodies, of(fmt.Sprint("other", i), fmt.Sprint("other", i), "web"))
	}
	return bodies
}

func TestARejectionIsKeptUntilAnotherReleaseOfItsServices(t *testing.T) {
	ben := imx.PersonSet{Person: imx.Person{Name: "ben", Roles: []imx.Role{imx.RoleReviewer}}}
	many := others(3 * state.KeptCandidates)
	story := slices.Concat([]imx.Body{ben, of("1", "a", "web")}, no("1"), []imx.Body{of("2", "b", "db")}, no("2"), many)
	s := told(t, story...)
	for _, plan := range []imx.Digest{"a", "b"} {
		if got := state.Rejections(s, "p", plan); len(got) != 1 || got[0].By != "ben" {
			t.Errorf("the rejection of %s: %+v", plan, got)
		}
	}
	if got := state.Rejections(s, "q", "a"); len(got) != 0 {
		t.Errorf("in another environment: %+v", got)
	}
	if len(s.Candidates) != state.KeptCandidates+3 {
		t.Errorf("%d are kept", len(s.Candidates))
	}
	r := release(1, 1)
	r.Made = s.Time.Add(time.Second)
	s = told(t, slices.Concat(story, []imx.Body{imx.ApplyStarted{Apply: "x"}, imx.Applied{Apply: "x", Releases: []imx.Release{r}}, of("3", "c", "web")})...)
	if a, b := state.Rejections(s, "p", "a"), state.Rejections(s, "p", "b"); len(a) != 0 || len(b) != 1 {
		t.Errorf("after a release of web: %v, %v", a, b)
	}
}

func TestOfTheSamePlanTheNewestRejectedCandidateIsKept(t *testing.T) {
	bodies := []imx.Body{imx.PersonSet{Person: imx.Person{Name: "ben", Roles: []imx.Role{imx.RoleReviewer}}}}
	for i := range 3 * state.KeptCandidates {
		id := fmt.Sprint(i)
		bodies = slices.Concat(bodies, []imx.Body{of(id, "a", "web")}, no(id))
	}
	s := told(t, append(bodies, others(2*state.KeptCandidates)...)...)
	newest := fmt.Sprint(3*state.KeptCandidates - 1)
	if s.Candidates[newest].State != imx.CandidateRejected || len(s.Candidates) != state.KeptCandidates+2 {
		t.Errorf("%d are kept, the newest is %+v", len(s.Candidates), s.Candidates[newest])
	}
}

func TestARejectionEndsWithAYesOfWhoSaidNoOrWithTheirRole(t *testing.T) {
	story := slices.Concat([]imx.Body{
		imx.PersonSet{Person: imx.Person{Name: "ben", Roles: []imx.Role{imx.RoleReviewer}}},
		imx.PersonSet{Person: imx.Person{Name: "ann", Roles: []imx.Role{imx.RoleReviewer}}},
		of("1", "a", "web"),
	}, no("1"))
	for what, c := range map[string]struct {
		then  []imx.Body
		state imx.CandidateState
		stand int
	}{
		"nothing":                 {nil, imx.CandidateRejected, 1},
		"a yes of who said no":    {[]imx.Body{imx.Reviewed{Candidate: "1", Review: imx.Review{By: "ben", Approves: true}}}, imx.CandidateOpen, 0},
		"a yes of somebody else":  {[]imx.Body{imx.Reviewed{Candidate: "1", Review: imx.Review{By: "ann", Approves: true}}}, imx.CandidateRejected, 1},
		"who said no isn't asked": {[]imx.Body{imx.PersonSet{Person: imx.Person{Name: "ben"}}}, imx.CandidateRejected, 0},
		"who said no left, and somebody else says yes": {[]imx.Body{
			imx.PersonRemoved{Person: "ben"}, imx.Reviewed{Candidate: "1", Review: imx.Review{By: "ann", Approves: true}},
		}, imx.CandidateOpen, 0},
		"who said no left, and a namesake came": {[]imx.Body{
			imx.PersonRemoved{Person: "ben"}, imx.PersonSet{Person: imx.Person{Name: "ben", Roles: []imx.Role{imx.RoleReviewer}}},
		}, imx.CandidateRejected, 0},
		"a yes to another candidate of the plan": {[]imx.Body{
			of("2", "a", "web"), imx.Reviewed{Candidate: "2", Review: imx.Review{By: "ben", Approves: true}},
		}, imx.CandidateRejected, 0},
	} {
		s := told(t, slices.Concat(story, c.then)...)
		if got := state.Rejections(s, "p", "a"); s.Candidates["1"].State != c.state || len(got) != c.stand {
			t.Errorf("%s: it is %s, rejected by %+v", what, s.Candidates["1"].State, got)
		}
	}
}

func TestOnlyTheNewestEndedCandidatesAreKept(t *testing.T) {
	var bodies []imx.Body
	for i := range state.KeptCandidates + 5 {
		bodies = append(bodies, imx.CandidateMade{Candidate: imx.Candidate{ID: fmt.Sprint(i), Services: []string{"web"}}})
	}
	s := told(t, bodies...)
	if _, ok := s.Candidates["0"]; ok || len(s.Candidates) != state.KeptCandidates+1 {
		t.Errorf("%d are kept", len(s.Candidates))
	}
}

// What was compared with what ran is of no use when something else does.
func TestACandidateEndsWithWhatItWasComparedWith(t *testing.T) {
	release := func(number int, candidate string) imx.Release {
		return imx.Release{Service: "web", Number: number, Candidate: candidate, Spec: imx.Spec{Name: "web"}, Address: netip.MustParseAddr("10.0.0.1")}
	}
	bodies := []imx.Body{
		imx.ApplyStarted{Apply: "a"}, imx.Applied{Apply: "a", Releases: []imx.Release{release(1, "")}}, imx.RolloutFinished{Service: "web", Release: 1},
	}
	base := told(t, bodies...).Base([]string{"web"})
	bodies = append(bodies, imx.CandidateMade{Candidate: imx.Candidate{ID: "1", Services: []string{"web"}, Base: base}})
	scaled := told(t, append(slices.Clone(bodies), imx.Scaled{Service: "web", Replicas: 7})...)
	if c := scaled.Candidates["1"]; c.State != imx.CandidateSuperseded || !strings.Contains(c.Why, "what web runs has changed since it was made (scaled)") {
		t.Errorf("%+v", c)
	}
	bodies = append(bodies, imx.ApplyStarted{Apply: "b"}, imx.Applied{Apply: "b", Releases: []imx.Release{release(2, "1")}},
		imx.CandidateEnded{Candidate: "1", State: imx.CandidateReleased, Why: "apply b"})
	if c := told(t, append(slices.Clone(bodies), imx.RolloutFinished{Service: "web", Release: 2})...).Candidates["1"]; c.State != imx.CandidateReleased {
		t.Errorf("%+v", c)
	}
	failed := told(t, append(slices.Clone(bodies), imx.RolloutFailed{Service: "web", Release: 2, Reason: "it never got healthy"})...)
	if c := failed.Candidates["1"]; c.State != imx.CandidateFailed || c.Why != "apply b: release 2 of web failed: it never got healthy" {
		t.Errorf("%+v", c)
	}
}

func TestTheCandidateThatRunsIsKept(t *testing.T) {
	r := imx.Release{Service: "web", Number: 1, Candidate: "0", Spec: imx.Spec{Name: "web"}, Address: netip.MustParseAddr("10.0.0.1")}
	bodies := []imx.Body{
		imx.CandidateMade{Candidate: imx.Candidate{ID: "0", Services: []string{"web"}}},
		imx.ApplyStarted{Apply: "a"},
		imx.Applied{Apply: "a", Releases: []imx.Release{r}},
		imx.CandidateEnded{Candidate: "0", State: imx.CandidateReleased},
		imx.RolloutFinished{Service: "web", Release: 1},
	}
	s := told(t, append(bodies, others(2*state.KeptCandidates)...)...)
	if s.Candidates["0"].State != imx.CandidateReleased {
		t.Errorf("%d are kept, and not the one that runs", len(s.Candidates))
	}
}
