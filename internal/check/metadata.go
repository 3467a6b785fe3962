//go:build !client

package check

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/apparentlymart/go-textseg/v15/textseg"
	"github.com/open-policy-agent/opa/v1/ast"

	"imx"
)

// packageNotes returns the metadata of a module's package, nil where it has none.
func packageNotes(m *ast.Module) *ast.Annotations {
	i := slices.IndexFunc(m.Annotations, func(a *ast.Annotations) bool { return a.Scope == "package" })
	if i < 0 {
		return nil
	}
	return m.Annotations[i]
}

// describe makes a Rule of a package's metadata.
func describe(a *ast.Annotations, from string) imx.Rule {
	text := func(name string) string {
		s, _ := a.Custom[name].(string)
		return strings.TrimSpace(s)
	}
	r := imx.Rule{
		ID: text("id"), Title: a.Title, Description: strings.TrimSpace(a.Description), Level: imx.Level(text("severity")),
		Why: text("why"), Fix: text("fix"), From: from,
	}
	for _, link := range a.RelatedResources {
		r.Links = append(r.Links, link.Ref.String())
	}
	return r
}

// flawOf says what is wrong with a rule's description, "" for nothing.
func flawOf(r imx.Rule) string {
	switch {
	case r.ID == "":
		return "the rule has no id in custom"
	case !regexp.MustCompile(`^[a-z][a-z0-9-]{0,59}$`).MatchString(r.ID):
		return fmt.Sprintf("the rule's id is %q; it must be lower-case letters, digits and hyphens, at most 60", r.ID)
	case r.Title == "":
		return "the rule " + r.ID + " has no title"
	case !slices.Contains(imx.Levels(), r.Level):
		return fmt.Sprintf("the rule %s has the severity %q; it must be critical, high, medium or low", r.ID, r.Level)
	}
	return ""
}

// addError takes over what the parser or the compiler says.
func (l *loader) addError(file string, err error) {
	var several ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &several):
		l.add(several)
	case errors.As(err, &one):
		l.add(ast.Errors{one})
	default:
		l.fail(imx.Pos{File: file, Line: 1}, err.Error(), "")
	}
}

func (l *loader) add(errs ast.Errors) {
	for _, e := range errs {
		summary, hint := strings.TrimSuffix(e.Message, "."), ""
		if name, ok := strings.CutPrefix(summary, "undefined function "); ok {
			hint = "docs/check.md lists the functions that rules may call: none that reaches outside, asks the time or draws lots"
			summary = "there is no function " + name + " for rules"
		}
		l.fail(l.pos(e.Location), summary, hint)
	}
}

// pos turns a place in a module into a Pos, which counts columns in characters and ends with the line.
func (l *loader) pos(at *ast.Location) imx.Pos {
	if at == nil {
		return imx.Pos{}
	}
	p := imx.Pos{File: at.File, Line: at.Row}
	lines := strings.Split(l.texts[at.File], "\n")
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
