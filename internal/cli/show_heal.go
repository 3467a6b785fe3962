package cli

import (
	"fmt"
	"strings"
	"time"

	"imx"
	"imx/internal/term"
)

// tainted says that an instance is to be replaced, by whom and why.
func tainted(t imx.Taint) string {
	return fmt.Sprintf("tainted by %s: %s", term.Clean(string(t.By)), term.Clean(t.Reason))
}

// mendSays tells of the last time that somebody else changed the machine's network.
func mendSays(ink term.Ink, m imx.Mend, now time.Time) string {
	return ink.Warn(fmt.Sprintf("%s ago somebody else changed it, and it was put back: %s", term.Age(m.Time, now), term.Clean(strings.Join(m.What, "; "))))
}

// missedNotes says, for services that lack instances, how their last one ended that nobody had stopped.
func missedNotes(ink term.Ink, s imx.State, now time.Time) string {
	var b strings.Builder
	for _, v := range living(s) {
		healthy := 0
		var last imx.Instance
		for _, in := range s.Instances {
			switch {
			case in.Service != v.Name || in.Release != v.Current:
			case in.Phase == imx.Healthy:
				healthy++
			case in.Phase == imx.Ended && in.Ended.After(last.Ended) && (in.Exit == nil || !in.Exit.Wanted):
				last = in
			}
		}
		if v.Target == v.Current && healthy < v.Replicas && last.ID != "" {
			fmt.Fprintf(&b, "%s: %s\n", ink.Name(v.Name), ink.Bad(fmt.Sprintf("%s ended %s ago: %s", last.ID, term.Age(last.Ended, now), note(last))))
		}
	}
	return b.String()
}

// healEventSays tells of what was tainted, and of what somebody else had changed; it is "" for all else.
func healEventSays(e imx.Event) string {
	switch b := e.Body.(type) {
	case imx.InstanceTainted:
		return fmt.Sprintf("instance %s is tainted, and will be replaced: %s", b.Instance, b.Reason)
	case imx.TaintEnded:
		return fmt.Sprintf("instance %s isn't tainted any more%s", b.Instance, before(": ", b.Reason))
	case imx.ServicesReturned:
		says := fmt.Sprintf("what had gone down is back after %s: %s", time.Duration(b.Took), strings.Join(b.Services, ", "))
		if len(b.Late) > 0 {
			says += fmt.Sprintf("; not yet: %s", strings.Join(b.Late, ", "))
		}
		return says
	case imx.NetworkMended:
		return "somebody else changed the machine's network, and it was put back: " + strings.Join(b.Mend.What, "; ")
	}
	return ""
}
