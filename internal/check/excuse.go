package check

import (
	"fmt"
	"slices"
	"time"

	"imx"
)

// The rules about waivers themselves, which no waiver excuses.
const (
	waiverExpired  = "waiver-expired"
	waiverExpiring = "waiver-expiring"
	waiverUnknown  = "waiver-unknown"
	waiverUnused   = "waiver-unused"
)

// soon is how long before its end a waiver is told to expire.
const soon = 30 * 24 * time.Hour

// WaiverRules are the rules that Excuse itself holds waivers against.
func WaiverRules() []imx.Rule {
	return []imx.Rule{
		{
			ID: waiverExpired, Title: "A waiver has expired", Level: imx.Medium, From: Own,
			Description: "The day in `until` of a waiver has come. What it excused counts again.",
			Why:         "A waiver is a debt with a date. What was to be done by then wasn't, or the waiver was forgotten.",
			Fix:         "Mend what it excused and delete it, or decide anew and write a later day and the reason of today.",
		},
		{
			ID: waiverExpiring, Title: "A waiver expires within 30 days", Level: imx.Low, From: Own,
			Description: "The day in `until` of a waiver that excuses something is less than 30 days away.",
			Why:         "On that day what it excuses counts again, and may stop a build.",
			Fix:         "Mend what it excuses, or decide anew in time.",
		},
		{
			ID: waiverUnknown, Title: "A waiver names a rule that there isn't", Level: imx.Medium, From: Own,
			Description: "No rule that was checked has the name of the waiver.",
			Why:         "It excuses nothing: most often its name is misspelt, and the finding that it was written for isn't excused.",
			Fix:         "Correct the name, or delete the waiver. `imx rules` lists the rules.",
		},
		{
			ID: waiverUnused, Title: "A waiver excuses nothing", Level: imx.Low, From: Own,
			Description: "The rule of a waiver finds nothing in the template, or nothing in one of the things that the waiver is for.",
			Why:         "What it was written for is mended, or was never there. Left in place, it would excuse the next mistake in silence.",
			Fix:         "Delete it, or what it isn't needed for; or correct that: a file is named as it lies in the folder.",
		},
	}
}

// Excuse marks the findings that a waiver of the template excuses, and returns them with what there is to say of
// the waivers themselves. What was found before a waiver's end is excused by it; the one that ends last counts
// where several do. known are all rules that were checked; nil means that others may have been checked elsewhere, so that
// nothing is said of waivers that excuse nothing here.
func Excuse(waivers []imx.Waiver, findings []imx.Finding, known []imx.Rule, now time.Time) []imx.Finding {
	all := slices.Clone(findings)
	uses := make([]use, len(waivers))
	for i := range all {
		for j, w := range waivers {
			if !uses[j].covers(w, all[i]) {
				continue
			}
			if current := all[i].Waived; now.Before(w.Until) && (current == nil || current.Until.Before(w.Until)) {
				all[i].Waived = &waivers[j]
			}
		}
	}
	for j, w := range waivers {
		all = append(all, ofWaiver(w, uses[j], known, now)...)
	}
	Sort(all)
	return all
}

// use is what a waiver excuses, or would had it not expired.
type use struct {
	any     bool
	entries map[string]bool // of its For, those that a finding is in
}

// covers reports whether a waiver is for a finding, its time aside, and notes that.
func (u *use) covers(w imx.Waiver, f imx.Finding) bool {
	if w.Rule != f.Rule {
		return false
	}
	if len(w.For) == 0 {
		u.any = true
		return true
	}
	covered := false
	for _, thing := range w.For {
		if thing != f.Subject && thing != f.At.File {
			continue
		}
		if u.entries == nil {
			u.entries = map[string]bool{}
		}
		u.any, u.entries[thing], covered = true, true, true
	}
	return covered
}

// ofWaiver says what there is to say of one waiver.
func ofWaiver(w imx.Waiver, u use, known []imx.Rule, now time.Time) []imx.Finding {
	is := func(id string) func(imx.Rule) bool { return func(r imx.Rule) bool { return r.ID == id } }
	var all []imx.Finding
	found := func(id, message string, args ...any) {
		rules := WaiverRules()
		level := rules[slices.IndexFunc(rules, is(id))].Level
		all = append(all, imx.Finding{Rule: id, Level: level, Message: fmt.Sprintf(message, args...), Subject: imx.Address("waiver", w.Rule), At: w.At})
	}
	if known != nil && !slices.ContainsFunc(known, is(w.Rule)) {
		found(waiverUnknown, "there is no rule %s to waive", w.Rule)
		return all
	}
	if known != nil && len(w.For) == 0 && !u.any {
		found(waiverUnused, "the waiver of %s excuses nothing", w.Rule)
	}
	for _, thing := range w.For {
		if known != nil && !u.entries[thing] {
			found(waiverUnused, "the waiver of %s excuses nothing in %s", w.Rule, thing)
		}
	}
	day := w.Until.UTC().Format(time.DateOnly)
	switch {
	case known != nil && !u.any:
	case !now.Before(w.Until):
		found(waiverExpired, "the waiver of %s expired on %s", w.Rule, day)
	case u.any && w.Until.Sub(now) < soon:
		found(waiverExpiring, "the waiver of %s expires on %s", w.Rule, day)
	}
	return all
}

// AtLeast returns the findings that no waiver excuses and that are as bad as a level, or worse.
func AtLeast(level imx.Level, findings []imx.Finding) []imx.Finding {
	levels := imx.Levels()
	worst := slices.Index(levels, level)
	var bad []imx.Finding
	for _, f := range findings {
		if i := slices.Index(levels, f.Level); f.Waived == nil && i >= 0 && i <= worst {
			bad = append(bad, f)
		}
	}
	return bad
}
