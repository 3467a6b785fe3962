package rollout_test

import (
	"testing"
	"time"

	"imx"
	"imx/internal/rollout"
)

func TestAnUnhealthyInstanceIsReplacedAfterThreeChecksOrAQuarterOfAMinute(t *testing.T) {
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	for every, patience := range map[time.Duration]time.Duration{
		100 * time.Millisecond: 300 * time.Millisecond,
		time.Second:            3 * time.Second,
		10 * time.Second:       15 * time.Second,
		time.Hour:              15 * time.Second,
	} {
		r := imx.Release{Service: "web", Number: 1, State: imx.ReleaseGood, Spec: imx.Spec{Name: "web", Replicas: 1, Health: imx.Health{Every: imx.Duration(every)}}}
		w := rollout.Wanted{Service: "web", Replicas: 1, CurrentReplicas: 1, Target: r, Current: r, Extra: []imx.Release{r}}
		seen := rollout.Seen{
			Routes:    imx.Weights{1: 100},
			Instances: []imx.Instance{{ID: "web-1-a", Service: "web", Release: 1, Phase: imx.Unhealthy, Started: now.Add(-time.Hour), Changed: now}},
		}
		for after, want := range map[time.Duration]int{patience - time.Millisecond: 0, patience: 1} {
			stops := 0
			for _, a := range rollout.Next(w, seen, now.Add(after)).Actions {
				if _, ok := a.(rollout.Stop); ok {
					stops++
				}
			}
			if stops != want {
				t.Errorf("asked every %s, it is stopped %d times after %s, want %d", every, stops, after, want)
			}
		}
	}
}
