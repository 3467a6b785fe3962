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
	"imx/internal/term"
)

// showStatus prints a state as seen at now.
func showStatus(out term.Stream, s imx.Status, now time.Time) error {
	var b strings.Builder
	b.WriteString(statusServices(out, s.State, now) + "\n")
	if notes := statusNotes(out.Ink, s.State, s.Environment, now) + missedNotes(out.Ink, s.State, now) + reviewNotes(out.Ink, s.State); notes != "" {
		b.WriteString(term.Wrap(notes, out.Columns()) + "\n")
	}
	var facts term.Table
	if a := s.State.Apply; a != nil {
		facts.Add(out.Ink.Warn("apply"), fmt.Sprintf("%s by %s, for %s, from %s", a.Apply, s.State.ApplyBy,
			term.Age(s.State.ApplyAt, now), origin(a.Source)))
	}
	facts.Add(out.Ink.Dim("log"), logLineOf(s))
	if m := s.State.Mended; m != nil {
		facts.Add(out.Ink.Dim("network"), mendSays(out.Ink, *m, now))
	}
	for i, mode := range s.Mode {
		label := ""
		if i == 0 {
			label = out.Ink.Dim("engine")
		}
		facts.Add(label, term.Clean(mode))
	}
	for i, line := range ingressFacts(s.State) {
		label := ""
		if i == 0 {
			label = out.Ink.Dim("ingress")
		}
		facts.Add(label, line)
	}
	if s.Environment != "" {
		facts.Add(out.Ink.Dim("environment"), s.Environment)
	}
	if s.Version != "" {
		facts.Add(out.Ink.Dim("server"), "imx "+s.Version)
	}
	if !s.State.Time.IsZero() {
		facts.Add(out.Ink.Dim("last event"), fmt.Sprintf("%s, %s ago", term.Stamp(s.State.Time), term.Age(s.State.Time, now)))
	}
	b.WriteString(facts.Text(out.Ink, out.Columns()))
	_, err := io.WriteString(out, b.String())
	return err
}

func logLineOf(s imx.Status) string {
	text := term.Count(s.State.Next, "event")
	if c := s.Checkpoint; c != nil {
		text += fmt.Sprintf(", signed at %s: root %s", term.Number(c.Size), c.Root)
	}
	return text
}

// statusServices is the table of services, those taken down left out.
func statusServices(out term.Stream, s imx.State, now time.Time) string {
	table := term.Table{
		Head:  []string{"SERVICE", "RELEASE", "READY", "TRAFFIC", "PORTS", "ADDRESS", "IMAGE", "SCANNED", "SINCE"},
		Wraps: []string{"PORTS", "SCANNED"}, Drops: []string{"IMAGE", "SINCE", "ADDRESS"},
	}
	for _, v := range living(s) {
		r, _ := v.Release(v.Target)
		table.Add(out.Ink.Name(v.Name), serviceRelease(out.Ink, v), ready(out.Ink, s, v), weights(v.Routes), publishedShort(r.Spec),
			address(v.Address), r.Image.Digest.Short(), scanned(out.Ink, s, r.Image.Digest, now), term.Age(v.Since, now))
	}
	if len(table.Rows) == 0 {
		return "no services yet: imx init writes an example, imx apply runs it\n"
	}
	return table.Text(out.Ink, out.Columns())
}

// scanned says how old the newest scan is that is evidence about an image.
func scanned(ink term.Ink, s imx.State, image imx.Digest, now time.Time) string {
	last, ok := s.Evidence[image][imx.PredicateScan]
	if !ok {
		return ink.Dim("never")
	}
	return term.Age(last.Made, now)
}

// publishedShort is published without its noun, for a column that has it as its heading.
func publishedShort(s imx.Spec) string {
	_, ports, _ := strings.Cut(published(s), " ")
	return ports
}

// serviceRelease is "3", or "3 → 4" during a rollout, or "→ 1" for the first.
func serviceRelease(ink term.Ink, v imx.Service) string {
	switch {
	case v.Target == v.Current:
		return strconv.Itoa(v.Current)
	case v.Current == 0:
		return ink.Warn("→ " + strconv.Itoa(v.Target))
	}
	return ink.Warn(fmt.Sprintf("%d → %d", v.Current, v.Target))
}

// ready counts the target's healthy instances, against how many there should be.
func ready(ink term.Ink, s imx.State, v imx.Service) string {
	healthy := 0
	for _, in := range s.Instances {
		if in.Service == v.Name && in.Release == v.Target && in.Phase == imx.Healthy {
			healthy++
		}
	}
	text := fmt.Sprintf("%d/%d", healthy, v.Replicas)
	if healthy < v.Replicas {
		return ink.Warn(text)
	}
	return ink.Good(text)
}

// living returns the services that aren't destroyed, by name.
func living(s imx.State) []imx.Service {
	var services []imx.Service
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		if v := s.Services[name]; !v.Destroyed {
			services = append(services, v)
		}
	}
	return services
}

// statusNotes says, a line each, what a person should know of services that don't simply run.
func statusNotes(ink term.Ink, s imx.State, environment string, now time.Time) string {
	var b strings.Builder
	note := func(v imx.Service, says string) { fmt.Fprintf(&b, "%s: %s\n", ink.Name(v.Name), says) }
	for _, v := range living(s) {
		if v.Target != v.Current {
			note(v, ink.Warn(rollingNote(s, v)))
		}
		if v.Hold != nil {
			note(v, ink.Warn(fmt.Sprintf("%s (%s ago; imx hold release %s lets it go on)", heldBecause(*v.Hold), term.Age(v.Hold.Since, now), v.Name)))
		}
		if says := wayBackNote(ink, s, v, now); says != "" {
			note(v, says)
		}
		if n := len(v.Releases); n > 0 && v.Releases[n-1].State == imx.ReleaseFailed {
			note(v, ink.Bad(fmt.Sprintf("release %d failed: %s", v.Releases[n-1].Number, term.Clean(v.Releases[n-1].Reason))))
		}
		b.WriteString(verdictNotes(ink, s, v, environment))
		for _, says := range sizingNotes(ink, s, v) {
			note(v, says)
		}
		for _, id := range slices.Sorted(maps.Keys(s.Instances)) {
			in := s.Instances[id]
			switch {
			case in.Service != v.Name || in.Phase == imx.Ended:
			case in.Phase == imx.Unhealthy:
				note(v, ink.Bad(id+" is unhealthy: "+term.Clean(in.Reason)))
			case in.Taint != nil:
				note(v, ink.Warn(id+" is "+tainted(*in.Taint)))
			}
		}
	}
	return b.String()
}

// rollingNote says how far a rollout is: its step, its share of the traffic, and what it waits for.
func rollingNote(s imx.State, v imx.Service) string {
	st := standingOf(&s, v, imx.RolloutView{})
	how := "is being rolled out"
	if st.State == imx.ReleaseGood {
		how = "is being gone back to"
	}
	return fmt.Sprintf("release %d %s%s", v.Target, how, before(": ", strings.Join(words(st.step(), st.healthy()), ", "))) + before("; waits: ", term.Clean(st.waits()))
}

// wayBackNote says how it stands with the release that a rollback would go to, and with the instances that are kept for it; "" where there is
// none.
func wayBackNote(ink term.Ink, s imx.State, v imx.Service, now time.Time) string {
	w := v.WayBack
	switch {
	case w.Release == 0:
		return ""
	case !w.Ready:
		return ink.Bad(term.Clean(wayBackSays(w)))
	}
	warm, proved := 0, w.Proved
	for _, in := range s.Instances {
		if in.Service != v.Name || in.Release != w.Release {
			continue
		}
		last := in.Ready
		if in.Phase == imx.Warm {
			warm++
			last = in.Changed // it was healthy until then
		}
		if last.After(proved) {
			proved = last
		}
	}
	text := fmt.Sprintf("the way back to release %d is ready: ", w.Release)
	if warm > 0 {
		text += term.Count(int64(warm), "warm instance")
	} else {
		text += "stopped, its root is mounted"
	}
	if !proved.IsZero() {
		text += ", last healthy " + term.Age(proved, now) + " ago"
	}
	return text
}

// heldBecause says why a service stays where it is.
func heldBecause(h imx.Hold) string {
	who := "by " + string(h.By)
	if h.By == imx.Server {
		who = "by itself"
	}
	text := fmt.Sprintf("rolled back %s from release %d, and held there", term.Clean(who), h.From)
	if h.Reason != "" {
		text += ": " + term.Clean(h.Reason)
	}
	return text
}
