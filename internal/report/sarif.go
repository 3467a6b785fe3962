package report

import (
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"imx"
)

// mistakeRule is the rule that a template's mistakes count as broken, which SARIF wants to be named.
const mistakeRule = "template-mistake"

// The parts of SARIF 2.1.0 that imx writes: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name            string      `json:"name"`
		SemanticVersion string      `json:"semanticVersion,omitempty"`
		Rules           []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string          `json:"id"`
		ShortDescription sarifText       `json:"shortDescription"`
		FullDescription  *sarifText      `json:"fullDescription,omitempty"`
		Help             *sarifText      `json:"help,omitempty"`
		HelpURI          string          `json:"helpUri,omitempty"`
		Configuration    sarifLevel      `json:"defaultConfiguration"`
		Properties       sarifProperties `json:"properties"`
	}
	sarifProperties struct {
		Tags     []string `json:"tags"`
		Severity string   `json:"security-severity"` // 0 to 10, which code review sites sort by
	}
	sarifLevel struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int        `json:"startLine"`
		StartColumn int        `json:"startColumn,omitempty"`
		EndColumn   int        `json:"endColumn,omitempty"`
		Snippet     *sarifText `json:"snippet,omitempty"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
)

// SARIF writes the report as one SARIF 2.1.0 log. Waived findings are suppressed results with the waiver's reason.
func SARIF(w io.Writer, r Report) error {
	rules := slices.Concat([]imx.Rule{{
		ID: mistakeRule, Title: "The template has a mistake", Level: imx.Critical, Why: "Nothing can be planned or built from it.",
	}}, r.Rules)
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "imx", SemanticVersion: r.Version, Rules: []sarifRule{}}
	index := map[string]int{}
	for _, rule := range rules {
		index[rule.ID] = len(run.Tool.Driver.Rules)
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRuleOf(rule))
	}
	for _, folder := range r.Folders {
		for _, d := range folder.Mistakes {
			run.Results = append(run.Results, sarifResultOf(imx.Finding{
				Rule: mistakeRule, Level: imx.Critical, Message: d.Summary, Fix: d.Hint, At: d.At, Source: d.Source,
			}, index, folder.Path))
		}
		for _, f := range folder.Findings {
			run.Results = append(run.Results, sarifResultOf(f, index, folder.Path))
		}
	}
	return indented(w, sarifLog{
		Schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run},
	})
}

func sarifRuleOf(r imx.Rule) sarifRule {
	s := sarifRule{
		ID: r.ID, ShortDescription: sarifText{r.Title}, Configuration: sarifLevel{sarifLevelOf(r.Level)},
		Properties: sarifProperties{Tags: []string{"security"}, Severity: scoreOf(r.Level)},
	}
	if text := strings.TrimSpace(r.Description + " " + r.Why); text != "" {
		s.FullDescription = &sarifText{text}
	}
	if r.Fix != "" {
		s.Help = &sarifText{r.Fix}
	}
	if len(r.Links) > 0 {
		s.HelpURI = r.Links[0]
	}
	return s
}

func sarifLevelOf(l imx.Level) string {
	switch l {
	case imx.Critical, imx.High:
		return "error"
	case imx.Medium:
		return "warning"
	case imx.Low:
	}
	return "note"
}

// scoreOf places a level in the middle of its range of CVSS scores.
func scoreOf(l imx.Level) string {
	switch l {
	case imx.Critical:
		return "9.5"
	case imx.High:
		return "8.0"
	case imx.Medium:
		return "5.5"
	case imx.Low:
	}
	return "2.0"
}

func sarifResultOf(f imx.Finding, index map[string]int, folder string) sarifResult {
	at := sarifPhysical{Artifact: sarifArtifact{uri(f.At.File)}}
	if f.At.File == "" {
		at.Artifact.URI = uri(folder)
	}
	if f.At.Line > 0 {
		begin, end := columns(f.At, f.Source)
		at.Region = &sarifRegion{StartLine: f.At.Line, StartColumn: begin, EndColumn: end}
		if f.Source != "" {
			at.Region.Snippet = &sarifText{f.Source}
		}
	}
	s := sarifResult{
		RuleID: f.Rule, RuleIndex: -1, Level: sarifLevelOf(f.Level), Message: sarifText{sentence(f.Message, f.Fix)},
		Locations: []sarifLocation{{Physical: at}},
		// What stays the same when lines move, so that a site knows a finding again.
		Fingerprints: map[string]string{"imx/v1": string(imx.DigestJSON([]string{f.Rule, f.At.File, f.Subject, f.Message}))},
	}
	if i, ok := index[f.Rule]; ok {
		s.RuleIndex = i
	}
	if f.Subject != "" {
		s.Locations[0].Logical = []sarifLogical{{f.Subject}}
	}
	if f.Waived != nil {
		s.Suppressions = []sarifSuppression{{Kind: "inSource", Justification: f.Waived.Reason}}
	}
	return s
}

// uri makes a relative reference of a path, which stays relative to wherever the report is read.
func uri(path string) string {
	if path == "" {
		path = "."
	}
	return (&url.URL{Path: filepath.ToSlash(path)}).String()
}
