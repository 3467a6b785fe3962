package rollout_test

import (
	"math"
	"time"

	"imx"
	"imx/internal/rollout"
)

// record is the log, folded, and what a server remembers beside it until it dies.
type record struct {
	want     rollout.Wanted
	releases []imx.Release // by number, from 1
	last     time.Time     // of the log's last event
	counted  map[int]imx.Counted
	proved   time.Time
	tried    time.Time
}

// logTime is the time that an event gets: never before the last one's, whatever the clock does.
func (w *world) logTime() time.Time {
	if w.now.After(w.last) {
		w.last = w.now
	}
	return w.last
}

// forget is a server's death: what only it remembered is gone.
func (w *world) forget() {
	w.say("the server dies")
	w.counted, w.proved, w.tried = nil, time.Time{}, time.Time{}
}

// release makes a new release the target, with a number of instances that it keeps if it gets good.
func (w *world) release(spec imx.Spec, h habit, replicas int) {
	r := imx.Release{Service: "web", Number: len(w.releases) + 1, Spec: spec, State: imx.ReleasePending}
	w.releases, w.habits = append(w.releases, r), append(w.habits, h)
	w.want.Held = false
	w.target(r.Number)
	w.want.Replicas = replicas
}

// rollback makes a release the target that was good, and holds the service there.
func (w *world) rollback(number int) bool {
	if w.numbered(number).State != imx.ReleaseGood || number == w.want.Target.Number {
		return false
	}
	w.target(number)
	w.want.Held = true
	if w.want.Target.Number == w.want.Current.Number {
		w.want.CurrentReplicas = w.want.Replicas
	}
	return true
}

func (w *world) target(number int) {
	if w.want.Current.Number != 0 { // nothing that failed or was called off changes the number
		w.want.Replicas = w.want.CurrentReplicas
	}
	if old := w.want.Target; old.Number != 0 && old.Number != number && w.numbered(old.Number).State == imx.ReleasePending {
		w.judge(old.Number, imx.ReleaseSuperseded)
	}
	w.want.Target, w.want.Since, w.want.Rollout = w.numbered(number), w.logTime(), imx.Rollout{}
	w.counted = nil
	w.told()
}

// judge sets the state of a release.
func (w *world) judge(number int, s imx.ReleaseState) {
	if number != 0 {
		w.releases[number-1].State = s
	}
	w.told()
}

// told takes over what has changed of the releases.
func (w *world) told() {
	w.want.Target, w.want.Current, w.want.Back = w.numbered(w.want.Target.Number), w.numbered(w.want.Current.Number), imx.Release{}
	w.want.Extra = w.releases
	for _, r := range w.releases {
		if r.Number < w.want.Current.Number && r.State == imx.ReleaseGood {
			w.want.Back = r
		}
	}
}

func (w *world) resize(replicas int) { w.want.Replicas, w.want.CurrentReplicas = replicas, replicas }

func (w *world) numbered(number int) imx.Release {
	if number == 0 {
		return imx.Release{}
	}
	return w.releases[number-1]
}

// write writes an action down that the engine has no part in.
func (w *world) write(a rollout.Action) {
	switch a := a.(type) {
	case rollout.Finish:
		w.say("finish release %d", a.Release)
		old := w.want.Current.Number
		was := w.counted[old]
		w.want.Current, w.want.CurrentReplicas = w.numbered(a.Release), w.want.Replicas
		w.want.Finished, w.want.Rollout, w.want.Way = w.logTime(), imx.Rollout{}, imx.WayBack{}
		w.counted = map[int]imx.Counted{old: was}
		w.proved, w.tried = time.Time{}, time.Time{}
		w.judge(a.Release, imx.ReleaseGood)
	case rollout.Fail:
		w.say("fail release %d: %s", a.Release, a.Reason)
		w.failed(a.Release)
	case rollout.Advance:
		w.say("come to step %d of release %d, %d %%: %s", a.Step, a.Release, a.Share, a.Reason)
		r := &w.want.Rollout
		r.Step, r.Since, r.Reason, r.Waits, r.Confirm = a.Step, w.logTime(), a.Reason, "", false
		w.counted = nil
	case rollout.Wait:
		w.say("wait with release %d: %s", a.Release, a.Reason)
		w.want.Rollout.Waits = a.Reason
	case rollout.Revert:
		w.say("go back from release %d to %d: %s", a.From, a.To, a.Reason)
		w.want.Held = true
		w.target(a.To)
		w.judge(a.From, imx.ReleaseFailed)
	case rollout.Report:
		w.say("the way back is %+v", way(a.Way))
		w.want.Way = a.Way
	default:
		w.say("AN UNKNOWN ACTION %T", a)
	}
}

func way(v imx.WayBack) string {
	switch {
	case v.Release == 0:
		return "none"
	case v.Ready:
		return "ready, " + string(v.Warm)
	}
	return "lost: " + v.Why
}

func (w *world) failed(release int) {
	w.target(w.want.Current.Number)
	w.judge(release, imx.ReleaseFailed)
}

// serve lets requests come in for a time, and be counted.
func (w *world) serve(d time.Duration) {
	if w.rate == 0 {
		return
	}
	total := 0
	for number, share := range w.routes {
		if w.healthyOf(number) > 0 {
			total += share
		}
	}
	if w.counted == nil {
		w.counted = map[int]imx.Counted{}
	}
	for number, share := range w.routes {
		if w.healthyOf(number) == 0 {
			continue
		}
		c := w.counted[number]
		n := w.rate * d.Seconds() * float64(share) / float64(total)
		c.Requests, c.Errors = c.Requests+n, c.Errors+n*w.habits[number-1].errors
		w.counted[number] = c
	}
}

func (w *world) healthyOf(release int) int {
	n := 0
	for _, in := range w.instances {
		if in.Release == release && in.Phase == imx.Healthy {
			n++
		}
	}
	return n
}

// counts are what is known of the releases' requests, or of a liar's.
func (w *world) counts() map[int]imx.Counted {
	if len(w.counted) == 0 {
		return nil
	}
	list := map[int]imx.Counted{}
	for number, c := range w.counted {
		if w.liar {
			c = imx.Counted{Requests: math.NaN(), Errors: -1, Seconds: math.Inf(1), Missing: "connection refused"}
		}
		list[number] = c
	}
	return list
}
