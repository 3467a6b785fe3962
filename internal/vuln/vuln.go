// Package vuln reads what the world publishes of vulnerabilities (Debian's advisory lists and tracker, OSV
// records, lists of what is exploited, OpenVEX documents, packages' changelogs) and says which packages have
// which of them.
//
// It takes readers and returns values: it fetches nothing, keeps nothing and asks no clock. Every feed is
// taken for hostile: it is read as a stream, sizes are bounded, and a feed that breaks its format's rules is
// refused whole with an *imx.Error of kind Refused. Errors of a reader pass through wrapped.
package vuln

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/deb"
)

// Advisory says which versions of one package of one ecosystem have a vulnerability.
type Advisory struct {
	ID        string   // a CVE's name where it has one, else the advisory's own
	Aliases   []string // its other names, sorted
	Notice    string   // what published the fix: "DSA-5594-1"; "" where nothing of its own did
	Ecosystem string   // "Debian:bookworm", "Go", "PyPI"
	Package   string   // in Debian: the source package
	Ranges    []Range  // the versions that have it, beside Versions
	Versions  []string // versions that have it, each named
	Urgency   string   // in the feed's own words
	Level     imx.Level
	Published time.Time
	Exploited time.Time // since when it is known to be exploited; such an entry stands for no package
}

// Range is a stretch of versions: from Introduced on, to before Fixed or up to and with Last. "" is no bound.
type Range struct{ Introduced, Fixed, Last string }

// Debian is the ecosystem of a release of Debian, by its codename.
func Debian(codename string) string { return debianPrefix + codename }

const debianPrefix = "Debian:"

// A Sink takes what a parser reads, one after the other. Its error ends the parser and passes through.
type Sink struct {
	Take func(Advisory) error
	// Skip is told of what isn't usable and is left out: which entry, and why. One such entry makes no feed bad.
	Skip func(entry, why string)
}

// Summary is what a parser says about a whole feed.
type Summary struct {
	Entries int64     // advisories that were taken
	Date    time.Time // of the newest entry, or the feed's own
}

func (s *Summary) saw(t time.Time) {
	if t.After(s.Date) {
		s.Date = t
	}
}

const (
	// MaxEntries bounds a feed's advisories; the world's largest has some two millions.
	MaxEntries = 20_000_000
	maxText    = 512 // bytes of a name or version
	maxRanges  = 64  // of one advisory
	maxNamed   = 20_000
)

// take checks an advisory and hands it on. What no matcher could use is skipped, with its name.
func (s *Sink) take(sum *Summary, a Advisory) error {
	if why := unusable(&a); why != "" {
		s.Skip(strings.TrimSpace(a.ID+" "+a.Package), why)
		return nil
	}
	if sum.Entries++; sum.Entries > MaxEntries {
		return refused("it has more than %d entries", MaxEntries)
	}
	sum.saw(a.Published)
	slices.Sort(a.Aliases)
	a.Aliases = slices.Compact(a.Aliases)
	return s.Take(a)
}

// unusable says why an advisory can't be matched, or "".
func unusable(a *Advisory) string {
	texts := append([]string{a.ID, a.Notice, a.Ecosystem, a.Package, a.Urgency}, a.Aliases...)
	if slices.ContainsFunc(texts, isOdd) {
		return "it has a name that can't be one"
	}
	if a.ID == "" {
		return "it has no name"
	}
	if !a.Exploited.IsZero() {
		return ""
	}
	if a.Package == "" || a.Ecosystem == "" {
		return "it names no package"
	}
	if len(a.Ranges) > maxRanges || len(a.Versions) > maxNamed {
		return "it names more versions than any package has"
	}
	check := checker(a.Ecosystem)
	for _, r := range a.Ranges {
		for _, v := range []string{r.Introduced, r.Fixed, r.Last} {
			if v != "" && check(v) != nil {
				return "its version " + clip(v) + " doesn't parse"
			}
		}
	}
	if i := slices.IndexFunc(a.Versions, func(v string) bool { return v == "" || isOdd(v) }); i >= 0 {
		return "its version " + clip(a.Versions[i]) + " doesn't parse"
	}
	return ""
}

func isOdd(s string) bool {
	return len(s) > maxText || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func clip(s string) string {
	const most = 40
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s), "?")
	if len(s) > most {
		return `"` + strings.ToValidUTF8(s[:most], "") + `..."`
	}
	return `"` + s + `"`
}

// IsCVE reports whether a name has the form of a CVE's.
func IsCVE(name string) bool {
	year, number, ok := strings.Cut(strings.TrimPrefix(name, "CVE-"), "-")
	return ok && strings.HasPrefix(name, "CVE-") && len(year) == 4 && len(number) >= 4 && len(number) <= 19 &&
		strings.Trim(year+number, "0123456789") == ""
}

// refused makes the error for a feed that breaks its format's rules.
func refused(format string, args ...any) *imx.Error { return imx.Errorf(imx.Refused, format, args...) }

// ended turns a reader's early end into a refusal, and lets its other errors pass.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refused("it ends in the middle of an entry").WithHint("the file was cut: fetch it again")
	}
	return err
}

// releases are Debian's releases by number, as OSV's ecosystems name them.
func releases() map[string]string {
	return map[string]string{
		"7": "wheezy", "8": "jessie", "9": "stretch", "10": "buster", "11": "bullseye", "12": "bookworm", "13": "trixie", "14": "forky", "15": "duke",
	}
}

// Release returns the codename of the Debian release that a suite belongs to: "bookworm" for
// "bookworm-security". Suites that are named after their place ("stable") have none: "".
func Release(suite string) string {
	name, _, _ := strings.Cut(strings.ReplaceAll(suite, "/", "-"), "-")
	switch name {
	case "", "stable", "oldstable", "oldoldstable", "testing", "experimental", "proposed":
		return ""
	case "unstable":
		return "sid"
	}
	if deb.CheckName(name) != nil {
		return ""
	}
	return name
}

// worse returns the worse of two levels; "" is the level of what nobody has judged.
func worse(a, b imx.Level) imx.Level {
	if rank(a) >= rank(b) {
		return a
	}
	return b
}

// rank orders levels: the worse, the higher; an unknown one is the lowest.
func rank(l imx.Level) int {
	i := slices.Index(imx.Levels(), l)
	if i < 0 {
		return 0
	}
	return len(imx.Levels()) - i
}

// compareAdvisories orders what is said of one package, the same in any order of the feeds.
func compareAdvisories(a, b Advisory) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Notice, b.Notice), a.Published.Compare(b.Published))
}
