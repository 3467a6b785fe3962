package pipeline_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"imx"
	"imx/internal/gc"
	"imx/internal/trial"
)

// waiting applies a template that nothing but approvals keeps from being released.
func waiting(t *testing.T, w *world, greeting string) imx.Candidate {
	t.Helper()
	w.judge, w.unmet = func(imx.Release) bool { return false }, []string{"reviews"}
	result, err := w.Apply(t.Context(), "ada", imx.PlanRequest{Template: w.parse(t, service(greeting))}, quiet)
	if err != nil || result.Candidate == nil || len(result.Releases) != 0 {
		t.Fatalf("%+v, %v", result, err)
	}
	return *result.Candidate
}

// rolled plays the loop that finishes rollouts.
func (w *world) rolled(t *testing.T) {
	t.Helper()
	go func() {
		for {
			changed := w.control.Changed()
			for _, v := range w.control.State().Services {
				if v.Target != v.Current {
					_ = w.control.Record("imx", imx.RolloutFinished{Service: v.Name, Release: v.Target})
				}
			}
			select {
			case <-t.Context().Done():
				return
			case <-changed:
			}
		}
	}()
}

func TestWhatOnlyApprovalsKeepFromBeingReleasedIsACandidate(t *testing.T) {
	w := newWorld(t)
	w.rolled(t)
	c := waiting(t, w, "hi")
	if c.State != imx.CandidateOpen || c.By != "ada" || c.Environment != "test" || len(c.Images) != 1 || c.Services[0] != "plain" {
		t.Errorf("%+v", c)
	}
	if again := waiting(t, w, "hi"); again.ID != c.ID {
		t.Errorf("the same again is candidate %s, not %s", again.ID, c.ID)
	}
	if s := w.control.State(); s.Apply != nil || len(s.Services) != 0 {
		t.Errorf("it left an open apply or a service: %+v", s)
	}
	if _, err := w.Release(t.Context(), "bob", c.ID, quiet); imx.KindOf(err) != imx.Refused || len(w.control.State().Candidates) != 1 {
		t.Errorf("without approvals: %v", err)
	}
	w.judge = func(imx.Release) bool { return true }
	var tested imx.Digest
	w.test = func(r trial.Run) ([]imx.TestResult, error) { tested = r.Plan; return nil, nil }
	result, err := w.Release(t.Context(), "bob", c.ID, quiet)
	if err != nil || len(result.Releases) != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	if r := result.Releases[0]; r.Plan != c.Plan || r.By != "ada" || r.State != imx.ReleaseGood || tested != c.Plan {
		t.Errorf("released %+v, tested %s", r, tested)
	}
	if got := w.control.State().Candidates[c.ID]; got.State != imx.CandidateReleased {
		t.Errorf("the candidate is %s", got.State)
	}
	if _, err := w.Release(t.Context(), "bob", c.ID, quiet); imx.KindOf(err) != imx.Conflict {
		t.Errorf("a second time: %v", err)
	}
}

func TestWhatSomethingElseKeepsFromBeingReleasedIsNoCandidate(t *testing.T) {
	w := newWorld(t)
	w.judge, w.unmet = func(imx.Release) bool { return false }, []string{"reviews", "tests"}
	_, err := w.Apply(t.Context(), "ada", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet)
	if imx.KindOf(err) != imx.Refused || len(w.control.State().Candidates) != 0 {
		t.Errorf("%v, %d candidates", err, len(w.control.State().Candidates))
	}
}

func TestAnotherPlanOfTheSameServicesTakesACandidatesPlace(t *testing.T) {
	w := newWorld(t)
	w.rolled(t)
	first := waiting(t, w, "hi")
	second := waiting(t, w, "hello")
	if s := w.control.State(); s.Candidates[first.ID].State != imx.CandidateSuperseded || first.Plan == second.Plan {
		t.Errorf("%+v", s.Candidates[first.ID])
	}
	w.judge = func(imx.Release) bool { return true }
	if _, err := w.Apply(t.Context(), "eve", imx.PlanRequest{Template: w.parse(t, service("salve"))}, quiet); err != nil {
		t.Fatal(err)
	}
	if got := w.control.State().Candidates[second.ID]; got.State != imx.CandidateSuperseded {
		t.Errorf("after another release it is %s", got.State)
	}
}

func TestAPlanThatWasRejectedDoesntWaitAgain(t *testing.T) {
	w := newWorld(t)
	c := waiting(t, w, "hi")
	err := w.control.Record("bob", imx.PersonSet{Person: imx.Person{Name: "bob", Roles: []imx.Role{imx.RoleReviewer}}},
		imx.Reviewed{Candidate: c.ID, Review: imx.Review{By: "bob"}}, imx.CandidateEnded{Candidate: c.ID, State: imx.CandidateRejected, Why: "bob: rude"})
	if err != nil {
		t.Fatal(err)
	}
	result, err := w.Apply(t.Context(), "ada", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet)
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "this plan was rejected by bob: rude") || result.Candidate != nil {
		t.Errorf("%+v, %v", result.Candidate, err)
	}
}

func TestACandidateIsntReleasedOntoServicesThatMoved(t *testing.T) {
	w := newWorld(t)
	w.rolled(t)
	if _, err := w.Apply(t.Context(), "ada", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet); err != nil {
		t.Fatal(err)
	}
	c := waiting(t, w, "hello")
	if _, err := w.control.Scale("eve", "plain", 3); err != nil {
		t.Fatal(err)
	}
	w.judge = func(imx.Release) bool { return true }
	if _, err := w.Release(t.Context(), "bob", c.ID, quiet); imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("err = %v", err)
	}
	if _, _, err := w.Changes(c); imx.KindOf(err) != imx.Conflict {
		t.Errorf("its changes: %v", err)
	}
}

func TestACommitsCandidateIsMadeWithoutAskingThePolicyAndOnlyIfItChangesSomething(t *testing.T) {
	w := newWorld(t)
	w.rolled(t)
	w.judge = func(imx.Release) bool { t.Error("the policy was asked"); return false }
	req := imx.PlanRequest{Template: w.parse(t, service("hi"))}
	var services []string
	commit := func(_ context.Context, changed []string) (*imx.Commit, error) {
		services = changed
		return &imx.Commit{Repository: "shop", ID: "0123", People: []imx.Principal{"eve"}}, nil
	}
	c, ok, err := w.Propose(t.Context(), imx.Server, req, commit, quiet)
	if err != nil || !ok || c.Commit.ID != "0123" || c.By != imx.Server || !slices.Equal(services, []string{"plain"}) {
		t.Fatalf("%+v, %v, %v", c, ok, err)
	}
	w.judge = func(imx.Release) bool { return true }
	if _, err := w.Release(t.Context(), "bob", c.ID, quiet); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := w.Propose(t.Context(), imx.Server, req, commit, quiet); ok || err != nil {
		t.Errorf("what changes nothing: %v, %v", ok, err)
	}
	w.test = func(trial.Run) ([]imx.TestResult, error) { return []imx.TestResult{{Test: "home"}}, nil }
	if _, ok, err := w.Propose(t.Context(), imx.Server, imx.PlanRequest{Template: w.parse(t, service("salve"))}, commit, quiet); ok || imx.KindOf(err) != imx.Refused {
		t.Errorf("what fails its tests: %v, %v", ok, err)
	}
}

func TestAnOpenCandidatesThingsAreKept(t *testing.T) {
	w := newWorld(t)
	c := waiting(t, w, "hi")
	none := imx.Duration(0)
	if _, err := w.Collect(t.Context(), "root", imx.CollectRequest{Grace: &none}, quiet); err != nil {
		t.Fatal(err)
	}
	for _, d := range []imx.Digest{c.Request, c.Plan, c.Images[0].Plan} {
		if !w.blobs.Has(d) {
			t.Errorf("%s is gone", d)
		}
	}
	state := w.control.State()
	ended := *state
	c.State = imx.CandidateRejected
	c.Reviews = []imx.Review{{Bundle: "sha256:b"}}
	ended.Candidates = map[string]imx.Candidate{c.ID: c}
	if roots := gc.Roots(ended, nil, 1); len(roots) != 1 || roots[0].Key != "sha256:b" {
		t.Errorf("an ended one keeps %v", roots)
	}
}
