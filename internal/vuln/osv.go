package vuln

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/version"
)

// osvRecord is what is used of a record of the OSV format (https://ossf.github.io/osv-schema).
type osvRecord struct {
	ID        string        `json:"id"`
	Aliases   []string      `json:"aliases"`
	Upstream  []string      `json:"upstream"`
	Published time.Time     `json:"published"`
	Modified  time.Time     `json:"modified"`
	Withdrawn time.Time     `json:"withdrawn"`
	Severity  []osvSeverity `json:"severity"`
	Affected  []osvAffected `json:"affected"`
}

type osvSeverity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type osvAffected struct {
	Package struct {
		Name      string `json:"name"`
		Ecosystem string `json:"ecosystem"`
	} `json:"package"`
	Severity []osvSeverity `json:"severity"`
	Ranges   []osvRange    `json:"ranges"`
	Versions []string      `json:"versions"`
	Specific struct {
		Urgency string `json:"urgency"`
	} `json:"ecosystem_specific"`
}

type osvRange struct {
	Type   string     `json:"type"`
	Events []osvEvent `json:"events"`
}

type osvEvent struct {
	Introduced string `json:"introduced"`
	Fixed      string `json:"fixed"`
	Last       string `json:"last_affected"`
}

// ParseOSV reads records of the OSV format: one after the other, or in arrays. A record that was withdrawn is told to
// Skip and says nothing. What it says of ecosystems that no image of imx has packages of is left out.
func ParseOSV(r io.Reader, sink Sink) (Summary, error) {
	var sum Summary
	records := readValues(r)
	found := false
	for {
		var one osvRecord
		err := records.next(&one)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && one.ID == "" {
			err = refused("a record has no id")
		}
		if err == nil {
			found = true
			err = one.take(&sum, &sink)
		}
		if err != nil {
			return Summary{}, err
		}
	}
	if !found {
		return Summary{}, refused("it has no record in it")
	}
	return sum, nil
}

func (o *osvRecord) take(sum *Summary, sink *Sink) error {
	sum.saw(o.Modified)
	if !o.Withdrawn.IsZero() {
		sink.Skip(o.ID, "it was withdrawn on "+o.Withdrawn.Format(time.DateOnly))
		return nil
	}
	for i := range o.Affected {
		base := o.Affected[i].advisory(o, sink)
		if base.Package == "" {
			continue
		}
		for _, a := range o.named(base) {
			if err := sink.take(sum, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// named gives the advisory the record's names: a CVE's first. A record about several CVEs is one advisory for each.
func (o *osvRecord) named(a Advisory) []Advisory {
	others := slices.Concat(o.Aliases, o.Upstream)
	var cves []string
	for _, name := range others {
		if IsCVE(name) && !slices.Contains(cves, name) {
			cves = append(cves, name)
		}
	}
	if IsCVE(o.ID) || len(cves) == 0 {
		a.ID, a.Aliases = o.ID, slices.Clone(o.Aliases)
		return []Advisory{a}
	}
	if len(cves) == 1 {
		a.ID = cves[0]
		a.Aliases = append(slices.DeleteFunc(slices.Clone(others), func(s string) bool { return s == a.ID }), o.ID)
		return []Advisory{a}
	}
	all := make([]Advisory, 0, len(cves))
	for _, cve := range cves {
		one := a
		one.ID, one.Notice = cve, o.ID
		all = append(all, one)
	}
	return all
}

// advisory returns what the record says of one package; without a Package where imx has no use for it.
func (f *osvAffected) advisory(o *osvRecord, sink *Sink) Advisory {
	ecosystem, why := osvEcosystem(f.Package.Ecosystem)
	if why != "" {
		sink.Skip(o.ID+" "+f.Package.Name, why)
		return Advisory{}
	}
	a := Advisory{
		Ecosystem: ecosystem, Package: PackageName(ecosystem, f.Package.Name), Versions: f.Versions, Urgency: f.Specific.Urgency,
		Level: cvssLevel(slices.Concat(f.Severity, o.Severity)), Published: o.Published,
	}
	if a.Level == "" {
		a.Level = urgencyLevel(a.Urgency)
	}
	order, ordered := orderOf(ecosystem)
	for _, r := range f.Ranges {
		if r.Type != "GIT" && ordered {
			a.Ranges = append(a.Ranges, r.ranges(order)...)
		}
	}
	if len(a.Ranges) == 0 && len(a.Versions) == 0 {
		sink.Skip(o.ID+" "+f.Package.Name, "it names no version that imx can compare")
		return Advisory{}
	}
	if ordered && len(a.Ranges) > 0 {
		a.Versions = nil // the ranges say the same, and a list of them has been seen that was cut
	}
	return a
}

// ranges pairs the events: each "introduced" with the "fixed" or "last_affected" that follows it in the order of the
// versions, which needn't be theirs in the record. An end without a beginning says nothing.
func (r osvRange) ranges(o version.Order) []Range {
	events := slices.Clone(r.Events)
	slices.SortStableFunc(events, func(a, b osvEvent) int {
		return cmp.Or(cmp.Compare(after(a.Introduced != "0"), after(b.Introduced != "0")), o.Compare(a.version(), b.version()))
	})
	var all []Range
	open := false
	for _, e := range events {
		switch {
		case e.Introduced != "" && !open:
			all, open = append(all, Range{Introduced: e.Introduced}), true
		case open && e.Fixed != "":
			all[len(all)-1].Fixed, open = e.Fixed, false
		case open && e.Last != "":
			all[len(all)-1].Last, open = e.Last, false
		}
	}
	return all
}

func (e osvEvent) version() string { return cmp.Or(e.Introduced, e.Fixed, e.Last) }

// osvEcosystem returns imx's name for an ecosystem of OSV's, or why imx has no use for it.
func osvEcosystem(name string) (ecosystem, why string) {
	kind, number, _ := strings.Cut(name, ":")
	switch kind {
	case "Debian":
		if codename, ok := releases()[number]; ok {
			return Debian(codename), ""
		}
		return "", "release " + clip(number) + " of Debian isn't known"
	case "Go", "npm", "crates.io", "PyPI", "Maven":
		return name, ""
	}
	return "", "no image has packages of the ecosystem " + clip(name)
}

// PackageName returns the one form of a package's name: Python's many spellings mean the same (PEP 503).
func PackageName(ecosystem, name string) string {
	switch ecosystem {
	case "Go": // package URLs of modules are written in lower case, and advisories as the module is
		return strings.ToLower(name)
	case "PyPI":
	default:
		return name
	}
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	return strings.Join(parts, "-")
}

// urgencyLevel reads the urgency that Debian's tracker gives. "unimportant" is a vulnerability that can't be used as
// the package is built.
func urgencyLevel(urgency string) imx.Level {
	switch strings.TrimRight(urgency, "*") {
	case "high":
		return imx.High
	case "medium":
		return imx.Medium
	case "low", "unimportant":
		return imx.Low
	}
	return ""
}
