package control_test

import (
	"fmt"
	"strings"
	"testing"

	"imx"
	"imx/internal/control"
	"imx/internal/state"
)

func proposal(plan, request string) imx.Candidate {
	return imx.Candidate{
		Plan: imx.DigestBytes([]byte(plan)), Request: imx.DigestBytes([]byte(request)), Environment: "production", By: "ann", Services: []string{"web"},
	}
}

func (w *world) propose(t *testing.T, plan, request string) imx.Candidate {
	t.Helper()
	c, err := w.Propose("ann", proposal(plan, request))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) answer(id string, r imx.Review) error {
	_, err := w.Review(r.By, id, func(*imx.State, imx.Candidate) (imx.Review, error) { return r, nil })
	return err
}

// Whoever sends a plan again that was rejected, and however long ago that was: it stays so until who rejected it says yes.
func TestTheSamePlanStaysRejectedUntilWhoRejectedItApprovesIt(t *testing.T) {
	w := open(t, t.TempDir())
	for _, name := range []imx.Principal{"ben", "cat"} {
		if err := w.Record("root", imx.PersonSet{Person: imx.Person{Name: name, Roles: []imx.Role{imx.RoleReviewer}}}); err != nil {
			t.Fatal(err)
		}
	}
	no := imx.Review{By: "ben", Reason: "rude", Bundle: imx.DigestBytes([]byte("no"))}
	first := w.propose(t, "plan", "one")
	if err := w.answer(first.ID, no); err != nil {
		t.Fatal(err)
	}
	before := w.State().Next
	if again := w.propose(t, "plan", "one"); again.ID != first.ID || again.State != imx.CandidateRejected || w.State().Next != before {
		t.Errorf("the same request again: %+v, %d events", again, w.State().Next-before)
	}
	for i := range 2 * state.KeptCandidates {
		w.propose(t, fmt.Sprint("another", i), "x")
	}
	again := w.propose(t, "plan", "two")
	if again.ID == first.ID || again.State != imx.CandidateRejected || again.Why != "ben: rude" || len(again.Reviews) != 1 || again.Reviews[0].Bundle != no.Bundle {
		t.Fatalf("from elsewhere, after %d others: %+v", 2*state.KeptCandidates, again)
	}
	if _, err := control.OpenCandidate(w.State(), again.ID); imx.KindOf(err) != imx.Conflict {
		t.Errorf("it can be released: %v", err)
	}
	if err := w.answer(again.ID, imx.Review{By: "cat", Approves: true}); imx.KindOf(err) != imx.Conflict {
		t.Errorf("a yes of somebody else: %v", err)
	}
	if err := w.answer(again.ID, no); imx.KindOf(err) != imx.Conflict {
		t.Errorf("a second no: %v", err)
	}
	waits := w.propose(t, "newer", "x")
	if err := w.answer(again.ID, imx.Review{By: "ben", Approves: true}); imx.KindOf(err) != imx.Conflict {
		t.Errorf("while another waits: %v", err)
	}
	if err := w.answer(waits.ID, imx.Review{By: "cat", Reason: "no"}); err != nil {
		t.Fatal(err)
	}
	if err := w.answer(again.ID, imx.Review{By: "ben", Approves: true}); err != nil {
		t.Fatal(err)
	}
	if c, err := control.OpenCandidate(w.State(), again.ID); err != nil || len(c.Reviews) != 1 || !c.Reviews[0].Approves || c.Why != "" {
		t.Errorf("after the yes: %+v, %v", c, err)
	}
	if fresh := w.propose(t, "plan", "three"); fresh.State != imx.CandidateOpen || len(fresh.Reviews) != 0 {
		t.Errorf("proposed once more: %+v", fresh)
	}
}

// Where a candidate's services stand elsewhere by now nobody is asked any more, and the error says what to do.
func TestACandidateEndsWhenWhatItWasComparedWithMoves(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("web", "a"))...)
	cand := proposal("plan", "one")
	cand.Base = w.State().Base(cand.Services)
	c, err := w.Propose("ann", cand)
	if err != nil {
		t.Fatal(err)
	}
	cand.Request, cand.Commit = imx.DigestBytes([]byte("two")), &imx.Commit{Repository: "shop"}
	followed, err := w.Propose("ann", cand)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Scale("eve", "web", 5); err != nil {
		t.Fatal(err)
	}
	got, err := control.OpenCandidate(w.State(), followed.ID)
	if got.State != imx.CandidateSuperseded || imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "what web runs has changed since it was made (scaled)") ||
		!strings.Contains(imx.AsError(err).Hint, "imx source refresh shop") {
		t.Errorf("%+v, %v, %s", got, err, imx.AsError(err).Hint)
	}
	if _, err := control.OpenCandidate(w.State(), c.ID); !strings.Contains(imx.AsError(err).Hint, "imx apply") {
		t.Errorf("%v, %s", err, imx.AsError(err).Hint)
	}
	if _, err := w.Propose("ann", cand); imx.KindOf(err) != imx.Conflict {
		t.Errorf("proposed with the old ground: %v", err)
	}
}
