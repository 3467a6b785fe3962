package pipeline_test

import (
	"testing"
	"time"

	"imx"
	"imx/internal/trial"
)

// skipping applies a template without tests.
func (w *world) skipping(t *testing.T, text string) (imx.ApplyResult, error) {
	t.Helper()
	w.test = func(trial.Run) ([]imx.TestResult, error) { t.Error("it is tested all the same"); return nil, nil }
	return w.Apply(t.Context(), "ada", imx.PlanRequest{Template: w.parse(t, text), SkipTests: "the moon is late"}, quiet)
}

// skipped are the events of releases without tests: what was written down, and how many exceptions were made.
func (w *world) skipped(t *testing.T) (said, made int) {
	t.Helper()
	for e, err := range w.control.Events(0) {
		if err != nil {
			t.Fatal(err)
		}
		switch b := e.Body.(type) {
		case imx.TestsSkipped:
			said++
			if b.Reason != "the moon is late" {
				t.Errorf("%+v", b)
			}
		case imx.ExceptionMade:
			made++
		}
	}
	return said, made
}

func TestAReleaseWithoutTestsIsExcusedForItsServicesAndImages(t *testing.T) {
	w := newWorld(t)
	w.rolled(t)
	w.judge, w.unmet = func(imx.Release) bool { return false }, []string{"tests"}
	result, err := w.skipping(t, service("hi"))
	if err != nil || len(result.Releases) != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	s := w.control.State()
	if said, made := w.skipped(t); said != 1 || made != 1 || len(s.Exceptions) != 1 {
		t.Errorf("%d said, %d made, %d kept", said, made, len(s.Exceptions))
	}
	for _, x := range s.Exceptions {
		if x.Service != "plain" || x.Image != result.Images[0].Digest || x.Owner != "ada" || x.Condition != "tests" ||
			x.Reason != "released without tests: the moon is late" || x.Until.Sub(x.Made).Round(time.Minute) != 24*time.Hour {
			t.Errorf("%+v", x)
		}
	}
	if result, err = w.skipping(t, service("hi")); err != nil || len(result.Releases) != 0 {
		t.Fatalf("the same again: %+v, %v", result, err)
	}
	if said, made := w.skipped(t); said != 1 || made != 1 {
		t.Errorf("where nothing is released: %d said, %d made", said, made)
	}
}

func TestWhatIsNotReleasedLeavesNoExceptionBehind(t *testing.T) {
	w := newWorld(t)
	w.judge, w.unmet = func(imx.Release) bool { return false }, []string{"signed", "tests"}
	if _, err := w.skipping(t, service("hi")); imx.KindOf(err) != imx.Refused {
		t.Errorf("err = %v", err)
	}
	if said, made := w.skipped(t); said != 0 || made != 0 {
		t.Errorf("%d said, %d made", said, made)
	}
}

// Somebody else approves and releases it: the exception is still of whoever asked for it, and made with the release.
func TestACandidateWithoutTestsIsExcusedWhenItIsReleased(t *testing.T) {
	w := newWorld(t)
	w.rolled(t)
	w.judge, w.unmet = func(imx.Release) bool { return false }, []string{"reviews", "tests"}
	result, err := w.skipping(t, service("hi"))
	if err != nil || result.Candidate == nil {
		t.Fatalf("%+v, %v", result, err)
	}
	c := *result.Candidate
	if said, made := w.skipped(t); said != 0 || made != 0 {
		t.Errorf("while it waits: %d said, %d made", said, made)
	}
	if ok, err := w.Admitted(t.Context(), c); ok || err != nil {
		t.Errorf("without approvals: %t, %v", ok, err)
	}
	w.unmet = []string{"tests"}
	if ok, err := w.Admitted(t.Context(), c); !ok || err != nil {
		t.Errorf("approved: %t, %v", ok, err)
	}
	if _, err := w.Release(t.Context(), "bob", c.ID, quiet); err != nil {
		t.Fatal(err)
	}
	if said, made := w.skipped(t); said != 1 || made != 1 {
		t.Errorf("released: %d said, %d made", said, made)
	}
	for _, x := range w.control.State().Exceptions {
		if x.Owner != "ada" {
			t.Errorf("%+v", x)
		}
	}
}
