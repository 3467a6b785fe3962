package verdict_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/policy"
)

// refusing is a policy with a condition that nothing meets.
func refusing(denied imx.DeniedAction) imx.Policy {
	p := policy.Default(staging)
	p.Settings.Denied = denied
	p.Rules = map[string]string{"never.rego": "# METADATA\n# title: Never\n# custom:\n#   id: never\npackage own.never\n\nmet if false\n\nsays := \"never\"\n"}
	return p
}

func (w *world) change(t *testing.T, req imx.PolicyRequest) imx.PolicyView {
	t.Helper()
	v, err := w.SetPolicy(t.Context(), "ann", req)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestADryRunOfAPolicySaysWhomItHitsAndChangesNothing(t *testing.T) {
	release2 := func(p imx.Purpose, does imx.DeniedAction, to int) imx.PolicyHit {
		return imx.PolicyHit{Service: "web", Release: 2, Purpose: p, Unmet: []string{"never"}, Does: does, To: to}
	}
	for denied, want := range map[imx.DeniedAction]imx.PolicyHit{
		imx.DeniedShow: release2(imx.ForStart, imx.DeniedShow, 0), imx.DeniedReplace: release2(imx.ForStart, imx.DeniedShow, 0),
		imx.DeniedStop: release2(imx.ForStart, imx.DeniedStop, 0),
	} {
		t.Run(string(denied), func(t *testing.T) {
			w := newWorld(t)
			w.stateAll()
			w.apply(release())
			w.second(t)
			before := w.control.State().Next
			got := w.change(t, imx.PolicyRequest{Policy: refusing(denied), DryRun: true}).Hits
			if diff := cmp.Diff([]imx.PolicyHit{want, release2(imx.ForRelease, "", 0)}, got); diff != "" {
				t.Error(diff)
			}
			if w.control.State().Next != before {
				t.Error("a dry run is on the log")
			}
			if got := w.change(t, imx.PolicyRequest{Policy: refusing(denied)}); len(got.Hits) != 2 || got.Shipped {
				t.Errorf("%+v", got)
			}
			back := w.change(t, imx.PolicyRequest{Policy: policy.Default(staging)})
			if len(back.Hits) != 2 || !back.Hits[0].Allowed || !back.Hits[1].Allowed {
				t.Errorf("%+v", back.Hits)
			}
		})
	}
}

func TestAnotherActionHitsWhatIsDeniedAlready(t *testing.T) {
	w := newWorld(t)
	w.stateAll()
	w.apply(release())
	w.change(t, imx.PolicyRequest{Policy: refusing(imx.DeniedShow)})
	got := w.change(t, imx.PolicyRequest{Policy: refusing(imx.DeniedStop), DryRun: true}).Hits
	if len(got) != 1 || got[0].Does != imx.DeniedStop {
		t.Errorf("%+v", got)
	}
	got = w.change(t, imx.PolicyRequest{Policy: refusing(imx.DeniedReplace), DryRun: true}).Hits
	if len(got) != 0 {
		t.Errorf("there is nothing to replace it by, and yet: %+v", got)
	}
}

func TestAPolicyHasWhoSetItAndWhyAndTheWayBackIsToImxsOwn(t *testing.T) {
	w := newWorld(t)
	p := policy.Default(staging)
	p.Settings.Reviews = 3
	got := w.change(t, imx.PolicyRequest{Policy: p, Reason: "audit"})
	want := &imx.PolicyChange{By: "ann", Time: w.now, Reason: "audit"}
	if diff := cmp.Diff(want, got.Changed); diff != "" || got.Shipped || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "for 3 approvals, and of those who are known 0") {
		t.Errorf("%+v\n%s", got, diff)
	}
	if _, err := w.SetPolicy(t.Context(), "bob", imx.PolicyRequest{Policy: policy.Default(staging), Over: policy.Default(staging).Digest()}); imx.KindOf(err) != imx.Conflict {
		t.Errorf("somebody else's change is lost: %v", err)
	}
	got = w.change(t, imx.PolicyRequest{Policy: policy.Default(staging), Over: p.Digest()})
	if _, set := w.control.State().Policies[staging]; set || !got.Shipped || got.Changed.Reason != "" {
		t.Errorf("%+v", got)
	}
	before := w.control.State().Next
	if w.change(t, imx.PolicyRequest{Policy: policy.Default(staging)}); w.control.State().Next != before {
		t.Error("a change of nothing is on the log")
	}
	if got := w.change(t, imx.PolicyRequest{Policy: policy.Default("other")}); len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "nothing runs by it here") {
		t.Errorf("%+v", got)
	}
	if got, err := w.Policy("other"); err != nil || !got.Shipped || got.Changed == nil {
		t.Errorf("what was made isn't known: %+v, %v", got, err)
	}
}

func TestNothingTakesThePlaceOfAFirmConditionUnsaid(t *testing.T) {
	w := newWorld(t)
	text := func(id, met string) string {
		return "# METADATA\n# title: Own\n# custom:\n#   id: " + id + "\npackage own." + id + "\n\nmet := " + met + "\n\nsays := \"own\"\n"
	}
	p := policy.Default(staging)
	p.Rules = map[string]string{"signed.rego": text("signed", "true")}
	if _, err := w.SetPolicy(t.Context(), "ann", imx.PolicyRequest{Policy: p}); imx.KindOf(err) != imx.Refused || !strings.Contains(imx.AsError(err).Hint, "--replace-firm") {
		t.Fatalf("err = %v", err)
	}
	hidden := p
	hidden.Rules = map[string]string{"signed.rego": text("fine", "true")}
	if _, err := w.SetPolicy(t.Context(), "ann", imx.PolicyRequest{Policy: hidden}); imx.KindOf(err) != imx.Refused {
		t.Fatalf("a condition of another name: %v", err)
	}
	got := w.change(t, imx.PolicyRequest{Policy: p, ReplaceFirm: true})
	if diff := cmp.Diff([]string{"signed"}, got.Replaced); diff != "" {
		t.Error(diff)
	}
	last, ok := w.events("policy-set")[0].Body.(imx.PolicySet)
	if !ok || len(last.Replaces) != 1 {
		t.Errorf("the log doesn't tell of it: %+v", last)
	}
	p.Settings.Reviews = 1
	if got = w.change(t, imx.PolicyRequest{Policy: p}); len(got.Replaced) != 1 {
		t.Errorf("what was said before isn't asked again: %+v", got)
	}
	p.Rules = map[string]string{"signed.rego": text("signed", "1 == 1")}
	if _, err := w.SetPolicy(t.Context(), "ann", imx.PolicyRequest{Policy: p}); imx.KindOf(err) != imx.Refused {
		t.Errorf("another text in its place: %v", err)
	}
	if got = w.change(t, imx.PolicyRequest{Policy: hidden, ReplaceFirm: true}); len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "condition signed, which isn't asked for any more") {
		t.Errorf("%+v", got.Notes)
	}
	p.Rules = map[string]string{"tests.rego": text("tests", "true")}
	if got = w.change(t, imx.PolicyRequest{Policy: p}); len(got.Replaced) != 0 {
		t.Errorf("%+v", got)
	}
}

// A yes that is remembered for starts is no answer any more once somebody has looked and found no.
func TestWhatVerifySaysAdmissionSaysToo(t *testing.T) {
	for what, ask := range map[string]func(w *world, r imx.Release) (imx.Verdict, error){
		"a start": func(w *world, _ imx.Release) (imx.Verdict, error) {
			v, err := w.Verify(w.t.Context(), imx.VerifyQuery{Subject: "web"})
			return v.Verdict, err
		},
		"a release": func(w *world, r imx.Release) (imx.Verdict, error) { return w.Release(w.t.Context(), r) },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.stateAll()
			r := w.apply(release())
			pass := func() error {
				_, err := w.Pass(t.Context(), r)
				return err
			}
			if err := pass(); err != nil {
				t.Fatal(err)
			}
			bundle := w.control.State().Evidence[image().Digest][imx.PredicateProvenance].Bundle
			w.flip(bundle)
			if err := pass(); err != nil {
				t.Fatalf("a verdict isn't remembered: %v", err)
			}
			if v, err := ask(w, r); err != nil || v.Allowed {
				t.Fatalf("%+v, %v", v, err)
			}
			if err := pass(); imx.KindOf(err) != imx.Refused {
				t.Errorf("what may not run is started: %v", err)
			}
			w.flip(bundle)
			if v, err := ask(w, r); err != nil || !v.Allowed {
				t.Fatalf("%+v, %v", v, err)
			}
			if err := pass(); err != nil && what == "a start" {
				t.Errorf("what may run isn't started: %v", err)
			}
		})
	}
}

func TestWhatVerifyFindsTheWatchWritesDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.stateAll()
		w.apply(release())
		w.watch(t)
		w.until(t, "it is admitted", func(s *imx.State) bool { return s.Verdicts["web"][1].Allowed })
		time.Sleep(10 * time.Second) // the bubble's clock: the watch waits for its hour
		w.flip(w.control.State().Evidence[image().Digest][imx.PredicateProvenance].Bundle)
		began := time.Now()
		if v, err := w.Verify(t.Context(), imx.VerifyQuery{Subject: "web"}); err != nil || v.Verdict.Allowed {
			t.Fatalf("%+v, %v", v, err)
		}
		w.until(t, "it is denied", func(s *imx.State) bool { return !s.Verdicts["web"][1].Allowed })
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestWhatThePolicyStoppedComesBackWhenItMayRunAgain(t *testing.T) {
	denied := func(t *testing.T) *world {
		t.Helper()
		w := newWorld(t)
		w.stateAll()
		w.apply(release())
		if _, err := w.control.Scale("ann", "web", 4); err != nil {
			t.Fatal(err)
		}
		w.change(t, imx.PolicyRequest{Policy: refusing(imx.DeniedStop)})
		w.watch(t)
		w.until(t, "nothing is wanted of it", func(s *imx.State) bool { return s.Services["web"].Replicas == 0 })
		return w
	}
	t.Run("as many as it had", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := denied(t)
			if s := w.control.State().Services["web"].Stopped; s == nil || s.Replicas != 4 || s.Release != 1 || !strings.Contains(s.Reason, "never") {
				t.Fatalf("%+v", s)
			}
			w.change(t, imx.PolicyRequest{Policy: policy.Default(staging)})
			w.until(t, "it is back", func(s *imx.State) bool { return s.Services["web"].Replicas == 4 })
			if v := w.control.State().Services["web"]; v.Stopped != nil || v.CurrentReplicas != 4 {
				t.Errorf("%+v", v)
			}
		})
	})
	t.Run("but not where somebody wants none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := denied(t)
			if _, err := w.control.Scale("ann", "web", 0); err != nil {
				t.Fatal(err)
			}
			w.change(t, imx.PolicyRequest{Policy: policy.Default(staging)})
			w.until(t, "it may run", func(s *imx.State) bool { return s.Verdicts["web"][1].Allowed })
			time.Sleep(time.Minute) // the bubble's clock
			if v := w.control.State().Services["web"]; v.Replicas != 0 || v.Stopped != nil {
				t.Errorf("%+v", v)
			}
		})
	})
}
