package report

import (
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
		all.add(s)
	}
	return all.write(w)
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
