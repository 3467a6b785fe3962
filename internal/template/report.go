package template

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apparentlymart/go-textseg/v15/textseg"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"imx"
)

const maxQuoted = 200 // characters

// flaw is what is wrong with something, and what to write instead. Where it is about a setting's
// value, part says which element, as in place, and the summary continues after the setting's name.
type flaw struct {
	part    string
	summary string
	hint    string
	rule    string // that finds the same, of a notice
}

// place names a part of a template: "service[0]/port[1].publish", "image[0].packages[2]".
type place string

func (p place) block(name string, i int) place { return p + place(fmt.Sprintf("/%s[%d]", name, i)) }
func (p place) setting(name string) place      { return p + "." + place(name) }
func (p place) part(s string) place            { return p + place(s) }

// outer returns the place around p, "" for a top-level block.
func (p place) outer() place { return p[:max(0, strings.LastIndexAny(string(p), "./["))] }

// where is a block: its place, and what messages call it (`service "web": port "http"`).
type where struct {
	place   place
	subject string
}

func (w where) nested(place place, subject string) where {
	if w.subject != "" {
		subject = w.subject + ": " + subject
	}
	return where{place, subject}
}

// report gathers what there is to say about a template, and knows where each part of it stands.
type report struct {
	sources map[string][]string // lines, by file
	places  map[place]imx.Pos
	labels  map[place]string // of the blocks that have one
	broken  map[place]bool   // has been reported, or depends on what has been: the checks that follow say nothing of it
	said    map[imx.Diagnostic]bool
	ds      imx.Diagnostics
	failed  bool
	tooMany bool // a Template holds more than may be compared
}

func newReport() *report {
	return &report{
		sources: map[string][]string{},
		places:  map[place]imx.Pos{},
		labels:  map[place]string{},
		broken:  map[place]bool{},
		said:    map[imx.Diagnostic]bool{},
	}
}

func (r *report) addSource(name string, text []byte) {
	r.sources[name] = strings.Split(string(text), "\n")
}

// at returns where p stands, or the nearest thing around it that has a position.
func (r *report) at(p place) imx.Pos {
	for ; p != ""; p = p.outer() {
		if pos, ok := r.places[p]; ok {
			return pos
		}
	}
	return imx.Pos{}
}

func (r *report) isBroken(p place) bool {
	for ; p != ""; p = p.outer() {
		if r.broken[p] {
			return true
		}
	}
	return false
}

// fail reports a mistake at a place, unless that place is broken already.
func (r *report) fail(p place, f flaw) {
	if !r.isBroken(p) {
		r.failAt(r.at(p), f)
	}
}

// failSetting reports the flaws of a setting's value.
func (r *report) failSetting(w where, name string, flaws []flaw) {
	for _, f := range flaws {
		r.fail(w.place.setting(name).part(f.part), flaw{summary: w.subject + ": " + name + " " + f.summary, hint: f.hint})
	}
}

func (r *report) failAt(at imx.Pos, f flaw) {
	r.failed = true
	r.add(imx.Diagnostic{Severity: imx.SeverityError, Summary: f.summary, Hint: f.hint, At: at})
}

func (r *report) notice(p place, f flaw) {
	r.add(imx.Diagnostic{Severity: imx.SeverityNotice, Summary: f.summary, Hint: f.hint, At: r.at(p), Rule: f.rule})
}

func (r *report) add(d imx.Diagnostic) {
	if !r.said[d] {
		r.said[d] = true
		r.ds = append(r.ds, d)
	}
}

// done returns everything that was reported, in the order of the files and lines; notices only
// if there is no mistake, for then nothing was chosen.
func (r *report) done() imx.Diagnostics {
	if r.failed {
		r.ds = slices.DeleteFunc(r.ds, func(d imx.Diagnostic) bool { return d.Severity == imx.SeverityNotice })
	}
	slices.SortStableFunc(r.ds, func(a, b imx.Diagnostic) int {
		return cmp.Or(cmp.Compare(a.At.File, b.At.File), cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Column, b.At.Column))
	})
	r.ds = r.ds.First()
	for i, d := range r.ds {
		r.ds[i].Source = r.line(d.At)
	}
	return r.ds
}

func (r *report) line(at imx.Pos) string {
	lines := r.sources[at.File]
	if at.Line < 1 || at.Line > len(lines) || len(lines[at.Line-1]) > imx.MaxSource {
		return ""
	}
	return strings.TrimSuffix(lines[at.Line-1], "\r")
}

// pos turns an HCL range into a position on one line: a range over several ends with its first.
func (r *report) pos(rng hcl.Range) imx.Pos {
	p := imx.Pos{File: rng.Filename, Line: rng.Start.Line, Column: rng.Start.Column, End: rng.End.Column}
	if lines := r.sources[p.File]; rng.End.Line != p.Line && p.Line <= len(lines) {
		n, err := textseg.TokenCount([]byte(strings.TrimSuffix(lines[p.Line-1], "\r")), textseg.ScanGraphemeClusters)
		if err == nil {
			p.End = n + 1
		}
	}
	p.End = max(p.End, p.Column+1)
	return p
}

// addHCL takes over what the HCL library says. A mistake that a function of ours found comes in
// its own words.
func (r *report) addHCL(diags hcl.Diagnostics) {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		at := imx.Pos{}
		if d.Subject != nil {
			at = r.pos(*d.Subject)
		}
		var inner *fileError
		f := flaw{summary: lowerFirst(d.Summary), hint: d.Detail}
		if d.Summary == "Invalid character encoding" {
			f = flaw{summary: "this is no UTF-8 text", hint: "save the file as UTF-8"}
		}
		extra, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d)
		switch {
		case !ok || extra.FunctionCallError() == nil:
		case errors.As(extra.FunctionCallError(), &inner):
			r.addFileError(at, inner)
			continue
		default:
			err := imx.AsError(extra.FunctionCallError())
			f = flaw{summary: extra.CalledFunctionName() + "(): " + err.Message, hint: err.Hint}
		}
		r.failAt(at, f)
	}
}

// quote writes a text for a message, cut where it is so long that nobody would read it.
func quote(s string) string {
	if r := []rune(s); len(r) > maxQuoted {
		s = string(r[:maxQuoted]) + "..."
	}
	return strconv.Quote(s)
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
