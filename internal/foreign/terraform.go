//go:build !client

package foreign

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"imx/internal/template"
)

// readTerraform makes of a .tf file a list of its resources. What only Terraform knows, as what another resource
// becomes, is the text "${...}". Variables have their defaults.
func readTerraform(name string, text []byte) document {
	if template.TooDeep(text) {
		return document{broken: unread(name, Terraform, 1, errTooMuch.Error())}
	}
	file, ds := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
	if ds.HasErrors() {
		line := 1
		if ds[0].Subject != nil {
			line = ds[0].Subject.Start.Line
		}
		return document{broken: unread(name, Terraform, line, ds[0].Summary+": "+ds[0].Detail)}
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return document{}
	}
	t := &terraform{text: text, places: map[string]lines{}, known: known(body)}
	list := []any{}
	for _, b := range body.Blocks {
		if (b.Type != "resource" && b.Type != "data") || len(b.Labels) != 2 {
			continue
		}
		way := []string{strconv.Itoa(len(list))}
		t.see(way, b.DefRange())
		list = append(list, map[string]any{
			"language": "terraform", "mode": b.Type, "type": b.Labels[0], "name": b.Labels[1], "values": t.body(b.Body, way),
		})
	}
	return document{input: map[string]any{"resources": list}, places: t.places}
}

type terraform struct {
	text   []byte
	places map[string]lines
	known  *hcl.EvalContext
}

func (t *terraform) see(way []string, at hcl.Range) {
	t.places[strings.Join(way, "\x00")] = lines{at.Start.Line, at.End.Line}
}

// known are the variables that have a default, and what a file says of local values without asking others.
func known(body *hclsyntax.Body) *hcl.EvalContext {
	variables, locals := map[string]cty.Value{}, map[string]cty.Value{}
	for _, b := range body.Blocks {
		switch {
		case b.Type == "variable" && len(b.Labels) == 1:
			if a := b.Body.Attributes["default"]; a != nil {
				if v, ds := a.Expr.Value(nil); !ds.HasErrors() {
					variables[b.Labels[0]] = v
				}
			}
		case b.Type == "locals":
			for name, a := range b.Body.Attributes {
				if v, ds := a.Expr.Value(nil); !ds.HasErrors() {
					locals[name] = v
				}
			}
		}
	}
	return &hcl.EvalContext{Variables: map[string]cty.Value{"var": cty.ObjectVal(variables), "local": cty.ObjectVal(locals)}}
}

// body is a block's settings, and its blocks as lists by their types.
func (t *terraform) body(body *hclsyntax.Body, way []string) map[string]any {
	values := map[string]any{}
	for name, a := range body.Attributes {
		at := append(way[:len(way):len(way)], name)
		t.see(at, a.Range())
		values[name] = t.value(a.Expr, at)
	}
	for _, b := range body.Blocks {
		inner, kind := b.Body, b.Type
		if b.Type == "dynamic" && len(b.Labels) == 1 {
			kind = b.Labels[0]
			for _, content := range b.Body.Blocks {
				inner = content.Body
			}
		}
		list, _ := values[kind].([]any)
		at := append(way[:len(way):len(way)], kind, strconv.Itoa(len(list)))
		t.see(at, b.DefRange())
		values[kind] = append(list, t.body(inner, at))
	}
	return values
}

// value is what an expression comes to, as far as the file alone tells.
func (t *terraform) value(e hclsyntax.Expression, way []string) any {
	switch e := e.(type) {
	case *hclsyntax.ObjectConsExpr:
		m := map[string]any{}
		for _, item := range e.Items {
			key, ds := item.KeyExpr.Value(t.known)
			if ds.HasErrors() || key.IsNull() || !key.IsKnown() || key.Type() != cty.String {
				continue
			}
			at := append(way[:len(way):len(way)], key.AsString())
			t.see(at, hcl.RangeBetween(item.KeyExpr.Range(), item.ValueExpr.Range()))
			m[key.AsString()] = t.value(item.ValueExpr, at)
		}
		return m
	case *hclsyntax.TupleConsExpr:
		all := []any{}
		for i, item := range e.Exprs {
			at := append(way[:len(way):len(way)], strconv.Itoa(i))
			t.see(at, item.Range())
			all = append(all, t.value(item, at))
		}
		return all
	case *hclsyntax.FunctionCallExpr:
		if e.Name == "jsonencode" && len(e.Args) == 1 {
			return t.value(e.Args[0], way)
		}
	}
	if v, ds := e.Value(t.known); !ds.HasErrors() && v.IsWhollyKnown() {
		if b, err := ctyjson.Marshal(v, v.Type()); err == nil {
			var plain any
			if json.Unmarshal(b, &plain) == nil {
				return decoded(plain)
			}
		}
	}
	return "${" + string(e.Range().SliceBytes(t.text)) + "}"
}

// decoded takes a text that is a JSON object, as policies are written, for that object.
func decoded(v any) any {
	s, ok := v.(string)
	if !ok || !strings.HasPrefix(strings.TrimSpace(s), "{") {
		return v
	}
	var object map[string]any
	if json.Unmarshal([]byte(s), &object) != nil {
		return v
	}
	return object
}
