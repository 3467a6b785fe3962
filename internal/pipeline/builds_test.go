package pipeline_test

import (
	"strings"
	"sync"
	"testing"

	"imx"
)

// twoBad is a template of three images, two of which run as a user that isn't in them, and a service of
// the third.
func twoBad(t *testing.T) (*world, imx.Template) {
	t.Helper()
	text := service("hi")
	block := text[:strings.Index(text, "service")]
	for _, name := range []string{"bad", "worse"} {
		text += strings.Replace(strings.Replace(block, "plain", name, 1), "command", "user = \"ghost\"\n  command", 1)
	}
	w := newWorld(t)
	return w, w.parse(t, text)
}

// One image that can't be built is no reason not to build the others, and no failure hides another.
func TestWhatCanBeBuiltIsAndEachFailureIsToldOnce(t *testing.T) {
	w, tmpl := twoBad(t)
	var mu sync.Mutex
	last := map[string]string{}
	_, err := w.Build(t.Context(), "root", imx.PlanRequest{Template: tmpl}, func(p imx.Progress) {
		mu.Lock()
		defer mu.Unlock()
		last[p.Step] = p.Status
	})
	told := imx.AsError(err)
	if imx.KindOf(err) != imx.Invalid || len(told.Diagnostics) != 2 {
		t.Fatalf("%v: %d failures are told", err, len(told.Diagnostics))
	}
	for i, name := range []string{"image.bad", "image.worse"} {
		if d := told.Diagnostics[i]; strings.Count(err.Error(), name) != 1 || !strings.Contains(d.Summary, name) || d.At.Line == 0 {
			t.Errorf("of %s is told %+v", name, d)
		}
	}
	want := map[string]string{"build image.bad": "failed", "build image.worse": "failed", "build image.plain": "done"}
	for step, status := range want {
		if last[step] != status {
			t.Errorf("%s is %q", step, last[step])
		}
	}
	if n := len(w.control.State().Images); n != 1 || len(w.tags) != 1 {
		t.Errorf("%d images are on the log, tags %v", n, w.tags)
	}
}

// A release of what could be built, without what couldn't, isn't what was asked for.
func TestAnApplyReleasesNothingWhereOneImageCantBeBuilt(t *testing.T) {
	w, tmpl := twoBad(t)
	if _, err := w.Apply(t.Context(), "root", imx.PlanRequest{Template: tmpl}, quiet); imx.KindOf(err) != imx.Invalid {
		t.Fatal(err)
	}
	if s := w.control.State(); len(s.Services) != 0 || s.Apply != nil {
		t.Errorf("services %v, open apply %v", s.Services, s.Apply)
	}
}

func TestEachImageIsStatedWhenItIsBuiltAndWhenItIsFoundBuilt(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		if _, err := w.Build(t.Context(), "root", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(w.stated, ", "); got != "root plain, root plain" {
		t.Errorf("stated of: %s", got)
	}
}
