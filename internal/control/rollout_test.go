package control_test

import (
	"testing"

	"imx"
	"imx/internal/control"
)

func canary(s *imx.Spec) {
	s.Deploy = &imx.Deploy{Strategy: imx.Canary, Steps: []imx.Step{{Share: 10, Confirm: true}}}
}

func group(name string) func(*imx.Spec) {
	return func(s *imx.Spec) { s.Deploy = &imx.Deploy{Strategy: imx.BlueGreen, Group: name} }
}

// draft tries to release a candidate, as everything that releases does.
func (w *world) draft(c control.Candidate) error {
	_, err := w.Draft("root", control.Promotion{Candidates: []control.Candidate{c}})
	return err
}

func TestPeopleSteerARolloutThatIsUnderWay(t *testing.T) {
	w := open(t, t.TempDir())
	_, err := w.PauseRollout("ada", "web", "")
	wantError(t, err, imx.NotFound, "no service")
	w.good(t, w.apply(t, candidate("web", "1"))...)
	for name, try := range map[string]func() (imx.Service, error){
		"promote": func() (imx.Service, error) { return w.PromoteRollout("ada", "web", imx.PromoteRequest{}) },
		"pause":   func() (imx.Service, error) { return w.PauseRollout("ada", "web", "") },
		"abort":   func() (imx.Service, error) { return w.AbortRollout("ada", "web", "") },
	} {
		if _, err := try(); imx.KindOf(err) != imx.Conflict {
			t.Errorf("%s with nothing under way: %v", name, err)
		}
	}
	w.apply(t, candidate("web", "2", canary))
	for range 2 { // one that is paused stays so
		if _, err := w.PauseRollout("ada", "web", "lunch"); err != nil {
			t.Fatal(err)
		}
	}
	if r := w.State().Services["web"].Rollout; r.Paused != "ada" {
		t.Errorf("paused: %+v", r)
	}
	if _, err := w.PromoteRollout("bob", "web", imx.PromoteRequest{Whole: true}); err != nil {
		t.Fatal(err)
	}
	if r := w.State().Services["web"].Rollout; r.Paused != "" || !r.Confirm || !r.Whole {
		t.Errorf("promoted: %+v", r)
	}
	if _, err := w.AbortRollout("ada", "web", "too slow"); err != nil {
		t.Fatal(err)
	}
	v := w.State().Services["web"]
	if r, _ := v.Release(2); v.Target != 1 || r.State != imx.ReleaseFailed || r.Reason != "aborted by ada: too slow" || v.Rollout != (imx.Rollout{}) {
		t.Errorf("aborted: %+v", v)
	}
}

func TestWhatHasNoStepsCantBePromotedAndARollbackIsntHeldUp(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("web", "1"))...)
	w.good(t, w.apply(t, candidate("web", "2"))...)
	w.apply(t, candidate("web", "3"))
	_, err := w.PromoteRollout("ada", "web", imx.PromoteRequest{})
	wantError(t, err, imx.Conflict, "no step of service web waits")
	if _, err := w.Rollback("root", "web", 1); err != nil {
		t.Fatal(err)
	}
	_, err = w.PauseRollout("ada", "web", "")
	wantError(t, err, imx.Conflict, "going back to release 1")
}

func TestWhatAPersonHoldsNothingMovesOnUntilItIsReleased(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("web", "1"), candidate("other", "1"))...)
	w.good(t, w.apply(t, candidate("web", "2"))...)
	w.rollback(t, "web", 1)
	wantError(t, w.draft(candidate("web", "3")), imx.Conflict, "held at release 1 by root", "from release 2", "imx hold release web")
	w.apply(t, candidate("other", "2")) // which has nothing to do with it
	if v := w.State().Services["web"]; v.Hold == nil {
		t.Fatal("an apply of another service ended the hold")
	}
	if _, err := w.ReleaseHold("ada", "web", "mended"); err != nil {
		t.Fatal(err)
	}
	if err := w.draft(candidate("web", "3")); err != nil {
		t.Error(err)
	}
	_, err := w.ReleaseHold("ada", "web", "again")
	wantError(t, err, imx.Conflict, "service web isn't held")
}

func TestWhatTurnedBadIsMovedOnByAnythingButItself(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("web", "1"))...)
	w.good(t, w.apply(t, candidate("web", "2"))...)
	if err := w.Record(imx.Server, imx.TurnedBad{Service: "web", From: 2, To: 1, Reason: "4.3 % of 940 requests failed"}); err != nil {
		t.Fatal(err)
	}
	w.good(t, imx.Release{Service: "web", Number: 1})
	wantError(t, w.draft(candidate("web", "2")), imx.Conflict, "held at release 1 by imx", "4.3 %", "that release again", "imx hold release web")
	w.good(t, w.apply(t, candidate("web", "3"))...)
	if v := w.State().Services["web"]; v.Current != 3 || v.Hold != nil {
		t.Errorf("after the next release: %+v", v)
	}
}

func TestAGroupIsRolledBackTogether(t *testing.T) {
	w := open(t, t.TempDir())
	g := group("shop")
	w.good(t, w.apply(t, candidate("web", "1", g), candidate("api", "1", g), candidate("alone", "1"))...)
	w.good(t, w.apply(t, candidate("web", "2", g), candidate("api", "2", g), candidate("alone", "2"))...)
	w.good(t, w.apply(t, candidate("web", "3", g))...)
	w.rollback(t, "web", 0)
	targets := func() [3]int {
		s := w.State().Services
		return [3]int{s["web"].Target, s["api"].Target, s["alone"].Target}
	}
	if got := targets(); got != [3]int{2, 2, 2} { // api was at 2 when web was
		t.Errorf("targets %v", got)
	}
	w.rollback(t, "web", 0)
	if got := targets(); got != [3]int{1, 1, 2} {
		t.Errorf("targets %v", got)
	}
	if s := w.State().Services; s["api"].Hold == nil || s["alone"].Hold != nil {
		t.Error("what went back together isn't held together")
	}
}
