package verdict

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/policy"
)

const (
	// pause is how long the watch waits between two looks at least: many events come together.
	pause = time.Second
	// again is after how long a release is judged anew though nothing changed that the log tells of: bytes on a disk go bad.
	again = time.Hour
)

// judged is what the watch remembers of a release that is admitted, or about which there is nothing to do. What was done about one isn't
// remembered: doing it twice changes nothing, and somebody may have undone it.
type judged struct {
	inputs  imx.Digest
	next    time.Time // when time alone changes the answer, or it is time to look again
	allowed bool
}

// Run watches until ctx ends whether what runs would still be admitted: when something changes that a verdict stands on, when time
// changes it, and each hour. What has changed is written down, and done about it what the policy says. What fails is logged, and tried again.
func (j *Judge) Run(ctx context.Context) error {
	seen := map[string]judged{}
	failed := ""
	for {
		changed := j.cfg.Control.Changed()
		next, err := j.look(ctx, seen)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // to be told to end is no failure
		}
		says := ""
		if err != nil {
			says, next = err.Error(), min(next, pause)
			if says != failed {
				j.cfg.Log.LogAttrs(ctx, slog.LevelError, "what runs couldn't be judged", slog.Any("error", err))
			}
		}
		failed = says
		if !sleep(ctx, pause, nil, nil) || !sleep(ctx, next, changed, j.news) {
			return nil
		}
	}
}

// sleep waits for a time, until a channel is closed, or until there is news. It returns false when ctx has ended.
func sleep(ctx context.Context, d time.Duration, changed, news <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-changed:
	case <-news:
	case <-t.C:
	}
	return true
}

// look judges all that runs and of which something has changed, does what the policy says about what isn't admitted, and returns when to
// look again at the latest. What doesn't run any more is forgotten.
func (j *Judge) look(ctx context.Context, seen map[string]judged) (time.Duration, error) {
	s := j.cfg.Control.State()
	now := j.now(s)
	next := now.Add(again)
	var failed error
	runs := map[string]bool{}
	for _, r := range running(s) {
		id := fmt.Sprintf("%s %d", r.Service, r.Number)
		runs[id] = true
		what := inputs(s, policy.Of(s, j.cfg.Environment), r)
		if last := seen[id]; last.inputs != what || !now.Before(last.next) || !last.allowed && j.acts(s, r) || j.contradicts(last) {
			v, err := j.judge(ctx, s, r)
			if err != nil {
				failed = err
				continue
			}
			seen[id] = judged{what, turn(v, now), v.Allowed}
		}
		if seen[id].next.Before(next) {
			next = seen[id].next
		}
	}
	maps.DeleteFunc(seen, func(id string, _ judged) bool { return !runs[id] })
	return max(next.Sub(now), pause), failed
}

// contradicts reports whether somebody else found another answer to the same than the watch did: bytes on the disk have changed.
func (j *Judge) contradicts(last judged) bool {
	v, ok := j.known.get(last.inputs)
	return ok && v.Allowed != last.allowed
}

// running are the releases that have instances, or are to have some.
func running(s *imx.State) []imx.Release {
	var list []imx.Release
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		v := s.Services[name]
		numbers := []int{v.Current, v.Target}
		for _, number := range slices.Compact(numbers) {
			if r, ok := v.Release(number); ok && !v.Destroyed {
				list = append(list, r)
			}
		}
	}
	return list
}

// turn is when a verdict has to be given anew.
func turn(v imx.Verdict, now time.Time) time.Time {
	next := now.Add(again)
	for _, c := range v.Conditions {
		if c.Until.After(now) && c.Until.Before(next) {
			next = c.Until
		}
	}
	return next
}

// judge gives a running release a verdict, writes down what is new, and does about it what the policy says.
func (j *Judge) judge(ctx context.Context, s *imx.State, r imx.Release) (imx.Verdict, error) {
	x, err := j.explained(ctx, s, r, imx.ForStart)
	v := x.verdict
	if err != nil {
		return v, err
	}
	if err := j.tell(ctx, imx.Server, r, r.Number, v); err != nil {
		return v, err
	}
	switch stopped := s.Services[r.Service].Stopped; {
	case v.Allowed && stopped != nil:
		return v, j.cfg.Control.Resume(r.Service, r.Number, fmt.Sprintf("the policy allows release %d", r.Number))
	case v.Allowed || !j.acts(s, r):
		return v, nil
	}
	return v, j.act(ctx, s, r, v)
}

// acts reports whether something is to be done about a release if it isn't admitted: it is what its service is to run, and the policy
// doesn't only show it.
func (j *Judge) acts(s *imx.State, r imx.Release) bool {
	return s.Services[r.Service].Target == r.Number && policy.Of(s, j.cfg.Environment).Settings.Denied != imx.DeniedShow
}

// act does about a release that isn't admitted any more what the policy says.
func (j *Judge) act(ctx context.Context, s *imx.State, r imx.Release, v imx.Verdict) error {
	reason := "the policy doesn't allow it any more: " + strings.Join(unmet(v), ", ")
	does, to, err := j.does(ctx, s, r)
	if err != nil {
		return err
	}
	if does == imx.DeniedReplace {
		err = j.cfg.Control.Replace(r.Service, r.Number, to, reason)
		if err == nil || policy.Of(s, j.cfg.Environment).Settings.Denied == imx.DeniedReplace {
			return err
		}
		does = imx.DeniedStop
	}
	if does == imx.DeniedStop {
		return j.cfg.Control.Stop(r.Service, r.Number, reason)
	}
	return nil
}

// does is what is done about a release that isn't admitted, and which takes its place.
func (j *Judge) does(ctx context.Context, s *imx.State, r imx.Release) (imx.DeniedAction, int, error) {
	if !j.acts(s, r) {
		return imx.DeniedShow, 0, nil
	}
	to, err := j.back(ctx, s, r)
	switch {
	case err != nil:
		return "", 0, err
	case to != 0:
		return imx.DeniedReplace, to, nil
	case policy.Of(s, j.cfg.Environment).Settings.Denied == imx.DeniedStop:
		return imx.DeniedStop, 0, nil
	}
	return imx.DeniedShow, 0, nil
}

// back is the newest good release beside one that is admitted, 0 for none.
func (j *Judge) back(ctx context.Context, s *imx.State, r imx.Release) (int, error) {
	for _, other := range slices.Backward(s.Services[r.Service].Releases) {
		if other.Number == r.Number || other.State != imx.ReleaseGood {
			continue
		}
		v, err := j.start(ctx, s, other)
		if err != nil {
			return 0, err
		}
		if v.Allowed {
			return other.Number, nil
		}
	}
	return 0, nil
}
