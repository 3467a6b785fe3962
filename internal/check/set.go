//go:build !client

package check

import (
	"cmp"
	"slices"

	"imx"
	"imx/internal/rego"
)

// Set are compiled rules. It is safe for concurrent use.
type Set struct{ rules []rule }

// rule is one rule and the query that evaluates it.
type rule struct {
	imx.Rule

	query rego.Query
}

// Load compiles modules into a Set, in which each package that has a rule's metadata is one rule; from becomes
// its Rule.From. The error is of kind Invalid, with a Diagnostic for each mistake in the files: text that isn't
// Rego, metadata that is missing, a built-in function that rules may not call.
func Load(from string, modules []Module, bounds Bounds) (*Set, error) {
	faults := rego.NewFaults(modules)
	program, err := rego.Compile(modules, bounds, map[string]any{}, faults)
	if err != nil {
		return nil, err
	}
	s := &Set{}
	for _, p := range program.Packages() {
		var r rule
		var ok bool
		if r.Rule, ok = ruleOf(p, from, faults); !ok {
			continue
		}
		if r.query, ok = program.Query(p, resultName, "rule "+r.ID, faults); ok {
			s.rules = append(s.rules, r)
		}
	}
	twice(s.rules, faults)
	if err := faults.Err(); err != nil {
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

// Clash returns an error of kind Invalid, with a Diagnostic for each rule that has the name of one of the others; nil
// where none has.
func (s *Set) Clash(others []imx.Rule) error {
	var ds imx.Diagnostics
	for _, r := range s.rules {
		if slices.ContainsFunc(others, func(o imx.Rule) bool { return o.ID == r.ID }) {
			ds = append(ds, r.query.Fault("imx has a rule named "+r.ID+" already", "give this one another id"))
		}
	}
	return ds.Err()
}

// resultName is the set of findings in a rule's package.
const resultName = "deny"

// ruleOf returns the rule that a package is, false for one that only helps others or belongs to another's.
func ruleOf(p rego.Package, from string, faults *rego.Faults) (imx.Rule, bool) {
	denies := slices.Contains(p.Rules, resultName)
	switch {
	case p.Notes == nil && denies:
		faults.Add(p.At, "the package "+p.Path+" has findings and no metadata",
			"write a comment above it: # METADATA, # title: ..., # custom:, #   id: my-rule, #   severity: medium")
		return imx.Rule{}, false
	case p.Notes == nil:
		return imx.Rule{}, false
	}
	r := describe(p.Notes, from)
	if flaw := flawOf(r); flaw != "" {
		faults.Add(p.Notes.At, flaw, "docs/check.md shows how rules begin")
		return r, false
	}
	if !denies {
		faults.Add(p.At, "the rule "+r.ID+" has no set "+resultName, "write "+resultName+` contains {"at": ["service", s.name], "message": "..."} if { ... }`)
	}
	return r, denies
}

// twice reports IDs that two packages have.
func twice(rules []rule, faults *rego.Faults) {
	seen := map[string]imx.Pos{}
	for _, r := range rules {
		if first, ok := seen[r.ID]; ok {
			faults.Add(r.query.At(), "there are two rules named "+r.ID, "the other is at "+first.String()+"; give one of them another id")
		}
		seen[r.ID] = r.query.At()
	}
}
