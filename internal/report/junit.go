package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"imx"
)

// JUnit's format has no standard; this is what Jenkins, GitLab and GitHub's readers take:
// https://github.com/testmoapp/junitxml
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Line    int           `xml:"line,attr,omitempty"`
		Failure *junitFailure `xml:"failure"`
		Skipped *junitSkipped `xml:"skipped"`
	}
	junitFailure struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
)

// JUnit writes the report as JUnit's XML: a suite for each folder, a case for each rule that found nothing, a
// failure for each finding, a skipped case for each waived one.
func JUnit(w io.Writer, r Report) error {
	all := junitSuites{Name: "imx check"}
	for _, folder := range r.Folders {
		s := suiteOf(folder, r.Rules)
		all.add(s)
	}
	return all.write(w)
}

func (all *junitSuites) add(s junitSuite) {
	all.Tests, all.Failures, all.Skipped = all.Tests+s.Tests, all.Failures+s.Failures, all.Skipped+s.Skipped
	all.Suites = append(all.Suites, s)
}

func (all *junitSuites) write(w io.Writer) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func suiteOf(folder Folder, rules []imx.Rule) junitSuite {
	s := junitSuite{Name: folder.Path}
	for _, d := range folder.Mistakes {
		f := imx.Finding{Rule: mistakeRule, Level: imx.Critical, Message: d.Summary, Fix: d.Hint, At: d.At, Source: d.Source}
		s.add(caseOf(f, imx.Rule{}, folder.Path))
	}
	if len(folder.Mistakes) > 0 {
		return s
	}
	byRule := map[string]imx.Rule{}
	for _, rule := range rules {
		byRule[rule.ID] = rule
	}
	found := map[string]bool{}
	for _, f := range folder.Findings {
		found[f.Rule] = true
		s.add(caseOf(f, byRule[f.Rule], folder.Path))
	}
	for _, rule := range rules {
		if !found[rule.ID] {
			s.add(junitCase{Name: rule.ID, Class: folder.Path})
		}
	}
	return s
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	if c.Failure != nil {
		s.Failures++
	}
	if c.Skipped != nil {
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func caseOf(f imx.Finding, rule imx.Rule, folder string) junitCase {
	c := junitCase{Name: strings.TrimSuffix(f.Rule+" "+f.Subject, " "), Class: folder, File: f.At.File, Line: f.At.Line}
	if f.Waived != nil {
		c.Skipped = &junitSkipped{Message: fmt.Sprintf("waived until %s: %s", f.Waived.Until.UTC().Format("2006-01-02"), f.Waived.Reason)}
		return c
	}
	lines := []string{strings.TrimPrefix(f.At.String()+": "+f.Message, ": "), f.Source, rule.Why, f.Fix, rule.Fix}
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" })
	c.Failure = &junitFailure{Type: string(f.Level), Message: f.Message, Text: strings.Join(lines, "\n") + "\n"}
	return c
}
