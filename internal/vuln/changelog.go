package vuln

import (
	"bufio"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"imx/internal/deb"
)

// Change is one entry of a package's changelog: a version, and which CVEs it says that it fixes.
type Change struct {
	Version string    `json:"version"`
	Date    time.Time `json:"date,omitzero"`
	Fixes   []string  `json:"fixes,omitempty"` // sorted, each once
}

const (
	maxChanges       = 20_000
	maxChangelogLine = 64 << 10
)

// ParseChangelog reads a source package's changelog (deb-changelog(5)), the newest entry first. What a version fixes
// is told by Change.Fixes. An entry that isn't of the form ends the reading where an earlier one was: some packages drag
// along files from before the form. Errors: Refused where not even the first entry is of it.
func ParseChangelog(r io.Reader, source string) ([]Change, error) {
	p := changelogParser{source: source, lines: bufio.NewReaderSize(r, 1<<16), denied: denials()}
	for len(p.all) < maxChanges {
		more, err := p.entry()
		switch {
		case err != nil && (asRefusal(err) == nil || len(p.all) == 0):
			return nil, err
		case err != nil || !more:
			return p.all, nil //nolint:nilerr // what isn't of the form any more ends it
		}
	}
	return p.all, nil
}

type changelogParser struct {
	source string
	lines  *bufio.Reader
	denied *regexp.Regexp
	all    []Change
}

// text returns the next line, io.EOF after the last; a last line needs no end.
func (p *changelogParser) text() (string, error) {
	line, err := p.lines.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(line) > maxChangelogLine {
		return "", refused("a line of it is longer than %d bytes", maxChangelogLine)
	}
	if len(line) > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.TrimRight(string(line), " \t\r\n"), err
}

// entry reads one entry, and reports false at the end.
func (p *changelogParser) entry() (bool, error) {
	head := ""
	for head == "" {
		line, err := p.text()
		if errors.Is(err, io.EOF) && len(p.all) > 0 {
			return false, nil
		}
		if err != nil {
			return false, ended(err)
		}
		head = line
	}
	source, rest, _ := strings.Cut(head, " (")
	version, _, ok := strings.Cut(rest, ")")
	if source != p.source || !ok || deb.CheckVersion(version) != nil {
		return false, refused("%s doesn't begin an entry of %s", clip(head), p.source)
	}
	c := Change{Version: version}
	var items []string
	for {
		line, err := p.text()
		if err != nil {
			return false, ended(err)
		}
		if trailer, ok := strings.CutPrefix(line, " -- "); ok {
			c.Date, c.Fixes = changeDate(trailer), fixes(items, p.denied)
			p.all = append(p.all, c)
			return true, nil
		}
		if line != "" && line[0] != ' ' && line[0] != '\t' {
			return false, refused("%s stands within an entry", clip(line))
		}
		items = addItem(items, line)
	}
}

// changeDate reads the date of an entry's last line, which follows two blanks. Of an odd one nothing is known.
func changeDate(trailer string) time.Time {
	i := strings.LastIndex(trailer, ">  ")
	if i < 0 {
		return time.Time{}
	}
	date, err := time.Parse("Mon, _2 Jan 2006 15:04:05 -0700", strings.TrimSpace(trailer[i+3:]))
	if err != nil {
		return time.Time{}
	}
	return date.UTC()
}

// addItem adds a line to the items of an entry: a line that begins with a mark of its own begins an item, another one
// goes on with the last.
func addItem(items []string, line string) []string {
	text := strings.TrimSpace(line)
	switch {
	case text == "":
		return append(items, "")
	case len(items) == 0 || items[len(items)-1] == "" || len(text) > 1 && strings.ContainsRune("*-+~", rune(text[0])) && text[1] == ' ':
		return append(items, text)
	}
	items[len(items)-1] += " " + text
	return items
}

// fixes returns the CVEs that the items of a changelog's entry say are fixed. Naming one isn't enough. A sentence
// that names CVEs doesn't fix them where it says
//
//   - that the package isn't affected ("not affected by", "not vulnerable to", "doesn't apply to", ...), or that the
//     fix is still owed ("not fixed", "postponed", "no fix for"),
//   - that a patch goes: "Drop CVE-2023-2088.patch, merged upstream", "Revert the fix for CVE-...",
//   - that it mends what an earlier fix broke ("regression"), or was fixed before ("previously fixed").
//
// A name that is cut off ("CVE-2025-XXXX") is none.
func fixes(items []string, denied *regexp.Regexp) []string {
	var fixed []string
	for _, item := range items {
		for _, sentence := range sentences(item) {
			names := findCVEs(sentence)
			if len(names) > 0 && !denied.MatchString(sentence) {
				fixed = append(fixed, names...)
			}
		}
	}
	slices.Sort(fixed)
	return slices.Compact(fixed)
}

// sentences cuts an item where a sentence ends: ". " before a capital, or "; ".
func sentences(item string) []string {
	var all []string
	for i := 0; i+2 < len(item); i++ {
		if item[i+1] == ' ' && (item[i] == ';' || item[i] == '.' && item[i+2] >= 'A' && item[i+2] <= 'Z') {
			all, item, i = append(all, item[:i+1]), item[i+2:], -1
		}
	}
	return append(all, item)
}

// findCVEs returns the names of CVEs in a text.
func findCVEs(text string) []string {
	var all []string
	for {
		_, rest, ok := strings.Cut(text, "CVE-")
		if !ok {
			return all
		}
		n := 0
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '-' && n == 4) {
			n++
		}
		if name := "CVE-" + rest[:n]; IsCVE(name) {
			all = append(all, name)
		}
		text = rest[n:]
	}
}

// denials are what a sentence says that names a CVE and doesn't fix it.
func denials() *regexp.Regexp {
	return regexp.MustCompile(`(?i)` + strings.Join([]string{
		`\b(not|never|n't) (be )?(affected|vulnerable|susceptible) (by|to)\b`, `\bunaffected by\b`, `\bnot (applicable|exploitable)\b`,
		`\b(doesn't|does not|don't|do not) (affect|apply)\b`, `\bfalse positive\b`,
		`\b(not|un|n't) ?fixed\b`, `\b(no|without a) (fix|patch)\b`, `\b(postponed|unpatched|still (affected|vulnerable))\b`,
		`\bregressions?\b`, `\bbroken by\b`, `\b(previously|already) (fixed|applied|included)\b`,
		`\b(merged|included|applied|fixed|present) (in |by |from )?(the )?(new )?upstream\b`,
		`\b(drop|dropped|dropping|remove|removed|removing|delete|revert|reverted|reverting|disable|disabled|refresh|refreshed|rename|renamed|rebase)\b( cve-|[^:(]*(\bpatch|\.patch|\bfix (for|of)|debian/patches|d/p/))`,
		`(\bpatch|\.patch|\bcve-[0-9-]+)(es)?:? (drop|dropped|remove|removed|refresh|refreshed|rebase|rebased)\b`,
		`\b(test coverage|comment in the test)\b`,
	}, "|"))
}

// ChangelogAdvisories returns what the changelog of a release's package says, a CVE once: of several versions that name
// it the newest counts, since a fix that is named again wasn't whole before.
func ChangelogAdvisories(changes []Change, release, source string) []Advisory {
	newest := map[string]Change{}
	for _, c := range changes {
		for _, cve := range c.Fixes {
			if have, ok := newest[cve]; !ok || deb.Compare(c.Version, have.Version) > 0 {
				newest[cve] = c
			}
		}
	}
	var all []Advisory
	for cve, c := range newest {
		all = append(all, Advisory{
			ID: cve, Ecosystem: Debian(release), Package: source, Ranges: []Range{{Fixed: c.Version}}, Published: c.Date,
		})
	}
	slices.SortFunc(all, compareAdvisories)
	return all
}
