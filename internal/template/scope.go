package template

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"imx"
)

// maxValue bounds the strings of one value: locals that double each other reach any size in a few lines.
const maxValue = maxTotal

// maxDeclared bounds the locals, the blocks of one kind in one block and the ports in one connect:
// each of them is compared with each.
const maxDeclared = 1000

// names are all that the template declares, each in the order written.
type names struct {
	archives, images, services, ingresses, locals, functions []string
	ports                                                    map[string][]string // by service
}

// portUse marks every value that was made from the address of a service's port, through whatever
// functions and locals it went, so that it's known which services an instance is told of.
type portUse struct{ service, port string }

// portType is the type of service.NAME.port.PORT.
func portType() cty.Type {
	return cty.Object(map[string]cty.Type{
		"name": cty.String, "host": cty.String, "number": cty.Number, "address": cty.String,
	})
}

// portValue is what service.NAME.port.PORT stands for; number may be unknown.
func portValue(use portUse, number cty.Value) cty.Value {
	address := cty.UnknownVal(cty.String)
	if number.IsKnown() {
		n, _ := number.AsBigFloat().Int64()
		address = cty.StringVal(fmt.Sprintf("%s:%d", use.service, n))
	}
	return cty.ObjectVal(map[string]cty.Value{
		"name":    cty.StringVal(use.port),
		"host":    cty.StringVal(use.service).Mark(use),
		"number":  number.Mark(use),
		"address": address.Mark(use),
	})
}

// scope is what expressions can refer to.
type scope struct {
	names names
	ctx   *hcl.EvalContext
	local map[string]cty.Value
}

func newScope(functions []callable) *scope {
	m := map[string]function.Function{}
	n := names{ports: map[string][]string{}}
	for _, f := range functions {
		m[f.name] = f.call
		n.functions = append(n.functions, f.name)
	}
	return &scope{
		names: n,
		ctx:   &hcl.EvalContext{Variables: map[string]cty.Value{}, Functions: m},
		local: map[string]cty.Value{},
	}
}

// define makes the references to archives and images.
func (s *scope) define() {
	s.ctx.Variables["archive"] = references("archive", append([]string{imx.HostArchive}, s.names.archives...))
	s.ctx.Variables["image"] = references("image", s.names.images)
	s.ctx.Variables["ingress"] = references("ingress", s.names.ingresses)
}

func references(to string, names []string) cty.Value {
	m := map[string]cty.Value{}
	for _, n := range names {
		m[n] = cty.ObjectVal(map[string]cty.Value{to: cty.StringVal(n)})
	}
	return cty.ObjectVal(m)
}

// eval evaluates an expression. Where that fails, or depends on something that has failed, the
// value is not known; every failure is reported where it arises.
func (s *scope) eval(r *report, expr hcl.Expression) cty.Value {
	var weight imx.Size
	ok := true
	for _, t := range expr.Variables() {
		if f := s.unknown(t); f.summary != "" {
			r.failAt(r.pos(t.SourceRange()), f)
			ok = false
		}
		if name, is := step(t, 1); is && t.RootName() == "local" {
			weight += weigh(s.local[name])
		}
	}
	if !s.callable(r, expr) || !ok {
		return cty.DynamicVal
	}
	large := flaw{summary: "the value is larger than " + maxValue.String(), hint: "put large content into a file, a package or a volume"}
	if weight > 2*maxValue {
		r.failAt(r.pos(expr.Range()), large)
		return cty.DynamicVal
	}
	v, diags := expr.Value(s.context(expr))
	r.addHCL(diags)
	switch {
	case diags.HasErrors():
		return cty.DynamicVal
	case weigh(v) > maxValue:
		r.failAt(r.pos(expr.Range()), large)
		return cty.DynamicVal
	}
	return v
}

// callable reports calls of functions that there aren't.
func (s *scope) callable(r *report, expr hcl.Expression) bool {
	node, ok := expr.(hclsyntax.Node)
	if !ok {
		return true
	}
	diags := hclsyntax.VisitAll(node, func(n hclsyntax.Node) hcl.Diagnostics {
		call, ok := n.(*hclsyntax.FunctionCallExpr)
		if !ok || slices.Contains(s.names.functions, call.Name) {
			return nil
		}
		r.failAt(r.pos(call.NameRange), flaw{
			summary: "there is no function named " + quote(call.Name),
			hint:    known(call.Name, s.names.functions, "", ""),
		})
		return hcl.Diagnostics{{Severity: hcl.DiagError}}
	})
	return !diags.HasErrors()
}

// context returns what expr is evaluated in: of the locals, those that it names.
func (s *scope) context(expr hcl.Expression) *hcl.EvalContext {
	locals := map[string]cty.Value{}
	for _, t := range expr.Variables() {
		if name, ok := step(t, 1); ok && t.RootName() == "local" {
			locals[name] = s.local[name]
		}
	}
	ctx := s.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{"local": cty.ObjectVal(locals)}
	return ctx
}

// weigh returns about how many bytes a value has.
func weigh(v cty.Value) imx.Size {
	if v == cty.NilVal {
		return 0
	}
	v, _ = v.Unmark()
	switch {
	case !v.IsKnown() || v.IsNull():
		return 0
	case v.Type() == cty.String:
		return imx.Size(len(v.AsString()))
	case !v.CanIterateElements():
		return 1
	}
	var sum imx.Size
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		sum += 1 + weigh(e)
	}
	return sum
}

// step returns the name of a traversal's i-th step, or false if it has none.
func step(t hcl.Traversal, i int) (string, bool) {
	if i >= len(t) {
		return "", false
	}
	switch st := t[i].(type) {
	case hcl.TraverseAttr:
		return st.Name, true
	case hcl.TraverseIndex:
		if st.Key.Type() == cty.String && st.Key.IsKnown() && !st.Key.IsNull() {
			return st.Key.AsString(), true
		}
	}
	return "", false
}

// unknown says which part of a reference doesn't exist; a zero flaw if all do.
func (s *scope) unknown(t hcl.Traversal) flaw {
	name, named := step(t, 1)
	declared := map[string][]string{
		"archive": append([]string{imx.HostArchive}, s.names.archives...),
		"ingress": s.names.ingresses, "image": s.names.images, "local": s.names.locals, "service": s.names.services,
	}
	list, ok := declared[t.RootName()]
	switch root := t.RootName(); {
	case !ok:
		return s.unknownRoot(root)
	case !named && root == "local":
		return flaw{summary: "local stands for no value by itself", hint: "write local.NAME"}
	case !named:
		return flaw{}
	case !slices.Contains(list, name):
		return flaw{
			summary: "there is no " + root + " named " + quote(name),
			hint:    known(name, list, root+".", "declare "+declaration(root, name)),
		}
	case root == "service":
		return s.unknownPort(t, name)
	case root != "local" && len(t) > 2:
		return flaw{summary: root + "." + name + " has nothing to take out of it", hint: "write " + root + "." + name}
	}
	return flaw{}
}

func declaration(root, name string) string {
	if root == "local" {
		return "locals { " + name + " = ... }"
	}
	return root + " " + quote(name) + " { ... }"
}

// unknownPort checks what follows service.NAME.
func (s *scope) unknownPort(t hcl.Traversal, service string) flaw {
	ports := s.names.ports[service]
	prefix := "service." + service + ".port."
	if word, ok := step(t, 2); ok && word != "port" {
		return flaw{
			summary: "service." + service + " has no " + quote(word) + ", only ports",
			hint:    known(word, ports, prefix, "add a port block to service "+quote(service)),
		}
	}
	port, ok := step(t, 3)
	if ok && !slices.Contains(ports, port) {
		return flaw{
			summary: "service " + quote(service) + " has no port named " + quote(port),
			hint:    known(port, ports, prefix, "add port "+quote(port)+" { container = ... } to it"),
		}
	}
	attributes := []string{"address", "host", "number", "name"}
	if attr, ok := step(t, 4); ok && !slices.Contains(attributes, attr) {
		return flaw{
			summary: prefix + port + " has no " + quote(attr),
			hint:    known(attr, attributes[:3], prefix+port+".", ""),
		}
	}
	return flaw{}
}

// unknownRoot explains a word that is no reference: most often its quotes or its block are missing.
func (s *scope) unknownRoot(word string) flaw {
	f := flaw{summary: "there is nothing named " + quote(word)}
	for _, of := range []struct {
		root  string
		names []string
	}{{"image", s.names.images}, {"local", s.names.locals}, {"archive", s.names.archives}, {"ingress", s.names.ingresses}} {
		if slices.Contains(of.names, word) {
			f.hint = "did you mean " + of.root + "." + word + "?"
			return f
		}
	}
	if slices.Contains(s.names.services, word) {
		f.hint = "did you mean service." + word + ".port.NAME?"
		return f
	}
	f.hint = "references begin with image, service, ingress, archive or local; text needs quotes: " + quote(word)
	if near, ok := nearest(word, []string{"image", "service", "ingress", "archive", "local"}); ok {
		f.hint = "did you mean " + near + "?"
	}
	return f
}
