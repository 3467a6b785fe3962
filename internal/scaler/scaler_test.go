// Package scaler_test drives the loop look by look on a real log and the fake engine.
package scaler_test

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/control"
	"imx/internal/engine"
	"imx/internal/engine/fake"
	"imx/internal/eventlog"
	"imx/internal/scaler"
)

// world is a service web with a scale block, whose instances the test makes healthy.
type world struct {
	*testing.T
	now     time.Time
	control *control.Control
	engine  *fake.Engine
	loop    *scaler.Loop
	open    int // connections
	asked   map[string]int64
	spent   map[string]time.Duration
}

func newWorld(t *testing.T, c imx.Scaling) *world {
	t.Helper()
	w := &world{T: t, spent: map[string]time.Duration{}, now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return w.now }
	log, _, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(t.TempDir(), "log"), Now: clock})
	w.must(err)
	t.Cleanup(func() { _ = log.Close() })
	w.control, err = control.Open(control.Config{
		Log: log, Now: clock, NewID: func() string { return w.now.Format("150405") }, Network: netip.MustParsePrefix("10.235.0.0/16"), Version: "test",
	})
	w.must(err)
	w.engine = fake.New(clock)
	w.start()
	w.apply(c)
	return w
}

// start makes a new loop, as a server that starts anew does.
func (w *world) start() {
	w.loop = scaler.New(scaler.Config{
		Control: w.control, Now: func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler),
		Load: func(ctx context.Context, services []string) (imx.Load, error) { return w.engine.Load(ctx, services...) },
		Open: func(context.Context, string) (int, error) { return w.open, nil }, Asked: func() map[string]int64 { return w.asked },
	})
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// apply releases the service with a scale block, and has the release take over.
func (w *world) apply(c imx.Scaling) {
	w.Helper()
	spec := imx.Spec{Name: "web", Image: "web", Replicas: 1, Scale: &c, Ports: []imx.Port{{Name: "http", Container: 80}}}
	w.now = w.now.Add(time.Second)
	id, err := w.control.Begin("ann", imx.DigestBytes(nil), imx.Source{})
	w.must(err)
	releases, err := w.control.Promote("ann", control.Promotion{
		Apply: id, Candidates: []control.Candidate{{Spec: spec, Image: imx.Image{Digest: imx.DigestBytes([]byte("web"))}}},
		Judged: func(*imx.State, []imx.Release) ([]imx.Body, error) { return nil, nil },
	})
	w.must(err)
	for _, r := range releases {
		w.must(w.engine.Route(w.Context(), engine.Route{Service: "web", Releases: releases, Weights: imx.Weights{r.Number: 100}}))
		w.must(w.control.Record(imx.Server,
			imx.TrafficMoved{Service: "web", Weights: imx.Weights{r.Number: 100}}, imx.RolloutFinished{Service: "web", Release: r.Number}))
	}
	w.settle()
}

// settle brings the engine's instances to the number that is wanted, all healthy, and has the log know them.
func (w *world) settle() {
	w.Helper()
	v := w.service()
	r, _ := v.Release(v.Target)
	w.must(w.engine.Scale(w.Context(), admission.ForTrial(r), r, v.Replicas))
	w.engine.Tick()
	w.engine.Tick()
	seen, err := w.engine.Observe(w.Context())
	w.must(err)
	s := w.control.State()
	for _, in := range seen.Instances {
		switch old, known := s.Instances[in.ID]; {
		case in.Phase == imx.Ended && known && old.Phase != imx.Ended:
			w.must(w.control.Record(imx.Server, imx.InstanceEnded{Instance: in}))
		case in.Phase == imx.Healthy && !known:
			w.must(w.control.Record(imx.Server, imx.InstanceStarted{Instance: in}, imx.InstanceChanged{Instance: in}))
		}
	}
}

func (w *world) service() imx.Service { return w.control.State().Services["web"] }

// pass lets time pass with each instance at work for a share of its limit, and so many new connections at each look.
func (w *world) pass(length time.Duration, share float64, connections int64) {
	w.Helper()
	for end := w.now.Add(length); w.now.Before(end); {
		w.now = w.now.Add(scaler.Every)
		for id, in := range w.control.State().Instances {
			if in.Phase != imx.Ended {
				w.spent[id] += time.Duration(share * float64(scaler.Every))
				w.engine.Use(id, imx.Usage{CPU: imx.Duration(w.spent[id]), Memory: 1, Limits: imx.Resources{CPU: 1, Memory: 100}})
			}
		}
		w.engine.Arrive("web", connections)
		w.loop.Look(w.Context())
		w.settle()
	}
}

// reasons are those of all steps that imx took by itself.
func (w *world) reasons() string {
	var list []string
	for e, err := range w.control.Events(0) {
		w.must(err)
		if b, ok := e.Body.(imx.Scaled); ok && e.By == imx.Server {
			list = append(list, b.Reason)
		}
	}
	return strings.Join(list, "\n")
}

func (w *world) want(n int) {
	w.Helper()
	if v := w.service(); v.Replicas != n {
		w.Fatalf("there are %d instances, want %d; the steps were\n%s", v.Replicas, n, w.reasons())
	}
}

func byCPU() imx.Scaling {
	return imx.Scaling{Min: 1, Max: 4, CPU: 50, Up: imx.Duration(10 * time.Second), Down: imx.Duration(time.Minute)}
}

func TestInstancesFollowTheLoadAndTheLogSaysWhy(t *testing.T) {
	w := newWorld(t, byCPU())
	w.want(1)
	w.pass(time.Minute, 0.9, 0)
	w.want(4)
	w.pass(5*time.Minute, 0.01, 0)
	w.want(1)
	for _, says := range []string{"cpu at 90 % per instance, 50 % wanted", "for 1m0s at most cpu at 1 % per instance"} {
		if !strings.Contains(w.reasons(), says) {
			t.Errorf("no step was taken for %q, but\n%s", says, w.reasons())
		}
	}
}

func TestAnApplyKeepsTheNumberWithinTheNewBounds(t *testing.T) {
	w := newWorld(t, byCPU())
	w.pass(time.Minute, 0.9, 0)
	w.want(4)
	narrow := byCPU()
	narrow.Max = 3
	w.apply(narrow)
	w.want(3)
	w.apply(narrow)
	w.want(3)
	if _, err := w.control.Rollback("ann", "web", 1); err != nil {
		t.Fatal(err)
	}
	w.want(3)
}

func TestWhatAPersonFixedStaysUntilItIsGivenBack(t *testing.T) {
	w := newWorld(t, byCPU())
	if v, err := w.control.Scale("ann", "web", 7); err != nil || v.Sizing.Fixed != "ann" {
		t.Fatalf("fixed by %q, %v", v.Sizing.Fixed, err)
	}
	w.settle()
	w.pass(10*time.Minute, 0.01, 0)
	w.want(7)
	w.apply(byCPU()) // the same release
	w.want(7)
	if _, err := w.control.Unfix("ann", "web"); err != nil {
		t.Fatal(err)
	}
	w.pass(scaler.Every, 0.01, 0)
	w.want(4)
	if !strings.Contains(w.reasons(), "scale says at most 4") {
		t.Errorf("the steps were\n%s", w.reasons())
	}
	if _, err := w.control.Scale("ann", "web", 2); err != nil {
		t.Fatal(err)
	}
	wider := byCPU()
	wider.Max = 9
	w.apply(wider)
	if v := w.service(); v.Sizing.Fixed != "" || v.Replicas != 2 {
		t.Errorf("after another release %d are fixed by %q", v.Replicas, v.Sizing.Fixed)
	}
}

func TestAServiceSleepsWhenNobodyConnectsAndWakesWithAKnock(t *testing.T) {
	w := newWorld(t, imx.Scaling{Min: 0, Max: 2, Idle: imx.Duration(time.Minute)})
	w.pass(5*time.Minute, 0, 1)
	w.want(1)
	w.open = 1
	w.pass(5*time.Minute, 0, 0)
	w.want(1) // somebody's connection is open
	w.open = 0
	for n := range int64(10) {
		w.asked = map[string]int64{"web": n}
		w.pass(30*time.Second, 0, 0)
	}
	w.want(1) // somebody asks through an ingress
	w.pass(3*time.Minute, 0, 0)
	w.want(0)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.loop.Run(ctx) }()
	changed := w.control.Changed()
	w.loop.Knock("web", "192.0.2.7")
	<-changed
	cancel()
	w.must(<-ended)
	w.want(1)
	if !strings.HasSuffix(w.reasons(), "a connection came from 192.0.2.7") {
		t.Errorf("the steps were\n%s", w.reasons())
	}
}

func TestAServerThatStartsAnewMeasuresBeforeItTakesInstancesAway(t *testing.T) {
	w := newWorld(t, byCPU())
	w.pass(time.Minute, 0.9, 0)
	w.start()
	w.pass(50*time.Second, 0.01, 0)
	w.want(4)
	w.pass(time.Minute, 0.01, 0)
	if n := w.service().Replicas; n >= 4 {
		t.Errorf("there are still %d instances", n)
	}
}

func TestNothingChangesWhileAReleaseIsRolledOut(t *testing.T) {
	w := newWorld(t, byCPU())
	spec, _ := w.service().Release(1)
	next := spec.Spec
	next.Command = []string{"/next"}
	w.now = w.now.Add(time.Second)
	id, err := w.control.Begin("ann", imx.DigestBytes(nil), imx.Source{})
	w.must(err)
	_, err = w.control.Promote("ann", control.Promotion{
		Apply: id, Candidates: []control.Candidate{{Spec: next, Image: spec.Image}},
		Judged: func(*imx.State, []imx.Release) ([]imx.Body, error) { return nil, nil },
	})
	w.must(err)
	for range 10 {
		w.now = w.now.Add(scaler.Every)
		for id := range w.control.State().Instances {
			w.engine.Use(id, imx.Usage{CPU: imx.Duration(w.now.Sub(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC))), Limits: imx.Resources{CPU: 1, Memory: 100}})
		}
		w.loop.Look(t.Context())
	}
	w.want(1)
}
