package report

import (
	"encoding/xml"
	"io"
	"strings"

	"imx"
)

// TestsJUnit writes what came of tests of images as JUnit's XML: a suite for each test of a service, a case for each check.
func TestsJUnit(w io.Writer, results []imx.TestResult) error {
	all := junitSuites{Name: "imx test"}
	for _, r := range results {
		s := junitSuite{Name: strings.TrimPrefix(r.Service+" "+r.Test, " ")}
		for _, c := range r.Checks {
			s.add(testCase(s.Name, r, c))
		}
		all.Tests, all.Failures = all.Tests+s.Tests, all.Failures+s.Failures
		all.Suites = append(all.Suites, s)
	}
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

func testCase(class string, r imx.TestResult, c imx.TestCheck) junitCase {
	one := junitCase{Name: c.Name + ": " + c.Asked, Class: class, File: c.At.File, Line: c.At.Line}
	if c.Passed {
		return one
	}
	text := "asked: " + c.Asked + "\ngot: " + c.Got + "\n"
	if c.Output != "" {
		text += c.Output + "\n"
	}
	if len(r.Logs) > 0 {
		text += "the last lines of the instance:\n" + strings.Join(r.Logs, "\n") + "\n"
	}
	one.Failure = &junitFailure{Type: "test", Message: c.Got, Text: text}
	return one
}
