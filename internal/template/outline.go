package template

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// outline collects what the blocks declare, before anything is evaluated; false if it is too much.
func (d *decoder) outline(blocks hclsyntax.Blocks) bool {
	n := &d.scope.names
	if !d.countable(blocks) {
		return false
	}
	for _, b := range blocks {
		if b.Type == "locals" {
			d.declareLocals(b)
			continue
		}
		if len(b.Labels) == 0 {
			continue
		}
		switch name := b.Labels[0]; b.Type {
		case "archive":
			n.archives = add(n.archives, name)
		case "ingress":
			n.ingresses = add(n.ingresses, name)
		case "image":
			n.images = add(n.images, name)
		case "service":
			n.services = add(n.services, name)
			d.declarePorts(name, b.Body)
		}
	}
	if l := n.locals; len(l) > maxDeclared {
		at := d.localExprs[l[maxDeclared]].NameRange
		d.r.failAt(d.r.pos(at), flaw{summary: fmt.Sprintf("there are more than %d locals", maxDeclared), hint: "split the template"})
		return false
	}
	return true
}

// countable reports a block that holds more than may be compared.
func (d *decoder) countable(blocks hclsyntax.Blocks) bool {
	if len(blocks) <= maxDeclared {
		return true
	}
	d.r.failAt(d.r.pos(blocks[maxDeclared].DefRange()), flaw{
		summary: fmt.Sprintf("there are more than %d blocks in one", maxDeclared), hint: "split the template",
	})
	return false
}

func add(list []string, name string) []string {
	if slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

func (d *decoder) declarePorts(service string, body *hclsyntax.Body) {
	if !d.countable(body.Blocks) {
		return
	}
	for _, b := range body.Blocks {
		if b.Type != "port" || len(b.Labels) == 0 {
			continue
		}
		use := portUse{service, b.Labels[0]}
		d.scope.names.ports[service] = add(d.scope.names.ports[service], use.port)
		if a, ok := b.Body.Attributes["container"]; ok && d.numbers[use] == nil {
			d.numbers[use] = a.Expr
		}
	}
}

func (d *decoder) declareLocals(b *hclsyntax.Block) {
	for _, l := range b.LabelRanges {
		d.r.failAt(d.r.pos(l), flaw{summary: "locals has no name", hint: "write locals { ... }"})
	}
	for _, inner := range b.Body.Blocks {
		d.r.failAt(d.r.pos(inner.TypeRange), flaw{
			summary: "locals holds names and values, no blocks", hint: "write " + inner.Type + " = { ... }",
		})
	}
	for _, a := range inOrder(b.Body.Attributes) {
		if first, ok := d.localExprs[a.Name]; ok {
			d.r.failAt(d.r.pos(a.NameRange), flaw{
				summary: "local." + a.Name + " is set twice",
				hint:    "it is first set at " + d.r.pos(first.NameRange).String() + "; leave one of them out",
			})
			continue
		}
		d.localExprs[a.Name] = a
		d.scope.names.locals = append(d.scope.names.locals, a.Name)
	}
}

// locals evaluates the locals, each after those that it refers to, and the references to ports
// between those that don't use any and those that do.
func (d *decoder) locals() {
	s := d.scope
	for _, n := range s.names.locals {
		s.local[n] = cty.DynamicVal
	}
	s.define()
	order, circles := walk(s.names.locals, func(n string) []string { return d.localRefs(d.localExprs[n].Expr) })
	d.localCircles(circles)
	late := map[string]bool{}
	isLate := func(expr hcl.Expression) bool {
		return refersTo(expr, "service") || slices.ContainsFunc(d.localRefs(expr), func(n string) bool { return late[n] })
	}
	for _, n := range order {
		if late[n] = isLate(d.localExprs[n].Expr); !late[n] {
			d.evalLocal(n)
		}
	}
	d.definePorts(isLate)
	for _, n := range order {
		if late[n] {
			d.evalLocal(n)
		}
	}
}

func (d *decoder) evalLocal(name string) {
	if !d.circular[name] {
		d.scope.local[name] = d.scope.eval(d.r, d.localExprs[name].Expr)
	}
}

func (d *decoder) localCircles(circles [][]string) {
	for _, c := range circles {
		steps := make([]string, 0, len(c))
		for _, n := range c {
			d.circular[n] = true
			steps = append(steps, "local."+n+" ("+d.r.pos(d.localExprs[n].NameRange).String()+")")
		}
		first := d.localExprs[c[0]]
		d.r.failAt(d.r.pos(first.NameRange), flaw{
			summary: "locals refer to each other in a circle: local." + strings.Join(append(c, c[0]), " -> local."),
			hint:    "break it at one of " + enumerate(steps),
		})
	}
}

// definePorts makes the references to services' ports.
func (d *decoder) definePorts(isLate func(hcl.Expression) bool) {
	services := map[string]cty.Value{}
	for _, name := range d.scope.names.services {
		ports := map[string]cty.Value{}
		for _, port := range d.scope.names.ports[name] {
			use := portUse{name, port}
			ports[port] = portValue(use, d.portNumber(d.numbers[use], isLate))
		}
		services[name] = cty.ObjectVal(map[string]cty.Value{"service": cty.StringVal(name), "port": cty.ObjectVal(ports)})
	}
	d.scope.ctx.Variables["service"] = cty.ObjectVal(services)
}

// portNumber evaluates a port's number ahead of its block, which reports what is wrong with it.
func (d *decoder) portNumber(expr hcl.Expression, isLate func(hcl.Expression) bool) cty.Value {
	unknown := cty.UnknownVal(cty.Number)
	switch {
	case expr == nil:
		return unknown
	case isLate(expr):
		d.refused[expr] = true
		d.r.failAt(d.r.pos(expr.Range()), flaw{summary: "a port's number can't come from a service's port", hint: "write the number, or name it in locals { }"})
		return unknown
	}
	v := d.scope.eval(newReport(), expr)
	if v.Type() != cty.Number || !v.IsKnown() || v.IsNull() {
		return unknown
	}
	return v
}

// localRefs returns the locals that an expression names, without those that don't exist.
func (d *decoder) localRefs(expr hcl.Expression) []string {
	var refs []string
	for _, t := range expr.Variables() {
		if name, ok := step(t, 1); ok && t.RootName() == "local" && d.localExprs[name] != nil {
			refs = append(refs, name)
		}
	}
	return refs
}

func refersTo(expr hcl.Expression, root string) bool {
	return slices.ContainsFunc(expr.Variables(), func(t hcl.Traversal) bool { return t.RootName() == root })
}
