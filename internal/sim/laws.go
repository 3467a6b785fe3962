package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"imx"
	"imx/internal/engine"
	"imx/internal/judge"
	"imx/internal/rollout"
	"imx/internal/state"
)

// Breach is a law that was broken.
type Breach struct {
	Law  string    `json:"law"`
	Says string    `json:"says"`
	At   time.Time `json:"at"`
}

// The laws that are watched, as docs/rollout.md states them.
const (
	LawCapacity = "capacity is never under the declared minimum while a healthy release exists"
	LawJudged   = "traffic never reaches a release that wasn't judged"
	LawShare    = "a share never exceeds its step's, and none rises while a person has paused it"
	LawSurge    = "a rolling replacement stays within its surge"
	LawClean    = "what is given up has no traffic left"
	LawWayBack  = "the last good release is never let go of"
	LawFlapping = "no endless flapping"
	LawVolume   = "a volume never has two holders"
	LawGroup    = "a group goes forward together"
	LawHold     = "what a person holds nothing moves on"
	LawFold     = "what is on the log is what the server has"
)

// Laws lists what is watched.
func Laws() []string {
	return []string{LawCapacity, LawJudged, LawShare, LawSurge, LawClean, LawWayBack, LawFlapping, LawVolume, LawGroup, LawHold, LawFold}
}

// most is how often a release of a service may take over, fail or be gone back from without a person: it takes over, turns bad, is gone
// back from, and the way back fails.
const most = 4

// laws watches each call of the engine and each event against the moment before it. Its state is its own fold of the log.
type laws struct {
	w       *World
	state   *imx.State
	changes map[string]int // releases that changed since a person last did something, by service
	broken  []Breach
}

func newLaws(w *World) *laws {
	return &laws{w: w, state: state.New(), changes: map[string]int{}}
}

func (l *laws) breach(law, format string, args ...any) {
	l.broken = append(l.broken, Breach{Law: law, Says: fmt.Sprintf(format, args...), At: l.w.now})
}

// scene is one service at a moment.
type scene struct {
	imx.Service

	target, current imx.Release
	routes          imx.Weights
	preview         int
	instances       []imx.Instance // that haven't ended
}

func (l *laws) scene(service string) scene {
	seen := l.w.engine.Seen()
	s := scene{Service: l.state.Services[service], routes: seen.Routes[service], preview: seen.Previews[service]}
	s.target, _ = s.Release(s.Target)
	s.current, _ = s.Release(s.Current)
	for _, in := range seen.Instances {
		if in.Service == service && in.Phase != imx.Ended {
			s.instances = append(s.instances, in)
		}
	}
	return s
}

// count is how many instances of the releases with traffic by w are in the phase.
func (s scene) healthy(w imx.Weights) int {
	n := 0
	for _, in := range s.instances {
		if w[in.Release] > 0 && in.Phase == imx.Healthy {
			n++
		}
	}
	return n
}

func (s scene) live(release int) int {
	n := 0
	for _, in := range s.instances {
		if in.Release == release && in.Phase != imx.Stopping && in.Phase != imx.Warm {
			n++
		}
	}
	return n
}

// wanted is how many instances there should be of a release.
func (s scene) wanted(number int) int {
	n := s.Replicas
	if number != s.Target {
		n = s.CurrentReplicas
	}
	if r, _ := s.Release(number); r.Spec.Exclusive() {
		n = min(n, 1)
	}
	return n
}

func (s scene) rolls() bool {
	return s.target.Spec.How().Strategy == imx.Rolling && s.target.State != imx.ReleaseGood && s.Current != 0 && s.Current != s.Target &&
		!s.current.Spec.Shares(s.target.Spec) && s.wanted(s.Current) > 0 && s.wanted(s.Target) > 0
}

func only(release int) imx.Weights { return imx.Weights{release: rollout.Whole} }

// watch lets a call of the engine happen and holds it against the laws.
func (l *laws) watch(c call, act func() error) error {
	before := l.scene(c.service)
	err := act()
	if before.Destroyed || before.Name == "" {
		return err
	}
	after := l.scene(c.service)
	switch c.operation {
	case "scale":
		l.capacity(before, after)
		l.volumes(after)
		l.wayBack(c, after)
		l.surge(c, before, after)
	case "stop":
		l.capacity(before, after)
	case "route":
		if err == nil {
			l.routeIsDue(before, c.route)
		}
	case "keep":
		if before.routes[c.release.Number] > 0 {
			l.breach(LawWayBack, "release %d of %s is put away with traffic on it", c.release.Number, c.service)
		}
	}
	return err
}

// capacity: a service keeps as many healthy instances in the traffic as it had, or as it needs, which is less by what a
// rolling replacement may be without, unless they hold a volume that the target needs.
func (l *laws) capacity(before, after scene) {
	need := before.Replicas
	for number := range after.routes {
		if r, _ := before.Release(number); number != before.Target && r.Spec.Shares(before.target.Spec) {
			return
		}
		need = min(need, before.wanted(number))
	}
	if before.rolls() {
		need -= before.target.Spec.How().Unavailable.Down(min(before.wanted(before.Target), before.wanted(before.Current)))
	}
	had, has := before.healthy(after.routes), after.healthy(after.routes)
	if has < min(had, need) {
		l.breach(LawCapacity, "%s had %d healthy instances in the traffic, now %d of %d", before.Name, had, has, need)
	}
}

// volumes: one that is stopping still is a holder.
func (l *laws) volumes(s scene) {
	holder := map[string]string{}
	for _, in := range s.instances {
		r, _ := s.Release(in.Release)
		for _, v := range r.Spec.Volumes {
			if other, held := holder[v.Name]; held {
				l.breach(LawVolume, "%s and %s hold volume %q", other, in.ID, v.Name)
			}
			holder[v.Name] = in.ID
		}
	}
}

func (l *laws) wayBack(c call, s scene) {
	number := c.release.Number
	if c.replicas > 0 || number == s.Target || c.release.Spec.Shares(s.target.Spec) {
		return
	}
	back, _ := s.Previous()
	if number == s.Current && s.wanted(number) > 0 && !s.rolls() || number == back.Number {
		l.breach(LawWayBack, "release %d of %s is let go of", number, s.Name)
	}
}

func (l *laws) surge(c call, before, after scene) {
	if !after.rolls() || c.release.Number != after.Target || c.replicas <= before.live(after.Target) {
		return
	}
	how, a, b := after.target.Spec.How(), after.wanted(after.Target), after.wanted(after.Current)
	surge := how.Surge.Up(max(a, b))
	if how.Unavailable.Down(min(a, b)) == 0 {
		surge = max(surge, 1)
	}
	if n := after.live(after.Target) + after.live(after.Current); n > max(a, b)+surge {
		l.breach(LawSurge, "%d instances of %s are live, of %d and %d more", n, after.Name, max(a, b), surge)
	}
}

// routeIsDue: traffic goes to a release only when enough of it is healthy, or when it is the last known good one and nothing
// serves better; a share never exceeds its step's, and what is gone back to waits for nothing.
func (l *laws) routeIsDue(s scene, r engine.Route) {
	total := 0
	for number, share := range r.Weights {
		total += share
		if share < 1 || number != s.Target && number != s.Current {
			l.breach(LawShare, "%d %% of the traffic of %s goes to release %d", share, s.Name, number)
		}
	}
	if total != rollout.Whole {
		l.breach(LawShare, "the shares of %s are %v", s.Name, r.Weights)
	}
	switch {
	case len(r.Weights) == 1 && r.Weights[s.Current] > 0:
		have := s.healthy(only(s.Current))
		if have < s.wanted(s.Current) && have < s.healthy(s.routes) && (have == 0 || s.routes[s.Current] == 0) {
			l.breach(LawJudged, "traffic of %s goes to release %d with %d of %d healthy", s.Name, s.Current, have, s.wanted(s.Current))
		}
	case len(r.Weights) == 1:
		l.wholeIsDue(s)
	case r.Weights[s.Target] > s.routes[s.Target]:
		l.shareIsDue(s, r.Weights[s.Target])
	}
	if r.Weights[s.Target] > s.routes[s.Target] && s.target.State == imx.ReleasePending {
		l.group(s)
	}
}

func (l *laws) wholeIsDue(s scene) {
	have, want := s.healthy(only(s.Target)), s.wanted(s.Target)
	if s.target.State == imx.ReleaseGood {
		want = min(want-s.target.Spec.How().Unavailable.Down(want), max(1, s.healthy(s.routes)))
	}
	if have < want {
		l.breach(LawJudged, "all the traffic of %s goes to release %d with %d of %d healthy", s.Name, s.Target, have, want)
	}
	if steps := rollout.Steps(s.Service); s.Rollout.Step < len(steps) && !s.Rollout.Whole {
		l.breach(LawShare, "release %d of %s gets all the traffic at step %d of %d", s.Target, s.Name, s.Rollout.Step, len(steps))
	}
	if s.Rollout.Paused != "" && s.target.State != imx.ReleaseGood {
		l.breach(LawShare, "release %d of %s gets all the traffic while %s has paused it", s.Target, s.Name, s.Rollout.Paused)
	}
}

func (l *laws) shareIsDue(s scene, share int) {
	const all = rollout.Whole - 1
	have, limit, need := s.healthy(only(s.Target)), all, 1
	if steps := rollout.Steps(s.Service); len(steps) > 0 {
		limit = steps[min(s.Rollout.Step, len(steps)-1)].Share
		need = max(1, (limit*s.wanted(s.Target)+all)/rollout.Whole)
	} else if !s.rolls() {
		l.breach(LawShare, "release %d of %s, which has no steps, gets %d %% of the traffic", s.Target, s.Name, share)
	}
	if share > limit || s.Rollout.Paused != "" {
		l.breach(LawShare, "release %d of %s gets %d %% of the traffic, of %d %%", s.Target, s.Name, share, limit)
	}
	if have < need {
		l.breach(LawJudged, "release %d of %s gets traffic with %d of %d healthy", s.Target, s.Name, have, need)
	}
}

// group: none of the traffic of services that are released together moves before all are ready.
func (l *laws) group(s scene) {
	name := s.target.Spec.How().Group
	if name == "" {
		return
	}
	for _, other := range slices.Sorted(maps.Keys(l.state.Services)) {
		p := l.scene(other)
		if other == s.Name || p.Destroyed || p.target.Apply != s.target.Apply || p.target.Spec.How().Group != name || p.Target == p.Current {
			continue
		}
		need := p.wanted(p.Target)
		if p.rolls() {
			need = 1
		}
		if have := p.healthy(only(p.Target)); have < need {
			l.breach(LawGroup, "traffic of %s moves while service %s of its group has %d of %d healthy", s.Name, other, have, need)
		}
	}
}

// told holds what is being written down against the laws, and folds it.
func (l *laws) told(records [][]byte) {
	for _, record := range records {
		var e imx.Event
		err := json.Unmarshal(record, &e)
		if err == nil {
			l.event(e)
			err = state.Fold(l.state, e)
		}
		if err != nil {
			l.breach(LawFold, "%v", err)
		}
	}
}

func (l *laws) event(e imx.Event) {
	switch b := e.Body.(type) {
	case imx.Applied:
		for _, r := range b.Releases {
			if h := l.state.Services[r.Service].Hold; h != nil && h.By != imx.Server {
				l.breach(LawHold, "%s is released while %s holds it", r.Service, h.By)
			}
		}
	case imx.RolloutStepped:
		l.stepIsDue(l.scene(b.Service), b)
	case imx.RolloutFinished:
		l.changed(b.Service)
		if s := l.scene(b.Service); len(s.routes) != 1 || s.routes[b.Release] == 0 {
			l.breach(LawJudged, "release %d of %s is finished while the traffic goes %v", b.Release, b.Service, s.routes)
		}
	case imx.RolloutFailed:
		l.changed(b.Service)
		s := l.scene(b.Service)
		rolling := s.target.Spec.How().Strategy == imx.Rolling
		if e.By == imx.Server && s.routes[b.Release] > 0 && !rolling && s.healthy(only(s.Current)) > 0 {
			l.breach(LawClean, "release %d of %s failed with traffic on it", b.Release, b.Service)
		}
	case imx.TurnedBad:
		l.changed(b.Service)
	}
}

// changed counts what becomes of releases without a person.
func (l *laws) changed(service string) {
	if l.changes[service]++; l.changes[service] > most {
		l.breach(LawFlapping, "%d releases of %s came and went without a person", l.changes[service], service)
	}
}

// stepIsDue: no step is left that wasn't judged, or that a person hasn't promoted.
func (l *laws) stepIsDue(s scene, b imx.RolloutStepped) {
	r, steps := s.Rollout, rollout.Steps(s.Service)
	if r.Since.IsZero() || b.Step >= len(steps) && r.Whole {
		return
	}
	if b.Step != r.Step+1 || r.Paused != "" || b.Reason == "" || r.Step >= len(steps) {
		l.breach(LawJudged, "%s comes from step %d to %d, paused by %q, because of %q", s.Name, r.Step, b.Step, r.Paused, b.Reason)
		return
	}
	was := steps[r.Step]
	if r.Confirm {
		return
	}
	if was.Confirm || l.w.now.Sub(r.Since) < time.Duration(was.Pause) {
		l.breach(LawJudged, "step %d of %s was left after %s without a person", r.Step, s.Name, l.w.now.Sub(r.Since))
	}
	m := s.target.Spec.How().Judge
	if m == nil || was.Share == 0 {
		return
	}
	counted := l.w.traffic.counted(s.Service)
	if v := judge.Compare(*m, tally(counted[s.Target]), tally(counted[s.Current]), ""); v.Outcome != judge.NotWorse {
		l.breach(LawJudged, "step %d of %s was left after %s: %s", r.Step, s.Name, v.Outcome, v.Reason)
	}
}

func tally(c imx.Counted) judge.Tally {
	return judge.Tally{Requests: c.Requests, Errors: c.Errors, Seconds: c.Seconds, Timed: c.Timed}
}
