// Package reconcile_test drives the loop tick by tick on a real log and the fake engine, and lets
// the server die before and after each of the engine's operations.
package reconcile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/control"
	"imx/internal/engine"
	"imx/internal/engine/fake"
	"imx/internal/eventlog"
	"imx/internal/reconcile"
)

// world is a server in pieces: a log on disk, an engine that outlives it, a clock.
type world struct {
	denied  error // why no instance may start
	t       *testing.T
	dir     string
	now     time.Time
	log     *eventlog.Log
	control *control.Control
	engine  *fake.Engine
	mortal  *mortal
	loop    *reconcile.Loop
	said    *bytes.Buffer                  // by the loop's logger
	counts  map[string]map[int]imx.Counted // by service
	deaths  int
}

// mortal is an engine whose server dies at one of its calls: before it took effect, or after.
type mortal struct {
	engine.Engine

	calls, dieAt int
	after        bool
}

var errDeath = errors.New("the server was killed")

func (m *mortal) call(do func() error) error {
	m.calls++
	switch {
	case m.calls != m.dieAt:
		return do()
	case m.after:
		_ = do()
	}
	return errDeath
}

func (m *mortal) Scale(ctx context.Context, p admission.Pass, r imx.Release, n int) error {
	return m.call(func() error { return m.Engine.Scale(ctx, p, r, n) })
}

func (m *mortal) Route(ctx context.Context, r engine.Route) error {
	return m.call(func() error { return m.Engine.Route(ctx, r) })
}

func (m *mortal) Stop(ctx context.Context, id, reason string) error {
	return m.call(func() error { return m.Engine.Stop(ctx, id, reason) })
}

func (m *mortal) Keep(ctx context.Context, r imx.Release, n int) error {
	return m.call(func() error { return m.Engine.Keep(ctx, r, n) })
}

func (m *mortal) Remove(ctx context.Context, service string, v engine.Volumes) error {
	return m.call(func() error { return m.Engine.Remove(ctx, service, v) })
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.engine, w.said = fake.New(w.clock), &bytes.Buffer{}
	w.mortal = &mortal{}
	w.boot()
	t.Cleanup(func() { _ = w.log.Close() })
	return w
}

// pass lets everything start, unless the test denies it.
func (w *world) pass(_ context.Context, r imx.Release) (admission.Pass, error) {
	if w.denied != nil {
		return admission.Pass{}, w.denied
	}
	return admission.ForTrial(r), nil
}

func (w *world) clock() time.Time { return w.now }

// boot starts a server over what is there.
func (w *world) boot() {
	w.t.Helper()
	var err error
	if w.log, _, err = eventlog.Open(eventlog.Config{Dir: w.dir, Now: w.clock}); err != nil {
		w.t.Fatal(err)
	}
	ids := 0
	w.control, err = control.Open(control.Config{
		Log: w.log, Now: w.clock, Network: netip.MustParsePrefix("10.0.0.0/24"),
		NewID: func() string { ids++; return fmt.Sprint("apply", ids) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mortal.Engine = w.engine
	w.loop = reconcile.New(reconcile.Config{
		Control: w.control, Engine: w.mortal, Pass: w.pass, Count: w.counted, Now: w.clock, Log: slog.New(slog.NewTextHandler(w.said, nil)),
	})
}

// die loses all that is only in memory and starts the next server.
func (w *world) die() {
	w.t.Helper()
	w.deaths++
	if err := w.log.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.engine = w.engine.Restarted()
	w.boot()
}

// run lets so many seconds pass, in steps that a busy server would take.
func (w *world) run(seconds int) {
	w.t.Helper()
	for range seconds * 2 {
		w.now = w.now.Add(500 * time.Millisecond)
		w.engine.Tick()
		for range 4 { // the loop goes on at once while its own actions change something
			before := w.mortal.calls
			_, err := reconcile.Step(w.loop, w.t.Context())
			if err != nil {
				w.t.Fatal(err)
			}
			if w.mortal.calls >= w.mortal.dieAt && before < w.mortal.dieAt {
				w.die()
			}
		}
	}
}

func (w *world) apply(specs ...imx.Spec) []imx.Release {
	w.t.Helper()
	id, err := w.control.Begin("root", "", imx.Source{})
	if err != nil {
		w.t.Fatal(err)
	}
	p := control.Promotion{Apply: id, Judged: func(*imx.State, []imx.Release) ([]imx.Body, error) { return nil, nil }}
	for _, s := range specs {
		p.Candidates = append(p.Candidates, control.Candidate{Spec: s, Image: imx.Image{Digest: imx.DigestBytes([]byte(s.Image))}})
	}
	rs, err := w.control.Promote("root", p)
	if err != nil {
		w.t.Fatal(err)
	}
	return rs
}

func web(image string) imx.Spec {
	return imx.Spec{
		Name: "web", Image: image, Replicas: 2,
		Drain: imx.Duration(2 * time.Second), Deadline: imx.Duration(10 * time.Second),
		Health: imx.Health{Every: imx.Duration(time.Second), Failures: 3},
	}
}

func (w *world) service() imx.Service { return w.control.State().Services["web"] }

// expect checks that one release, and nothing else, runs with all the traffic.
func (w *world) expect(release, instances int) {
	w.t.Helper()
	v := w.service()
	if v.Current != release || v.Target != release {
		w.t.Fatalf("current release %d, target %d, want %d", v.Current, v.Target, release)
	}
	seen, err := w.engine.Observe(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	live := 0
	for _, in := range seen.Instances {
		if in.Phase == imx.Ended {
			continue
		}
		live++
		if in.Release != release || in.Phase != imx.Healthy {
			w.t.Errorf("instance %s of release %d is %s", in.ID, in.Release, in.Phase)
		}
		if told := w.control.State().Instances[in.ID]; told.Phase != in.Phase {
			w.t.Errorf("the log has instance %s as %q, it is %q", in.ID, told.Phase, in.Phase)
		}
	}
	if live != instances {
		w.t.Errorf("%d instances live, want %d", live, instances)
	}
	if weights := seen.Routes["web"]; len(weights) != 1 || weights[release] == 0 {
		w.t.Errorf("traffic goes to %v, want release %d alone", weights, release)
	}
}

func TestAReleaseThatIsDeniedStartsNothingAndSaysWhy(t *testing.T) {
	w := newWorld(t)
	w.denied = imx.Errorf(imx.Refused, "scan: there is none")
	r := w.apply(web("one"))[0]
	w.run(2)
	if seen, err := w.engine.Observe(t.Context()); err != nil || len(seen.Instances) != 0 {
		t.Errorf("instances %v, %v", seen.Instances, err)
	}
	w.run(300)
	if now, _ := w.service().Release(r.Number); now.State != imx.ReleaseFailed || !strings.Contains(now.Reason, "scan: there is none") {
		t.Errorf("the release is %s: %q", now.State, now.Reason)
	}
}

func TestAReleaseIsReplacedByTheNextAndComesBack(t *testing.T) {
	w := newWorld(t)
	w.apply(web("one"))
	w.run(5)
	w.expect(1, 2)
	w.apply(web("two"))
	w.run(10)
	w.expect(2, 2)
	if _, err := w.control.Rollback("root", "web", 0); err != nil {
		t.Fatal(err)
	}
	w.run(10)
	w.expect(1, 2)
	if v := w.service(); v.Hold == nil {
		t.Error("a rollback by a person isn't shown as held")
	}
}

func TestAReleaseThatNeverGetsHealthyNeverGetsTraffic(t *testing.T) {
	w := newWorld(t)
	w.apply(web("one"))
	w.run(5)
	w.engine.Behave("web", 2, fake.Behaviour{Never: true})
	w.apply(web("two"))
	for range 30 {
		w.run(1)
		for n := range 8 {
			if in, ok := w.engine.Pick("web", n); !ok || in.Release != 1 {
				t.Fatalf("connection %d went to %+v (%v), want release 1", n, in, ok)
			}
		}
	}
	w.expect(1, 2)
	if r, _ := w.service().Release(2); r.State != imx.ReleaseFailed || r.Reason == "" {
		t.Errorf("release 2 is %s, because %q", r.State, r.Reason)
	}
}

func TestWhatDiedIsReplaced(t *testing.T) {
	w := newWorld(t)
	w.apply(web("one"))
	w.run(5)
	victim, _ := w.engine.Pick("web", 0)
	w.engine.Crash(victim.ID, 7)
	w.run(10)
	w.expect(1, 2)
	in := w.control.State().Instances[victim.ID]
	if in.Phase != imx.Ended || in.Exit == nil || in.Exit.Code != 7 {
		t.Errorf("the log tells %+v of the crash", in)
	}
}

func TestAnEngineThatFailsIsTriedAgainAndTheReasonKept(t *testing.T) {
	w := newWorld(t)
	w.apply(web("one"))
	w.run(5)
	for range 1000 { // more than the loop can try
		w.engine.Fail("scale", imx.Errorf(imx.Exhausted, "no space left for instances"))
	}
	w.apply(web("two"))
	w.run(30)
	w.expect(1, 2)
	if r, _ := w.service().Release(2); !strings.Contains(r.Reason, "no space left for instances") {
		t.Errorf("release 2 failed because of %q: the engine's own words are missing", r.Reason)
	}
}

func TestADestroyedServiceLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.apply(web("one"))
	w.run(5)
	if err := w.control.Destroy("root", control.RemoveVolumes, "web"); err != nil {
		t.Fatal(err)
	}
	w.run(5)
	seen, err := w.engine.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(seen.Instances) != 0 || len(seen.Routes) != 0 || !w.service().Removed {
		t.Errorf("left: %+v, removed %v", seen, w.service().Removed)
	}
}

func TestAnInstanceThatTheEngineForgotIsWrittenOff(t *testing.T) {
	s := &imx.State{Instances: map[string]imx.Instance{"web-1-x": {ID: "web-1-x", Service: "web", Phase: imx.Healthy}}}
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	bodies, _ := reconcile.Observed(s, imx.Seen{}, now)
	if len(bodies) != 1 {
		t.Fatalf("%d events", len(bodies))
	}
	e, ok := bodies[0].(imx.InstanceEnded)
	if !ok || e.Instance.Exit.Code != -1 || !e.Instance.Ended.Equal(now) {
		t.Errorf("got %+v", bodies[0])
	}
}

func TestWhatTheEngineStillShowsOfAForgottenInstanceIsNotToldAgain(t *testing.T) {
	w := newWorld(t)
	one := web("one")
	one.Replicas = 1
	w.apply(one)
	w.run(5)
	for range 40 { // more than the state remembers, and the fake engine forgets none
		victim, ok := w.engine.Pick("web", 0)
		if !ok {
			t.Fatal("nothing answers")
		}
		w.engine.Crash(victim.ID, 7)
		w.run(65)
	}
	told := map[string]int{}
	for e, err := range w.control.Events(0) {
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := e.Body.(imx.InstanceEnded); ok {
			told[b.Instance.ID]++
		}
	}
	if len(told) != 40 {
		t.Errorf("the log tells of the end of %d instances, want 40", len(told))
	}
	for id, n := range told {
		if n > 1 {
			t.Errorf("the log tells %d times that %s ended", n, id)
		}
	}
}

// An engine that is older or newer than the log shows what nobody made. It must not keep the
// services that are known from being looked after.
func TestWhatTheLogDoesntKnowKeepsNoServiceFromBeingLookedAfter(t *testing.T) {
	w := newWorld(t)
	for _, r := range []imx.Release{{Service: "ghost", Number: 1, Spec: imx.Spec{Name: "ghost"}}, {Service: "web", Number: 7, Spec: web("seven")}} {
		if err := w.engine.Scale(t.Context(), admission.ForTrial(r), r, 1); err != nil {
			t.Fatal(err)
		}
		if err := w.engine.Route(t.Context(), engine.Route{Service: r.Service, Releases: []imx.Release{r}, Weights: imx.Weights{r.Number: 100}}); err != nil {
			t.Fatal(err)
		}
	}
	w.apply(web("one"))
	w.run(10)
	if v := w.service(); v.Current != 1 {
		t.Fatalf("current release %d, want 1", v.Current)
	}
	seen, err := w.engine.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	live := map[string]int{}
	for _, in := range seen.Instances {
		if in.Phase != imx.Ended {
			live[fmt.Sprint(in.Service, in.Release)]++
		}
	}
	if fmt.Sprint(live) != fmt.Sprint(map[string]int{"ghost1": 1, "web1": 2}) {
		t.Errorf("live instances: %v", live)
	}
	if n := strings.Count(w.said.String(), "instance ghost-1-"); n != 1 {
		t.Errorf("the ghost is spoken of in %d lines, want 1:\n%s", n, w.said)
	}
}

func TestAnEngineThatCantBeObservedIsComplainedOfWhenThatBegins(t *testing.T) {
	w := newWorld(t)
	for _, trouble := range []string{"no such file", "no such file", "no space", "no space", "", "no space"} {
		if trouble != "" {
			w.engine.Fail("observe", errors.New(trouble))
		}
		if wake := reconcile.Round(w.loop, t.Context()); trouble != "" && wake == 0 {
			t.Errorf("after %q it never looks again", trouble)
		}
	}
	if text := w.said.String(); strings.Count(text, "no such file") != 1 || strings.Count(text, "no space") != 2 {
		t.Errorf("the loop said:\n%s", text)
	}
}

// The server is killed at every single call to the engine of a replacement, a rollback and the
// removal, once before the call took effect and once after: each time the next server finishes.
func TestAServerKilledAtAnyStepIsFinishedByTheNext(t *testing.T) {
	story := func(t *testing.T, dieAt int, after bool) *world {
		w := newWorld(t)
		w.mortal.dieAt, w.mortal.after = dieAt, after
		w.apply(web("one"))
		w.run(8)
		w.expect(1, 2)
		w.apply(web("two"))
		w.run(12)
		w.expect(2, 2)
		if _, err := w.control.Rollback("root", "web", 0); err != nil {
			t.Fatal(err)
		}
		w.run(12)
		w.expect(1, 2)
		if err := w.control.Destroy("root", control.KeepVolumes, "web"); err != nil {
			t.Fatal(err)
		}
		w.run(8)
		if !w.service().Removed {
			t.Fatal("the service isn't removed")
		}
		return w
	}
	whole := story(t, 0, false).mortal.calls
	if whole < 10 {
		t.Fatalf("only %d calls: the story is too short to mean anything", whole)
	}
	for n := 1; n <= whole; n++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d, after=%v", n, after), func(t *testing.T) {
				if w := story(t, n, after); w.deaths != 1 {
					t.Errorf("%d deaths", w.deaths)
				}
			})
		}
	}
}
