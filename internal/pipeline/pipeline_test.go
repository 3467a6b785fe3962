// Package pipeline_test takes templates along the arrows with the real parts: a signed archive, a log, a
// blob store, a builder. Only the engine is played, by the functions that a Config asks for.
package pipeline_test

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"imx"
	"imx/internal/archive"
	"imx/internal/archive/archivetest"
	"imx/internal/blob"
	"imx/internal/build"
	"imx/internal/control"
	"imx/internal/eventlog"
	"imx/internal/pipeline"
	"imx/internal/template"
)

type world struct {
	*pipeline.Pipeline
	control *control.Control
	debs    *archivetest.Archive
	admit   func(imx.Release) error
	tags    []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{
		debs: archivetest.New(t,
			archivetest.Package{Name: "base", Essential: true},
			archivetest.Package{Name: "hello", Depends: "libhello"},
			archivetest.Package{Name: "libhello"}),
		admit: func(imx.Release) error { return nil },
	}
	log, _, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(dir, "log"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	w.control, err = control.Open(control.Config{
		Log: log, Now: time.Now, NewID: func() string { return "id" }, Network: netip.MustParsePrefix("10.0.0.0/24"),
	})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	debs, err := archive.New(archive.Config{Dir: filepath.Join(dir, "archive"), Blobs: blobs})
	if err != nil {
		t.Fatal(err)
	}
	builder, err := build.New(build.Config{Dir: filepath.Join(dir, "build"), Blobs: blobs})
	if err != nil {
		t.Fatal(err)
	}
	w.Pipeline = pipeline.New(pipeline.Config{
		Control: w.control, Archive: debs, Builder: builder, Blobs: blobs, Architecture: "amd64", Now: time.Now,
		Publish: func(_ context.Context, repository, tag string, _ build.Result) error {
			w.tags = append(w.tags, repository+":"+tag)
			return nil
		},
		Admit: func(_ context.Context, r imx.Release) error { return w.admit(r) },
	})
	return w
}

// parse reads a template whose archive "own" is the world's.
func (w *world) parse(t *testing.T, text string) imx.Template {
	t.Helper()
	tmpl, ds := template.Parse(fstest.MapFS{"t.imx.hcl": {Data: []byte(text)}})
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	for i := range tmpl.Archives {
		tmpl.Archives[i] = w.debs.Declare(tmpl.Archives[i].Name)
	}
	return tmpl
}

const packaged = `
archive "own" {
  mirror = "http://127.0.0.1:1/"
}
image "hello" {
  from     = archive.own
  packages = ["hello"]
  command  = ["/hello"]
}`

func service(greeting string) string {
	return fmt.Sprintf(`
image "plain" {
  command = ["/x"]
  file "/x" {
    content = "x"
    mode    = "0755"
  }
}
service "plain" {
  image       = image.plain
  environment = { GREETING = %q }
}`, greeting)
}

func quiet(imx.Progress) {}

func TestAnOlderIndexThanOneThatWasSeenIsRefusedEvenWithoutALock(t *testing.T) {
	w := newWorld(t)
	tmpl := w.parse(t, packaged)
	first, err := w.Plan(t.Context(), "root", imx.PlanRequest{Template: tmpl}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.control.State().Suites; len(got) != 1 || got[0] != first.Lock.Suites[0] {
		t.Errorf("remembered %v, want %v", got, first.Lock.Suites)
	}
	w.debs.Date = w.debs.Date.Add(-time.Hour)
	w.debs.Publish()
	_, err = w.Plan(t.Context(), "root", imx.PlanRequest{Template: w.parse(t, packaged)}, quiet)
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("an older index: %v", err)
	}
	if _, err := w.Plan(t.Context(), "root", imx.PlanRequest{Template: tmpl, Lock: &first.Lock}, quiet); err != nil {
		t.Errorf("with a lock nothing has to be asked: %v", err)
	}
}

func TestAPackageWithOtherBytesThanTheLockSaysNeverGetsIntoAnImage(t *testing.T) {
	w := newWorld(t)
	tmpl := w.parse(t, packaged)
	planned, err := w.Plan(t.Context(), "root", imx.PlanRequest{Template: tmpl}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	w.debs.Change("pool/*/*/*/base_*.deb", func(b []byte) []byte {
		b[len(b)-1] ^= 1
		return b
	})
	before := w.control.State().Next
	_, err = w.Apply(t.Context(), "root", imx.PlanRequest{Template: tmpl, Lock: &planned.Lock}, quiet)
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "base_1.0") {
		t.Errorf("a changed package: %v", err)
	}
	s := w.control.State()
	if s.Apply != nil || s.Next != before+2 || len(s.Images) != 0 || len(w.tags) != 0 {
		t.Errorf("after the refusal: apply %v, %d more events, images %v, tags %v", s.Apply, s.Next-before, s.Images, w.tags)
	}
}

func TestWhatTheEngineCantRunIsNeverReleased(t *testing.T) {
	w := newWorld(t)
	w.admit = func(r imx.Release) error {
		return imx.Errorf(imx.Conflict, "port 80 of %s is taken", r.Service)
	}
	_, err := w.Apply(t.Context(), "root", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet)
	if imx.KindOf(err) != imx.Conflict || err.Error() != "port 80 of plain is taken" {
		t.Fatalf("not admitted: %v", err)
	}
	s := w.control.State()
	if len(s.Services) != 0 || s.Apply != nil {
		t.Errorf("services %v, open apply %v", s.Services, s.Apply)
	}
	if len(s.Images) != 1 || len(w.tags) != 1 {
		t.Errorf("what was built is lost: images %v, tags %v", s.Images, w.tags)
	}
}

func TestAnApplyFollowsItsReleasesToTheEnd(t *testing.T) {
	w := newWorld(t)
	stop := make(chan struct{})
	ended := make(chan error, 1)
	go func() { // the loop that rolls out, in two lines: "sick" fails, all else gets good
		for {
			changed := w.control.Changed()
			v := w.control.State().Services["plain"]
			if r, ok := v.Release(v.Target); ok && v.Target != v.Current {
				var body imx.Body = imx.RolloutFinished{Service: "plain", Release: r.Number}
				if r.Spec.Environment["GREETING"] == "sick" {
					body = imx.RolloutFailed{Service: "plain", Release: r.Number, Reason: "coughs"}
				}
				if err := w.control.Record(imx.Server, body); err != nil {
					ended <- err
					return
				}
				continue
			}
			select {
			case <-changed:
			case <-stop:
				ended <- nil
				return
			}
		}
	}()
	for _, step := range []struct {
		greeting string
		state    imx.ReleaseState
		current  int
	}{{"hi", imx.ReleaseGood, 1}, {"sick", imx.ReleaseFailed, 1}, {"hello", imx.ReleaseGood, 3}} {
		result, err := w.Apply(t.Context(), "root", imx.PlanRequest{Template: w.parse(t, service(step.greeting))}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Releases) != 1 || result.Releases[0].State != step.state {
			t.Errorf("%s: releases %+v, want one that is %s", step.greeting, result.Releases, step.state)
		}
		if got := w.control.State().Services["plain"].Current; got != step.current {
			t.Errorf("%s: release %d has the traffic, want %d", step.greeting, got, step.current)
		}
	}
	r, err := w.Rollback(t.Context(), "root", "plain", 0, quiet)
	if err != nil || r.Number != 1 {
		t.Errorf("rolled back to %d: %v", r.Number, err)
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestACallerWhoGoesAwayReleasesNothing(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.admit = func(imx.Release) error { cancel(); return nil }
	_, err := w.Apply(ctx, "root", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet)
	if s := w.control.State(); err == nil || len(s.Services) != 0 || s.Apply != nil {
		t.Errorf("error %v, services %v, apply %v", err, s.Services, s.Apply)
	}
}
