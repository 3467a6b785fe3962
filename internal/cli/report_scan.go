package cli

import (
	"cmp"
	"slices"

	"imx"
	"imx/internal/report"
)

// scanReport makes findings of a scan, so that sites which show those of checks show these too: each vulnerability is a
// rule, each image a folder, and what is excused is waived.
func scanReport(r imx.ScanResult, version string) report.Report {
	all := report.Report{Version: version, Folders: []report.Folder{}}
	known := map[string]bool{}
	for _, one := range r.Images {
		folder := report.Folder{Path: one.Name, Findings: []imx.Finding{}}
		for _, v := range one.Vulnerabilities {
			if !known[v.ID] {
				known[v.ID] = true
				all.Rules = append(all.Rules, vulnerabilityRule(v))
			}
			folder.Findings = append(folder.Findings, vulnerabilityFinding(one, v))
		}
		all.Folders = append(all.Folders, folder)
	}
	slices.SortFunc(all.Rules, func(a, b imx.Rule) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func vulnerabilityRule(v imx.Vulnerability) imx.Rule {
	rule := imx.Rule{ID: v.ID, Title: v.ID + " in " + v.Package.Name, Level: counted(v.Level), From: "feeds"}
	rule.Why = "The feeds say that versions of " + v.Package.Name + " have it."
	if !v.Exploited.IsZero() {
		rule.Why += " It is known to be exploited."
	}
	return rule
}

// counted is the level that a vulnerability counts as: one that nobody has judged as high.
func counted(l imx.Level) imx.Level { return cmp.Or(l, imx.High) }

func vulnerabilityFinding(one imx.ImageScan, v imx.Vulnerability) imx.Finding {
	f := imx.Finding{
		Rule: v.ID, Level: counted(v.Level), Subject: "image." + one.Name,
		Message: "image " + one.Name + "@" + one.Image.Short() + " has " + v.Package.Name + " " + v.Package.Version + ", which has " + v.ID,
	}
	if v.Package.Fixed != "" {
		f.Fix = "version " + v.Package.Fixed + " fixes it"
		if one.Patch != "" {
			f.Fix += ": " + one.Patch
		}
	}
	if v.Excused != nil {
		f.Waived = &imx.Waiver{Rule: v.ID, Reason: cmp.Or(v.Excused.Because, v.Excused.Justification, v.Excused.Status)}
	}
	return f
}
