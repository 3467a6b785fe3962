package measure

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"imx"
)

// job is what of one service is to be counted at a moment.
type job struct {
	service   string
	rule      *imx.Measure // nil: nothing but probes
	since     time.Time
	over      bool // the rollout is: fresh has the traffic, and may turn bad
	fresh     int  // the release that is judged
	old       int  // the one that it is compared with; 0 if there is none
	releases  map[int]imx.Release
	instances []imx.Instance // that can be read, sorted by ID
	ended     []string       // ids of those that have ended
	probe     netip.Addr     // the service's own address, where it is to be probed
}

// is tells one job from that of another step, or another release.
func (j job) is(other job) bool {
	return j.service == other.service && j.fresh == other.fresh && j.old == other.old && j.since.Equal(other.since)
}

// due returns what is to be counted: of services that are being replaced since the step of their rollout, of those whose current
// release may still turn bad since it has the traffic. Sorted by service.
func due(s *imx.State, now time.Time) []job {
	var jobs []job
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		if j, ok := jobOf(s.Services[name], now); ok {
			jobs = append(jobs, j.with(s))
		}
	}
	return jobs
}

// jobOf is what of a service is to be counted, without its instances; false where nothing is.
func jobOf(v imx.Service, now time.Time) (job, bool) {
	target, known := v.Release(v.Target)
	if v.Destroyed || !known {
		return job{}, false
	}
	j := job{service: v.Name, rule: target.Spec.How().Judge, fresh: v.Target, releases: map[int]imx.Release{v.Target: target}}
	if v.Target == v.Current {
		back, is := v.Previous()
		j.old, j.since, j.over = back.Number, v.Finished, true
		j.releases[back.Number] = back
		return j, is && j.rule != nil && now.Before(until(v, target))
	}
	j.old, j.since = v.Current, v.Rollout.Since
	if j.since.IsZero() {
		j.since = v.Since
	}
	if old, is := v.Release(v.Current); is {
		j.releases[v.Current] = old
	}
	if v.Routes[v.Target] > 0 && v.Routes[v.Current] > 0 {
		j.probe = v.Address
	}
	return j, v.Current != 0 && (j.rule != nil || j.probe.IsValid())
}

// until is when the window ends in which a service's current release may turn bad; zero if it has none.
func until(v imx.Service, current imx.Release) time.Time {
	window := time.Duration(current.Spec.How().Window)
	if v.Finished.IsZero() || window <= 0 || v.Hold != nil || v.Replicas == 0 {
		return time.Time{}
	}
	return v.Finished.Add(window)
}

// with adds the instances. Those that start don't answer yet, those that are frozen can't, and those that stop finish what they began.
func (j job) with(s *imx.State) job {
	for _, id := range slices.Sorted(maps.Keys(s.Instances)) {
		in := s.Instances[id]
		if in.Service != j.service || in.Release != j.fresh && in.Release != j.old {
			continue
		}
		switch in.Phase {
		case imx.Healthy, imx.Unhealthy:
			j.instances = append(j.instances, in)
		case imx.Ended:
			j.ended = append(j.ended, id)
		case imx.Starting, imx.Warm, imx.Stopping:
		}
	}
	return j
}
