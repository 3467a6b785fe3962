//go:build !client

package check

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"imx"
	"imx/internal/rego"
)

// maxFindings bounds what one rule may find in one document: nobody reads more.
const maxFindings = 1000

// Run holds a document against the rules and returns what they find, in the order of files, lines and rules.
// A rule that exceeds the bounds, or that gives something else than findings, fails the run: the error is of
// kind Exhausted or Invalid and names the rule and where it stands. The context's end is Unavailable.
func (s *Set) Run(ctx context.Context, d Document) ([]imx.Finding, error) {
	input, err := rego.NewInput(d.Input, d.Now)
	if err != nil {
		return nil, err
	}
	var all []imx.Finding
	for _, r := range s.rules {
		if d.Asked != nil {
			d.Asked(r.Rule, r.query.At())
		}
		answer, err := r.query.Run(ctx, input)
		if err != nil {
			return nil, err
		}
		found, err := r.findings(answer, d)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	Sort(all)
	return all, nil
}

// findings reads a rule's result.
func (r rule) findings(v ast.Value, d Document) ([]imx.Finding, error) {
	set, ok := v.(ast.Set)
	switch {
	case v == nil:
		return nil, nil
	case !ok:
		return nil, r.wrong(resultName+" of the rule "+r.ID+" is "+ast.ValueName(v)+", not a set", "write "+resultName+" contains {...} if { ... }")
	case set.Len() > maxFindings:
		return nil, imx.Errorf(imx.Exhausted, "%s: the rule %s found %d places; it may find %d", r.query.At(), r.ID, set.Len(), maxFindings)
	}
	var all []imx.Finding
	for _, element := range set.Slice() {
		v, err := ast.JSON(element.Value)
		if err != nil {
			return nil, imx.Errorf(imx.Internal, "the rule %s: %w", r.ID, err)
		}
		f, err := r.finding(v, d)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// wrong is the error, of kind Invalid, for a rule that can't be used.
func (r rule) wrong(summary, hint string) error {
	return imx.Diagnostics{r.query.Fault(summary, hint)}.Err()
}

// finding reads {"message": "...", "at": [...], "fix": "..."}.
func (r rule) finding(v any, d Document) (imx.Finding, error) {
	object, _ := v.(map[string]any)
	f := imx.Finding{Rule: r.ID, Level: r.Level}
	var ok bool
	if f.Message, ok = object["message"].(string); !ok || strings.TrimSpace(f.Message) == "" {
		return f, r.wrong("the rule "+r.ID+" finds something without saying what: "+given(v),
			`a finding is {"at": ["service", "web"], "message": "one sentence"}, and may have a "fix"`)
	}
	f.Fix, _ = object["fix"].(string)
	steps, ok := object["at"].([]any)
	if !ok && object["at"] != nil {
		return f, r.wrong("the rule "+r.ID+` gives an "at" that is no list`, `write the way to it: ["service", s.name, "port", p.name, "publish"]`)
	}
	way := make([]string, len(steps))
	for i, s := range steps {
		way[i] = fmt.Sprint(s)
	}
	f.Subject, f.At = d.Locate(way)
	return f, nil
}

// given describes what a rule gives in place of a finding, without any value that it took from the template.
func given(v any) string {
	object, ok := v.(map[string]any)
	_, has := object["message"]
	switch {
	case !ok:
		return "it gives no object"
	case has:
		return `its "message" is no text, or empty`
	case len(object) == 0:
		return "it gives an empty object"
	}
	return fmt.Sprintf(`its object has no "message", but %q`, slices.Sorted(maps.Keys(object))[0])
}
