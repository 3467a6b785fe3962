package state_test

import (
	"fmt"
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
