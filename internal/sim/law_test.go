package sim_test

// What must hold whatever happens to a whole server: the laws that docs/rollout.md states, on the histories of history_test.go.

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/raced"
	"imx/internal/sim"
)

// How many hundreds of histories are tried, and from which seed on. Tens of thousands: make sim.
var (
	hundreds = flag.Int("hundreds", 5, "how many hundreds of random histories the laws are tried on")
	first    = flag.Uint64("seed", 1, "the seed of the first history")
)

// each runs a test on as many histories, each by its seed.
func each(t *testing.T, part int, try func(h *history) error) {
	t.Helper()
	if raced.Enabled { // one goroutine does it all: what is watched are the laws
		part *= 10
	}
	for i := range max(1, *hundreds*100/part) {
		seed := *first + uint64(i)
		h, err := begin(t.Context(), seed)
		if err == nil {
			err = try(h)
		}
		for _, b := range h.Broken() {
			t.Errorf("%s  %s: %s", b.At.Format(time.TimeOnly), b.Law, b.Says)
		}
		if err != nil || t.Failed() {
			t.Fatalf("history %d (-seed %d -hundreds 0): %v\n%s", i, seed, err, strings.Join(h.did, "\n"))
		}
	}
}

func TestTheLawsHoldInEveryHistoryOfSeveralServices(t *testing.T) {
	each(t, 1, func(h *history) error { return h.happens(30) })
}

// whole is an error where a service isn't at one release in full health, with all of its traffic and a way back that is ready.
func (h *history) whole(name string) error {
	v := h.Service(name)
	if v.Name == "" || v.Destroyed {
		return nil
	}
	if v.Target != v.Current {
		return fmt.Errorf("%s is on its way from release %d to %d: %+v", name, v.Current, v.Target, v.Rollout)
	}
	if v.Current == 0 {
		return nil
	}
	seen := h.Engine().Seen()
	healthy := 0
	for _, in := range seen.Instances {
		if in.Service == name && in.Release == v.Current && in.Phase == imx.Healthy {
			healthy++
		}
	}
	want := v.Replicas
	if r, _ := v.Release(v.Current); r.Spec.Exclusive() {
		want = min(want, 1)
	}
	if routes := seen.Routes[name]; healthy != want || len(routes) != 1 || routes[v.Current] == 0 {
		return fmt.Errorf("%s has %d of %d healthy instances of release %d, and its traffic goes %v", name, healthy, want, v.Current, routes)
	}
	if back, ok := v.Previous(); ok && (!v.WayBack.Ready || v.WayBack.Release != back.Number) {
		return fmt.Errorf("the way back of %s to release %d is %+v", name, back.Number, v.WayBack)
	}
	return nil
}

// rest lets everything end that is under way: what waits for a person is promoted.
func (h *history) rest() error {
	for range 6 {
		if err := h.Run(10 * time.Minute); err != nil {
			return err
		}
		for name := range h.Control().State().Services {
			_, _ = h.Control().PromoteRollout("ada", name, imx.PromoteRequest{}) // where nothing waits, nothing is to be promoted
		}
	}
	return h.Run(10 * time.Minute)
}

func TestWhenEverythingWorksEveryServiceComesToRestWhole(t *testing.T) {
	each(t, 5, func(h *history) error {
		if err := h.happens(20); err != nil || len(h.Broken()) > 0 {
			return err
		}
		h.everythingWorks()
		h.Person()
		h.note("from here on everything works")
		if err := h.rest(); err != nil {
			return err
		}
		for _, name := range []string{"web", "api", "jobs"} {
			if err := h.whole(name); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestTheSameSeedGivesTheSameHistory(t *testing.T) {
	each(t, 10, func(h *history) error {
		if err := h.happens(20); err != nil {
			return err
		}
		again, err := begin(t.Context(), h.seed)
		if err != nil {
			return err
		}
		if err := again.happens(20); err != nil {
			return err
		}
		if a, b := h.events(), again.events(); a != b {
			return fmt.Errorf("the log is otherwise the second time:\n%s\n\n%s", a, b)
		}
		return nil
	})
}

func (h *history) events() string {
	var b strings.Builder
	for e, err := range h.Control().Events(0) {
		text, failed := e.MarshalJSON()
		fmt.Fprintf(&b, "%s %v %v\n", text, err, failed)
	}
	return b.String()
}

// A world whose laws can't be broken would prove nothing: here something breaks each time.
func TestALawThatIsBrokenIsTold(t *testing.T) {
	w, err := sim.New(sim.Config{Seed: 1, Start: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	s := imx.Spec{Name: "web", Image: "one", Replicas: 2, Deadline: imx.Duration(30 * time.Second)}
	if _, err := w.Apply("ada", s); err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := w.Control().Record(imx.Server, imx.TrafficMoved{Service: "web"}, imx.RolloutFailed{Service: "web", Release: 1}); err == nil {
		t.Error("a release that isn't on its way could fail")
	}
	s.Image = "two"
	if _, err := w.Apply("ada", s); err != nil {
		t.Fatal(err)
	}
	if err := w.Control().Record(imx.Server, imx.RolloutFinished{Service: "web", Release: 2}); err != nil {
		t.Fatal(err)
	}
	if broken := w.Broken(); len(broken) != 1 || broken[0].Law != sim.LawJudged {
		t.Errorf("a release that took over without traffic broke %+v", broken)
	}
}
