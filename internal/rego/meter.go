//go:build !client

package rego

import (
	"context"
	"errors"
	"math"
	"runtime/metrics"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"imx"
)

// every is after how many steps the context is looked at. The memory is looked at in each: text can double in one.
const every = 512

// meter counts one evaluation's steps. It implements OPA's topdown.Cancel, which is asked before each
// expression and each piece of text that is joined or replaced, so that nothing beside the evaluation has to watch it.
type meter struct {
	ctx    context.Context //nolint:containedctx // lives as long as the one call of Query.Run
	left   int
	most   imx.Size
	begin  imx.Size
	ended  reason
	sample []metrics.Sample
}

// reason is why an evaluation was stopped.
type reason string

const (
	endedBySteps  reason = "steps"
	endedByMemory reason = "memory"
	endedByCaller reason = "caller"
)

func newMeter(ctx context.Context, b Bounds) *meter {
	m := &meter{ctx: ctx, left: b.Steps, most: b.Memory, sample: []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}}
	m.begin = m.memory()
	return m
}

func (m *meter) memory() imx.Size {
	metrics.Read(m.sample)
	return imx.Size(min(m.sample[0].Value.Uint64(), math.MaxInt64))
}

// Cancel implements topdown.Cancel.
func (m *meter) Cancel() { m.ended = endedByCaller }

// Cancelled implements topdown.Cancel.
func (m *meter) Cancelled() bool {
	if m.ended != "" {
		return true
	}
	m.left--
	switch {
	case m.left <= 0:
		m.ended = endedBySteps
	case m.memory() > m.begin+m.most:
		m.ended = endedByMemory
	case m.left%every == 0 && m.ctx.Err() != nil:
		m.ended = endedByCaller
	}
	return m.ended != ""
}

// failed explains why a query didn't come to an end.
func (q Query) failed(m *meter, err error) error {
	switch m.ended {
	case endedBySteps:
		return imx.Errorf(imx.Exhausted, "%s: the %s was stopped: it took more steps than rules may", q.at, q.what).
			WithHint("look for loops in loops: each `some` multiplies what is tried")
	case endedByMemory:
		return imx.Errorf(imx.Exhausted, "%s: the %s was stopped: it took more memory than rules may", q.at, q.what).
			WithHint("look for text or sets that grow with each step")
	case endedByCaller:
		return imx.Errorf(imx.Unavailable, "the %s was interrupted: %w", q.what, context.Cause(m.ctx))
	}
	if failed, ok := errors.AsType[*topdown.Error](err); ok {
		return imx.Diagnostics{q.Fault("the "+q.what+" failed: "+failed.Message, "")}.Err()
	}
	return imx.Diagnostics{q.Fault("the "+q.what+" failed: "+err.Error(), "")}.Err()
}

// allowed returns OPA's built-in functions without those that reach outside, ask the clock, draw lots, or
// can take any time or memory in one call.
func allowed() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(slices.Clone(c.Builtins), func(b *ast.Builtin) bool {
		return b.Nondeterministic || slices.ContainsFunc(barred(), func(prefix string) bool { return strings.HasPrefix(b.Name, prefix) })
	})
	c.AllowNet = []string{}
	return c
}

// barred are beginnings of the names of functions that rules may not call.
func barred() []string {
	return []string{
		"bits.lsh", "crypto.", "graph.", "graphql.", "http.", "internal.test_case", "io.", "json.match_schema", "json.verify_schema",
		"net.cidr_expand", "net.lookup", "numbers.range", "opa.", "print", "providers.", "rand.", "regex.globs_match",
		"rego.", "strings.render_template", "time.now_ns", "trace", "uuid.", "yaml.",
	}
}
