// Package report writes what checks found in the formats that other programs read: imx's own JSON, SARIF 2.1.0
// for code review, JUnit's XML for build servers. It neither checks anything nor judges whether that is enough.
package report

import (
	"encoding/json"
	"io"
	"strings"

	"github.com/apparentlymart/go-textseg/v15/textseg"

	"imx"
)

// Report is what checks found in some folders.
type Report struct {
	Version string     `json:"version"` // of imx
	Rules   []imx.Rule `json:"rules"`   // that its formats describe: of those that found nothing only JUnit's says so
	Folders []Folder   `json:"folders"`
}

// Folder is one template's folder. Positions name files as a person would open them.
type Folder struct {
	Path     string          `json:"path"`
	Mistakes imx.Diagnostics `json:"mistakes,omitempty"` // because of which the rules were not asked
	Notices  imx.Diagnostics `json:"notices,omitempty"`
	Findings []imx.Finding   `json:"findings"`
	// Template is the template itself, nil where it has mistakes or wasn't asked for.
	Template *imx.Template `json:"template,omitempty"`

	// What a person is told of it, and a program finds in Template.
	Images, Services int        `json:"-"`
	Source           imx.Source `json:"-"`
}

// Findings are those of all folders.
func (r Report) Findings() []imx.Finding {
	var all []imx.Finding
	for _, f := range r.Folders {
		all = append(all, f.Findings...)
	}
	return all
}

// JSON writes the report as one JSON document.
func JSON(w io.Writer, r Report) error {
	if r.Rules == nil {
		r.Rules = []imx.Rule{}
	}
	folders := make([]Folder, len(r.Folders))
	for i, f := range r.Folders {
		if f.Findings == nil {
			f.Findings = []imx.Finding{}
		}
		folders[i] = f
	}
	r.Folders = folders
	return indented(w, r)
}

func indented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// columns returns where a Pos begins and ends in Unicode code points, counted from 1 as a Pos counts characters
// (which may have several); zeros where it has no column or the line isn't known.
func columns(at imx.Pos, source string) (begin, end int) {
	if at.Column < 1 || source == "" {
		return 0, 0
	}
	clusters, err := textseg.AllTokens([]byte(source), textseg.ScanGraphemeClusters)
	if err != nil {
		return 0, 0
	}
	point := 1
	for i, c := range clusters {
		if i+1 == at.Column {
			begin = point
		}
		point += len([]rune(string(c)))
		if i+2 == at.End {
			end = point
		}
	}
	if begin == 0 { // past the line's end
		return point, point
	}
	if end == 0 {
		end = point
	}
	return begin, end
}

// sentence joins a summary with what to do about it.
func sentence(summary, hint string) string {
	if hint == "" {
		return summary + "."
	}
	return summary + ". " + strings.ToUpper(hint[:1]) + hint[1:]
}
