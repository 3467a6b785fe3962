package verdict_test

// Exceptions that a release is made by come into being with it: not before, not without it, and only where they excuse something.

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"imx"
)

// untested is a world in which nobody tested the image, and the exception that somebody asks for.
func untested(t *testing.T) (*world, imx.Exception) {
	t.Helper()
	w := newWorld(t)
	for _, kind := range kinds() {
		if kind != imx.PredicateTest {
			w.put(w.good(kind))
		}
	}
	x, err := w.control.DraftException("ann", imx.Exception{
		Condition: "tests", Service: "web", Image: image().Digest, Reason: "the moon is late", Until: w.now.Add(time.Hour),
	})
	if err != nil || x.ID == "" || x.Owner != "ann" || !x.Made.Equal(w.now) || len(w.control.State().Exceptions) != 0 {
		t.Fatalf("%+v, %v, %d made", x, err, len(w.control.State().Exceptions))
	}
	return w, x
}

func TestAnExceptionIsMadeByTheReleaseThatNeedsIt(t *testing.T) {
	w, x := untested(t)
	all, err := w.Allowed(t.Context(), "ann", []imx.Release{release()}, []imx.Exception{x})
	if err != nil || !strings.Contains(condition(t, all[0], "tests").Says, "excused by ann") {
		t.Fatalf("%+v, %v", all, err)
	}
	if n := len(w.control.State().Exceptions); n != 0 {
		t.Errorf("%d exceptions before the release", n)
	}
	made, err := w.Made(w.control.State(), []imx.Release{release()}, all, []imx.Exception{x})
	if err != nil || len(made) != 2 {
		t.Fatalf("%+v, %v", made, err)
	}
	w.record(made...)
	if list := w.Exceptions(); len(list) != 1 || list[0] != x {
		t.Errorf("%+v", list)
	}
	if v, err := w.Release(t.Context(), release()); err != nil || !v.Allowed {
		t.Errorf("afterwards: %+v, %v", v.Conditions, err)
	}
}

func TestAnExceptionIsntMadeByWhatIsRefusedOrNeedsNone(t *testing.T) {
	t.Run("refused for something else", func(t *testing.T) {
		w, _ := untested(t)
		w.spoil(image().Digest)
		for range 3 { // each try has an exception of its own, and the reasons are the same
			x, err := w.control.DraftException("ann", imx.Exception{
				Condition: "tests", Service: "web", Image: image().Digest, Reason: "the moon is late", Until: w.now.Add(time.Hour),
			})
			if err != nil {
				t.Fatal(err)
			}
			all, err := w.Allowed(t.Context(), "ann", []imx.Release{release()}, []imx.Exception{x})
			if imx.KindOf(err) != imx.Refused || strings.Contains(err.Error(), "tests:") || !condition(t, all[0], "tests").Holds() {
				t.Errorf("%v", err)
			}
		}
		if n, told := len(w.control.State().Exceptions), len(w.events("verdict-given")); n != 0 || told != 1 {
			t.Errorf("%d exceptions, %d verdicts on the log", n, told)
		}
	})
	t.Run("tested after all", func(t *testing.T) {
		w, x := untested(t)
		w.put(w.good(imx.PredicateTest))
		all, err := w.Allowed(t.Context(), "ann", []imx.Release{release()}, []imx.Exception{x})
		if err != nil {
			t.Fatal(err)
		}
		if made, err := w.Made(w.control.State(), []imx.Release{release()}, all, []imx.Exception{x}); err != nil || len(made) != 1 {
			t.Errorf("%+v, %v", made, err)
		}
	})
	t.Run("for another service, image or condition", func(t *testing.T) {
		w, x := untested(t)
		for what, change := range map[string]func(x *imx.Exception){
			"service": func(x *imx.Exception) { x.Service = "db" }, "image": func(x *imx.Exception) { x.Image = imx.DigestBytes(nil) },
			"condition": func(x *imx.Exception) { x.Condition = "scan" }, "firm": func(x *imx.Exception) { x.Condition = "signed" },
		} {
			other := x
			change(&other)
			if v, err := w.Release(t.Context(), release(), other); err != nil || v.Allowed {
				t.Errorf("another %s: %v", what, err)
			}
		}
	})
}

func TestAVerdictByAnExceptionThatCantBeMadeAnyMoreIsNone(t *testing.T) {
	w, x := untested(t)
	all, err := w.Allowed(t.Context(), "ann", []imx.Release{release()}, []imx.Exception{x})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Made(w.control.State(), []imx.Release{release()}, all, nil); imx.KindOf(err) != imx.Conflict {
		t.Errorf("without it: %v", err)
	}
	other := x
	other.Condition, other.Image = "scan", ""
	w.record(imx.ExceptionMade{Exception: other}) // somebody's exception has got its id
	if _, err := w.Made(w.control.State(), []imx.Release{release()}, all, []imx.Exception{x}); imx.KindOf(err) != imx.Conflict {
		t.Errorf("its id is taken: %v", err)
	}
}

// Who releases without tests each day, or excuses something each hour, makes no state that grows for ever.
func TestExceptionsThatHaveEndedArentKept(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		x, err := w.Except("ann", imx.Exception{Condition: "scan", Reason: fmt.Sprint("try ", i), Until: w.now.Add(2 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if err := w.EndException("ann", x.ID, "done"); err != nil {
				t.Fatal(err)
			}
		}
		w.now = w.now.Add(time.Hour)
		if n := len(w.control.State().Exceptions); n > 3 {
			t.Fatalf("%d exceptions after %d hours", n, i)
		}
	}
	if n := len(w.events("exception-made")); n != 100 {
		t.Errorf("the log has %d", n)
	}
	if list := w.Exceptions(); len(list) != 1 || list[0].Reason != "try 99" {
		t.Errorf("%+v", list)
	}
}
