//go:build !client

package rego

import (
	"context"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"imx"
)

// answer is the variable that a query's answer is bound to.
const answer = "answer"

// Query is a question to a Program, compiled.
type Query struct {
	program *Program
	what    string
	at      imx.Pos // of the rule, where it asks for one
	source  string  // the line there
	body    ast.Body
}

// Query asks for one rule of a package or, for rule "", for all of them as an object. what names it in errors: "rule own". What is
// wrong with it goes to faults, and false is returned.
func (p *Program) Query(pkg Package, rule, what string, faults *Faults) (Query, bool) {
	ref := pkg.ref
	if rule != "" {
		ref = ref.Append(ast.StringTerm(rule))
	}
	body, err := p.compiler.QueryCompiler().Compile(ast.NewBody(ast.Equality.Expr(ast.NewTerm(ref), ast.VarTerm(answer))))
	if err != nil {
		faults.take(pkg.At.File, err)
		return Query{}, false
	}
	at, ok := pkg.places[rule]
	if !ok {
		at = pkg.At
	}
	return Query{p, what, at, faults.line(at), body}, true
}

// Fault is something that is wrong with what the query asks for, where that is written.
func (q Query) Fault(summary, hint string) imx.Diagnostic {
	return imx.Diagnostic{Severity: imx.SeverityError, Summary: summary, Hint: hint, At: q.at, Source: q.source}
}

// At is where that is written.
func (q Query) At() imx.Pos { return q.at }

// Input is a document that queries are asked about, one after the other: it isn't safe for concurrent use.
type Input struct {
	value ast.Value
	now   time.Time
	// said is what one query made a program's helpers say of the document, for the others: half of the time where there are many.
	said map[*Program]topdown.VirtualCache
}

// NewInput makes an Input of what encoding/json makes of a document. now is the time for the functions that would ask a clock.
// The error is of kind Internal.
func NewInput(document any, now time.Time) (Input, error) {
	v, err := ast.InterfaceToValue(document)
	if err != nil {
		return Input{}, imx.Errorf(imx.Internal, "the document can't be given to rules: %w", err)
	}
	return Input{v, now, map[*Program]topdown.VirtualCache{}}, nil
}

// Run returns the answer, nil where there is none. Errors: Exhausted, naming the query and its place, for one that
// exceeds the bounds; Invalid for one that fails; Unavailable when ctx ends.
func (q Query) Run(ctx context.Context, in Input) (ast.Value, error) {
	p := q.program
	txn, err := p.store.NewTransaction(ctx)
	if err != nil {
		return nil, imx.Errorf(imx.Internal, "rules can't be evaluated: %w", err)
	}
	defer p.store.Abort(ctx, txn)
	if in.said[p] == nil {
		in.said[p] = topdown.NewVirtualCache()
	}
	m := newMeter(ctx, p.bounds)
	found, err := topdown.NewQuery(q.body).WithCompiler(p.compiler).WithStore(p.store).WithTransaction(txn).
		WithInput(ast.NewTerm(in.value)).WithCancel(m).WithTime(in.now).WithVirtualCache(in.said[p]).Run(ctx)
	if err != nil {
		return nil, q.failed(m, err)
	}
	for _, f := range found {
		return f[ast.Var(answer)].Value, nil
	}
	return nil, nil
}
