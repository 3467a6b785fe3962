//go:build !client

package check

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"

	"imx"
)

// maxFindings bounds what one rule may find in one document: nobody reads more.
const maxFindings = 1000

// base is the empty store that OPA asks for data which no rule makes.
type base struct{ store storage.Store }

func newBase() *base { return &base{inmem.New()} }

// Run holds a document against the rules and returns what they find, in the order of files, lines and rules.
// A rule that exceeds the bounds, or that gives something else than findings, fails the run: the error is of
// kind Exhausted or Invalid and names the rule and where it stands. The context's end is Unavailable.
func (s *Set) Run(ctx context.Context, d Document) ([]imx.Finding, error) {
	input, err := ast.InterfaceToValue(d.Input)
	if err != nil {
		return nil, imx.Errorf(imx.Internal, "the document can't be given to rules: %w", err)
	}
	txn, err := s.data.store.NewTransaction(ctx)
	if err != nil {
		return nil, imx.Errorf(imx.Internal, "rules can't be evaluated: %w", err)
	}
	defer s.data.store.Abort(ctx, txn)
	// What one rule made the helpers say of this document holds for the others: half of the time for rules that have many.
	said := topdown.NewVirtualCache()
	var all []imx.Finding
	for _, r := range s.rules {
		if d.Asked != nil {
			d.Asked(r.Rule, r.at)
		}
		m := newMeter(ctx, s.bounds)
		q := topdown.NewQuery(r.query).WithCompiler(s.compiler).WithStore(s.data.store).WithTransaction(txn).
			WithInput(ast.NewTerm(input)).WithCancel(m).WithTime(d.Now).WithVirtualCache(said)
		answers, err := q.Run(ctx)
		if err != nil {
			return nil, r.failed(m, err)
		}
		for _, a := range answers {
			found, err := r.findings(a[ast.Var(resultName)], d)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
	}
	Sort(all)
	return all, nil
}

// failed explains why a rule didn't come to an end.
func (r rule) failed(m *meter, err error) error {
	switch m.ended {
	case endedBySteps:
		return imx.Errorf(imx.Exhausted, "%s: the rule %s was stopped: it took more steps than rules may", r.at, r.ID).
			WithHint("look for loops in loops: each `some` multiplies what is tried")
	case endedByMemory:
		return imx.Errorf(imx.Exhausted, "%s: the rule %s was stopped: it took more memory than rules may", r.at, r.ID).
			WithHint("look for text or sets that grow with each step")
	case endedByCaller:
		return imx.Errorf(imx.Unavailable, "the rule %s was interrupted: %w", r.ID, context.Cause(m.ctx))
	}
	if failed, ok := errors.AsType[*topdown.Error](err); ok {
		return imx.Errorf(imx.Invalid, "%s: the rule %s failed: %s", r.at, r.ID, failed.Message)
	}
	return imx.Errorf(imx.Invalid, "%s: the rule %s failed: %w", r.at, r.ID, err)
}

// findings reads a rule's result.
func (r rule) findings(t *ast.Term, d Document) ([]imx.Finding, error) {
	set, ok := t.Value.(ast.Set)
	if !ok {
		return nil, imx.Errorf(imx.Invalid, "%s: %s of the rule %s is %s, not a set", r.at, resultName, r.ID, ast.ValueName(t.Value)).
			WithHint("write %s contains {...} if { ... }", resultName)
	}
	if set.Len() > maxFindings {
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
