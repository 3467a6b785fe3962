package cli

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/template"
	"imx/internal/term"
)

// showTests prints what came of tests: a line for each, and under one that failed what was asked, what came, the
// template's line, and the last lines that the instance wrote.
func showTests(out term.Stream, results []imx.TestResult, lines sourceLines) error {
	if len(results) == 0 {
		_, err := fmt.Fprintln(out, "nothing to test: the template has no service and no image")
		return err
	}
	var b strings.Builder
	for _, r := range results {
		b.WriteString(testText(out.Ink, r, lines))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func testText(ink term.Ink, r imx.TestResult, lines sourceLines) string {
	word := ink.Good("passed")
	if !r.Passed {
		word = ink.Bad("FAILED")
	}
	took := time.Duration(r.Seconds * float64(time.Second))
	text := fmt.Sprintf("%s  %s %s  %s\n", word, ink.Name(cmp.Or(r.Service, "image")), term.Clean(r.Test),
		ink.Dim(fmt.Sprintf("%s, %s", term.Count(int64(len(r.Checks)), "check"), term.Took(took))))
	if r.Passed {
		return text
	}
	for _, c := range r.Checks {
		if !c.Passed {
			text += checkText(ink, c, lines)
		}
	}
	if len(r.Logs) > 0 {
		text += "  the last lines of the instance:\n" + indent(r.Logs)
	}
	return text + "\n"
}

func checkText(ink term.Ink, c imx.TestCheck, lines sourceLines) string {
	text := "  " + ink.Bold(term.Clean(c.Name))
	if at := c.At.String(); at != "" {
		text += "  " + term.Clean(at)
	}
	text += "\n"
	if line, carets, ok := strings.Cut(template.Underline(imx.Diagnostic{At: c.At, Source: lines.at(c.At)}), "\n"); ok {
		bar := "  " + ink.Dim("│") + " "
		text += bar + line + "\n" + bar + ink.Bad(carets) + "\n"
	}
	text += "  asked: " + term.Clean(c.Asked) + "\n  got:   " + ink.Bad(term.Clean(c.Got)) + "\n"
	if c.Output != "" {
		text += "  output:\n" + indent(strings.Split(strings.TrimRight(c.Output, "\n"), "\n"))
	}
	return text
}

// shownOutput is how many lines of an output a person is shown, and shownLine how much of each.
const (
	shownOutput = 10
	shownLine   = 200
)

func indent(lines []string) string {
	var b strings.Builder
	for _, line := range lines[max(0, len(lines)-shownOutput):] {
		b.WriteString("    " + term.Cut(term.Clean(line), shownLine) + "\n")
	}
	return b.String()
}

// resultInFolder names the places of a result as a person would open them.
func resultInFolder(r imx.TestResult, dir string) imx.TestResult {
	placed := func(at imx.Pos) imx.Pos {
		if at.File != "" {
			at.File = filepath.Join(dir, at.File)
		}
		return at
	}
	r.At, r.Checks = placed(r.At), slices.Clone(r.Checks)
	for i := range r.Checks {
		if r.Checks[i].At.File == "" && !r.Checks[i].Passed {
			r.Checks[i].At = r.At
			continue
		}
		r.Checks[i].At = placed(r.Checks[i].At)
	}
	return r
}
