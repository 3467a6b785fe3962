package enginetest

import (
	"net/netip"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/engine"
)

func noRoute(s *session) {
	r := s.Release("web", 1, Well)
	s.healthy(r, 1)
	if got := s.Send(s.T, "web", 4); got[""] != 4 {
		s.Errorf("without a route, connections were answered: %v", got)
	}
	s.route(imx.Weights{1: 1}, r)
	if got := s.Send(s.T, "web", 4); got[""] != 0 {
		s.Errorf("with a route, connections failed: %v", got)
	}
	s.route(nil, r)
	if got := s.Send(s.T, "web", 4); got[""] != 4 {
		s.Errorf("after its route was taken away, connections were answered: %v", got)
	}
	if routes := s.observe().Routes; len(routes) != 0 {
		s.Errorf("Observe shows the routes %v", routes)
	}
}

func weights(s *session) {
	one, two := s.Release("web", 1, Well), s.Release("web", 2, Well)
	ones, twos := s.healthy(one, 2), s.healthy(two, 1)
	s.route(imx.Weights{1: 3, 2: 1}, one, two)
	if diff := cmp.Diff(map[string]imx.Weights{"web": {1: 3, 2: 1}}, s.observe().Routes); diff != "" {
		s.Errorf("routes (-want +got):\n%s", diff)
	}
	// A multiple of any engine's number of slots; each start of the wheel may cost one a turn.
	got := s.Send(s.T, "web", 192)
	if n := total(got, twos); n < 40 || n > 56 {
		s.Errorf("release 2, with a quarter of the weight, got %d of 192 connections: %v", n, got)
	}
	if n := total(got, ones); n+total(got, twos) != 192 {
		s.Errorf("connections went astray: %v", got)
	}
	for _, x := range ones {
		if got[x.ID] == 0 {
			s.Errorf("instance %s got nothing: %v", x.ID, got)
		}
	}
}

func routeReplaced(s *session) {
	one, two := s.Release("web", 1, Well), s.Release("web", 2, Well)
	s.healthy(one, 1)
	s.route(imx.Weights{1: 1}, one)
	twos := s.healthy(two, 1)
	s.route(imx.Weights{2: 1}, two)
	s.route(imx.Weights{2: 1}, two)
	if got := s.Send(s.T, "web", 8); total(got, twos) != 8 {
		s.Errorf("after the new route: %v", got)
	}
}

func unhealthyLosesTraffic(s *session) {
	r := s.Release("web", 1, Well)
	all := s.healthy(r, 2)
	s.route(imx.Weights{1: 1}, r)
	s.Sicken(s.T, all[0].ID)
	s.until("it is unhealthy", func(imx.Seen) bool { return s.find(all[0].ID).Phase == imx.Unhealthy })
	if x := s.find(all[0].ID); x.Reason == "" {
		s.Errorf("an unhealthy instance doesn't say why: %+v", x)
	}
	if got := s.Send(s.T, "web", 8); got[all[1].ID] != 8 {
		s.Errorf("while one of two is unhealthy: %v", got)
	}
	s.Heal(s.T, all[0].ID)
	s.untilAll(r, 2, imx.Healthy)
	if got := s.Send(s.T, "web", 64); got[all[0].ID] == 0 || got[""] != 0 {
		s.Errorf("after it recovered: %v", got)
	}
}

func lastKeepsTraffic(s *session) {
	r := s.Release("web", 1, Well)
	x := s.healthy(r, 1)[0]
	s.route(imx.Weights{1: 1}, r)
	s.Sicken(s.T, x.ID)
	s.until("it is unhealthy", func(imx.Seen) bool { return s.find(x.ID).Phase == imx.Unhealthy })
	if got := s.Send(s.T, "web", 8); got[x.ID] != 8 {
		s.Errorf("while the only one is unhealthy: %v", got)
	}
}

func portTaken(s *session) {
	r := s.Release("web", 1, Well)
	s.healthy(r, 1)
	s.route(imx.Weights{1: 1}, r)
	s.must(s.Engine.Admit(s.Context(), s.Release("web", 2, Well))) // its own port
	thief := s.Release("other", 1, Well)
	thief.Spec.Ports[0].Publish = r.Spec.Ports[0].Publish
	s.refused(s.Engine.Admit(s.Context(), thief), imx.Conflict, "web")
	err := s.Engine.Route(s.Context(), engine.Route{Service: "other", Releases: []imx.Release{thief}, Weights: imx.Weights{1: 1}})
	s.refused(err, imx.Conflict, "web")
	if got := s.Send(s.T, "web", 4); got[""] != 0 {
		s.Errorf("the refused route cost the owner its traffic: %v", got)
	}
}

// ignoreFlows forgets how many connections were open: they come and go without anybody's doing.
func ignoreFlows(all ...imx.Seen) {
	for _, seen := range all {
		for i := range seen.Instances {
			seen.Instances[i].Flows = 0
		}
	}
}

// sameTime compares times as JSON keeps them.
func sameTime(a, b time.Time) bool { return a.Equal(b) }

func sameAddr(a, b netip.Addr) bool { return a == b }
