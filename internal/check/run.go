//go:build !client

package check

import (
	"context"
	"fmt"

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
		return nil, imx.Errorf(imx.Invalid, "%s: %s of the rule %s is %s, not a set", r.at, resultName, r.ID, ast.ValueName(v)).
			WithHint("write %s contains {...} if { ... }", resultName)
	case set.Len() > maxFindings:
		return nil, imx.Errorf(imx.Exhausted, "%s: the rule %s found %d places; it may find %d", r.at, r.ID, set.Len(), maxFindings)
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

// finding reads {"message": "...", "at": [...], "fix": "..."}.
func (r rule) finding(v any, d Document) (imx.Finding, error) {
	object, _ := v.(map[string]any)
	f := imx.Finding{Rule: r.ID, Level: r.Level}
	var ok bool
	if f.Message, ok = object["message"].(string); !ok || f.Message == "" {
		return f, imx.Errorf(imx.Invalid, "%s: the rule %s gives %v, which has no message", r.at, r.ID, v).
			WithHint(`a finding is {"at": ["service", "web"], "message": "one sentence"}, and may have a "fix"`)
	}
	f.Fix, _ = object["fix"].(string)
	steps, ok := object["at"].([]any)
	if !ok && object["at"] != nil {
		return f, imx.Errorf(imx.Invalid, "%s: the rule %s gives an \"at\" that is no list", r.at, r.ID).
			WithHint(`write the way to it: ["service", s.name, "port", p.name, "publish"]`)
	}
	way := make([]string, len(steps))
	for i, s := range steps {
		way[i] = fmt.Sprint(s)
	}
	f.Subject, f.At = d.Locate(way)
	return f, nil
}
