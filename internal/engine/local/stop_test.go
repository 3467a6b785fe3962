// How long a stop takes: an idle instance must not be waited for, a busy one must not lose a request.

package local_test

import (
	"fmt"
	"testing"
	"time"

	"imx"
	"imx/internal/engine"
)

func TestNoRequestIsLostByAScaleDown(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Spec.Drain = imx.Duration(time.Minute)
	e.healthy(t, r, 4)
	if err := e.Route(t.Context(), engine.Route{Service: "web", Releases: []imx.Release{r}, Weights: imx.Weights{1: 1}}); err != nil {
		t.Fatal(err)
	}
	const requests = 8
	answers := make(chan error, requests)
	for range requests {
		go func() {
			_, err := get(t.Context(), fmt.Sprintf("http://127.0.0.1:%d/slow", m.ports[0]))
			answers <- err
		}()
	}
	await(t, "requests are being answered", func() bool {
		n := 0
		for _, x := range e.until(t, r, 4, imx.Healthy) {
			n += x.Flows
		}
		return n == requests
	})
	e.scale(t, r, 1)
	for range requests {
		if err := <-answers; err != nil {
			t.Errorf("a request was lost: %v", err)
		}
	}
	e.until(t, r, 3, imx.Ended)
}

func TestIdleInstancesEndAtOnce(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	one, two := m.release("web", 1), m.release("web", 2)
	for _, r := range []*imx.Release{&one, &two} {
		r.Spec.Drain = imx.Duration(time.Minute)
		e.healthy(t, *r, 2)
	}
	route := func(r imx.Release) {
		t.Helper()
		if err := e.Route(t.Context(), engine.Route{Service: "web", Releases: []imx.Release{one, two}, Weights: imx.Weights{r.Number: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	// Half of the drain time is far more than a busy machine needs, and less than waiting would take.
	ends := func(r imx.Release) {
		t.Helper()
		start := time.Now()
		e.scale(t, r, 0)
		e.until(t, r, 2, imx.Ended)
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("release %d took %s to end: it waited for its drain time", r.Number, took)
		}
	}
	route(one)
	route(two)
	moved := time.Now()
	await(t, "old release has had no traffic for a while", func() bool { return time.Since(moved) > 600*time.Millisecond })
	ends(one) // it has drained already
	ends(two)
}
