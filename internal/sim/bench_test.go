package sim_test

import (
	"fmt"
	"testing"
	"time"

	"imx"
	"imx/internal/sim"
)

// many is a world of services with ten instances each, with a way back for each.
func many(tb testing.TB, services int) *sim.World {
	tb.Helper()
	w, err := sim.New(sim.Config{Seed: 1, Start: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC), Lawless: true})
	if err != nil {
		tb.Fatal(err)
	}
	for version := range 1 {
		var specs []imx.Spec
		for i := range services {
			specs = append(specs, imx.Spec{
				Name: fmt.Sprintf("service%04d", i), Image: fmt.Sprintf("image%d:%d", i, version), Replicas: 10,
				Health: imx.Health{Every: imx.Duration(time.Second)}, Deadline: imx.Duration(time.Minute), Drain: imx.Duration(time.Second),
				Deploy: &imx.Deploy{Strategy: imx.Canary, Steps: []imx.Step{{Share: 10}}, Warm: imx.WarmStopped, Window: imx.Duration(time.Minute)},
			})
		}
		if _, err := w.Apply("ada", specs...); err != nil {
			tb.Fatal(err)
		}
		if err := w.Run(tb.Context(), time.Minute); err != nil {
			tb.Fatal(err)
		}
	}
	return w
}

// One round of the whole loop: observing, comparing with the log, and deciding for each service. Nothing is left to do in it.
func BenchmarkDecisionsFor1000Services(b *testing.B) {
	w := many(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Run(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
	}
}
