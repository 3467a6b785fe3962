package enginetest

import (
	"imx"
)

func loadMeasured(s *session) {
	r := s.Release("web", 1, Well)
	live := s.healthy(r, 2)
	s.route(imx.Weights{1: 1}, r)
	count := func() int64 {
		load, err := s.Engine.Load(s.Context())
		s.must(err)
		return load.Arrivals["web"]
	}
	load, err := s.Engine.Load(s.Context(), "web", "nobody")
	s.must(err)
	for _, in := range live {
		if _, ok := load.Usage[in.ID]; !ok {
			s.Errorf("%s isn't measured", in.ID)
		}
	}
	if len(load.Usage) != len(live) || load.Time.IsZero() {
		s.Errorf("%d instances are measured at %s, of %d", len(load.Usage), load.Time, len(live))
	}
	if other, err := s.Engine.Load(s.Context(), "nobody"); err != nil || len(other.Usage)+len(other.Arrivals) != 0 {
		s.Errorf("of a service that isn't there %v is measured, %v", other, err)
	}
	before := count()
	s.Send(s.T, "web", 20)
	if after := count(); after-before != 20 {
		s.Errorf("of 20 new connections %d are counted", after-before)
	}
}

// sleeps is that a service which may sleep comes to no instance and back, with its route where it was.
func sleeps(s *session) {
	r := s.Release("web", 1, Well)
	r.Spec.Scale = &imx.Scaling{Max: 2, Idle: 1}
	s.healthy(r, 1)
	s.route(imx.Weights{1: 1}, r)
	s.scale(r, 0)
	s.until("it sleeps", func(seen imx.Seen) bool {
		return len(of(seen, r, imx.Starting, imx.Healthy, imx.Unhealthy, imx.Stopping)) == 0
	})
	if seen := s.observe(); len(seen.Kept) != 1 || seen.Routes["web"][1] == 0 {
		s.Errorf("of a service that sleeps %v is kept, and its routes are %v", seen.Kept, seen.Routes["web"])
	}
	woken := s.healthy(r, 1)
	if got := s.Send(s.T, "web", 5); total(got, woken) != 5 {
		s.Errorf("woken it answered %v", got)
	}
	s.route(nil, r)
	s.scale(r, 0)
	s.until("it is gone", func(seen imx.Seen) bool {
		return len(of(seen, r, imx.Starting, imx.Healthy, imx.Unhealthy, imx.Stopping)) == 0
	})
	if seen := s.observe(); len(seen.Kept) != 0 {
		s.Errorf("without a route %v is kept", seen.Kept)
	}
}
