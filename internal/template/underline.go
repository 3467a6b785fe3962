package template

import (
	"strings"
	"unicode"

	"github.com/apparentlymart/go-textseg/v15/textseg"
	"github.com/clipperhouse/displaywidth"

	"imx"
)

// Underline returns the source line of a diagnostic and below it a line with a caret under each
// character from Column up to End, as plain text for a terminal or a log. Tabs stay tabs in both
// lines, so that they align at any width; other control characters show as U+FFFD. It returns ""
// where there is no source line or no column.
func Underline(d imx.Diagnostic) string {
	if d.Source == "" || d.At.Column < 1 {
		return ""
	}
	var line, carets strings.Builder
	clusters, err := textseg.AllTokens([]byte(d.Source), textseg.ScanGraphemeClusters)
	if err != nil {
		return ""
	}
	for i, c := range clusters {
		shown, mark := printable(string(c)), " "
		if i+1 >= d.At.Column && i+1 < d.At.End {
			mark = "^"
		}
		line.WriteString(shown)
		switch {
		case shown != "\t":
			carets.WriteString(strings.Repeat(mark, displaywidth.String(shown)))
		case mark == "^":
			carets.WriteString("^\t")
		default:
			carets.WriteString("\t")
		}
	}
	if d.At.Column > len(clusters) { // a thing that is missing at the line's end
		carets.WriteString(strings.Repeat(" ", d.At.Column-len(clusters)-1) + "^")
	}
	return line.String() + "\n" + strings.TrimRight(carets.String(), " \t")
}

// printable keeps what would move the cursor, or worse, out of a terminal.
func printable(cluster string) string {
	if cluster == "\t" {
		return cluster
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, cluster)
}
