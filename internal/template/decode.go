package template

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"imx"
)

// decoder fills a Template from HCL, by the table.
type decoder struct {
	r      *report
	folder *folder
	scope  *scope

	numbers    map[portUse]hclsyntax.Expression // the container setting of each port
	localExprs map[string]*hclsyntax.Attribute
	refused    map[hcl.Expression]bool // has been reported: not to be evaluated
	circular   map[string]bool         // locals that are part of a circle
	uses       map[place][]use         // of services' ports, by top-level block
	unknown    map[place]imx.Pos       // settings without a known value
}

// use says where a value came from a service's port.
type use struct {
	portUse
	at imx.Pos
}

func newDecoder(root fs.FS, r *report) *decoder {
	d := &decoder{
		r: r, folder: newFolder(root),
		numbers:    map[portUse]hclsyntax.Expression{},
		localExprs: map[string]*hclsyntax.Attribute{},
		refused:    map[hcl.Expression]bool{},
		circular:   map[string]bool{},
		uses:       map[place][]use{},
		unknown:    map[place]imx.Pos{},
	}
	d.scope = newScope(d.functions())
	return d
}

// top decodes a top-level block.
func (d *decoder) top(t *imx.Template, b *hclsyntax.Block) {
	if b.Type != "locals" {
		d.inner(templateBlock(), t, b, where{})
	}
}

// inner decodes a block that stands inside of outer, whose struct is parent.
func (d *decoder) inner(outer *block, parent any, b *hclsyntax.Block, at where) {
	schema, ok := outer.block(b.Type)
	if !ok {
		d.unknownBlock(outer, b, at)
		return
	}
	label, ok := d.label(schema, b, at)
	if !ok {
		return
	}
	i := len(schema.each(parent))
	if !schema.repeats {
		i = 0
	}
	p := at.place.block(b.Type, i)
	if first, ok := d.r.places[p]; ok {
		d.r.failAt(d.r.pos(b.DefRange()), flaw{
			summary: at.nested("", "the "+b.Type+" block stands twice").subject,
			hint:    "it is first at " + first.String() + "; put everything in one",
		})
		return
	}
	target := schema.add(parent)
	w := at.nested(p, schema.header(label))
	pos := d.r.pos(b.DefRange())
	d.r.places[p] = pos
	if schema.label != nil {
		d.r.labels[p] = label
	}
	if schema.at != nil {
		*schema.at(target) = pos
	}
	if schema.labelOf != nil {
		*schema.labelOf(target) = label
		d.r.failLabel(w, schema, label)
	}
	d.body(schema, target, b.Body, w)
}

// label returns a block's label, "" for a block without one, or reports what is wrong with it.
func (d *decoder) label(schema *block, b *hclsyntax.Block, at where) (string, bool) {
	switch want := schema.label != nil; {
	case !want && len(b.Labels) > 0:
		d.r.failAt(d.r.pos(b.LabelRanges[0]), flaw{
			summary: at.nested("", b.Type+" has no name").subject, hint: "write " + b.Type + " { ... }",
		})
	case !want:
		return "", true
	case len(b.Labels) == 0:
		d.r.failAt(d.r.pos(b.DefRange()), flaw{
			summary: at.nested("", b.Type+" needs a "+schema.label.word).subject,
			hint:    "write " + schema.header(schema.sample) + " { ... }",
		})
	case len(b.Labels) > 1:
		d.r.failAt(d.r.pos(b.LabelRanges[1]), flaw{
			summary: at.nested("", b.Type+" has one "+schema.label.word+" only").subject,
			hint:    "write " + schema.header(b.Labels[0]) + " { ... }",
		})
	default:
		return b.Labels[0], true
	}
	return "", false
}

// body decodes the inside of a block.
func (d *decoder) body(schema *block, target any, body *hclsyntax.Body, w where) {
	for _, a := range inOrder(body.Attributes) {
		if _, ok := schema.setting(a.Name); !ok {
			d.unknownSetting(schema, a, w)
		}
	}
	for _, s := range schema.settings {
		if a, ok := body.Attributes[s.name]; !ok || !d.setting(s, target, a, w) {
			d.absent(s, target, w)
		}
	}
	if !d.countable(body.Blocks) {
		return
	}
	for _, b := range body.Blocks {
		d.inner(schema, target, b, w)
	}
	for _, n := range schema.blocks {
		if n.always && !slices.ContainsFunc(body.Blocks, func(b *hclsyntax.Block) bool { return b.Type == n.name }) {
			p := w.place.block(n.name, 0)
			d.body(n, n.add(target), &hclsyntax.Body{}, w.nested(p, n.name))
		}
	}
}

// setting decodes one attribute; false if its value is null, which is as good as not written.
func (d *decoder) setting(s setting, target any, a *hclsyntax.Attribute, w where) bool {
	p := w.place.setting(s.name)
	d.r.places[p] = d.r.pos(a.Expr.Range())
	d.parts(p, a.Expr)
	if d.refused[a.Expr] {
		d.r.broken[p] = true
		return true
	}
	x := operand{expr: a.Expr, pos: d.r.pos}
	raw, isFile := d.rawFile(a.Expr, s)
	if isFile {
		x.raw = raw
	} else {
		v, marks := d.scope.eval(d.r, a.Expr).UnmarkDeep()
		if !v.IsWhollyKnown() {
			d.unknown[p] = d.r.places[p]
			d.r.broken[p] = true
			return true
		}
		if v.IsNull() {
			return false
		}
		d.use(w, a.Expr, marks)
		x.value = v
	}
	if x.raw == nil && isFile {
		d.r.broken[p] = true
		return true
	}
	flaws := s.decode(target, x)
	for i, f := range flaws {
		if f.hint == "" {
			flaws[i].hint = "write " + s.name + " = " + s.example
		}
	}
	d.r.failSetting(w, s.name, flaws)
	d.r.broken[p] = len(flaws) > 0
	return true
}

// absent fills in what a setting that isn't written stands for.
func (d *decoder) absent(s setting, target any, w where) {
	p := w.place.setting(s.name)
	switch {
	case s.need == required:
		d.r.fail(p, flaw{summary: w.subject + ": " + s.name + " is missing", hint: "add " + s.name + " = " + s.example})
		d.r.broken[p] = true
	case s.def != "":
		expr, diags := hclsyntax.ParseExpression([]byte(s.def), "default", hcl.InitialPos)
		v, more := expr.Value(nil)
		if flaws := s.decode(target, operand{value: v, expr: expr, pos: d.r.pos}); len(flaws)+len(diags)+len(more) > 0 {
			panic("template: the table's default of " + s.name + " is not a value of it")
		}
	}
}

// rawFile returns the bytes of a file for a setting that takes them unchanged, nil where they
// can't be had; false if the expression is anything but file("...").
func (d *decoder) rawFile(expr hclsyntax.Expression, s setting) ([]byte, bool) {
	call, ok := expr.(*hclsyntax.FunctionCallExpr)
	if !ok || !s.bytes || call.Name != "file" || len(call.Args) != 1 || call.ExpandFinal {
		return nil, false
	}
	name, _ := d.scope.eval(d.r, call.Args[0]).Unmark()
	if !name.IsKnown() || name.IsNull() || name.Type() != cty.String {
		return nil, false
	}
	b, err := d.folder.content(name.AsString())
	if err != nil {
		e := imx.AsError(err)
		d.r.failAt(d.r.pos(call.Args[0].Range()), flaw{summary: "file(): " + e.Message, hint: e.Hint})
		return nil, true
	}
	return b, true
}

// parts remembers where the elements of a list and the keys of a map stand.
func (d *decoder) parts(p place, expr hclsyntax.Expression) {
	switch e := expr.(type) {
	case *hclsyntax.TupleConsExpr:
		for i, x := range e.Exprs {
			d.r.places[p.part(index(i))] = d.r.pos(x.Range())
		}
	case *hclsyntax.ObjectConsExpr:
		for _, item := range e.Items {
			name := hcl.ExprAsKeyword(item.KeyExpr)
			if v, diags := item.KeyExpr.Value(nil); name == "" && !diags.HasErrors() {
				name, _ = toString(v)
			}
			d.r.places[p.part(key(name))] = d.r.pos(item.KeyExpr.Range())
		}
	}
}

// use remembers which services' ports a value was made from, for its top-level block.
func (d *decoder) use(w where, expr hclsyntax.Expression, marks cty.ValueMarks) {
	top := w.place[:len("/")+strings.IndexAny(string(w.place[1:]+"/"), "/")]
	var found []use
	for m := range marks {
		pu, ok := m.(portUse)
		if !ok {
			continue
		}
		at := d.r.pos(expr.Range())
		for _, t := range expr.Variables() {
			service, _ := step(t, 1)
			port, _ := step(t, 3)
			if t.RootName() == "service" && service == pu.service && port == pu.port {
				at = d.r.pos(t.SourceRange())
				break
			}
		}
		found = append(found, use{pu, at})
	}
	slices.SortFunc(found, func(a, b use) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.port, b.port))
	})
	d.uses[top] = append(d.uses[top], found...)
}

// settle makes sure that nothing was left out in silence: a value that isn't known, without any
// mistake that explains it, is one.
func (d *decoder) settle() {
	if d.r.failed {
		return
	}
	for _, at := range d.unknown {
		d.r.failAt(at, flaw{summary: "this value can't be known before instances run", hint: "write the value itself"})
	}
}

func (d *decoder) unknownBlock(outer *block, b *hclsyntax.Block, at where) {
	in, where := "in a template", ""
	if outer.name != "" {
		in, where = "in "+outer.name, at.subject+": "
	}
	f := flaw{summary: where + "there is no block named " + quote(b.Type) + " " + in}
	names := outer.blockNames()
	if outer.name == "" {
		names = append(names, "locals")
	}
	if s, ok := outer.setting(b.Type); ok {
		f.hint = b.Type + " is a setting: write " + b.Type + " = " + s.example
	} else {
		f.hint = known(b.Type, names, "", outer.name+" has settings only: "+enumerate(outer.settingNames()))
	}
	d.r.failAt(d.r.pos(b.TypeRange), f)
}

func (d *decoder) unknownSetting(schema *block, a *hclsyntax.Attribute, w where) {
	f := flaw{summary: w.subject + ": there is no setting named " + quote(a.Name) + " in " + schema.name}
	if n, ok := schema.block(a.Name); ok {
		f.hint = fmt.Sprintf("%s is a block: write %s { ... }", a.Name, n.header(n.sample))
	} else {
		f.hint = known(a.Name, schema.settingNames(), "", "")
	}
	d.r.failAt(d.r.pos(a.NameRange), f)
}

// inOrder returns attributes as they were written: HCL keeps them in a map.
func inOrder(attributes hclsyntax.Attributes) []*hclsyntax.Attribute {
	list := make([]*hclsyntax.Attribute, 0, len(attributes))
	for _, a := range attributes {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *hclsyntax.Attribute) int {
		return cmp.Compare(a.NameRange.Start.Byte, b.NameRange.Start.Byte)
	})
	return list
}
