package cli

import (
	"io"
	"strconv"
	"strings"

	"imx"
	"imx/internal/report"
	"imx/internal/template"
	"imx/internal/term"
)

// showCheck prints what checks found, without mistakes: those are the command's error. It says ok unless
// there are findings that make the check fail.
func showCheck(out term.Stream, r report.Report, bad []imx.Finding) error {
	var b strings.Builder
	for _, f := range r.Folders {
		if len(f.Mistakes) == 0 {
			b.WriteString(diagnosticsText(out.Ink, f.Notices) + findingsText(out.Ink, f.Findings))
		}
	}
	for _, f := range r.Folders {
		if len(f.Mistakes) == 0 {
			line := f.Path + ": " + contentText(f)
			if len(r.Folders) == 1 {
				line = contentText(f) + ", from " + origin(f.Source)
			}
			if sum := levelCounts(f.Findings); sum != "" {
				line += "; " + sum
			}
			if len(bad) == 0 {
				b.WriteString(out.Ink.Good("ok:") + " ")
			}
			b.WriteString(term.Clean(line) + "\n")
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// findingsText shows each finding that isn't waived with its place, its source line and its rule.
func findingsText(ink term.Ink, found []imx.Finding) string {
	var b strings.Builder
	for _, f := range found {
		if f.Waived != nil {
			continue
		}
		if at := f.At.String(); at != "" {
			b.WriteString(ink.Bold(term.Clean(at)) + ": ")
		}
		b.WriteString(levelText(ink, f.Level) + " " + term.Clean(f.Message) + " " + ink.Dim("("+f.Rule+")") + "\n")
		if line, carets, ok := strings.Cut(template.Underline(imx.Diagnostic{At: f.At, Source: f.Source}), "\n"); ok {
			bar := "  " + ink.Dim("│") + " "
			b.WriteString(bar + line + "\n" + bar + ink.Bad(carets) + "\n")
		}
		if f.Fix != "" {
			b.WriteString("  " + ink.Warn("hint:") + " " + term.Clean(f.Fix) + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func levelText(ink term.Ink, l imx.Level) string {
	switch l {
	case imx.Critical, imx.High:
		return ink.Bad(string(l) + ":")
	case imx.Medium:
		return ink.Warn(string(l) + ":")
	case imx.Low:
	}
	return ink.Dim(string(l) + ":")
}

// contentText counts what a template has: "1 image, 2 services".
func contentText(f report.Folder) string {
	return term.Count(int64(f.Images), "image") + ", " + term.Count(int64(f.Services), "service")
}

// findingsLine says in one line what a server's rules found, "" where they found nothing.
func findingsLine(ink term.Ink, found []imx.Finding, dir string) string {
	sum := levelCounts(found)
	if sum == "" {
		return ""
	}
	return ink.Dim("the rules found "+sum+": "+strings.TrimSpace("imx check "+argOf(dir))+" shows them") + "\n\n"
}

// levelCounts sums findings up: "1 high, 2 low, 1 waived"; "" for none.
func levelCounts(found []imx.Finding) string {
	counts := map[string]int{}
	for _, f := range found {
		if f.Waived != nil {
			counts["waived"]++
		} else {
			counts[string(f.Level)]++
		}
	}
	var parts []string
	for _, name := range append(levelNames(), "waived") {
		if n := counts[name]; n > 0 {
			parts = append(parts, strconv.Itoa(n)+" "+name)
		}
	}
	return strings.Join(parts, ", ")
}
