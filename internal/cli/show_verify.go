package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/policy"
	"imx/internal/term"
)

// showVerification prints a verdict on one screen: the answer, each condition with the evidence that it stands on, what to do about
// what isn't met, and what the answer depends on.
func showVerification(out term.Stream, v imx.Verification, now time.Time) error {
	ink := out.Ink
	answer := ink.Good("may run")
	if !v.Verdict.Allowed {
		answer = ink.Bad("may not run")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s in %s\n\n", ink.Bold(term.Clean(v.Subject)), answer, ink.Name(v.Verdict.Environment))
	table := term.Table{
		Head:  []string{"", "CONDITION", "FOUND", "EVIDENCE"},
		Wraps: []string{"FOUND", "EVIDENCE"},
	}
	var hints strings.Builder
	for _, c := range v.Verdict.Conditions {
		table.Add(conditionWord(ink, c), ink.Name(c.ID), term.Clean(c.Says), ink.Dim(evidenceOf(v.Evidence, c, now)))
		if !c.Holds() && c.Hint != "" {
			hints.WriteString(ink.Warn("hint:") + " " + c.ID + ": " + term.Clean(c.Hint) + "\n")
		}
	}
	b.WriteString(table.Text(ink, out.Columns()) + "\n")
	b.WriteString(term.Wrap(hints.String()+uncounted(ink, v.Evidence)+dependsOn(ink, v.Verdict), out.Columns()))
	_, err := io.WriteString(out, b.String())
	return err
}

// uncounted says, a line each, which statements don't count, and why.
func uncounted(ink term.Ink, all []imx.EvidenceView) string {
	var b strings.Builder
	for _, e := range all {
		if !e.Counts {
			b.WriteString(ink.Warn("doesn't count: ") + e.Name + " " + e.Statement.Short() + ": " + term.Clean(e.Why) + "\n")
		}
	}
	return b.String()
}

// dependsOn is the line of what an answer is about, and for how long it holds.
func dependsOn(ink term.Ink, v imx.Verdict) string {
	return ink.Dim(fmt.Sprintf("image %s, plan %s, policy %s; judged for a %s, holds until %s", v.Image.Short(),
		cmp.Or(v.Plan.Short(), "none"), v.Policy.Short(), v.Purpose, term.Stamp(v.Until))) + "\n"
}

func conditionWord(ink term.Ink, c imx.Condition) string {
	switch {
	case c.Met:
		return ink.Good("yes")
	case c.Exception != "":
		return ink.Warn("excused")
	case !c.Refuses:
		return ink.Warn("warns")
	}
	return ink.Bad("no")
}

// evidenceOf names a condition's statements: the first of them, and how many more there are.
func evidenceOf(all []imx.EvidenceView, c imx.Condition, now time.Time) string {
	const shown = 1
	var words []string
	for _, d := range c.Evidence {
		for _, e := range all {
			if e.Statement == d && len(words) < shown {
				words = append(words, fmt.Sprintf("%s %s (%s, %s)", e.Name, d.Short(), cmp.Or(string(e.Role), "nobody"), term.Age(e.Made, now)))
			}
		}
	}
	if more := len(c.Evidence) - len(words); more > 0 && len(words) > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, " ")
}

// yesNo is a setting's value for a person.
func yesNo(b bool) string { //nolint:revive // flag-parameter: it is the value that is shown
	if b {
		return "yes"
	}
	return "no"
}

// showExplanation prints the values that each condition looked at.
func showExplanation(out term.Stream, v imx.Verification) error {
	var b strings.Builder
	for _, c := range v.Verdict.Conditions {
		fmt.Fprintf(&b, "%s %s  %s\n", conditionWord(out.Ink, c), out.Ink.Name(c.ID), term.Clean(c.Says))
		for _, line := range lookedAt(v.Looked[c.ID]) {
			b.WriteString("    " + out.Ink.Dim(line) + "\n")
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func showExceptions(out term.Stream, list []imx.Exception, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "nothing is excused")
		return err
	}
	table := term.Table{
		Head:  []string{"ID", "CONDITION", "FOR", "ENDS IN", "OWNER", "REASON"},
		Wraps: []string{"FOR", "REASON"}, Drops: []string{"OWNER"},
	}
	for _, x := range list {
		what := cmp.Or(x.Service, "each service")
		if x.Image != "" {
			what += ", image " + x.Image.Short()
		}
		table.Add(out.Ink.Name(x.ID), x.Condition, what, term.Age(now, x.Until), term.Clean(string(x.Owner)), term.Clean(x.Reason))
	}
	_, err := io.WriteString(out, table.Text(out.Ink, out.Columns()))
	return err
}

// verdictNotes tell of a service's releases that run and wouldn't be admitted any more, or wouldn't be made anew.
func verdictNotes(ink term.Ink, s imx.State, v imx.Service, environment string) string {
	var b strings.Builder
	if v.Stopped != nil {
		fmt.Fprintf(&b, "%s: %s; it comes back by itself when it may run, imx scale %s=0 keeps it down\n", ink.Name(v.Name),
			ink.Bad(fmt.Sprintf("stopped by the policy, had %s", term.Count(int64(v.Stopped.Replicas), "instance"))), v.Name)
	}
	numbers := []int{v.Current, v.Target}
	for _, number := range slices.Compact(numbers) {
		verdict, ok := s.Verdicts[v.Name][number]
		if !ok {
			continue
		}
		refused, stale := unmetOf(verdict, policy.Warned(policy.Of(&s, cmp.Or(environment, verdict.Environment)).Settings))
		switch {
		case !verdict.Allowed:
			fmt.Fprintf(&b, "%s: %s\n", ink.Name(v.Name), ink.Bad(fmt.Sprintf("release %d may not run any more: %s; imx verify %s", number, refused, v.Name)))
		case stale != "":
			fmt.Fprintf(&b, "%s: %s\n", ink.Name(v.Name), ink.Warn(fmt.Sprintf("release %d wouldn't be made anew: %s; imx verify %s", number, stale, v.Name)))
		}
	}
	return b.String()
}

// unmetOf names the conditions that stand in the way, and those that are only shown for an admitted release, but for those that the
// policy only warns of.
func unmetOf(v imx.Verdict, warn []string) (refused, stale string) {
	var no, old []string
	for _, c := range v.Conditions {
		switch {
		case !c.Holds():
			no = append(no, c.ID)
		case !c.Met && c.Exception == "" && !slices.Contains(warn, c.ID):
			old = append(old, c.ID)
		}
	}
	return strings.Join(no, ", "), strings.Join(old, ", ")
}
