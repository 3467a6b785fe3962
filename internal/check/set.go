//go:build !client

package check

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"imx"
)

// Set are compiled rules. It is safe for concurrent use.
type Set struct {
	rules    []rule
	compiler *ast.Compiler
	bounds   Bounds
	data     *base
}

// rule is one rule and the query that evaluates it.
type rule struct {
	imx.Rule

	query  ast.Body
	at     imx.Pos // where its findings are declared,
	source string  // and that line
}

// maxModule bounds a file of rules: what takes long to compile can't be interrupted.
const maxModule = 256 << 10

// Load compiles modules into a Set, in which each package that has a rule's metadata is one rule; from becomes
// its Rule.From. The error is of kind Invalid, with a Diagnostic for each mistake in the files: text that isn't
// Rego, metadata that is missing, a built-in function that rules may not call.
func Load(from string, modules []Module, bounds Bounds) (*Set, error) {
	l := loader{from: from, texts: map[string]string{}, parsed: map[string]*ast.Module{}}
	for _, m := range modules {
		l.parse(m)
	}
	if err := l.ds.Err(); err != nil {
		return nil, err
	}
	compiler := ast.NewCompiler().WithCapabilities(allowed()).WithStrict(true).WithKeepModules(false)
	compiler.Compile(l.parsed)
	l.add(compiler.Errors)
	if err := l.ds.Err(); err != nil {
		return nil, err
	}
	s := &Set{compiler: compiler, bounds: bounds, data: newBase()}
	for _, name := range slices.Sorted(maps.Keys(l.parsed)) {
		if r, ok := l.rule(compiler, l.parsed[name]); ok {
			s.rules = append(s.rules, r)
		}
	}
	l.twice(s.rules)
	if err := l.ds.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(s.rules, func(a, b rule) int { return cmp.Compare(a.ID, b.ID) })
	return s, nil
}

// Rules returns the rules in the order of their IDs.
func (s *Set) Rules() []imx.Rule {
	all := make([]imx.Rule, len(s.rules))
	for i, r := range s.rules {
		all[i] = r.Rule
	}
	return all
}

// Apart returns an error of kind Invalid, with a Diagnostic for each rule that has the name of one of the others; nil
// where none has.
func (s *Set) Apart(others []imx.Rule) error {
	var ds imx.Diagnostics
	for _, r := range s.rules {
		if slices.ContainsFunc(others, func(o imx.Rule) bool { return o.ID == r.ID }) {
			ds = append(ds, r.flaw("imx has a rule named "+r.ID+" already", "give this one another id"))
		}
	}
	return ds.Err()
}

// flaw is a mistake in a rule.
func (r rule) flaw(summary, hint string) imx.Diagnostic {
	return imx.Diagnostic{Severity: imx.SeverityError, Summary: summary, Hint: hint, At: r.at, Source: r.source}
}

// loader gathers modules and what is wrong with them.
type loader struct {
	from   string
	texts  map[string]string
	parsed map[string]*ast.Module
	ds     imx.Diagnostics
}

func (l *loader) parse(m Module) {
	if len(m.Text) > maxModule {
		l.fail(imx.Pos{File: m.Name, Line: 1}, "a file of rules may have "+imx.Size(maxModule).String(), "split it")
		return
	}
	l.texts[m.Name] = m.Text
	parsed, err := ast.ParseModuleWithOpts(m.Name, m.Text, ast.ParserOptions{
		ProcessAnnotation: true, RegoVersion: ast.RegoV1, Capabilities: allowed(),
	})
	if err != nil {
		l.addError(m.Name, err)
		return
	}
	if parsed != nil { // nil for a file with nothing in it
		l.parsed[m.Name] = parsed
	}
}

// resultName is the set of findings in a rule's package.
const resultName = "deny"

// rule returns the rule that a module is, false for one that only helps others or belongs to another's package.
func (l *loader) rule(compiler *ast.Compiler, m *ast.Module) (rule, bool) {
	notes := packageNotes(m)
	deny := slices.IndexFunc(m.Rules, func(r *ast.Rule) bool { return r.Head.Ref().String() == resultName })
	at := l.pos(m.Package.Location)
	switch {
	case notes == nil && deny >= 0:
		l.fail(at, "the package "+m.Package.Path.String()+" has findings and no metadata",
			"write a comment above it: # METADATA, # title: ..., # custom:, #   id: my-rule, #   severity: medium")
		return rule{}, false
	case notes == nil:
		return rule{}, false
	}
	r := rule{Rule: describe(notes, l.from)}
	if flaw := flawOf(r.Rule); flaw != "" {
		l.fail(l.pos(notes.Location), flaw, "docs/check.md shows how rules begin")
		return rule{}, false
	}
	if deny < 0 {
		l.fail(at, "the rule "+r.ID+" has no set "+resultName, "write "+resultName+` contains {"at": ["service", s.name], "message": "..."} if { ... }`)
		return rule{}, false
	}
	r.at = l.pos(m.Rules[deny].Location)
	r.source = l.line(r.at)
	query := m.Package.Path.Append(ast.StringTerm(resultName))
	body, err := compiler.QueryCompiler().Compile(ast.NewBody(ast.Equality.Expr(ast.NewTerm(query), ast.VarTerm(resultName))))
	if err != nil {
		l.addError(r.at.File, err)
		return rule{}, false
	}
	r.query = body
	return r, true
}

// twice reports IDs that two packages have.
func (l *loader) twice(rules []rule) {
	seen := map[string]imx.Pos{}
	for _, r := range rules {
		if first, ok := seen[r.ID]; ok {
			l.fail(r.at, "there are two rules named "+r.ID, "the other is at "+first.String()+"; give one of them another id")
		}
		seen[r.ID] = r.at
	}
}

func (l *loader) fail(at imx.Pos, summary, hint string) {
	l.ds = append(l.ds, imx.Diagnostic{Severity: imx.SeverityError, Summary: summary, Hint: hint, At: at, Source: l.line(at)})
}

// line is the line at a place, "" where nobody would read it.
func (l *loader) line(at imx.Pos) string {
	lines := strings.Split(l.texts[at.File], "\n")
	if at.Line < 1 || at.Line > len(lines) || len(lines[at.Line-1]) > imx.MaxSource {
		return ""
	}
	return strings.TrimSuffix(lines[at.Line-1], "\r")
}
