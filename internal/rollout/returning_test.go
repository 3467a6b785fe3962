package rollout_test

// Laws of the order in which services come back after their machine went down.

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imx/internal/rollout"
)

// comeback is a machine that comes up again: each service answers some time after it was let start, or never.
type comeback struct {
	all   []rollout.Returning
	takes map[string]time.Duration
	began map[string]time.Time
}

func drawComeback(t *rapid.T) *comeback {
	c := &comeback{takes: map[string]time.Duration{}, began: map[string]time.Time{}}
	n := rapid.IntRange(1, 8).Draw(t, "services")
	for i := range n {
		r := rollout.Returning{Service: fmt.Sprint("s", i)}
		for _, to := range rapid.SliceOfN(rapid.IntRange(0, n), 0, 3).Draw(t, "connects") {
			r.Connects = append(r.Connects, fmt.Sprint("s", to)) // one more than there are: that one isn't here
		}
		c.takes[r.Service] = rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 20 * time.Second, time.Hour}).Draw(t, "takes")
		c.all = append(c.all, r)
	}
	return c
}

// upAt is when a service answers that began.
func (c *comeback) upAt(name string) time.Time { return c.began[name].Add(c.takes[name]) }

func (c *comeback) step(now time.Time) (due []string, wake time.Duration) {
	for i, r := range c.all {
		c.all[i].Began = c.began[r.Service]
		c.all[i].Up = !c.began[r.Service].IsZero() && !c.upAt(r.Service).After(now)
	}
	due, _, wake = rollout.Due(c.all, now)
	for _, name := range due {
		c.began[name] = now
	}
	return due, wake
}

func TestEachServiceComesBackAfterThoseThatItConnectsTo(t *testing.T) {
	start := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		c := drawComeback(t)
		circles := rollout.Circles(c.all)
		together := func(a, b string) bool {
			return a == b || slices.ContainsFunc(circles, func(l []string) bool { return slices.Contains(l, a) && slices.Contains(l, b) })
		}
		for now := start; len(c.began) < len(c.all); {
			due, wake := c.step(now)
			for _, name := range due {
				i := slices.IndexFunc(c.all, func(r rollout.Returning) bool { return r.Service == name })
				for _, to := range c.all[i].Connects {
					began, known := c.began[to]
					_, here := c.takes[to]
					if !here || together(name, to) || known && (!c.upAt(to).After(now) || !began.Add(rollout.ReturnPatience).After(now)) {
						continue
					}
					t.Fatalf("%s starts before %s, which it connects to", name, to)
				}
			}
			if len(due) > 0 { // what began now is waited for from now on
				continue
			}
			next := now.Add(time.Hour)
			for name := range c.began {
				if at := c.upAt(name); at.After(now) && at.Before(next) {
					next = at
				}
			}
			if at := now.Add(wake); wake > 0 && at.Before(next) {
				next = at
			}
			if now = next; len(c.began) < len(c.all) && now.After(start.Add(time.Duration(len(c.all))*rollout.ReturnPatience)) {
				t.Fatalf("after %s only %d of %d have begun", now.Sub(start), len(c.began), len(c.all))
			}
		}
	})
}

func TestServicesThatConnectToNothingComeBackAtOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawComeback(t)
		due, _ := c.step(time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC))
		for _, r := range c.all {
			if len(r.Connects) == 0 && !slices.Contains(due, r.Service) {
				t.Fatalf("%s waits", r.Service)
			}
		}
	})
}

func TestTheOrderOfComingBackDoesNotDependOnHowItIsTold(t *testing.T) {
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		c := drawComeback(t)
		c.step(now)
		now := now.Add(time.Second)
		due, _, wake := rollout.Due(c.all, now)
		again, _, later := rollout.Due(rapid.Permutation(c.all).Draw(t, "told"), now)
		if !slices.Equal(due, again) || wake != later {
			t.Fatalf("%v, %s and %v, %s", due, wake, again, later)
		}
	})
}

func TestCirclesAreNamed(t *testing.T) {
	got := rollout.Circles([]rollout.Returning{
		{Service: "web", Connects: []string{"app"}},
		{Service: "app", Connects: []string{"db", "mail"}},
		{Service: "db"},
		{Service: "mail", Connects: []string{"app"}},
		{Service: "loner", Connects: []string{"loner"}},
	})
	if want := [][]string{{"app", "mail"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}
