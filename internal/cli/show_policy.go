package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"imx"
	"imx/internal/term"
)

// showPolicy prints what an environment asks for.
func showPolicy(out term.Stream, v imx.PolicyView, now time.Time) error {
	s := v.Policy.Settings
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n\n", out.Ink.Bold(v.Policy.Environment), out.Ink.Dim(policyOrigin(v, now)+", policy "+v.Digest.Short()))
	for _, id := range v.Replaced {
		fmt.Fprintf(&b, "%s nothing excuses the condition %s, and rules of somebody's own are in its place\n\n", out.Ink.Bad("WARNING:"), id)
	}
	settings := term.Table{}
	for _, line := range [][2]string{
		{"reviews", fmt.Sprint(s.Reviews)},
		{"scan age", s.ScanAge.String()},
		{"dirty", yesNo(s.Dirty)},
		{"signed commits", yesNo(s.SignedCommits)},
		{"signed sources", yesNo(s.SignedSources)},
		{"known author", yesNo(s.KnownAuthor)},
		{"warn", cmp.Or(strings.Join(s.Warn, ", "), "of none")},
		{"denied", string(s.Denied)},
	} {
		settings.Add(out.Ink.Dim(line[0]), line[1])
	}
	if s.After != "" {
		settings.Add(out.Ink.Dim("after"), fmt.Sprintf("%s, where it was good for %s", s.After, s.Soak))
	}
	for _, f := range s.Freezes {
		settings.Add(out.Ink.Dim("freeze"), term.Clean(f.String()))
	}
	b.WriteString(settings.Text(out.Ink, out.Columns()) + "\n")
	table := term.Table{Head: []string{"CONDITION", "RELEASE", "START", "ASKS", "FROM"}, Wraps: []string{"ASKS"}}
	for _, c := range v.Conditions {
		release, start := "refuses", "refuses"
		if c.Warns {
			release, start = "warns", "warns"
		}
		if c.Shown {
			start = "warns"
		}
		source := "imx"
		if v.Policy.Rules[c.File] != "" {
			source = c.File
		}
		table.Add(out.Ink.Name(c.ID), release, start, term.Clean(c.Title), out.Ink.Dim(term.Clean(source)))
	}
	b.WriteString(table.Text(out.Ink, out.Columns()))
	for _, note := range v.Notes {
		b.WriteString(out.Ink.Warn("note:") + " " + term.Clean(note) + "\n")
	}
	b.WriteString(hitsText(out.Ink, v.Hits))
	_, err := io.WriteString(out, b.String())
	return err
}

// policyOrigin says whose policy it is: who set it, when and why.
func policyOrigin(v imx.PolicyView, now time.Time) string {
	says := "set here"
	if v.Shipped {
		says = "imx's own"
	}
	c := v.Changed
	switch {
	case c == nil:
		return says
	case v.Shipped:
		says += " again"
	}
	return term.Clean(fmt.Sprintf("%s by %s %s ago%s", says, c.By, term.Age(c.Time, now), before(": ", c.Reason)))
}

// hitsText says for whom a policy changes something, a line each.
func hitsText(ink term.Ink, hits []imx.PolicyHit) string {
	var b strings.Builder
	for _, h := range hits {
		why := strings.Join(h.Unmet, ", ")
		says := ""
		switch {
		case h.Allowed && h.Purpose == imx.ForRelease:
			says = ink.Good("would be made anew again")
		case h.Allowed:
			says = ink.Good("may run again")
		case h.Purpose == imx.ForRelease:
			says = ink.Warn("wouldn't be made anew") + ": " + why
		case h.Does == imx.DeniedReplace:
			says = ink.Bad(fmt.Sprintf("is replaced by release %d", h.To)) + ": " + why
		case h.Does == imx.DeniedStop:
			says = ink.Bad("is stopped") + ": " + why
		default:
			says = ink.Bad("goes on, and no instance of it is started any more") + ": " + why
		}
		fmt.Fprintf(&b, "%s release %d %s\n", ink.Name(h.Service), h.Release, says)
	}
	return b.String()
}
