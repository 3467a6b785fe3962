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
	got := s.Send(s.T, "web", 200)
	if n := total(got, twos); n < 42 || n > 58 {
		s.Errorf("release 2, with a quarter of the weight, got %d of 200 connections: %v", n, got)
	}
	if n := total(got, ones); n+total(got, twos) != 200 {
		s.Errorf("connections went astray: %v", got)
	}
	for _, x := range ones {
		if got[x.ID] == 0 {
			s.Errorf("instance %s got nothing: %v", x.ID, got)
		}
	}
}

func onePercent(s *session) {
	one, two := s.Release("web", 1, Well), s.Release("web", 2, Well)
	s.healthy(one, 2)
	twos := s.healthy(two, 1)
	s.route(imx.Weights{1: 99, 2: 1}, one, two)
	if got := s.Send(s.T, "web", 300); total(got, twos) < 2 || total(got, twos) > 4 {
		s.Errorf("with 1 %% of the weight release 2 got %d of 300 connections", total(got, twos))
	}
}

// shown is a release that has a preview.
func (s *session) shown(service string, number int) imx.Release {
	s.Helper()
	r := s.Release(service, number, Well)
	r.Spec.Deploy = &imx.Deploy{Strategy: imx.BlueGreen, Preview: s.PreviewPort}
	return r
}

func (s *session) preview(w imx.Weights, release int, rs ...imx.Release) {
	s.Helper()
	s.must(s.Engine.Route(s.Context(), engine.Route{Service: rs[0].Service, Releases: rs, Weights: w, Preview: release}))
}

func previewLeads(s *session) {
	one, two := s.shown("web", 1), s.shown("web", 2)
	ones, twos := s.healthy(one, 2), s.healthy(two, 2)
	s.preview(imx.Weights{1: 1}, 2, one, two)
	if diff := cmp.Diff(map[string]int{"web": 2}, s.observe().Previews); diff != "" {
		s.Errorf("previews (-want +got):\n%s", diff)
	}
	if got := s.Preview(s.T, "web", 8); total(got, twos) != 8 {
		s.Errorf("the preview led to %v", got)
	}
	if got := s.Send(s.T, "web", 8); total(got, ones) != 8 {
		s.Errorf("the service led to %v", got)
	}
	s.restart(func() {})
	if got := s.Preview(s.T, "web", 8); total(got, twos) != 8 {
		s.Errorf("after the server's death the preview led to %v", got)
	}
	s.preview(imx.Weights{2: 1}, 2, two)
	if got := s.Preview(s.T, "web", 8); total(got, twos) != 8 {
		s.Errorf("with all the traffic on the new release the preview led to %v", got)
	}
}

func previewRefuses(s *session) {
	r := s.shown("web", 1)
	s.healthy(r, 1)
	s.preview(nil, 1, r)
	if got := s.Preview(s.T, "web", 4); got[""] != 0 {
		s.Errorf("before the release has traffic, its preview gave %v", got)
	}
	if got := s.Send(s.T, "web", 4); got[""] != 4 {
		s.Errorf("the service, without traffic, gave %v", got)
	}
	s.preview(imx.Weights{1: 1}, 0, r)
	if got := s.Preview(s.T, "web", 4); got[""] != 4 {
		s.Errorf("a preview that leads nowhere gave %v", got)
	}
	if seen := s.observe(); len(seen.Previews) != 0 {
		s.Errorf("Observe shows the previews %v", seen.Previews)
	}
}

func previewTaken(s *session) {
	r := s.shown("web", 1)
	s.healthy(r, 1)
	s.must(s.Engine.Admit(s.Context(), r))
	s.preview(imx.Weights{1: 1}, 1, r)
	s.must(s.Engine.Admit(s.Context(), s.shown("web", 2))) // its own port
	publishes := s.Release("other", 1, Well)
	publishes.Spec.Ports[0].Publish = s.PreviewPort
	for _, thief := range []imx.Release{s.shown("other", 1), publishes} {
		s.refused(s.Engine.Admit(s.Context(), thief), imx.Conflict, "web")
		err := s.Engine.Route(s.Context(), engine.Route{Service: "other", Releases: []imx.Release{thief}, Weights: imx.Weights{1: 1}})
		s.refused(err, imx.Conflict, "web")
	}
	if got := s.Preview(s.T, "web", 4); got[""] != 0 {
		s.Errorf("the refused routes cost the preview: %v", got)
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
