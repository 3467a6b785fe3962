//go:build !client

package policy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // freezes are in the time of a zone, which not each machine knows

	"github.com/open-policy-agent/opa/v1/ast"

	"imx"
	"imx/internal/freeze"
	"imx/internal/policy/rules"
	"imx/internal/rego"
)

// Judge says whether what an input describes may run under a policy. The same policy and input give the same verdict.
// Errors: as Compile. A condition that fails, or exceeds its bounds, is one that isn't met.
func Judge(p imx.Policy, in Input) (imx.Verdict, error) {
	c, err := Compile(p)
	if err != nil {
		return imx.Verdict{}, err
	}
	v, _, err := c.Judge(context.Background(), in) //nolint:forbidigo // a pure function: its bounds end it
	return v, err
}

// Book is a policy, compiled. It is safe for concurrent use.
type Book struct {
	policy     imx.Policy
	digest     imx.Digest
	conditions []condition
	firm       map[string]bool
}

// condition is one of a policy's, as its metadata describe it.
type condition struct {
	imx.ConditionView

	query rego.Query
}

// Conditions describes the policy's conditions in the order of their IDs.
func (b *Book) Conditions() []imx.ConditionView {
	list := make([]imx.ConditionView, 0, len(b.conditions))
	for _, c := range b.conditions {
		list = append(list, c.ConditionView)
	}
	return list
}

// bounds are what one condition may take for one input.
func bounds() rego.Bounds { return rego.Bounds{Steps: 1_000_000, Memory: 64 << 20} }

// Compile compiles a policy: imx's own rules, with those of the policy in place of the ones that have their names, and beside them.
// The error is of kind Invalid, with a Diagnostic for each mistake in the files, and for settings that make no sense.
func Compile(p imx.Policy) (*Book, error) {
	if err := CheckEnvironment(p.Environment); err != nil {
		return nil, err
	}
	if err := checkSettings(p.Settings); err != nil {
		return nil, err
	}
	if p.Settings.After == p.Environment {
		return nil, imx.Errorf(imx.Invalid, "what is released in %s can't have been good in %s before", p.Environment, p.Environment).
			WithHint("--after names another environment, whose server is known here: imx upstream list")
	}
	texts := rules.Files()
	maps.Copy(texts, p.Rules)
	var modules []rego.Module
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		modules = append(modules, rego.Module{Name: name, Text: texts[name]})
	}
	settings, err := asMap(p.Settings)
	if err != nil {
		return nil, err
	}
	faults := rego.NewFaults(modules)
	program, err := rego.Compile(modules, bounds(), map[string]any{"settings": settings}, faults)
	if err != nil {
		return nil, err
	}
	b := &Book{policy: p, digest: p.Digest(), firm: map[string]bool{}}
	b.read(program, settings, faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return b, b.warn()
}

// read takes the conditions out of a program.
func (b *Book) read(program *rego.Program, settings map[string]any, faults *rego.Faults) {
	ids, paths := map[string]imx.Pos{}, map[string]imx.Pos{}
	for _, p := range program.Packages() {
		if first, ok := paths[p.Path]; ok {
			faults.Add(p.At, "the package "+p.Path+" is in two files", "the other is at "+first.String()+"; give one of them another name")
		}
		paths[p.Path] = p.At
		if p.Notes == nil {
			if flaw := unnamed(p, program.Packages()); flaw != "" {
				faults.Add(p.At, flaw, noted)
			}
			continue // it helps others
		}
		c := condition{ConditionView: describe(p)}
		flaw := flawOf(c.ConditionView, p)
		if flaw == "" {
			c.Warns, flaw = warns(p, settings)
		}
		if flaw != "" {
			faults.Add(p.Notes.At, flaw, "docs/policy.md shows how conditions begin")
			continue
		}
		if first, ok := ids[c.ID]; ok {
			faults.Add(p.At, "there are two conditions named "+c.ID, "the other is at "+first.String()+"; give one of them another id")
		}
		ids[c.ID] = p.At
		var ok bool
		if c.query, ok = program.Query(p, "", "condition "+c.ID, faults); ok {
			b.conditions = append(b.conditions, c)
			b.firm[c.ID] = c.Firm
		}
	}
	slices.SortFunc(b.conditions, func(a, c condition) int { return cmp.Compare(a.ID, c.ID) })
}

// noted is what makes a package a condition.
const noted = "a condition has a comment # METADATA with title and custom: id above its package; docs/policy.md shows one"

// unnamed says what is wrong with a package that has no metadata: it is meant as a condition, or nobody needs it. "" is nothing.
func unnamed(p rego.Package, all []rego.Package) string {
	for _, name := range []string{"met", "says"} {
		if slices.Contains(p.Rules, name) {
			return fmt.Sprintf("%s defines %s, and is no condition: it has no id", p.Path, name)
		}
	}
	if !slices.ContainsFunc(all, func(other rego.Package) bool { return other.Uses(p) }) {
		return "there is no condition in " + p.At.File + ", nor anything that a condition uses"
	}
	return ""
}

// warn marks the conditions that are only shown.
func (b *Book) warn() error {
	for _, id := range b.policy.Settings.Warn {
		i := slices.IndexFunc(b.conditions, func(c condition) bool { return c.ID == id })
		switch {
		case i < 0:
			return imx.Errorf(imx.Invalid, "the policy has no condition %q to warn of", id).WithHint("it has: %s", b.names())
		case b.conditions[i].Firm:
			return imx.Errorf(imx.Invalid, "the condition %s can't only be warned of: what it asks for is what all others stand on", id)
		}
		b.conditions[i].Warns = true
	}
	return nil
}

// Replacement is a condition of imx's own in whose place a file of a user's own is.
type Replacement struct {
	ID   string
	File string
	Firm bool // nothing excuses it
}

// Replaced are the conditions of imx's own in whose place a policy's rules are. Errors: as Compile.
func Replaced(p imx.Policy) ([]Replacement, error) {
	var all []Replacement
	if !slices.ContainsFunc(slices.Collect(maps.Keys(rules.Files())), func(name string) bool { return p.Rules[name] != "" }) {
		return nil, nil
	}
	own, err := Compile(Default(p.Environment))
	if err != nil {
		return nil, err
	}
	for _, c := range own.conditions {
		if text, ok := p.Rules[c.File]; ok && text != rules.Files()[c.File] {
			all = append(all, Replacement{c.ID, c.File, c.Firm})
		}
	}
	return all, nil
}

func (b *Book) names() string {
	var ids []string
	for _, c := range b.conditions {
		ids = append(ids, c.ID)
	}
	return strings.Join(ids, ", ")
}

// CheckException says what is wrong with an exception under the policy. The error is of kind Invalid.
func (b *Book) CheckException(x imx.Exception) error {
	i := slices.IndexFunc(b.conditions, func(c condition) bool { return c.ID == x.Condition })
	switch {
	case i < 0:
		return imx.Errorf(imx.Invalid, "the policy of %s has no condition %q", b.policy.Environment, x.Condition).WithHint("it has: %s", b.names())
	case b.conditions[i].Firm:
		return imx.Errorf(imx.Invalid, "nothing excuses the condition %s: what it asks for is what all others stand on", x.Condition).
			WithHint("build the image again, and what is stated of it is stated anew")
	}
	return CheckException(x)
}

func describe(p rego.Package) imx.ConditionView {
	text := func(name string) string {
		s, _ := p.Notes.Custom[name].(string)
		return strings.TrimSpace(s)
	}
	firm, _ := p.Notes.Custom["firm"].(bool)
	return imx.ConditionView{
		ID: text("id"), Title: p.Notes.Title, Asks: strings.TrimSpace(p.Notes.Description), Firm: firm, Shown: text("start") == "shows", File: p.At.File,
	}
}

// flawOf says what is wrong with a condition's package, "" for nothing.
func flawOf(d imx.ConditionView, p rego.Package) string {
	start, _ := p.Notes.Custom["start"].(string)
	switch {
	case d.ID == "":
		return "the condition has no id in custom"
	case CheckEnvironment(d.ID) != nil:
		return fmt.Sprintf("the condition's id is %q; it must be lower-case letters, digits and hyphens, at most 30", d.ID)
	case d.Title == "":
		return "the condition " + d.ID + " has no title"
	case start != "" && start != "shows" && start != "refuses":
		return fmt.Sprintf("start of the condition %s is %q; it must be refuses or shows", d.ID, start)
	case !slices.Contains(p.Rules, "met") || !slices.Contains(p.Rules, "says"):
		return "the condition " + d.ID + " doesn't have both rules met and says"
	}
	return ""
}

// warns reports whether a condition is only shown, because it refuses where a setting is true and that isn't; or says what is
// wrong with the setting's name.
func warns(p rego.Package, settings map[string]any) (only bool, flaw string) {
	named, ok := p.Notes.Custom["refuses"]
	if !ok {
		return false, ""
	}
	name, _ := named.(string)
	on, ok := settings[name].(bool)
	if !ok {
		return false, fmt.Sprintf("refuses names %v, which is no setting that is true or false", named)
	}
	return !on, ""
}

// asMap is what encoding/json makes of a value.
func asMap(v any) (map[string]any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, imx.Errorf(imx.Internal, "what a policy stands on can't be written as JSON: %w", err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, imx.Errorf(imx.Internal, "what a policy stands on can't be read as JSON: %w", err)
	}
	return m, nil
}

// maxSaid bounds the text of a condition, in bytes: a screen holds no more.
const maxSaid = 2000

// Looked are the values of the rules of each condition's package, by its id: what it looked at.
type Looked map[string]ast.Value

// JSON returns the values of one condition. Errors: Internal.
func (l Looked) JSON(id string) (json.RawMessage, error) {
	v, err := ast.JSON(l[id])
	if err != nil {
		return nil, imx.Errorf(imx.Internal, "what the condition %s looked at can't be shown: %w", id, err)
	}
	return json.Marshal(v)
}

// Judge returns the verdict on an input, and what its conditions looked at; one that failed looked at nothing.
// Errors: Internal; Unavailable when ctx ends.
func (b *Book) Judge(ctx context.Context, in Input) (imx.Verdict, Looked, error) {
	v := imx.Verdict{
		Image: in.Image.Digest, Service: in.Service, Plan: in.Plan.Digest, Environment: b.policy.Environment, Purpose: in.Purpose, Policy: b.digest,
		Inputs: in.Inputs, Made: in.Now, Conditions: []imx.Condition{},
	}
	var err error
	if in.Freeze, err = freeze.At(b.policy.Settings.Freezes, in.Now); err != nil {
		return v, nil, err
	}
	document, err := asMap(in)
	if err != nil {
		return v, nil, err
	}
	input, err := rego.NewInput(document, in.Now)
	if err != nil {
		return v, nil, err
	}
	looked := Looked{}
	for _, c := range b.conditions {
		one, values, err := c.judge(ctx, in, input)
		if err != nil {
			return v, nil, err
		}
		v.Conditions = append(v.Conditions, one)
		if values != nil {
			looked[c.ID] = values
		}
	}
	excuse(v.Conditions, in, b.firm)
	v.Allowed = len(v.Conditions) > 0 && !slices.ContainsFunc(v.Conditions, func(c imx.Condition) bool { return !c.Holds() })
	v.Until = until(v.Conditions, in.Now)
	return v, looked, nil
}

// fresh is how long a verdict holds at most.
const fresh = time.Minute

func until(conditions []imx.Condition, now time.Time) time.Time {
	end := now.Add(fresh)
	for _, c := range conditions {
		if !c.Until.IsZero() && c.Until.Before(end) && c.Until.After(now) {
			end = c.Until
		}
	}
	return end
}

// judge asks one condition, and returns its package's values, too. One that fails isn't met.
func (c condition) judge(ctx context.Context, in Input, input rego.Input) (imx.Condition, ast.Value, error) {
	said := imx.Condition{ID: c.ID, Refuses: c.Firm || !c.Warns && (!c.Shown || in.Purpose != imx.ForStart)}
	value, err := c.query.Run(ctx, input)
	if err != nil && ctx.Err() != nil {
		return said, nil, err
	}
	if err == nil {
		said, err = c.answer(said, value)
	}
	if err != nil {
		e := imx.AsError(err)
		said.Met, said.Says, said.Hint = false, e.Message, e.Hint
		return said, nil, nil // what can't be asked isn't met, and says why
	}
	return said, value, nil
}

// answer reads what a condition's package says.
func (c condition) answer(said imx.Condition, value ast.Value) (imx.Condition, error) {
	var a struct {
		Met      bool
		Says     string
		Hint     string
		Evidence []imx.Digest
		Until    float64 // in nanoseconds
		Warns    bool
	}
	for name, into := range map[string]any{"met": &a.Met, "says": &a.Says, "hint": &a.Hint, "evidence": &a.Evidence, "until": &a.Until, "warns": &a.Warns} {
		if err := read(value, name, into); err != nil {
			return said, imx.Errorf(imx.Invalid, "%s: the condition %s gives what can't be read as %s: %w", c.File, c.ID, name, err).
				WithHint("met is true or nothing, says and hint are text, evidence is a set of digests, until a time in nanoseconds, warns is true or nothing")
		}
	}
	said.Refuses = said.Refuses && (c.Firm || !a.Warns)
	said.Met, said.Hint, said.Evidence = a.Met, clip(a.Hint), a.Evidence
	if said.Says = clip(a.Says); said.Says == "" {
		said.Says = "it doesn't say why"
	}
	if a.Until != 0 {
		said.Until = time.Unix(0, int64(a.Until)).UTC()
	}
	return said, nil
}

// read reads one value of a package, if it is there.
func read(values ast.Value, name string, into any) error {
	object, ok := values.(ast.Object)
	if !ok {
		return nil // it has no values
	}
	found := object.Get(ast.StringTerm(name))
	if found == nil {
		return nil
	}
	v, err := ast.JSON(found.Value)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// clip cuts text to what a screen holds.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxSaid)], "") }
