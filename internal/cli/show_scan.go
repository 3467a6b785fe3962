package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/term"
	"imx/internal/vuln"
)

// showScan prints what a scan found, image by image, and what limits it.
func showScan(out term.Stream, r imx.ScanResult, req imx.ScanRequest, now time.Time) error {
	var b strings.Builder
	if !r.At.IsZero() {
		fmt.Fprintf(&b, "%s\n\n", out.Ink.Dim("what was there at "+term.Stamp(r.At)+", by what is known today"))
	}
	for i, one := range r.Images {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(imageScanText(out, one, now))
	}
	if len(r.Images) == 0 {
		b.WriteString(nothingScanned(req, r.Searched))
	}
	if len(r.Feeds) > 0 {
		b.WriteString("\n" + feedsText(out.Ink, out.Columns(), brief(r.Feeds), now))
	}
	b.WriteString(limitsText(out.Ink, r.Gaps, r.Notices))
	_, err := io.WriteString(out, b.String())
	return err
}

// brief leaves out what a scan needn't repeat of a feed.
func brief(feeds []imx.Feed) []imx.Feed {
	all := slices.Clone(feeds)
	for i := range all {
		all[i].Skips = nil
	}
	return all
}

func nothingScanned(req imx.ScanRequest, searched int) string {
	switch {
	case req.ID == "" || searched == 0:
		return "there is no image to scan\n"
	case searched == 1:
		return "the 1 image that there is doesn't have " + term.Clean(req.ID) + ", as far as the feeds know\n"
	}
	return fmt.Sprintf("none of the %d images has %s, as far as the feeds know\n", searched, term.Clean(req.ID))
}

func imageScanText(out term.Stream, one imx.ImageScan, now time.Time) string {
	ink := out.Ink
	var b strings.Builder
	about := []string{term.Count(int64(one.Packages), "package")}
	if one.Components > 0 {
		about = append(about, term.Count(int64(one.Components), "component")+" in files")
	}
	if len(one.Releases) > 0 {
		about = append(about, "released as "+strings.Join(one.Releases[:min(3, len(one.Releases))], ", "))
	}
	if len(one.Instances) > 0 {
		about = append(about, term.Count(int64(len(one.Instances)), "instance"))
	}
	if !one.Stated.IsZero() {
		about = append(about, "stated "+term.Age(one.Stated, now)+" ago")
	}
	fmt.Fprintf(&b, "%s  %s\n", ink.Bold(term.Clean(one.Name)+"@"+one.Image.Short()), ink.Dim(strings.Join(about, ", ")))
	b.WriteString(vulnerabilitiesText(out, one))
	b.WriteString(excusesText(ink, one.Vulnerabilities))
	for _, in := range one.Instances {
		for _, f := range in.Foreign {
			fmt.Fprintf(&b, "%s %s runs %s, which is not in its image (process %d, %s)\n",
				ink.Bad("foreign:"), in.Instance, term.Clean(f.Path), f.Pid, term.Clean(f.Process))
		}
	}
	fmt.Fprintf(&b, "%s\n", tallyText(ink, one))
	if one.Patch != "" {
		fmt.Fprintf(&b, "patch: %s\n", ink.Bold(term.Clean(one.Patch)))
	}
	b.WriteString(limitsText(ink, one.Gaps, one.Notices))
	return b.String()
}

// limitsText says what couldn't be looked at, and what else is worth knowing.
func limitsText(ink term.Ink, gaps, notices []string) string {
	var b strings.Builder
	for _, g := range gaps {
		fmt.Fprintf(&b, "%s %s\n", ink.Bad("gap:"), term.Clean(g))
	}
	for _, n := range notices {
		fmt.Fprintf(&b, "%s %s\n", ink.Warn("notice:"), term.Clean(n))
	}
	return b.String()
}

func vulnerabilitiesText(out term.Stream, one imx.ImageScan) string {
	table := term.Table{
		Head:  []string{"VULNERABILITY", "SEVERITY", "PACKAGE", "INSTALLED", "FIXED", "IN USE"},
		Wraps: []string{"PACKAGE", "IN USE"}, Drops: []string{"INSTALLED"},
	}
	looked := 0
	for _, in := range one.Instances {
		looked += in.Processes
	}
	for _, v := range one.Vulnerabilities {
		if v.Excused != nil {
			continue
		}
		fixed := out.Ink.Good(v.Package.Fixed)
		if v.Package.Fixed == "" {
			fixed = out.Ink.Dim("no fix yet")
		}
		table.Add(term.Clean(v.ID), severityText(out.Ink, v), affectedText(v.Package), term.Clean(v.Package.Version), fixed, useText(out.Ink, v.Used, looked))
	}
	if len(table.Rows) == 0 {
		return ""
	}
	return table.Text(out.Ink, out.Columns())
}

func severityText(ink term.Ink, v imx.Vulnerability) string {
	text := string(v.Level)
	switch {
	case text == "":
		text = ink.Dim("unknown")
	case vuln.Gravity(v.Level) >= vuln.Gravity(imx.High):
		text = ink.Bad(text)
	case v.Level == imx.Medium:
		text = ink.Warn(text)
	}
	if !v.Exploited.IsZero() {
		text += ", " + ink.Bad("exploited")
	}
	return text
}

// affectedText names a package, and those of its binary packages that the image has, where they are called otherwise.
func affectedText(p imx.Affected) string {
	if len(p.Files) > 0 {
		return term.Clean(fmt.Sprintf("%s (%s in %s)", p.Name, p.Ecosystem, firstOf(p.Files)))
	}
	if len(p.Binaries) == 0 || len(p.Binaries) == 1 && p.Binaries[0] == p.Name {
		return term.Clean(p.Name)
	}
	return term.Clean(p.Name + " (" + firstOf(p.Binaries) + ")")
}

// firstOf names two of a list, and how many more there are.
func firstOf(list []string) string {
	text := strings.Join(list[:min(2, len(list))], ", ")
	if more := len(list) - 2; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// useText tells which processes have files of a package mapped; nothing where none could be looked at.
func useText(ink term.Ink, used []imx.Use, looked int) string {
	if looked == 0 {
		return ""
	}
	var names []string
	for _, u := range used {
		if !slices.Contains(names, u.Process) {
			names = append(names, term.Clean(u.Process))
		}
	}
	if len(names) == 0 {
		return ink.Dim("no")
	}
	return "by " + strings.Join(names, ", ")
}

func excusesText(ink term.Ink, all []imx.Vulnerability) string {
	var b strings.Builder
	for _, v := range all {
		if v.Excused == nil {
			continue
		}
		why := strings.ReplaceAll(v.Excused.Justification, "_", " ")
		if v.Excused.Because != "" {
			why = strings.TrimPrefix(why+": "+v.Excused.Because, ": ")
		}
		says := strings.ReplaceAll(v.Excused.Status, "_", " ")
		fmt.Fprintf(&b, "%s %s in %s: %s, %s (%s)\n", ink.Dim("excused:"), term.Clean(v.ID), affectedText(v.Package), says, term.Clean(why), term.Clean(v.Excused.From))
	}
	return b.String()
}

func tallyText(ink term.Ink, one imx.ImageScan) string {
	t := vuln.Sum(one.Vulnerabilities)
	if t.Counting == 0 {
		text := ink.Good("no vulnerability is known")
		if t.Excused > 0 {
			text += fmt.Sprintf(" but for %d excused", t.Excused)
		}
		return text
	}
	parts := []string{term.Count(int64(t.Counting), "vulnerability"), fmt.Sprintf("%d with a fix", t.Fixable)}
	if t.Exploited > 0 {
		parts = append(parts, ink.Bad(fmt.Sprintf("%d exploited", t.Exploited)))
	}
	if t.Excused > 0 {
		parts = append(parts, fmt.Sprintf("%d excused", t.Excused))
	}
	return strings.Join(parts, ", ")
}
