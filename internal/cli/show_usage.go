package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"imx"
	"imx/internal/term"
)

// processor is how much of its processor limit an instance uses: "12 %"; "" where that isn't known.
func processor(in imx.Instance) string {
	u := in.Usage
	if u == nil || u.Limits.CPU <= 0 {
		return ""
	}
	return strconv.Itoa(int(100*u.Cores/u.Limits.CPU+0.5)) + " %"
}

// memory is how much of its memory limit an instance uses.
func memory(in imx.Instance) string {
	u := in.Usage
	if u == nil {
		return ""
	}
	return fmt.Sprintf("%s of %s", u.Memory, u.Limits.Memory)
}

// suffers says what its limits keep an instance from.
func suffers(in imx.Instance) []string {
	u := in.Usage
	if u == nil {
		return nil
	}
	var parts []string
	if u.Held {
		parts = append(parts, fmt.Sprintf("held back by its limit of %g processors", u.Limits.CPU))
	}
	if u.Killed > 0 {
		parts = append(parts, term.Count(int64(u.Killed), "process")+" ended by its memory limit")
	}
	if u.Denied > 0 {
		parts = append(parts, fmt.Sprintf("%s not started, for its limit of %d", term.Count(int64(u.Denied), "process"), u.Limits.Pids))
	}
	return parts
}

// sizingNotes say of a service with a scale block who sets its number of instances and why it is what it is, and of any which
// instances suffer from their limits.
func sizingNotes(ink term.Ink, s imx.State, v imx.Service) []string {
	var notes []string
	r, _ := v.Release(v.Target)
	switch z := v.Sizing; {
	case r.Spec.Scale == nil:
	case z.Fixed != "":
		notes = append(notes, ink.Warn(fmt.Sprintf("%s fixed it at %s, until imx scale %s=auto or another release",
			term.Clean(string(z.Fixed)), term.Count(int64(v.Replicas), "instance"), v.Name)))
	case v.Replicas == 0 && r.Spec.Sleeps():
		notes = append(notes, "sleeps, until a connection comes"+before(": ", term.Clean(z.Reason)))
	case z.Reason != "":
		notes = append(notes, fmt.Sprintf("scaled to %s: %s", term.Count(int64(v.Replicas), "instance"), term.Clean(z.Reason)))
	}
	for _, id := range slices.Sorted(maps.Keys(s.Instances)) {
		in := s.Instances[id]
		if in.Service != v.Name {
			continue
		}
		for _, says := range suffers(in) {
			notes = append(notes, ink.Warn(id+": "+says))
		}
		if in.Exit != nil && in.Exit.OOM {
			notes = append(notes, ink.Bad(id+" ended: it needed more memory than it may have"))
		}
	}
	return notes
}
