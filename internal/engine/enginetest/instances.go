package enginetest

import (
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/admission"
	"imx/internal/engine"
)

func scaleStarts(s *session) {
	r := s.Release("web", 1, Well)
	s.must(s.Engine.Admit(s.Context(), r))
	s.scale(r, 3)
	first := ids(of(s.observe(), r))
	if len(first) != 3 {
		s.Fatalf("scaled to 3, got %v", first)
	}
	s.scale(r, 3)
	if again := ids(of(s.observe(), r)); !slices.Equal(first, again) {
		s.Errorf("the same scale changed %v to %v", first, again)
	}
	for _, x := range s.observe().Instances {
		if x.Image != r.Image.Digest || !x.Address.IsValid() || x.Started.IsZero() || !strings.HasPrefix(x.ID, "web-1-") {
			s.Errorf("an instance lacks something: %+v", x)
		}
	}
}

func passNeeded(s *session) {
	r := s.Release("web", 1, Well)
	s.refused(s.Engine.Scale(s.Context(), admission.Pass{}, r, 1), imx.Refused, "verdict", "web")
	s.refused(s.Engine.Scale(s.Context(), admission.ForTrial(s.Release("web", 2, Well)), r, 1), imx.Refused, "as it is now")
	if there := of(s.observe(), r); len(there) != 0 {
		s.Fatalf("without a pass there is %v", ids(there))
	}
	s.healthy(r, 2)
	s.must(s.Engine.Scale(s.Context(), admission.Pass{}, r, 1)) // stopping needs none
	s.untilAll(r, 1, imx.Ended)
}

func scaleStops(s *session) {
	r := s.Release("web", 1, Well)
	oldest := s.healthy(r, 1)[0]
	s.healthy(r, 2)
	all := s.healthy(r, 3)
	newest := slices.MaxFunc(all, func(a, b imx.Instance) int { return a.Started.Compare(b.Started) })
	middle := all[slices.IndexFunc(all, func(x imx.Instance) bool { return x.ID != oldest.ID && x.ID != newest.ID })]

	s.Sicken(s.T, oldest.ID)
	s.until("the oldest is unhealthy", func(imx.Seen) bool { return s.find(oldest.ID).Phase == imx.Unhealthy })
	s.scale(r, 2)
	s.untilAll(r, 1, imx.Ended)
	if x := s.find(oldest.ID); x.Phase != imx.Ended {
		s.Errorf("the unhealthy instance is %s, want it stopped first", x.Phase)
	}
	s.scale(r, 1)
	s.untilAll(r, 2, imx.Ended)
	if left := ids(of(s.observe(), r, imx.Healthy)); !slices.Equal(left, []string{middle.ID}) {
		s.Errorf("%v is left, want the older one, %s", left, middle.ID)
	}
}

func getsHealthy(s *session) {
	r := s.Release("web", 1, Well)
	s.scale(r, 1)
	x := s.untilAll(r, 1, imx.Healthy)[0]
	if x.Ready.IsZero() || x.Ready.Before(x.Started) || x.Reason != "" || x.Exit != nil {
		s.Errorf("a healthy instance shows %+v", x)
	}
}

func neverHealthy(s *session) {
	r := s.Release("web", 1, Sickly)
	s.scale(r, 1)
	seen := s.until("the check has failed", func(seen imx.Seen) bool { return of(seen, r)[0].Reason != "" })
	if x := of(seen, r)[0]; x.Phase != imx.Starting || !x.Ready.IsZero() {
		s.Errorf("an instance that never passed shows %+v", x)
	}
}

func crashSeen(s *session) {
	r := s.Release("web", 1, Well)
	all := s.healthy(r, 2)
	s.Crash(s.T, all[0].ID, 3)
	x := s.untilAll(r, 1, imx.Ended)[0]
	if diff := cmp.Diff(&imx.Exit{Code: 3}, x.Exit); diff != "" || x.ID != all[0].ID {
		s.Errorf("%s ended, want %s; its exit: %s", x.ID, all[0].ID, diff)
	}
	if x.Reason == "" || x.Ended.IsZero() {
		s.Errorf("the end has no reason or time: %+v", x)
	}
	if other := s.find(all[1].ID); other.Phase != imx.Healthy {
		s.Errorf("the other instance is %s", other.Phase)
	}
	s.scale(r, 2)
	if n := len(s.untilAll(r, 2, imx.Healthy)); n != 2 {
		s.Errorf("%d instances are healthy after the replacement", n)
	}
	early := s.Release("job", 1, Crashy)
	s.scale(early, 1)
	if x := s.untilAll(early, 1, imx.Ended)[0]; x.Exit.Code != 3 || x.Exit.Wanted {
		s.Errorf("an instance that crashes at its start shows %+v", x.Exit)
	}
}

func stopEnds(s *session) {
	r := s.Release("web", 1, Well)
	all := s.healthy(r, 2)
	s.must(s.Engine.Stop(s.Context(), all[0].ID, "its configuration was tampered with"))
	s.must(s.Engine.Stop(s.Context(), all[0].ID, "again"))
	x := s.untilAll(r, 1, imx.Ended)[0]
	if x.ID != all[0].ID || !x.Exit.Wanted || x.Reason != "its configuration was tampered with" {
		s.Errorf("a stopped instance shows %+v, %+v", x, x.Exit)
	}
	s.must(s.Engine.Stop(s.Context(), x.ID, "after its end"))
	s.scale(r, 2)
	if n := len(of(s.observe(), r, imx.Starting, imx.Healthy)); n != 2 {
		s.Errorf("%d instances run after the scale to 2", n)
	}
}

func adopted(s *session) {
	r := s.Release("web", 1, Well)
	s.healthy(r, 2)
	s.route(imx.Weights{1: 1}, r)
	before := s.observe()
	s.restart(func() {})
	after := s.observe()
	ignoreFlows(before, after)
	if diff := cmp.Diff(before, after, cmp.Comparer(sameTime), cmp.Comparer(sameAddr)); diff != "" {
		s.Errorf("the restart changed (-before +after):\n%s", diff)
	}
	if n := s.Send(s.T, "web", 10)[""]; n != 0 {
		s.Errorf("%d of 10 requests failed after the restart", n)
	}
	s.scale(r, 2)
	if now := ids(of(s.observe(), r)); !slices.Equal(now, ids(before.Instances)) {
		s.Errorf("scale after the restart made %v of %v", now, ids(before.Instances))
	}
}

func endedMeanwhile(s *session) {
	r := s.Release("web", 1, Well)
	all := s.healthy(r, 2)
	s.restart(func() { s.Crash(s.T, all[0].ID, 5) })
	x := s.untilAll(r, 1, imx.Ended)[0]
	if x.ID != all[0].ID || x.Exit.Code != 5 || x.Exit.Wanted {
		s.Errorf("the one that ended shows %+v, %+v", x, x.Exit)
	}
	if logs := s.logs(x.ID, imx.LogOptions{}); !strings.Contains(logs, "hello") {
		s.Errorf("its log is %q", logs)
	}
	s.must(s.Engine.Stop(s.Context(), all[1].ID, "done"))
	s.untilAll(r, 2, imx.Ended)
}

func logsKept(s *session) {
	r := s.Release("web", 1, Well)
	x := s.healthy(r, 1)[0]
	running := s.logs(x.ID, imx.LogOptions{})
	if !strings.HasPrefix(running, "hello") {
		s.Errorf("the log begins with %q", running)
	}
	s.scale(r, 0)
	s.untilAll(r, 1, imx.Ended)
	ended := s.logs(x.ID, imx.LogOptions{})
	if !strings.HasPrefix(ended, running) {
		s.Errorf("the log after the end, %q, doesn't begin with that before, %q", ended, running)
	}
	if last := s.logs(x.ID, imx.LogOptions{Tail: 1}); strings.Count(last, "\n") != 1 || !strings.HasSuffix(ended, last) {
		s.Errorf("the last line of %q is shown as %q", ended, last)
	}
	first, _, _ := strings.Cut(s.logs(x.ID, imx.LogOptions{Times: true}), "\n")
	stamp, _, _ := strings.Cut(first, " ")
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil || !strings.Contains(first, " stdout hello") {
		s.Errorf("a line with its time is %q", first)
	}
}

func removeRefused(s *session) {
	r := s.Release("web", 1, Well)
	x := s.healthy(r, 1)[0]
	s.refused(s.Engine.Remove(s.Context(), "web", engine.KeepVolumes), imx.Conflict, x.ID)
	if now := s.find(x.ID); now.Phase != imx.Healthy {
		s.Errorf("the refused removal left the instance %s", now.Phase)
	}
}

func removeLeavesNothing(s *session) {
	r := s.Release("web", 1, Well)
	other := s.Release("other", 1, Well)
	s.healthy(other, 1)
	x := s.healthy(r, 1)[0]
	s.route(imx.Weights{1: 1}, r)
	s.scale(r, 0)
	s.untilAll(r, 1, imx.Ended)
	for range 2 { // the second time there is nothing to remove
		s.must(s.Engine.Remove(s.Context(), "web", engine.DeleteVolumes))
	}
	seen := s.observe()
	if len(of(seen, r)) != 0 || len(seen.Routes) != 0 || len(of(seen, other, imx.Healthy)) != 1 {
		s.Errorf("after the removal the engine has %+v", seen)
	}
	_, err := s.Engine.Logs(s.Context(), x.ID, imx.LogOptions{})
	s.refused(err, imx.NotFound, x.ID)
}

func unknownThings(s *session) {
	s.refused(s.Engine.Stop(s.Context(), "web-1-zzzzz", "no reason"), imx.NotFound, "web-1-zzzzz")
	_, err := s.Engine.Logs(s.Context(), "web-1-zzzzz", imx.LogOptions{})
	s.refused(err, imx.NotFound, "web-1-zzzzz")
	s.must(s.Engine.Remove(s.Context(), "nothing", engine.DeleteVolumes))
	s.scale(s.Release("web", 1, Well), 0)
	if seen := s.observe(); len(seen.Instances) != 0 {
		s.Errorf("the engine has %+v", seen.Instances)
	}
}
