package pipeline_test

import (
	"context"
	"strings"
	"testing"

	"imx"
	"imx/internal/control"
)

// rollOut is the loop that rolls out, in two lines: "sick" fails, all else gets good. It removes
// what is destroyed. It ends with the test.
func (w *world) rollOut(t *testing.T) {
	t.Helper()
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			changed := w.control.Changed()
			if body := due(w.control.State().Services["plain"]); body != nil {
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
	t.Cleanup(func() {
		close(stop)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// due is what the loop does next with a service, nil if there is nothing.
func due(v imx.Service) imx.Body {
	r, ok := v.Release(v.Target)
	switch {
	case v.Destroyed && !v.Removed:
		return imx.Removed{Service: v.Name}
	case !ok || v.Target == v.Current:
		return nil
	case r.Spec.Environment["GREETING"] == "sick":
		return imx.RolloutFailed{Service: v.Name, Release: r.Number, Reason: "coughs"}
	}
	return imx.RolloutFinished{Service: v.Name, Release: r.Number}
}

func TestAnApplyFollowsItsReleasesToTheEnd(t *testing.T) {
	w := newWorld(t)
	w.rollOut(t)
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

// apply applies a template of the service without waiting for its release, and returns that.
func (w *world) apply(t *testing.T, greeting string) imx.Release {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	result, err := w.Apply(ctx, "root", imx.PlanRequest{Template: w.parse(t, service(greeting))}, func(p imx.Progress) {
		if strings.HasPrefix(p.Step, "roll out") {
			cancel()
		}
	})
	if len(result.Releases) != 1 {
		t.Fatalf("released %+v: %v", result.Releases, err)
	}
	return result.Releases[0]
}

func (w *world) record(t *testing.T, bodies ...imx.Body) {
	t.Helper()
	if err := w.control.Record(imx.Server, bodies...); err != nil {
		t.Fatal(err)
	}
}

// A caller may look late: what happened to its release must still be told as it was.
func TestWhatBecameOfAReleaseIsToldHoweverLateSomebodyLooks(t *testing.T) {
	w := newWorld(t)
	finished := func(n int) imx.Body { return imx.RolloutFinished{Service: "plain", Release: n} }
	told := func(r imx.Release, state imx.ReleaseState, reason, message string) {
		t.Helper()
		var last imx.Progress
		rs, err := w.Watch(t.Context(), []imx.Release{r}, func(p imx.Progress) { last = p })
		if err != nil || rs[0].State != state || !strings.Contains(rs[0].Reason, reason) || !strings.Contains(last.Message, message) {
			t.Errorf("release %d is %s because %q, told as %q (%v); want %s, %q, %q", r.Number, rs[0].State, rs[0].Reason, last.Message, err, state, reason, message)
		}
	}
	first := w.apply(t, "one")
	w.record(t, finished(1))
	second := w.apply(t, "two")
	told(first, imx.ReleaseGood, "", "release 1 has the traffic")
	w.record(t, finished(2))
	told(first, imx.ReleaseGood, "", "had the traffic and lost it")
	third := w.apply(t, "three")
	w.apply(t, "four")
	told(third, imx.ReleaseSuperseded, "release 4 took its place", "release 4 took its place")

	w.record(t, finished(4))
	fifth := w.apply(t, "five")
	w.record(t, imx.Scaled{Service: "plain", Replicas: 0}, finished(5))
	told(fifth, imx.ReleaseGood, "wasn't tried", "no instance of it was wanted")

	w.rollOut(t)
	if err := w.Destroy(t.Context(), "root", control.KeepVolumes, []string{"plain", "plain"}, quiet); err != nil {
		t.Fatal(err)
	}
	told(second, imx.ReleaseGood, "", "had the traffic and lost it")
	third.Number = 6 // one that was rolled out when the service was destroyed
	told(third, imx.ReleaseFailed, "was destroyed", "was destroyed")
}
