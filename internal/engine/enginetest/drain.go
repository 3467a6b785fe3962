package enginetest

import (
	"strings"
	"time"

	"imx"
)

// unhurried is a release whose instances may drain for longer than any test takes.
func (s *session) unhurried(f Fate) imx.Release {
	s.Helper()
	r := s.Release("web", 1, f)
	r.Spec.Drain = imx.Duration(time.Hour)
	return r
}

// held makes two instances, and a connection to one of them.
func (s *session) held(r imx.Release) (id string, use func() error, end func()) {
	s.Helper()
	s.healthy(r, 2)
	s.route(imx.Weights{1: 1}, r)
	return s.Hold(s.T, "web")
}

// linger lets more time pass than an engine takes to see that there is nothing to wait for.
func (s *session) linger() {
	s.Helper()
	rounds := 0
	start := time.Now()
	s.until("some time has passed", func(imx.Seen) bool {
		rounds++
		return rounds > 20 && (s.Pass != nil || time.Since(start) > time.Second)
	})
}

// stillDrains checks that the instance drains and that its connection lives.
func (s *session) stillDrains(id string, use func() error) {
	s.Helper()
	s.linger()
	if x := s.find(id); x.Phase != imx.Stopping || !strings.Contains(x.Reason, "connections") {
		s.Errorf("while it has a connection, the instance is %s: %q", x.Phase, x.Reason)
	}
	s.must(use())
}

func drains(s *session) {
	r := s.unhurried(Well)
	id, use, end := s.held(r)
	s.must(s.Engine.Stop(s.Context(), id, "no reason"))
	if got := s.Send(s.T, "web", 8); got[id] != 0 || got[""] != 0 {
		s.Errorf("after the stop of %s new connections went to %v", id, got)
	}
	s.stillDrains(id, use)
	end()
	x := s.untilAll(r, 1, imx.Ended)[0]
	if x.ID != id || !x.Exit.Wanted || x.Reason != "no reason" {
		s.Errorf("after its connections it shows %+v, %+v", x, x.Exit)
	}
	s.scale(r, 0)
	s.untilAll(r, 2, imx.Ended)
}

func drainEnds(s *session) {
	r := s.Release("web", 1, Well)
	r.Spec.Drain = imx.Duration(1500 * time.Millisecond)
	_, _, end := s.held(r)
	defer end()
	s.scale(r, 0)
	s.untilAll(r, 2, imx.Ended)
}

func drainAdopted(s *session) {
	r := s.unhurried(Well)
	id, use, end := s.held(r)
	s.scale(r, 0)
	s.restart(func() {})
	s.stillDrains(id, use)
	end()
	s.untilAll(r, 2, imx.Ended)
}

func unhealthyDoesntDrain(s *session) {
	r := s.unhurried(Well)
	id, _, end := s.held(r)
	defer end()
	s.Sicken(s.T, id)
	s.until("it is unhealthy", func(imx.Seen) bool { return s.find(id).Phase == imx.Unhealthy })
	s.must(s.Engine.Stop(s.Context(), id, "no reason"))
	s.untilAll(r, 1, imx.Ended)
}

func holderDoesntDrain(s *session) {
	r := s.unhurried(Well)
	r.Spec.Volumes = []imx.Volume{{Name: "state", Path: "/state"}}
	s.healthy(r, 1)
	s.route(imx.Weights{1: 1}, r)
	id, _, end := s.Hold(s.T, "web")
	defer end()
	s.must(s.Engine.Stop(s.Context(), id, "no reason"))
	s.untilAll(r, 1, imx.Ended)
}

func unreadyDoesntDrain(s *session) {
	r := s.unhurried(Sickly)
	s.scale(r, 1)
	x := of(s.observe(), r)[0]
	s.must(s.Engine.Stop(s.Context(), x.ID, "no reason"))
	if x = s.find(x.ID); x.Phase == imx.Stopping && x.Reason != "no reason" {
		s.Errorf("an instance that never was healthy is %s: %q", x.Phase, x.Reason)
	}
	s.untilAll(r, 1, imx.Ended)
}
