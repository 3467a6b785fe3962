package scale

import (
	"time"

	"imx"
)

// Between is what some of a service's instances did between two moments. What only one of the moments tells of counts as
// unknown, and so does a counter that went backwards; but for arrivals, whose count begins anew with new rules.
func Between(service string, instances []string, before, after imx.Load) Sample {
	s := Sample{At: after.Time}
	passed := after.Time.Sub(before.Time).Seconds()
	if passed <= 0 {
		return s
	}
	for _, id := range instances {
		was, had := before.Usage[id]
		is, has := after.Usage[id]
		if has && is.Limits.Memory > 0 {
			s.Memory.add(100 * float64(is.Memory) / float64(is.Limits.Memory))
		}
		if had && has && is.CPU >= was.CPU && is.Limits.CPU > 0 {
			s.CPU.add(100 * time.Duration(is.CPU-was.CPU).Seconds() / passed / is.Limits.CPU)
		}
		answered, knew := before.Requests[id]
		if now, knows := after.Requests[id]; knew && knows && now >= answered {
			s.Requests.add((now - answered) / passed)
		}
	}
	was, had := before.Arrivals[service]
	is, has := after.Arrivals[service]
	if is < was {
		was = 0
	}
	if had && has && len(instances) > 0 {
		s.Connections = Sum{float64(is-was) / passed, len(instances)}
	}
	return s
}

func (s *Sum) add(v float64) { s.Total, s.Of = s.Total+v, s.Of+1 }
