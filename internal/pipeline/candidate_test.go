package pipeline_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"imx"
	"imx/internal/gc"
	"imx/internal/pipeline"
	"imx/internal/provenance"
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

// What comes by itself, or from people, is waited for; anything else isn't.
func TestAFreezeLeavesACandidateThatWaitsForItsEnd(t *testing.T) {
	for waits, unmet := range map[string][]string{
		"approvals": {"reviews"}, "the end of a freeze": {"freeze"}, "approvals and for the end of a freeze": {"freeze", "reviews"}, "": {"freeze", "scan"},
	} {
		w := newWorld(t)
		w.judge, w.unmet = func(imx.Release) bool { return false }, unmet
		result, err := w.Apply(t.Context(), "ada", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet)
		if result.Waits != waits || (result.Candidate != nil) != (waits != "") || (err == nil) != (waits != "") {
			t.Errorf("%v: it waits for %q, candidate %v, %v", unmet, result.Waits, result.Candidate, err)
		}
	}
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
	if r := result.Releases[0]; r.Plan != c.Plan || r.Request != c.Request || r.By != "ada" || r.State != imx.ReleaseGood || tested != c.Plan {
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
	if got := w.control.State().Candidates[c.ID]; got.State != imx.CandidateSuperseded {
		t.Errorf("it is %s still", got.State)
	}
}

// A first release is compared with nothing, though its image was just built: who looks at it sees all of it.
func TestACandidateShowsTheImageThatNothingRunsYet(t *testing.T) {
	w := newWorld(t)
	c := waiting(t, w, "hi")
	_, changes, err := w.Changes(c)
	if err != nil {
		t.Fatal(err)
	}
	for what, has := range map[string]func(imx.Change) bool{
		"the image":   func(c imx.Change) bool { return c.Op == imx.OpAdd && c.Kind == "image" && c.Subject == "image.plain" },
		"its command": func(c imx.Change) bool { return c.Subject == "image.plain" && c.Name == "command" && c.After != "" },
		"its files":   func(c imx.Change) bool { return c.Subject == "image.plain" && c.Kind == "file" },
		"the service": func(c imx.Change) bool { return c.Op == imx.OpAdd && c.Subject == "service.plain" },
	} {
		if !slices.ContainsFunc(changes, has) {
			t.Errorf("%s isn't among %+v", what, changes)
		}
	}
}

// Applying what waits is releasing it, with the answers that it has; the same plan on another ground is another candidate.
func TestAnApplyOfWhatWaitsIsTheCandidates(t *testing.T) {
	w := newWorld(t)
	w.rolled(t)
	c := waiting(t, w, "hi")
	var judged []string
	w.judge = func(r imx.Release) bool { judged = append(judged, r.Candidate); return r.Candidate == c.ID }
	result, err := w.Apply(t.Context(), "ada", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet)
	if err != nil || len(result.Releases) != 1 || result.Releases[0].Candidate != c.ID {
		t.Fatalf("%+v, %v, judged %v", result, err, judged)
	}
	w.judge = func(imx.Release) bool { return true }
	if result, err = w.Apply(t.Context(), "ada", imx.PlanRequest{Template: w.parse(t, service("hello"))}, quiet); err != nil || result.Releases[0].Candidate != "" {
		t.Fatalf("%+v, %v", result, err)
	}
	if again := waiting(t, w, "hi"); again.ID == c.ID || again.Plan != c.Plan || len(again.Reviews) != 0 {
		t.Errorf("the plan of long ago: %+v", again)
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
	c.Reviews = []imx.Review{{Bundle: "sha256:b", Shown: "sha256:s"}}
	ended.Candidates = map[string]imx.Candidate{c.ID: c}
	if roots := gc.Roots(ended, nil, 1); len(roots) != 2 || roots[0].Key != "sha256:b" || roots[1].Key != "sha256:s" {
		t.Errorf("an ended one keeps %v", roots)
	}
}

func TestAReleasesPlanAndRequestAreKeptAsLongAsItIs(t *testing.T) {
	w := newWorld(t)
	w.rolled(t)
	result, err := w.Apply(t.Context(), "ada", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	none := imx.Duration(0)
	if _, err := w.Collect(t.Context(), "root", imx.CollectRequest{Grace: &none}, quiet); err != nil {
		t.Fatal(err)
	}
	r := result.Releases[0]
	var req imx.PlanRequest
	raw, err := w.Kept(r.Request, 1<<20)
	if err == nil {
		req, err = pipeline.UnpackRequest(raw)
	}
	if err != nil || req.Lock == nil || len(req.Template.Services) != 1 {
		t.Errorf("%+v, %v", req, err)
	}
	var planned imx.Plan
	if raw, err = w.Kept(r.Plan, 1<<20); err == nil {
		err = json.Unmarshal(raw, &planned)
	}
	if err != nil || planned.Digest() != r.Plan || planned.Services[0].Name != r.Service {
		t.Errorf("%+v, %v", planned, err)
	}
	needed := pipeline.Needed(*w.control.State())
	for _, d := range []imx.Digest{r.Request, r.Plan} {
		if !slices.Contains(needed, pipeline.Need{Digest: d, By: "release plain/1"}) {
			t.Errorf("%s isn't needed by anything", d)
		}
	}
}

func TestACandidateIsReleasedInItsEnvironmentAlone(t *testing.T) {
	w := newWorld(t)
	w.rolled(t)
	c := waiting(t, w, "hi")
	w.judge, w.moved = func(imx.Release) bool { return true }, "development"
	if _, err := w.Release(t.Context(), "bob", c.ID, quiet); imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "is for test, and this is development now") {
		t.Errorf("in another environment: %v", err)
	}
	w.moved = ""
	if _, err := w.Release(t.Context(), "bob", c.ID, quiet); err != nil {
		t.Error(err)
	}
}

func TestAPlanWhoseLockIsNewIsNotItsCommits(t *testing.T) {
	w := newWorld(t)
	template := w.parse(t, service("hi"))
	template.Source = imx.Source{Commit: strings.Repeat("a", 40)}
	planned, err := w.Plan(t.Context(), "ada", imx.PlanRequest{Template: template}, quiet)
	if s := planned.Plan.Source; err != nil || !s.Dirty || len(s.Changes) != 1 || !strings.HasPrefix(s.Changes[0], "imx.lock ") {
		t.Fatalf("without a lock: %+v, %v", s, err)
	}
	again, err := w.Plan(t.Context(), "ada", imx.PlanRequest{Template: template, Lock: &planned.Lock}, quiet)
	if s := again.Plan.Source; err != nil || s.Dirty || s.Changes != nil {
		t.Errorf("with it: %+v, %v", s, err)
	}
	template.Source.Dirty, template.Source.Changes = true, []string{"a is missing", "imx.lock is missing"}
	planned, err = w.Plan(t.Context(), "ada", imx.PlanRequest{Template: template}, quiet)
	if s := planned.Plan.Source; err != nil || strings.Join(s.Changes, "; ") != "imx.lock isn't in the commit as it is written now; a is missing" {
		t.Errorf("with other changes: %+v, %v", s, err)
	}
}

func TestWhatWasFoundBuiltIsBuiltAnewWhereItCantBeCountedOn(t *testing.T) {
	w := newWorld(t)
	build := func() provenance.How {
		t.Helper()
		if _, err := w.Build(t.Context(), "ada", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet); err != nil {
			t.Fatal(err)
		}
		return w.how[len(w.how)-1]
	}
	if got := build(); got != provenance.Made {
		t.Errorf("at first it is %s", got)
	}
	if got := build(); got != provenance.Found {
		t.Errorf("the second time it is %s", got)
	}
	w.doubted = imx.Errorf(imx.Refused, "its key was stolen")
	if got := build(); got != provenance.Compared {
		t.Errorf("in doubt it is %s", got)
	}
}
