package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"imx"
	"imx/internal/state"
)

// Observed returns the events that tell what is seen and not yet in the state: instances that
// began, changed phase or ended, and traffic that moved (a server may have died between moving it and
// writing that down). An instance that the state has and the engine doesn't know any more has ended
// without anybody seeing how. What is seen of services and releases that the log doesn't know can't be
// told by it and is left out; strangers names it.
func Observed(s *imx.State, seen imx.Seen, now time.Time) (bodies []imx.Body, strangers []string) {
	there := make(map[string]bool, len(seen.Instances))
	horizon := sync.OnceValue(func() map[string]time.Time { return state.Horizon(s) })
	for _, in := range seen.Instances {
		there[in.ID] = true
		_, known := s.Instances[in.ID]
		switch v := s.Services[in.Service]; {
		case known:
		case !released(v, in.Release):
			strangers = append(strangers, "instance "+in.ID)
			continue
		case in.Phase == imx.Ended && (v.Removed || !in.Ended.After(horizon()[in.Service])):
			continue // its end was told, and forgotten again, long ago
		}
		bodies = append(bodies, steps(s, in)...)
	}
	for _, in := range missing(s, there) {
		in.Phase, in.Reason, in.Exit = imx.Ended, "it was gone when imx looked", &imx.Exit{Code: -1}
		in.Ended = now.UTC()
		bodies = append(bodies, imx.InstanceEnded{Instance: in})
	}
	moved, others := traffic(s, seen)
	bodies = append(bodies, moved...)
	for _, m := range seen.Mended {
		if s.Mended == nil || m.Time.After(s.Mended.Time) {
			bodies = append(bodies, imx.NetworkMended{Mend: m})
		}
	}
	return bodies, append(strangers, others...)
}

// missing are the instances of the state that haven't ended and aren't there, by their names.
func missing(s *imx.State, there map[string]bool) []imx.Instance {
	var list []imx.Instance
	for id, in := range s.Instances {
		if !there[id] && in.Phase != imx.Ended {
			list = append(list, in)
		}
	}
	slices.SortFunc(list, func(a, b imx.Instance) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// steps are the events that bring an instance from where the state has it to where it was seen.
func steps(s *imx.State, in imx.Instance) []imx.Body {
	var bodies []imx.Body
	in.Flows = 0 // changes all the time and is nobody's business later
	old, known := s.Instances[in.ID]
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
	return bodies
}

// traffic returns the events of services whose routes aren't those of the state.
func traffic(s *imx.State, seen imx.Seen) (bodies []imx.Body, strangers []string) {
	for _, name := range slices.Sorted(maps.Keys(seen.Routes)) {
		if _, ok := s.Services[name]; !ok {
			strangers = append(strangers, "a route of service "+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		v, weights := s.Services[name], seen.Routes[name]
		if v.Destroyed || maps.Equal(v.Routes, weights) {
			continue
		}
		numbers := slices.Sorted(maps.Keys(weights))
		if i := slices.IndexFunc(numbers, func(n int) bool { return !released(v, n) }); i >= 0 {
			strangers = append(strangers, fmt.Sprintf("a route to release %d of service %s", numbers[i], name))
			continue
		}
		bodies = append(bodies, imx.TrafficMoved{Service: name, Weights: weights})
	}
	return bodies, strangers
}

// released reports whether the service has the release.
func released(v imx.Service, number int) bool {
	_, ok := v.Release(number)
	return ok
}
