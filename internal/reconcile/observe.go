package reconcile

import (
	"maps"
	"slices"
	"time"

	"imx"
)

// Observed returns the events that tell what is seen and not yet in the state: instances that
// began, changed phase or ended, and traffic that moved (a server may have died between moving it and
// writing that down). An instance that the state has and the engine doesn't know any more has ended
// without anybody seeing how.
func Observed(s *imx.State, seen imx.Seen, now time.Time) []imx.Body {
	var bodies []imx.Body
	there := map[string]bool{}
	for _, in := range seen.Instances {
		there[in.ID] = true
		in.Flows = 0 // changes all the time and is nobody's business later
		old, known := s.Instances[in.ID]
		if !known && in.Phase == imx.Ended && s.Services[in.Service].Removed {
			continue // its end was told, and forgotten again, long ago
		}
		if !known { // it may have come further since it started: the log tells each step
			began := in
			began.Phase, began.Reason, began.Ready, began.Ended, began.Exit = imx.Starting, "", time.Time{}, time.Time{}, nil
			bodies, old = append(bodies, imx.InstanceStarted{Instance: began}), began
		}
		switch {
		case old.Phase == imx.Ended:
		case in.Phase == imx.Ended:
			bodies = append(bodies, imx.InstanceEnded{Instance: in})
		case old.Phase != in.Phase:
			bodies = append(bodies, imx.InstanceChanged{Instance: in})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.Instances)) {
		in := s.Instances[id]
		if there[id] || in.Phase == imx.Ended {
			continue
		}
		in.Phase, in.Reason, in.Exit = imx.Ended, "it was gone when imx looked", &imx.Exit{Code: -1}
		in.Ended = now.UTC()
		bodies = append(bodies, imx.InstanceEnded{Instance: in})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		if v := s.Services[name]; !v.Destroyed && !maps.Equal(v.Routes, seen.Routes[name]) {
			bodies = append(bodies, imx.TrafficMoved{Service: name, Weights: seen.Routes[name]})
		}
	}
	return bodies
}
