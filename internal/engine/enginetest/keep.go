package enginetest

import (
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/admission"
	"imx/internal/engine"
)

// warmable is a release whose instances may be frozen.
func (s *session) warmable(number int) imx.Release {
	s.Helper()
	r := s.Release("web", number, Well)
	r.Spec.Deploy = &imx.Deploy{Strategy: imx.BlueGreen, Warm: imx.WarmFrozen}
	return r
}

func (s *session) keep(r imx.Release, n int) {
	s.Helper()
	s.must(s.Engine.Keep(s.Context(), r, n))
}

// frozen makes n instances of a release and freezes them.
func (s *session) frozen(r imx.Release, n int) []imx.Instance {
	s.Helper()
	s.healthy(r, n)
	s.keep(r, n)
	return s.untilAll(r, n, imx.Warm)
}

// kept returns what is seen of a kept release, or false.
func kept(seen imx.Seen, r imx.Release) (imx.Kept, bool) {
	i := slices.IndexFunc(seen.Kept, func(k imx.Kept) bool { return k.Service == r.Service && k.Release == r.Number })
	if i < 0 {
		return imx.Kept{}, false
	}
	return seen.Kept[i], true
}

// verified waits until a kept release's root was found to be sound.
func (s *session) verified(r imx.Release) {
	s.Helper()
	s.until("its root is verified", func(seen imx.Seen) bool {
		k, ok := kept(seen, r)
		return ok && !k.Verified.IsZero() && k.Fault == ""
	})
}

func keptFrozen(s *session) {
	r := s.warmable(1)
	before := s.healthy(r, 2)
	s.route(imx.Weights{1: 1}, r)
	s.route(nil, r)
	s.keep(r, 2)
	warm := s.untilAll(r, 2, imx.Warm)
	s.keep(r, 2)
	s.verified(r)
	if got := of(s.observe(), r, imx.Warm); !slices.Equal(ids(got), ids(warm)) {
		s.Errorf("the same Keep changed %v to %v", ids(warm), ids(got))
	}
	s.scale(r, 2)
	after := s.untilAll(r, 2, imx.Healthy)
	for i, x := range after {
		if b := before[i]; x.ID != b.ID || x.Pid != b.Pid || !x.Started.Equal(b.Started) || !x.Changed.After(b.Changed) {
			s.Errorf("thawed %+v, was %+v", x, b)
		}
	}
	s.route(imx.Weights{1: 1}, r)
	if got := s.Send(s.T, "web", 8); total(got, after) != 8 {
		s.Errorf("thawed instances answered %v", got)
	}
	if _, ok := kept(s.observe(), r); !ok {
		s.Error("a scale let the release go")
	}
}

func warmWithoutTraffic(s *session) {
	one, two := s.warmable(1), s.warmable(2)
	s.frozen(one, 1)
	twos := s.healthy(two, 1)
	s.route(imx.Weights{2: 1}, one, two)
	if got := s.Send(s.T, "web", 8); total(got, twos) != 8 {
		s.Errorf("beside a warm release: %v", got)
	}
	s.route(imx.Weights{1: 1}, one, two)
	if got := s.Send(s.T, "web", 4); got[""] != 4 {
		s.Errorf("a release that is warm only answered: %v", got)
	}
}

func freezesWhenIdle(s *session) {
	r := s.warmable(1)
	r.Spec.Drain = imx.Duration(time.Hour)
	id, use, end := s.held(r)
	s.route(nil, r)
	s.keep(r, 2)
	s.untilAll(r, 1, imx.Warm)
	s.linger()
	if x := s.find(id); x.Phase != imx.Healthy || x.Reason != engine.Draining(engine.Freezing) {
		s.Errorf("while it has a connection, the instance is %s: %q", x.Phase, x.Reason)
	}
	s.must(use())
	end()
	s.untilAll(r, 2, imx.Warm)
}

func freezesInTime(s *session) {
	r := s.warmable(1)
	r.Spec.Drain = imx.Duration(time.Second)
	_, _, end := s.held(r)
	defer end()
	s.route(nil, r)
	s.keep(r, 2)
	s.untilAll(r, 2, imx.Warm)
	s.until("its connections have ended", func(seen imx.Seen) bool {
		return !slices.ContainsFunc(of(seen, r), func(x imx.Instance) bool { return x.Flows != 0 })
	})
}

func keepsSoMany(s *session) {
	r := s.warmable(1)
	oldest := s.healthy(r, 1)[0]
	s.healthy(r, 2)
	all := s.healthy(r, 3)
	s.Sicken(s.T, oldest.ID)
	s.until("the oldest is unhealthy", func(imx.Seen) bool { return s.find(oldest.ID).Phase == imx.Unhealthy })
	s.keep(r, 1)
	s.untilAll(r, 2, imx.Ended)
	warm := s.untilAll(r, 1, imx.Warm)[0]
	newest := slices.MaxFunc(all, func(a, b imx.Instance) int { return a.Started.Compare(b.Started) })
	if warm.ID == oldest.ID || warm.ID == newest.ID {
		s.Errorf("%s is warm, want the older healthy one of %v", warm.ID, ids(all))
	}
	s.keep(r, 3) // it starts nothing
	if got := of(s.observe(), r, imx.Starting, imx.Healthy, imx.Warm); len(got) != 1 {
		s.Errorf("a Keep of more made %v", ids(got))
	}
}

func keepRefused(s *session) {
	r := s.warmable(1)
	s.healthy(r, 1)
	s.route(imx.Weights{1: 1}, r)
	s.refused(s.Engine.Keep(s.Context(), r, 1), imx.Conflict, "web")
	if _, ok := kept(s.observe(), r); ok || len(of(s.observe(), r, imx.Healthy)) != 1 {
		s.Errorf("after the refusal there is %+v", s.observe())
	}
}

func keepGivenUp(s *session) {
	r := s.warmable(1)
	r.Spec.Drain = imx.Duration(time.Hour)
	id, _, end := s.held(r)
	s.route(nil, r)
	s.keep(r, 2)
	s.untilAll(r, 1, imx.Warm)
	s.route(imx.Weights{1: 1}, r)
	end()
	s.linger()
	if x := s.find(id); x.Phase != imx.Healthy || x.Reason != "" {
		s.Errorf("the instance that has traffic again is %s: %q", x.Phase, x.Reason)
	}
}

func thawedSick(s *session) {
	r := s.warmable(1)
	r.Spec.Health.Timeout = imx.Duration(300 * time.Millisecond)
	x := s.frozen(r, 1)[0]
	s.Sicken(s.T, x.ID)
	s.scale(r, 1)
	s.until("its check has failed", func(imx.Seen) bool { return s.find(x.ID).Reason != "" })
	if got := s.find(x.ID); got.Phase != imx.Starting || got.Changed.Before(x.Changed) {
		s.Errorf("a thawed instance that fails its check shows %+v, was %+v", got, x)
	}
	s.Heal(s.T, x.ID)
	s.untilAll(r, 1, imx.Healthy)
}

func illBeforeFrozen(s *session) {
	r := s.warmable(1)
	r.Spec.Drain = imx.Duration(time.Hour)
	id, _, end := s.held(r)
	defer end()
	s.route(nil, r)
	s.keep(r, 2)
	s.Sicken(s.T, id)
	s.untilAll(r, 1, imx.Ended)
	if x := s.find(id); x.Phase != imx.Ended || !x.Exit.Wanted {
		s.Errorf("the one that fell ill is %s", x.Phase)
	}
	s.untilAll(r, 1, imx.Warm)
}

func thawNeedsPass(s *session) {
	r := s.warmable(1)
	s.frozen(r, 1)
	s.refused(s.Engine.Scale(s.Context(), admission.Pass{}, r, 1), imx.Refused, "verdict", "web")
	s.untilAll(r, 1, imx.Warm)
}

func warmStops(s *session) {
	r := s.warmable(1)
	all := s.frozen(r, 2)
	s.must(s.Engine.Stop(s.Context(), all[0].ID, "no reason"))
	x := s.untilAll(r, 1, imx.Ended)[0]
	if x.ID != all[0].ID || !x.Exit.Wanted || x.Reason != "no reason" || x.Exit.Code != 0 {
		s.Errorf("a stopped warm instance shows %+v, %+v", x, x.Exit)
	}
	s.untilAll(r, 1, imx.Warm)
	s.refused(s.Engine.Remove(s.Context(), "web", engine.KeepVolumes), imx.Conflict, all[1].ID)
}

func volumeNotFrozen(s *session) {
	r := s.warmable(1)
	r.Spec.Volumes = []imx.Volume{{Name: "state", Path: "/state"}}
	s.healthy(r, 1)
	s.keep(r, 1)
	s.untilAll(r, 1, imx.Ended)
	s.verified(r)
}

func keptStopped(s *session) {
	r := s.warmable(1)
	r.Spec.Deploy.Warm = imx.WarmStopped
	s.healthy(r, 2)
	s.keep(r, 2)
	s.untilAll(r, 2, imx.Ended)
	s.verified(r)
	s.restart(func() {})
	s.verified(r)
	s.healthy(r, 2)
	s.scale(r, 0)
	s.untilAll(r, 4, imx.Ended)
	s.must(s.Engine.Remove(s.Context(), "web", engine.DeleteVolumes))
	if _, ok := kept(s.observe(), r); ok {
		s.Error("after its removal the service's release is kept")
	}
}

func scaledToNothing(s *session) {
	r := s.warmable(1)
	s.frozen(r, 2)
	s.scale(r, 0)
	s.untilAll(r, 2, imx.Ended)
	if k, ok := kept(s.observe(), r); ok {
		s.Errorf("it is kept still: %+v", k)
	}
}

func warmAdopted(s *session) {
	r := s.warmable(1)
	before := s.frozen(r, 2)
	s.verified(r)
	s.restart(func() {})
	after := s.untilAll(r, 2, imx.Warm)
	if diff := cmp.Diff(before, after, cmp.Comparer(sameTime), cmp.Comparer(sameAddr)); diff != "" {
		s.Errorf("the restart changed (-before +after):\n%s", diff)
	}
	s.verified(r)
	s.scale(r, 2)
	if got := s.untilAll(r, 2, imx.Healthy); !slices.Equal(ids(got), ids(before)) {
		s.Errorf("scale after the restart made %v of %v", ids(got), ids(before))
	}
}
