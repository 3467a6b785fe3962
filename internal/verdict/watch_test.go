package verdict_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"imx"
	"imx/internal/policy"
	"imx/internal/sign"
)

// events are those of a kind since the log's beginning.
func (w *world) events(kind string) []imx.Event {
	w.t.Helper()
	var found []imx.Event
	for e, err := range w.control.Events(0) {
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Kind() == kind {
			found = append(found, e)
		}
	}
	return found
}

func TestARefusedReleaseIsOnTheLogOnceForTheSameReasons(t *testing.T) {
	w := newWorld(t)
	_, err := w.Allowed(t.Context(), "ann", []imx.Release{release()}, nil)
	if e := imx.AsError(err); imx.KindOf(err) != imx.Refused || !strings.Contains(e.Message, "signed: nothing is stated") || !strings.Contains(e.Message, "tests: ") || e.Hint == "" {
		t.Fatalf("err = %v", err)
	}
	if _, err := w.Allowed(t.Context(), "ann", []imx.Release{release()}, nil); err == nil || len(w.events("verdict-given")) != 1 {
		t.Errorf("%v, %d verdicts on the log", err, len(w.events("verdict-given")))
	}
	w.put(w.good(imx.PredicateTest))
	if _, err := w.Allowed(t.Context(), "ann", []imx.Release{release()}, nil); err == nil || len(w.events("verdict-given")) != 2 {
		t.Errorf("%v, %d verdicts on the log", err, len(w.events("verdict-given")))
	}
	if v := w.control.State().Verdicts["web"][0]; v.Allowed || v.Plan != release().Plan {
		t.Errorf("%+v", v)
	}
}

func TestAVerdictIsASignedSummaryAsSLSAHasIt(t *testing.T) {
	w := newWorld(t)
	w.stateAll()
	all, err := w.Allowed(t.Context(), "ann", []imx.Release{release()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	made, err := w.Made(w.control.State(), []imx.Release{release()}, all, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.record(made...)
	if v := w.control.State().Verdicts["web"][1]; !v.Allowed || len(w.events("verdict-given")) != 1 {
		t.Errorf("on the log: %+v", v)
	}
	s := w.control.State()
	e := s.Evidence[image().Digest][imx.PredicateVerdict]
	bundle, err := w.blobs.ReadAll(e.Bundle, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	st, err := sign.Counts(e, bundle, s.Keys)
	if err != nil || s.Keys[e.Signer].Role != imx.RoleReleaser {
		t.Fatalf("%v, signed by %+v", err, s.Keys[e.Signer])
	}
	var p struct {
		Verifier struct {
			ID string `json:"id"`
		} `json:"verifier"`
		Time     time.Time `json:"timeVerified"`
		Resource string    `json:"resourceUri"`
		Policy   struct {
			Digest map[string]string `json:"digest"`
		} `json:"policy"`
		Inputs []struct{} `json:"inputAttestations"`
		Result string     `json:"verificationResult"`
		Levels []string   `json:"verifiedLevels"`
		SLSA   string     `json:"slsaVersion"`
	}
	if err := json.Unmarshal(st.Predicate, &p); err != nil {
		t.Fatal(err)
	}
	if p.Verifier.ID == "" || !p.Time.Equal(w.now) || !strings.HasPrefix(p.Resource, "pkg:oci/web@sha256") || p.Policy.Digest["sha256"] == "" ||
		len(p.Inputs) != len(kinds()) || p.Result != "PASSED" || len(p.Levels) != 1 || p.SLSA == "" {
		t.Errorf("%s", st.Predicate)
	}
}

// watch runs the judge's watch until the test ends.
func (w *world) watch(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// until waits for a state.
func (w *world) until(t *testing.T, what string, ok func(s *imx.State) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		changed := w.control.Changed()
		if ok(w.control.State()) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

func (w *world) set(t *testing.T, action imx.DeniedAction) {
	t.Helper()
	p := policy.Default(staging)
	p.Settings.Denied = action
	if _, err := w.SetPolicy(t.Context(), "root", imx.PolicyRequest{Policy: p}); err != nil {
		t.Fatal(err)
	}
}

// second makes a release of another image, of which everything is stated, after the first.
func (w *world) second(t *testing.T) (imx.Release, imx.Evidence) {
	t.Helper()
	r := release()
	r.Image.Digest = imx.DigestBytes([]byte("second image"))
	r.Spec.Environment = map[string]string{"SECOND": "1"}
	var last imx.Evidence
	for _, kind := range kinds() {
		last = w.seal(imx.Principal(imx.RoleOf(kind)), r.Image.Digest, kind, w.predicate(kind))
		w.put(last)
	}
	return w.apply(r), last
}

func TestAReleaseThatIsNotAdmittedAnyMoreIsShownReplacedOrStopped(t *testing.T) {
	denied := func(s *imx.State, number int) bool {
		v, ok := s.Verdicts["web"][number]
		return ok && !v.Allowed
	}
	t.Run("shown", func(t *testing.T) {
		w := newWorld(t)
		w.stateAll()
		w.apply(release())
		w.watch(t)
		w.until(t, "it is admitted", func(s *imx.State) bool { return s.Verdicts["web"][1].Allowed })
		w.spoil(image().Digest)
		w.until(t, "it is denied", func(s *imx.State) bool { return denied(s, 1) })
		if v := w.control.State().Services["web"]; v.Replicas != 1 || v.Target != 1 {
			t.Errorf("something was done: %+v", v)
		}
	})
	t.Run("replaced by what is admitted", func(t *testing.T) {
		w := newWorld(t)
		w.stateAll()
		w.apply(release())
		r, _ := w.second(t)
		w.set(t, imx.DeniedReplace)
		w.watch(t)
		w.spoil(r.Image.Digest)
		w.until(t, "the first release is the target", func(s *imx.State) bool { return s.Services["web"].Target == 1 })
		for _, e := range w.events("rolled-back") {
			if b, ok := e.Body.(imx.RolledBack); !ok || !strings.Contains(b.Reason, "doesn't allow it any more: provenance, signed") || e.By != imx.Server {
				t.Errorf("%+v", e)
			}
		}
	})
	t.Run("replaced by nothing, and goes on", func(t *testing.T) {
		w := newWorld(t)
		w.stateAll()
		w.apply(release())
		w.set(t, imx.DeniedReplace)
		w.watch(t)
		w.spoil(image().Digest)
		w.until(t, "it is denied", func(s *imx.State) bool { return denied(s, 1) })
		if v := w.control.State().Services["web"]; v.Replicas != 1 {
			t.Errorf("%+v", v)
		}
	})
	t.Run("stopped where nothing is admitted", func(t *testing.T) {
		w := newWorld(t)
		w.stateAll()
		w.apply(release())
		r, _ := w.second(t)
		w.set(t, imx.DeniedStop)
		w.spoil(image().Digest)
		w.watch(t)
		w.spoil(r.Image.Digest)
		w.until(t, "nothing is wanted of it", func(s *imx.State) bool { return s.Services["web"].Replicas == 0 })
		for _, e := range w.events("scaled") {
			if b, ok := e.Body.(imx.Scaled); !ok || !strings.Contains(b.Reason, "signed") {
				t.Errorf("%+v", e)
			}
		}
		if _, err := w.Pass(t.Context(), r); imx.KindOf(err) != imx.Refused {
			t.Errorf("an instance may be started: %v", err)
		}
	})
}

// spoil has another key say how an image was built, so that it isn't admitted any more.
func (w *world) spoil(image imx.Digest) {
	w.t.Helper()
	w.put(w.seal(imx.Principal(imx.RoleTester), image, imx.PredicateProvenance, w.predicate(imx.PredicateProvenance)))
}

// What the policy says is done each time that there is something to do, and not an hour later: nothing but the watch's own pauses
// passes on the clock here.
func TestWhatIsNotAdmittedIsActedUponAgainAtOnce(t *testing.T) {
	for what, action := range map[string]imx.DeniedAction{"replaced": imx.DeniedReplace, "stopped": imx.DeniedStop} {
		t.Run(what+" when it is the target again", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.stateAll()
				w.apply(release())
				r, _ := w.second(t)
				w.set(t, action)
				w.watch(t)
				for range 3 {
					w.spoil(r.Image.Digest)
					w.until(t, "the first release is the target", func(s *imx.State) bool { return s.Services["web"].Target == 1 })
					if _, err := w.control.Rollback("ann", "web", 2); err != nil {
						t.Fatal(err)
					}
				}
				w.until(t, "the first release is the target", func(s *imx.State) bool { return s.Services["web"].Target == 1 })
			})
		})
	}
	t.Run("stopped when it is scaled again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.stateAll()
			w.apply(release())
			w.set(t, imx.DeniedStop)
			w.spoil(image().Digest)
			w.watch(t)
			for range 3 {
				w.until(t, "nothing is wanted of it", func(s *imx.State) bool { return s.Services["web"].Replicas == 0 })
				if _, err := w.control.Scale("ann", "web", 2); err != nil {
					t.Fatal(err)
				}
			}
			w.until(t, "nothing is wanted of it", func(s *imx.State) bool { return s.Services["web"].Replicas == 0 })
			before := w.control.State().Next
			w.record(imx.PersonSet{Person: imx.Person{Name: "ann"}}) // something that verdicts stand on
			time.Sleep(time.Minute)                                  // the bubble's clock
			if next := w.control.State().Next; next != before+1 {
				t.Errorf("%d more events of what was done already", next-before-1)
			}
		})
	})
	t.Run("but not what is admitted again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.stateAll()
			w.apply(release())
			w.set(t, imx.DeniedStop)
			bundle := w.control.State().Evidence[image().Digest][imx.PredicateSPDX].Bundle
			w.flip(bundle)
			w.watch(t)
			w.until(t, "nothing is wanted of it", func(s *imx.State) bool { return s.Services["web"].Replicas == 0 })
			w.flip(bundle) // the disk is mended, of which the log tells nothing
			if _, err := w.control.Scale("ann", "web", 2); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if v := w.control.State().Services["web"]; v.Replicas != 2 {
				t.Errorf("it was stopped by an answer of before: %+v", v)
			}
		})
	})
}

func TestARunningReleaseIsWrittenAboutOnlyWhenSomethingOfItChanges(t *testing.T) {
	w := newWorld(t)
	w.stateAll()
	w.apply(release())
	w.watch(t)
	w.until(t, "it is judged", func(s *imx.State) bool { return s.Verdicts["web"][1].Allowed })
	w.put(w.good(imx.PredicateVEX)) // nothing that its conditions say otherwise for
	w.record(imx.PersonSet{Person: imx.Person{Name: "ann"}})
	w.spoil(image().Digest)
	w.until(t, "it is denied", func(s *imx.State) bool { v := s.Verdicts["web"][1]; return !v.Made.IsZero() && !v.Allowed })
	if n := len(w.events("verdict-given")); n != 2 {
		t.Errorf("%d verdicts are on the log", n)
	}
}

func TestWhatIsAskedForIsAnswered(t *testing.T) {
	w := newWorld(t)
	w.stateAll()
	w.apply(release())
	found, err := w.Verify(t.Context(), imx.VerifyQuery{Subject: "web", Detail: true})
	if err != nil || found.Release != 1 || found.Verdict.Purpose != imx.ForStart || len(found.Evidence) != len(kinds()) || len(found.Input) == 0 || len(found.Looked["tests"]) == 0 {
		t.Fatalf("%+v, %v", found, err)
	}
	if found, err = w.Verify(t.Context(), imx.VerifyQuery{Subject: "service.web", Purpose: imx.ForRelease}); err != nil || found.Verdict.Purpose != imx.ForRelease || found.Input != nil {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err = w.Verify(t.Context(), imx.VerifyQuery{Subject: "none"}); imx.KindOf(err) != imx.NotFound {
		t.Errorf("err = %v", err)
	}
	if _, err = w.Verify(t.Context(), imx.VerifyQuery{Subject: "web", Purpose: "fun"}); imx.KindOf(err) != imx.Invalid {
		t.Errorf("err = %v", err)
	}
	shown, err := w.Policy("")
	if err != nil || !shown.Shipped || shown.Policy.Environment != staging || len(shown.Conditions) != 12 {
		t.Errorf("%+v, %v", shown, err)
	}
	x, err := w.Except("ann", imx.Exception{Condition: "tests", Service: "web", Reason: "the moon", Until: w.now.Add(time.Hour)})
	if list := w.Exceptions(); err != nil || len(list) != 1 || list[0].ID != x.ID || list[0].Owner != "ann" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := w.Except("ann", imx.Exception{Condition: "tests", Service: "none", Reason: "x", Until: w.now.Add(time.Hour)}); imx.KindOf(err) != imx.NotFound {
		t.Errorf("err = %v", err)
	}
	if err := w.EndException("ann", x.ID, ""); err != nil || len(w.Exceptions()) != 0 {
		t.Errorf("%v, %d", err, len(w.Exceptions()))
	}
}
