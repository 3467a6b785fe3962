//go:build !client

package rego

import (
	"errors"
	"strings"

	"github.com/apparentlymart/go-textseg/v15/textseg"
	"github.com/open-policy-agent/opa/v1/ast"

	"imx"
)

// Faults gathers what is wrong with modules, with the line that each is about.
type Faults struct {
	texts map[string]string
	all   imx.Diagnostics
}

// NewFaults returns Faults of modules, of which none is known yet.
func NewFaults(modules []Module) *Faults {
	f := &Faults{texts: map[string]string{}}
	for _, m := range modules {
		f.texts[m.Name] = m.Text
	}
	return f
}

// Add adds one.
func (f *Faults) Add(at imx.Pos, summary, hint string) {
	f.all = append(f.all, imx.Diagnostic{Severity: imx.SeverityError, Summary: summary, Hint: hint, At: at, Source: f.line(at)})
}

// line is the line at a place, "" where nobody would read it.
func (f *Faults) line(at imx.Pos) string {
	lines := strings.Split(f.texts[at.File], "\n")
	if at.Line < 1 || at.Line > len(lines) || len(lines[at.Line-1]) > imx.MaxSource {
		return ""
	}
	return strings.TrimSuffix(lines[at.Line-1], "\r")
}

// Err returns an error of kind Invalid with all of them, nil where there is none.
func (f *Faults) Err() error { return f.all.Err() }

// take takes over what the parser or the compiler says.
func (f *Faults) take(file string, err error) {
	var several ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &several):
		f.takeAll(several)
	case errors.As(err, &one):
		f.takeAll(ast.Errors{one})
	default:
		f.Add(imx.Pos{File: file, Line: 1}, err.Error(), "")
	}
}

func (f *Faults) takeAll(errs ast.Errors) {
	for _, e := range errs {
		summary, hint := strings.TrimSuffix(e.Message, "."), ""
		if name, ok := strings.CutPrefix(summary, "undefined function "); ok {
			hint = "docs/check.md lists the functions that rules may call: none that reaches outside, asks the time or draws lots"
			summary = "there is no function " + name + " for rules"
		}
		f.Add(f.pos(e.Location), summary, hint)
	}
}

// pos turns a place in a module into a Pos, which counts columns in characters and ends with the line.
func (f *Faults) pos(at *ast.Location) imx.Pos {
	if at == nil {
		return imx.Pos{}
	}
	p := imx.Pos{File: at.File, Line: at.Row}
	lines := strings.Split(f.texts[at.File], "\n")
	if at.Row < 1 || at.Row > len(lines) || at.Col < 1 {
		return p
	}
	line := strings.TrimSuffix(lines[at.Row-1], "\r")
	begin := min(at.Col-1, len(line))
	thing, _, _ := strings.Cut(string(at.Text), "\n")
	end := min(begin+max(len(thing), 1), len(line))
	p.Column = characters(line[:begin]) + 1
	p.End = max(p.Column+1, characters(line[:end])+1)
	return p
}

func characters(s string) int {
	n, err := textseg.TokenCount([]byte(s), textseg.ScanGraphemeClusters)
	if err != nil {
		return len(s)
	}
	return n
}
