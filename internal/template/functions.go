package template

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"imx"
)

// callable is a function that expressions may call.
type callable struct {
	name, usage, doc string
	call             function.Function
}

func (d *decoder) functions() []callable {
	return []callable{
		{"file", `file("nginx.conf")`, "the text of a file of the template's folder; as a whole `content` or `keyring`, its bytes unchanged", d.fileFunc()},
		{"templatefile", `templatefile("app.conf", { db = "x" })`, "the same with its `${...}` filled in from the given variables", d.templateFileFunc()},
		{"format", `format("%s-%02d", "web", 7)`, "text built like C's printf does", formatFunc()},
		{"join", `join(",", ["a", "b"])`, "the texts of a list with a separator between", stdlib.JoinFunc},
		{"concat", `concat(["a"], ["b"])`, "lists put behind each other", stdlib.ConcatFunc},
		{"merge", `merge({ A = "1" }, { B = "2" })`, "maps in one; the last wins", stdlib.MergeFunc},
		{"length", `length(["a", "b"])`, "how many elements a list or map, or characters a text has", lengthFunc()},
		{"lower", `lower("ABC")`, "text in small letters", stdlib.LowerFunc},
		{"upper", `upper("abc")`, "text in capitals", stdlib.UpperFunc},
		{"replace", `replace("a-b", "-", "_")`, "text with each occurrence of one text replaced by another", stdlib.ReplaceFunc},
		{"trimspace", `trimspace(" a ")`, "text without white space around it", stdlib.TrimSpaceFunc},
		{"jsonencode", `jsonencode({ port = 80 })`, "a value as JSON", stdlib.JSONEncodeFunc},
		{"base64encode", `base64encode("abc")`, "text in base64", base64Func()},
	}
}

func param(name string, t cty.Type) function.Parameter {
	return function.Parameter{Name: name, Type: t}
}

func (d *decoder) fileFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{param("path", cty.String)},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			text, err := d.folder.text(args[0].AsString())
			if err != nil {
				return cty.UnknownVal(cty.String), err
			}
			return cty.StringVal(text), nil
		},
	})
}

// fileError are the mistakes found inside a file that templatefile() read; they have places of
// their own there, or stand at the call.
type fileError struct {
	diags hcl.Diagnostics
	flaws []located
}

func (*fileError) Error() string { return "the file has mistakes" }

func (r *report) addFileError(call imx.Pos, f *fileError) {
	r.addHCL(f.diags)
	for _, l := range f.flaws {
		at := call
		if l.at.Filename != "" {
			at = r.pos(l.at)
		}
		r.failAt(at, l.flaw)
	}
}

func (d *decoder) templateFileFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{param("path", cty.String), param("variables", cty.DynamicPseudoType)},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			text, err := d.render(args[0].AsString(), args[1])
			return text, err
		},
	})
}

// render fills in a file's ${...} from an object of variables.
func (d *decoder) render(name string, variables cty.Value) (cty.Value, error) {
	unknown := cty.UnknownVal(cty.String)
	if t := variables.Type(); !t.IsObjectType() && !t.IsMapType() {
		return unknown, imx.Errorf(imx.Invalid, "the variables must be a map").WithHint(`write templatefile(%q, { name = "value" })`, name)
	}
	text, err := d.folder.text(name)
	if err != nil {
		return unknown, err
	}
	if size := imx.Size(len(text)); size > maxText {
		return unknown, imx.Errorf(imx.Invalid, "%q has %v, and templatefile() takes up to %v", name, size, maxText).
			WithHint("take it in unchanged with file()")
	}
	d.r.addSource(name, []byte(text))
	if problem := tooDeep(name, []byte(text), hclsyntax.LexTemplate); problem != nil {
		return unknown, &fileError{flaws: []located{*problem}}
	}
	expr, diags := hclsyntax.ParseTemplate([]byte(text), name, hcl.InitialPos)
	if diags.HasErrors() {
		return unknown, &fileError{diags: diags}
	}
	values := variables.AsValueMap()
	if flaws := missingVariables(expr, values); len(flaws) > 0 {
		return unknown, &fileError{flaws: flaws}
	}
	v, diags := expr.Value(&hcl.EvalContext{Variables: values, Functions: d.pureFunctions()})
	if diags.HasErrors() {
		return unknown, &fileError{diags: diags}
	}
	s, ok := toString(v)
	if !ok {
		return unknown, imx.Errorf(imx.Invalid, "%q doesn't give text", name)
	}
	return cty.StringVal(s), nil
}

// pureFunctions are those that read no file: a file that reads itself would never end.
func (d *decoder) pureFunctions() map[string]function.Function {
	m := map[string]function.Function{}
	for _, f := range d.functions() {
		if f.name != "file" && f.name != "templatefile" {
			m[f.name] = f.call
		}
	}
	return m
}

func missingVariables(expr hcl.Expression, values map[string]cty.Value) []located {
	names := make([]string, 0, len(values))
	for n := range values {
		names = append(names, n)
	}
	slices.Sort(names)
	var flaws []located
	for _, t := range expr.Variables() {
		if _, ok := values[t.RootName()]; !ok {
			flaws = append(flaws, located{at: t.SourceRange(), flaw: flaw{
				summary: "there is no variable named " + quote(t.RootName()) + " in the call of templatefile()",
				hint:    known(t.RootName(), names, "", "add it to the second argument; write $${ for a ${ that shall stay"),
			}})
		}
	}
	return flaws
}

// wideRE finds a width or precision that asks format() for more than 9,999 characters.
var wideRE = regexp.MustCompile(`%[^a-zA-Z%]*[0-9]{5}`)

func formatFunc() function.Function {
	return function.New(&function.Spec{
		Params:   []function.Parameter{param("format", cty.String)},
		VarParam: &function.Parameter{Name: "values", Type: cty.DynamicPseudoType, AllowNull: true},
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if wideRE.MatchString(args[0].AsString()) {
				return cty.UnknownVal(cty.String), imx.Errorf(imx.Invalid, "a width of more than 9999 characters")
			}
			v, err := stdlib.FormatFunc.Call(args)
			if err != nil {
				return cty.UnknownVal(cty.String), fmt.Errorf("imx: %w", err)
			}
			return v, nil
		},
	})
}

func lengthFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{param("value", cty.DynamicPseudoType)},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			switch v := args[0]; {
			case v.Type() == cty.String:
				return cty.NumberIntVal(int64(utf8.RuneCountInString(v.AsString()))), nil
			case v.CanIterateElements():
				return cty.NumberIntVal(int64(v.LengthInt())), nil
			}
			return cty.UnknownVal(cty.Number), imx.Errorf(imx.Invalid, "only lists, maps and texts have a length")
		},
	})
}

func base64Func() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{param("text", cty.String)},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.StringVal(base64.StdEncoding.EncodeToString([]byte(args[0].AsString()))), nil
		},
	})
}
