package reconcile_test

import (
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/engine/fake"
	"imx/internal/rollout"
)

func how(image string, d imx.Deploy) imx.Spec {
	s := web(image)
	s.Deploy = &d
	return s
}

// counted is what the metrics tell of a service in these tests.
func (w *world) counted(v imx.Service) map[int]imx.Counted { return w.counts[v.Name] }

func TestACanaryThatDoesWorseGoesStraightBack(t *testing.T) {
	w := newWorld(t)
	w.apply(web("one"))
	w.run(5)
	canary := imx.Deploy{Strategy: imx.Canary, Steps: []imx.Step{{Share: 20, Pause: imx.Duration(5 * time.Second)}}, Judge: &imx.Measure{AtLeast: 100, Slack: 0.01}}
	w.apply(how("two", canary))
	w.run(10)
	if v := w.service(); v.Rollout.Step != 0 || v.Routes[2] != 20 || !strings.Contains(v.Rollout.Waits, "too little traffic to judge: 0 of 100") {
		t.Fatalf("without traffic it is at %+v, with routes %v", v.Rollout, v.Routes)
	}
	w.counts = map[string]map[int]imx.Counted{"web": {1: {Requests: 4000, Errors: 4}, 2: {Requests: 940, Errors: 40}}}
	w.run(10)
	w.expect(1, 2)
	if r, _ := w.service().Release(2); r.State != imx.ReleaseFailed || r.Reason != "4.3 % of 940 requests failed, of release 1's 0.1 %" {
		t.Errorf("release 2 is %s: %s", r.State, r.Reason)
	}
	w.counts["web"] = map[int]imx.Counted{1: {Requests: 4000, Errors: 4}, 3: {Requests: 940}}
	w.apply(how("three", canary))
	w.run(20)
	if v := w.service(); v.Current != 3 {
		t.Errorf("what does as well is at %+v of release %d", v.Rollout, v.Target)
	}
}

func TestAReleaseThatTurnsBadIsGoneBackFromOnceAndHeld(t *testing.T) {
	w := newWorld(t)
	frozen := imx.Deploy{Strategy: imx.BlueGreen, Window: imx.Duration(10 * time.Minute), Warm: imx.WarmFrozen}
	w.apply(how("one", frozen))
	w.run(5)
	w.engine.Behave("web", 2, fake.Behaviour{CrashAfter: 20, Exit: 3})
	w.apply(how("two", frozen))
	w.run(60)
	v := w.service()
	if v.Current != 1 || v.Hold == nil || v.Hold.By != imx.Server || v.Hold.From != 2 || !strings.Contains(v.Hold.Reason, "ended by themselves") {
		t.Fatalf("it is at release %d, held: %+v", v.Current, v.Hold)
	}
	if r, _ := v.Release(2); r.State != imx.ReleaseFailed {
		t.Errorf("release 2 is %s", r.State)
	}
}

func TestAGroupGoesForwardAndComesBackTogether(t *testing.T) {
	w := newWorld(t)
	member := func(name, image string) imx.Spec {
		s := how(image, imx.Deploy{Strategy: imx.BlueGreen, Group: "shop"})
		s.Name = name
		return s
	}
	at := func() (web, api imx.Service) {
		s := w.control.State().Services
		return s["web"], s["api"]
	}
	w.apply(member("web", "1"), member("api", "1"))
	w.run(8)
	w.engine.Behave("api", 2, fake.Behaviour{Ticks: 10})
	w.apply(member("web", "2"), member("api", "2"))
	w.run(3)
	if a, b := at(); a.Routes[1] == 0 || b.Routes[1] == 0 || !strings.Contains(a.Rollout.Waits, "service api of its group isn't ready") {
		t.Fatalf("before both are ready: %v %v, %q", a.Routes, b.Routes, a.Rollout.Waits)
	}
	w.run(12)
	if a, b := at(); a.Current != 2 || b.Current != 2 {
		t.Fatalf("forward: web is at %d, api at %d", a.Current, b.Current)
	}
	w.engine.Behave("api", 3, fake.Behaviour{Never: true})
	w.apply(member("web", "3"), member("api", "3"))
	w.run(20)
	a, b := at()
	if r, _ := a.Release(3); a.Current != 2 || b.Current != 2 || a.Target != 2 || !strings.Contains(r.Reason, "service api of its group went back") {
		t.Fatalf("back: web is at %d, api at %d: %s", a.Current, b.Current, r.Reason)
	}
}

func TestTheWayBackIsKeptProvedAndTakenAtOnce(t *testing.T) {
	w := newWorld(t)
	frozen := imx.Deploy{Strategy: imx.BlueGreen, Warm: imx.WarmFrozen}
	w.apply(how("one", frozen))
	w.run(5)
	w.apply(how("two", frozen))
	w.run(10)
	if v := w.service(); !v.WayBack.Ready || v.WayBack.Release != 1 || v.WayBack.Warm != imx.WarmFrozen {
		t.Fatalf("the way back is %+v", v.WayBack)
	}
	w.now = w.now.Add(rollout.ProveEvery)
	w.run(5)
	if v := w.service(); v.WayBack.Proved.IsZero() {
		t.Errorf("it wasn't proved: %+v", v.WayBack)
	}
	if _, err := w.control.Rollback("root", "web", 0); err != nil {
		t.Fatal(err)
	}
	w.run(2)
	if v := w.service(); v.Current != 1 {
		t.Errorf("two seconds after a rollback to frozen instances it is at release %d", v.Current)
	}
	w.run(10)
	w.expect(1, 2)
}
