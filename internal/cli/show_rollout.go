package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"imx"
	"imx/internal/rollout"
	"imx/internal/term"
)

// standing is how one service's rollout is: what is on the log, and what is counted beside it.
type standing struct {
	imx.RolloutView

	State   imx.ReleaseState `json:"state,omitempty"`  // of Target
	Reason  string           `json:"reason,omitempty"` // why it failed
	Steps   []imx.Step       `json:"steps,omitempty"`
	Wanted  int              `json:"wanted"` // instances of Target
	Phases  map[int]phases   `json:"phases"` // instances by release, but those that have ended
	Since   time.Time        `json:"since"`  // when Target became the target
	Hold    *imx.Hold        `json:"hold,omitempty"`
	WayBack imx.WayBack      `json:"wayBack,omitzero"`
	Ended   bool             `json:"ended,omitempty"` // Target took over, failed, or something else took its place
}

// phases counts instances.
type phases map[imx.Phase]int

// standingOf is how a service stands in a state, with what is counted of it.
func standingOf(s *imx.State, v imx.Service, counted imx.RolloutView) standing {
	r, _ := v.Release(v.Target)
	st := standing{
		RolloutView: counted, State: r.State, Reason: r.Reason, Steps: rollout.Steps(v), Wanted: v.Replicas,
		Phases: map[int]phases{}, Since: v.Since, Hold: v.Hold, WayBack: v.WayBack,
	}
	st.Service, st.Current, st.Target, st.Routes, st.Rollout = v.Name, v.Current, v.Target, v.Routes, v.Rollout
	if counted.Target != v.Target || !counted.Rollout.Since.Equal(v.Rollout.Since) {
		st.Counted, st.Outcome, st.Verdict = nil, "", "" // it was counted for what is over
	}
	for _, in := range s.Instances {
		if in.Service != v.Name || in.Phase == imx.Ended {
			continue
		}
		if st.Phases[in.Release] == nil {
			st.Phases[in.Release] = phases{}
		}
		st.Phases[in.Release][in.Phase]++
	}
	return st
}

// under reports whether the rollout goes on.
func (s standing) under() bool { return s.Target != s.Current }

// step says at which of its steps the rollout is: "step 2 of 3, 25 %"; "" where it has none.
func (s standing) step() string {
	n := len(s.Steps)
	switch at := s.Rollout.Step; {
	case n == 0:
		return ""
	case at >= n || s.Rollout.Whole:
		return fmt.Sprintf("step %d of %d, all of the traffic", n+1, n+1)
	default:
		return fmt.Sprintf("step %d of %d, %d %%", at+1, n+1, s.Steps[at].Share)
	}
}

// waits says why the rollout doesn't go on, "" where it does.
func (s standing) waits() string {
	if by := s.Rollout.Paused; by != "" {
		return fmt.Sprintf("%s paused it: imx rollout promote %s", by, s.Service)
	}
	if s.Rollout.Waits != "" {
		return s.Rollout.Waits
	}
	if at := s.Rollout.Step; at < len(s.Steps) && s.Routes[s.Target] >= s.Steps[at].Share && s.Steps[at].Pause > 0 {
		return "its pause of " + s.Steps[at].Pause.String()
	}
	return ""
}

// healthy says how many of the target's instances are.
func (s standing) healthy() string {
	return fmt.Sprintf("%d of %d healthy", s.Phases[s.Target][imx.Healthy], s.Wanted)
}

// plain is the standing on one line, for a pipe. It changes when the rollout does.
func (s standing) plain() string {
	return s.moves() + ": " + strings.Join(words(s.step(), "traffic "+weights(s.Routes), s.healthy()), ", ") + before("; waits: ", s.waits())
}

// moves says what takes the place of what: "web 3 → 4".
func (s standing) moves() string {
	if s.Current == 0 {
		return fmt.Sprintf("%s → %d", s.Service, s.Target)
	}
	return fmt.Sprintf("%s %d → %d", s.Service, s.Current, s.Target)
}

// result says how a rollout ended.
func (s standing) result(ink term.Ink) string {
	name := fmt.Sprintf("%s: release %d ", ink.Name(s.Service), s.Target)
	switch {
	case s.State == imx.ReleaseFailed && s.Current != 0:
		return ink.Bad("✗ ") + name + fmt.Sprintf("failed: %s; release %d has the traffic", term.Clean(s.Reason), s.Current)
	case s.State == imx.ReleaseFailed, s.State == imx.ReleaseSuperseded:
		return ink.Bad("✗ ") + name + fmt.Sprintf("%s: %s", s.State, term.Clean(s.Reason))
	case s.Current != s.Target:
		return ink.Warn("- ") + name + "was left for another"
	}
	return ink.Good("✓ ") + name + "has all the traffic"
}

// block is the standing of a rollout that is under way, as a terminal shows it.
func (s standing) block(out term.Stream, now time.Time) []string {
	ink := out.Ink
	head := ink.Name(s.moves())
	if step := s.step(); step != "" {
		head += "  " + ink.Warn(step)
	}
	since := s.Since
	if s.Rollout.Since.After(since) {
		since = s.Rollout.Since
	}
	head += ink.Dim("  for " + term.Took(max(0, now.Sub(since))))
	table := term.Table{Head: []string{"RELEASE", "TRAFFIC", "INSTANCES", "REQUESTS", "FAILED", "MEAN", "PROBES"}, Drops: []string{"PROBES", "MEAN"}}
	for _, number := range s.releases() {
		table.Add(strconv.Itoa(number), fmt.Sprintf("%d %%", s.Routes[number]), s.Phases[number].text(ink),
			requests(s.Counted[number]), failedShare(s.Counted[number]), mean(s.Counted[number]), probes(s.Counted[number]))
	}
	lines := []string{head}
	for line := range strings.Lines(table.Text(ink, max(0, out.Columns()-len(inner)))) {
		lines = append(lines, inner+strings.TrimRight(line, "\n"))
	}
	for _, fact := range []struct{ name, says string }{{"why", s.Rollout.Reason}, {"judged", s.Verdict}, {"waits", s.waits() + s.left(now)}} {
		if fact.says != "" {
			lines = append(lines, lined(inner+ink.Dim(fact.name+": ")+term.Clean(fact.says), out.Columns())...)
		}
	}
	return lines
}

// inner is what stands before what belongs to the line above.
const inner = "  "

// lined is a text on lines of so many columns.
func lined(text string, columns int) []string {
	return strings.Split(strings.TrimRight(term.Wrap(text+"\n", columns), "\n"), "\n")
}

// left says how much of a pause is, "" where the rollout doesn't wait for one.
func (s standing) left(now time.Time) string {
	if s.Rollout.Paused != "" || s.Rollout.Waits != "" || s.waits() == "" {
		return ""
	}
	left := time.Duration(s.Steps[s.Rollout.Step].Pause) - now.Sub(s.Rollout.Since)
	return ", " + term.Took(max(0, left.Round(time.Second))) + " left"
}

// releases are those that have traffic or instances, and the two that it is about.
func (s standing) releases() []int {
	all := map[int]bool{s.Current: true, s.Target: true}
	for number := range s.Routes {
		all[number] = true
	}
	for number := range s.Phases {
		all[number] = true
	}
	delete(all, 0)
	return slices.Sorted(maps.Keys(all))
}

// text counts instances by phase: "2 healthy, 1 starting".
func (p phases) text(ink term.Ink) string {
	var parts []string
	for _, phase := range []imx.Phase{imx.Healthy, imx.Starting, imx.Unhealthy, imx.Warm, imx.Stopping} {
		if p[phase] > 0 {
			parts = append(parts, strconv.Itoa(p[phase])+" "+phaseInk(ink, phase))
		}
	}
	if len(parts) == 0 {
		return ink.Dim("none")
	}
	return strings.Join(parts, ", ")
}

func requests(c imx.Counted) string {
	switch {
	case c.Missing != "":
		return "unreadable"
	case c.Requests <= 0:
		return ""
	}
	return term.Number(int64(c.Requests))
}

func failedShare(c imx.Counted) string {
	if c.Requests <= 0 {
		return ""
	}
	const percent = 100
	return fmt.Sprintf("%.1f %%", percent*c.Errors/c.Requests)
}

func mean(c imx.Counted) string {
	if c.Timed <= 0 {
		return ""
	}
	return time.Duration(c.Seconds / c.Timed * float64(time.Second)).Round(time.Millisecond / 10).String()
}

func probes(c imx.Counted) string {
	if c.Probed == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", c.Probed-c.Missed, c.Probed)
}

// words drops what is empty.
func words(all ...string) []string {
	return slices.DeleteFunc(all, func(w string) bool { return w == "" })
}

// showHistory prints a service's rollouts, a line each thing that happened.
func showHistory(out term.Stream, service string, events []imx.Event) error {
	if len(events) == 0 {
		_, err := fmt.Fprintf(out, "nothing of %s was ever rolled out\n", service)
		return err
	}
	table := term.Table{Head: []string{"WHEN", "RELEASE", "WHAT", "WHY", "BY"}, Wraps: []string{"WHY"}, Drops: []string{"BY"}}
	for _, e := range events {
		h := happened(e)
		table.Add(term.Stamp(e.Time), h.release, h.ink(out.Ink), term.Clean(h.why), term.Clean(string(e.By)))
	}
	_, err := io.WriteString(out, table.Text(out.Ink, out.Columns()))
	return err
}

// happening is an event of a rollout, for a person.
type happening struct {
	release, what, why string
	bad, good          bool
}

func (h happening) ink(ink term.Ink) string {
	switch {
	case h.bad:
		return ink.Bad(h.what)
	case h.good:
		return ink.Good(h.what)
	}
	return h.what
}

// happened tells of one event of state.History.
func happened(e imx.Event) happening {
	of := strconv.Itoa
	switch b := e.Body.(type) {
	case imx.Applied:
		r := b.Releases[0]
		return happening{release: of(r.Number), what: "made", why: fmt.Sprintf("apply %s, from %s", b.Apply, origin(r.Source))}
	case imx.RolloutStepped:
		return happening{release: of(b.Release), what: fmt.Sprintf("step %d: %d %%", b.Step+1, b.Share), why: b.Reason}
	case imx.RolloutWaits:
		if b.Reason == "" {
			return happening{release: of(b.Release), what: "goes on", why: "what it waited for is there"}
		}
		return happening{release: of(b.Release), what: "waits", why: b.Reason}
	case imx.RolloutPaused:
		return happening{release: of(b.Release), what: "paused", why: b.Reason}
	case imx.RolloutPromoted:
		what := fmt.Sprintf("promoted past step %d", b.Step+1)
		if b.Whole {
			what = "promoted past all steps"
		}
		return happening{release: of(b.Release), what: what, why: b.Reason}
	case imx.TrafficMoved:
		return happening{what: "traffic: " + weights(b.Weights)}
	case imx.RolloutFinished:
		return happening{release: of(b.Release), what: "took over", good: true}
	case imx.RolloutFailed:
		return happening{release: of(b.Release), what: "failed", why: b.Reason, bad: true}
	case imx.RolledBack:
		return happening{release: of(b.To), what: fmt.Sprintf("rolled back from %d", b.From), why: b.Reason}
	case imx.TurnedBad:
		return happening{release: of(b.To), what: fmt.Sprintf("went back from %d", b.From), why: b.Reason, bad: true}
	case imx.HoldEnded:
		return happening{what: "hold released", why: b.Reason}
	case imx.Destroyed:
		return happening{what: "destroyed"}
	}
	return happening{what: e.Kind()}
}

// rolloutEventSays tells what happened to a rollout, in a sentence without a full stop; "" for any other event.
func rolloutEventSays(e imx.Event) string {
	switch b := e.Body.(type) {
	case imx.RolloutStepped:
		return fmt.Sprintf("%s: release %d is at step %d, %d %% of the traffic: %s", b.Service, b.Release, b.Step+1, b.Share, b.Reason)
	case imx.RolloutWaits:
		if b.Reason == "" {
			return fmt.Sprintf("%s: release %d goes on", b.Service, b.Release)
		}
		return fmt.Sprintf("%s: release %d waits: %s", b.Service, b.Release, b.Reason)
	case imx.RolloutPaused:
		return fmt.Sprintf("%s: release %d is paused%s", b.Service, b.Release, before(": ", b.Reason))
	case imx.RolloutPromoted:
		return fmt.Sprintf("%s: release %d is %s%s", b.Service, b.Release, happened(e).what, before(": ", b.Reason))
	case imx.TurnedBad:
		return fmt.Sprintf("%s: release %d turned bad, back to %d: %s", b.Service, b.From, b.To, b.Reason)
	case imx.HoldEnded:
		return fmt.Sprintf("%s: the hold is released%s", b.Service, before(": ", b.Reason))
	case imx.WayBackChanged:
		return fmt.Sprintf("%s: %s", b.Service, wayBackSays(b.Way))
	}
	return ""
}

// wayBackSays tells how it stands with a way back.
func wayBackSays(w imx.WayBack) string {
	switch {
	case w.Release == 0:
		return "there is no way back"
	case !w.Ready:
		return fmt.Sprintf("the way back to release %d is lost%s", w.Release, before(": ", w.Why))
	case w.Proved.IsZero():
		return fmt.Sprintf("the way back to release %d is ready, %s", w.Release, w.Warm)
	}
	return fmt.Sprintf("the way back to release %d is ready, %s, proved at %s", w.Release, w.Warm, term.Stamp(w.Proved))
}
