// Tests of the fake: that it keeps the engines' common contract, and what only it can do.
package fake_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/engine"
	"imx/internal/engine/enginetest"
	"imx/internal/engine/fake"
)

// clock counts a second at each look, so that no two times are equal.
func clock() func() time.Time {
	now := time.Unix(1_000_000, 0).UTC()
	return func() time.Time {
		now = now.Add(time.Second)
		return now
	}
}

func TestTheFakeKeepsTheContract(t *testing.T) {
	enginetest.Suite(t, func(t *testing.T) enginetest.World {
		e := fake.New(clock())
		sent := 0
		w := enginetest.World{Engine: e, PreviewPort: 9000, Pass: func() { e.Tick() }}
		w.Release = func(service string, number int, f enginetest.Fate) imx.Release {
			b := fake.Behaviour{Says: "hello"}
			switch f {
			case enginetest.Well:
			case enginetest.Sickly:
				b.Never = true
			case enginetest.Crashy:
				b.CrashAfter, b.Exit = 1, 3
			}
			e.Behave(service, number, b)
			return release(service, number)
		}
		w.Restart = func(*testing.T) engine.Engine {
			e = e.Restarted()
			return e
		}
		w.Sicken = func(_ *testing.T, id string) { e.Sicken(id, "feels ill") }
		w.Heal = func(_ *testing.T, id string) { e.Sicken(id, "") }
		w.Crash = func(_ *testing.T, id string, code int) { e.Crash(id, code) }
		w.Hold = func(_ *testing.T, service string) (string, func() error, func()) {
			x, _ := e.Pick(service, sent)
			e.SetFlows(x.ID, 1)
			use := func() error {
				seen, err := e.Observe(t.Context())
				if slices.ContainsFunc(seen.Instances, func(in imx.Instance) bool { return in.ID == x.ID && in.Phase == imx.Ended }) {
					return errors.New("the instance has ended")
				}
				return err
			}
			return x.ID, use, func() { e.SetFlows(x.ID, 0) }
		}
		send := func(pick func(string, int) (imx.Instance, bool), service string, n int) map[string]int {
			counts := map[string]int{}
			for range n {
				x, _ := pick(service, sent)
				sent++
				counts[x.ID]++
			}
			return counts
		}
		w.Send = func(_ *testing.T, service string, n int) map[string]int { return send(e.Pick, service, n) }
		w.Preview = func(_ *testing.T, service string, n int) map[string]int { return send(e.PickPreview, service, n) }
		return w
	})
}

func release(service string, number int) imx.Release {
	return imx.Release{
		Service: service, Number: number,
		Spec: imx.Spec{Name: service, Ports: []imx.Port{{Name: "http", Container: 80, Publish: 8000 + len(service)}}},
	}
}

func TestAnInstanceTakesItsTimeToGetHealthy(t *testing.T) {
	e := fake.New(clock())
	e.Behave("web", 1, fake.Behaviour{Ticks: 2})
	r := release("web", 1)
	if err := e.Scale(t.Context(), admission.ForTrial(r), r, 1); err != nil {
		t.Fatal(err)
	}
	want := []imx.Phase{imx.Starting, imx.Starting, imx.Healthy}
	for i, phase := range want {
		e.Tick()
		if got := phases(t, e)[0]; got != phase {
			t.Errorf("after tick %d it is %s, want %s", i+1, got, phase)
		}
	}
}

func TestAFailedStartLeavesTheOthers(t *testing.T) {
	e := fake.New(clock())
	full := imx.Errorf(imx.Exhausted, "no memory left")
	e.Fail("scale", full)
	if err := e.Scale(t.Context(), admission.ForTrial(release("web", 1)), release("web", 1), 3); !errors.Is(err, full) {
		t.Errorf("got the error %v", err)
	}
	if got := phases(t, e); len(got) != 2 {
		t.Errorf("%d instances run, want 2", len(got))
	}
}

func TestAForeignProcessHoldsAPort(t *testing.T) {
	e := fake.New(clock())
	e.Take(8003, "42 (nginx)")
	if err := e.Admit(t.Context(), release("web", 1)); imx.KindOf(err) != imx.Conflict {
		t.Errorf("got the error %v", err)
	}
	e.Take(8003, "")
	if err := e.Admit(t.Context(), release("web", 1)); err != nil {
		t.Error(err)
	}
}

func TestASpoiltRootEndsWhatIsFrozenOnIt(t *testing.T) {
	e := fake.New(clock())
	r := release("web", 1)
	r.Spec.Deploy = &imx.Deploy{Warm: imx.WarmFrozen}
	if err := e.Scale(t.Context(), admission.ForTrial(r), r, 1); err != nil {
		t.Fatal(err)
	}
	e.Tick()
	if err := e.Keep(t.Context(), r, 1); err != nil {
		t.Fatal(err)
	}
	e.Tick()
	e.Spoil("web", 1, "changed")
	e.Tick()
	seen, err := e.Observe(t.Context())
	if err != nil || len(seen.Kept) != 1 || seen.Kept[0].Fault != "changed" || seen.Instances[0].Phase != imx.Ended {
		t.Errorf("there is %+v, %v", seen, err)
	}
	e.Spoil("web", 1, "")
	if seen, err = e.Observe(t.Context()); err != nil || seen.Kept[0].Fault != "" {
		t.Errorf("mended, there is %+v, %v", seen, err)
	}
}

func phases(t *testing.T, e *fake.Engine) []imx.Phase {
	t.Helper()
	seen, err := e.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var list []imx.Phase
	for _, x := range seen.Instances {
		list = append(list, x.Phase)
	}
	return list
}
