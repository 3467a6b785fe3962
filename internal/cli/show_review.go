package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/term"
)

func showCandidates(out term.Stream, list []imx.Candidate, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "nothing waits to be released")
		return err
	}
	table := term.Table{
		Head:  []string{"CANDIDATE", "STATE", "SERVICES", "FROM", "BY", "APPROVED BY", "AGE", "WHY"},
		Wraps: []string{"SERVICES", "FROM", "APPROVED BY", "WHY"}, Drops: []string{"BY", "AGE"},
	}
	for _, c := range list {
		table.Add(out.Ink.Name(c.ID), candidateState(out.Ink, c.State), strings.Join(c.Services, ", "), origin(c.Source), term.Clean(string(c.By)),
			term.Clean(strings.Join(approvers(c), ", ")), term.Age(c.Made, now), out.Ink.Dim(term.Clean(c.Why)))
	}
	_, err := io.WriteString(out, table.Text(out.Ink, out.Columns()))
	return err
}

// approvers are who said yes, those whose yes doesn't count any more marked as such.
func approvers(c imx.Candidate) []string {
	var list []string
	for _, r := range c.Reviews {
		switch {
		case r.Approves && r.Void != "":
			list = append(list, string(r.By)+" (doesn't count)")
		case r.Approves:
			list = append(list, string(r.By))
		}
	}
	return list
}

func candidateState(ink term.Ink, s imx.CandidateState) string {
	switch s {
	case imx.CandidateOpen:
		return ink.Warn(string(s))
	case imx.CandidateReleased:
		return ink.Good(string(s))
	case imx.CandidateRejected, imx.CandidateFailed:
		return ink.Bad(string(s))
	case imx.CandidateSuperseded:
	}
	return ink.Dim(string(s))
}

// showCandidate prints a candidate on one screen: whose it is, what it would change, and what it lacks.
func showCandidate(out term.Stream, v imx.CandidateView, opts reviewOptions, now time.Time) error {
	ink := out.Ink
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s, for %s in %s\n", ink.Bold("candidate "+v.ID), candidateState(ink, v.State), term.Clean(strings.Join(v.Services, ", ")), v.Environment)
	facts := term.Table{}
	facts.Add(ink.Dim("plan"), string(v.Plan))
	facts.Add(ink.Dim("by"), fmt.Sprintf("%s%s, %s ago", term.Clean(string(v.By)), accountWord(v), term.Age(v.Made, now)))
	facts.Add(ink.Dim("from"), origin(v.Source)+sourceWord(v))
	if v.Origin != nil {
		facts.Add(ink.Dim("origin"), originSays(v.Origin))
	}
	if c := v.Commit; c != nil {
		facts.Add(ink.Dim("commit"), fmt.Sprintf("%.12s %s", c.ID, term.Clean(c.Subject)))
		facts.Add(ink.Dim("author"), term.Clean(c.Author)+before(", committed by ", committerIfOther(c))+before("; who had a hand in it: ", term.Clean(joined(c.People))))
		facts.Add(ink.Dim("signed"), signedWord(c))
	}
	if v.Why != "" {
		facts.Add(ink.Dim("why"), term.Clean(v.Why))
	}
	if !v.Seen.IsZero() {
		facts.Add(ink.Dim("seen"), fmt.Sprintf("as it was to be seen %s ago, when it was answered last", term.Age(v.Seen, now)))
	}
	b.WriteString(facts.Text(ink, out.Columns()) + "\n")
	for _, s := range bySubject(v.Changes) {
		b.WriteString(s.text(ink, out.Columns()) + "\n")
	}
	if opts.Diff {
		b.WriteString(textsText(v.Texts))
	}
	most := mostListed
	if opts.All || out.Columns() == 0 {
		most = math.MaxInt
	}
	for _, d := range v.Diff {
		b.WriteString(serviceChangeText(out, d, most) + "\n")
	}
	for _, notice := range v.Notices {
		b.WriteString(ink.Warn("note:") + " " + term.Clean(notice) + "\n")
	}
	b.WriteString(reviewsText(out, v.Candidate, now) + term.Wrap(candidateNext(ink, v), out.Columns()))
	_, err := io.WriteString(out, b.String())
	return err
}

// textsText are changed files line by line.
func textsText(texts []imx.TextChange) string {
	var b strings.Builder
	for _, t := range texts {
		fmt.Fprintf(&b, "%s %s\n", term.Clean(t.Subject), term.Clean(t.Path))
		for line := range strings.Lines(t.Diff) {
			b.WriteString("  " + term.Clean(strings.TrimSuffix(line, "\n")) + "\n")
		}
		if t.Note != "" {
			b.WriteString("  " + term.Clean(t.Note) + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func signedWord(c *imx.Commit) string {
	by := before("by ", term.Clean(string(c.Signer)))
	if c.Unsigned == "" {
		return by
	}
	return cmp.Or(by, "no") + ": " + term.Clean(c.Unsigned)
}

// accountWord says from which account somebody known brought a candidate.
func accountWord(v imx.CandidateView) string {
	if v.Account == "" || v.By.Account() != "" {
		return ""
	}
	return fmt.Sprintf(" (account %s)", term.Clean(v.Account))
}

// sourceWord says how much the place is worth that a template is said to be from.
func sourceWord(v imx.CandidateView) string {
	switch {
	case v.Commit != nil:
		return fmt.Sprintf(", as the server saw it in %s", term.Clean(v.Commit.Repository))
	case v.Source.Commit != "":
		return ", as its sender says"
	}
	return ""
}

func committerIfOther(c *imx.Commit) string {
	if c.Committer == c.Author {
		return ""
	}
	return term.Clean(c.Committer)
}

// mostListed is how many of each kind of change a service's lines name on a terminal: with more, it wouldn't be one screen.
const mostListed = 8

func serviceChangeText(out term.Stream, d imx.ServiceChange, most int) string {
	ink := out.Ink
	title := "service." + d.Service
	if d.Running != 0 {
		title += fmt.Sprintf(", against release %d", d.Running)
	}
	table := term.Table{}
	var packages, gained, lost []string
	for _, p := range d.Packages {
		packages = append(packages, packageWord(p))
	}
	for _, v := range d.Gained {
		gained = append(gained, vulnerabilityWord(v))
	}
	for _, v := range d.Lost {
		lost = append(lost, vulnerabilityWord(v))
	}
	table.Add("  "+ink.Dim("packages"), atMost(packages, most, "as they are"))
	table.Add("  "+ink.Dim("vulnerabilities"), vulnerabilityChange(ink, gained, lost, most))
	table.Add("  "+ink.Dim("size"), sizeChange(d))
	for _, part := range []struct {
		name  string
		lines imx.LineChange
	}{{"rights", d.Rights}, {"firewall", d.Firewall}} {
		name := "  " + ink.Dim(part.name)
		for _, line := range lineChanges(ink, part.lines, most) {
			table.Add(name, line)
			name = ""
		}
	}
	return ink.Bold(title) + "\n" + table.Text(ink, out.Columns())
}

func packageWord(p imx.Change) string {
	switch {
	case p.Before == "":
		return "+" + p.Name + " " + p.After
	case p.After == "":
		return "-" + p.Name + " " + p.Before
	}
	return fmt.Sprintf("%s %s → %s", p.Name, p.Before, p.After)
}

func vulnerabilityChange(ink term.Ink, gained, lost []string, most int) string {
	var words []string
	if len(gained) > 0 {
		words = append(words, ink.Bad("come:")+" "+atMost(gained, most, ""))
	}
	if len(lost) > 0 {
		words = append(words, ink.Good("go:")+" "+atMost(lost, most, ""))
	}
	return cmp.Or(strings.Join(words, "; "), "none come, none go")
}

func vulnerabilityWord(v imx.Vulnerability) string {
	return term.Clean(fmt.Sprintf("%s %s (%s)", v.ID, v.Level, v.Package.Name))
}

// atMost lists the first of several things, and how many more there are.
func atMost(list []string, most int, none string) string {
	if len(list) == 0 {
		return none
	}
	text := term.Clean(strings.Join(list[:min(most, len(list))], ", "))
	if more := len(list) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func sizeChange(d imx.ServiceChange) string {
	if d.Running == 0 || d.Before == d.After {
		return d.After.String()
	}
	return fmt.Sprintf("%s → %s", d.Before, d.After)
}

// lineChanges are the lines that come and go, and those that stay in one.
func lineChanges(ink term.Ink, c imx.LineChange, most int) []string {
	var list []string
	for _, line := range c.Added {
		list = append(list, ink.Warn("+")+" "+term.Clean(line))
	}
	for _, line := range c.Removed {
		list = append(list, ink.Good("-")+" "+term.Clean(line))
	}
	if len(c.Kept) > 0 || len(list) == 0 {
		list = append(list, ink.Dim("as it is: "+atMost(c.Kept, most, "none")))
	}
	return list
}

func reviewsText(out term.Stream, c imx.Candidate, now time.Time) string {
	table := term.Table{}
	for _, r := range c.Reviews {
		word := out.Ink.Bad("rejected")
		if r.Approves {
			word = out.Ink.Good("approved")
		}
		if r.Void != "" {
			word += " (doesn't count any more: " + term.Clean(r.Void) + ")"
		}
		table.Add(word, fmt.Sprintf("by %s, %s ago", term.Clean(string(r.By)), term.Age(r.Made, now)), out.Ink.Dim(keyID(out, r.Key)), term.Clean(r.Reason))
	}
	return table.Text(out.Ink, out.Columns())
}

// candidateNext says what is missing, and what to do.
func candidateNext(ink term.Ink, v imx.CandidateView) string {
	if v.State != imx.CandidateOpen {
		return ""
	}
	if v.Conflict != "" {
		return ink.Bad("it can't be released: ") + term.Clean(v.Conflict) + "\n"
	}
	var missing, shown strings.Builder
	for _, verdict := range v.Verdicts {
		for _, c := range verdict.Conditions {
			says := fmt.Sprintf(" %s: %s%s\n", c.ID, term.Clean(c.Says), before("; ", term.Clean(c.Hint)))
			switch {
			case !c.Holds():
				missing.WriteString(ink.Bad("missing:") + says)
			case !c.Met && c.Exception == "":
				shown.WriteString(ink.Warn("warning:") + says)
			}
		}
	}
	if missing.Len() == 0 {
		missing.WriteString(ink.Good("it may be released:") + " imx release " + v.ID + "\n")
	}
	return shown.String() + missing.String()
}

// reviewNotes says, a line each, which candidates wait, and what is wrong with repositories that are followed.
func reviewNotes(ink term.Ink, s imx.State) string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(s.Candidates)) {
		if c := s.Candidates[id]; c.State == imx.CandidateOpen {
			fmt.Fprintf(&b, "%s: %s\n", ink.Name(strings.Join(c.Services, ", ")), ink.Warn("candidate "+id+" waits to be released: imx review "+id))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sources)) {
		for _, says := range []string{s.Sources[name].Unread, s.Sources[name].Fault, s.Sources[name].Notice} {
			if says != "" {
				fmt.Fprintf(&b, "%s: %s\n", ink.Name("source "+name), ink.Bad(term.Clean(says)))
			}
		}
	}
	return b.String()
}
