package template

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"imx"
)

// kind is a type of settings' values. Flaws' summaries continue a sentence that begins with the
// setting's name.
type kind[V any] struct {
	word   string
	bytes  bool // takes the bytes of a file unchanged
	decode func(operand) (V, []flaw)
	check  func(V) []flaw
}

// operand is a setting's value as written: evaluated, known, not null and without marks.
type operand struct {
	value cty.Value
	raw   []byte         // the bytes of a file, where the whole expression is file(...)
	expr  hcl.Expression // nil for a default
	pos   func(hcl.Range) imx.Pos
}

func wrongType(x operand, want string) []flaw {
	return []flaw{{summary: "must be a " + want + ", not " + article(x.value.Type())}}
}

// article names a value's type with its article.
func article(t cty.Type) string {
	switch {
	case t == cty.String:
		return "a string"
	case t == cty.Number:
		return "a number"
	case t == cty.Bool:
		return "true or false"
	case t.IsTupleType(), t.IsListType(), t.IsSetType():
		return "a list"
	case t.IsObjectType(), t.IsMapType():
		return "a map or a reference"
	}
	return "this"
}

// oneString is a setting of one string; check returns what is wrong with it, "" for nothing.
func oneString(word string, check func(string) flaw) kind[string] {
	return kind[string]{
		word: word,
		decode: func(x operand) (string, []flaw) {
			if x.value.Type() != cty.String {
				return "", wrongType(x, "string")
			}
			return x.value.AsString(), nil
		},
		check: func(s string) []flaw { return some(check(s)) },
	}
}

func some(f flaw) []flaw {
	if f.summary == "" {
		return nil
	}
	return []flaw{f}
}

// manyStrings is a list of strings, each checked by itself.
func manyStrings(check func(string) flaw) kind[[]string] {
	const word = "list of strings"
	return kind[[]string]{
		word: word,
		decode: func(x operand) ([]string, []flaw) {
			if !isList(x.value.Type()) {
				return nil, wrongType(x, word)
			}
			var all []string
			var flaws []flaw
			for i, v := range x.value.AsValueSlice() {
				s, ok := toString(v)
				if !ok {
					flaws = append(flaws, flaw{part: index(i), summary: "must be a " + word + ", and one of them is not a string"})
				}
				all = append(all, s)
			}
			return all, flaws
		},
		check: func(all []string) []flaw {
			var flaws []flaw
			for i, s := range all {
				if f := check(s); f.summary != "" {
					f.part = index(i)
					flaws = append(flaws, f)
				}
			}
			return flaws
		},
	}
}

func isList(t cty.Type) bool { return t.IsTupleType() || t.IsListType() || t.IsSetType() }

func index(i int) string { return fmt.Sprintf("[%d]", i) }

// toString converts the simple values, of which each has one text.
func toString(v cty.Value) (string, bool) {
	s, err := convert.Convert(v, cty.String)
	if err != nil || s.IsNull() {
		return "", false
	}
	return s.AsString(), true
}

// variables is a map from names of environment variables to their values.
func variables() kind[map[string]string] {
	const word = "map of strings"
	return kind[map[string]string]{
		word: word,
		decode: func(x operand) (map[string]string, []flaw) {
			if t := x.value.Type(); !t.IsObjectType() && !t.IsMapType() {
				return nil, wrongType(x, word)
			}
			flaws := twice(x.expr)
			all := map[string]string{}
			for it := x.value.ElementIterator(); it.Next(); {
				k, v := it.Element()
				name := k.AsString()
				s, ok := toString(v)
				if !ok {
					flaws = append(flaws, flaw{part: key(name), summary: "must be a " + word + ", and that of " + quote(name) + " is not a string"})
				}
				all[name] = s
			}
			return all, flaws
		},
		check: func(all map[string]string) []flaw {
			var flaws []flaw
			for name, value := range all {
				if f := variable(name, value); f.summary != "" {
					f.part = key(name)
					flaws = append(flaws, f)
				}
			}
			slices.SortFunc(flaws, func(a, b flaw) int { return cmp.Compare(a.part, b.part) })
			return flaws
		},
	}
}

func key(name string) string { return "[" + strconv.Quote(name) + "]" }

// twice finds the keys that a map's text has more than once: HCL lets the last one win.
func twice(expr hcl.Expression) []flaw {
	m, ok := expr.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return nil
	}
	var flaws []flaw
	seen := map[string]hcl.Range{}
	for _, item := range m.Items {
		name := hcl.ExprAsKeyword(item.KeyExpr)
		if v, diags := item.KeyExpr.Value(nil); !diags.HasErrors() && name == "" {
			name, _ = toString(v)
		}
		if first, ok := seen[name]; ok && name != "" {
			flaws = append(flaws, flaw{
				part:    key(name),
				summary: "has " + quote(name) + " twice",
				hint:    fmt.Sprintf("it is first set in line %d; leave one of them out", first.Start.Line),
			})
		}
		seen[name] = item.KeyExpr.Range()
	}
	return flaws
}

// whole is a whole number within bounds.
func whole(least, most int) kind[int] {
	return kind[int]{
		word: "number",
		decode: func(x operand) (int, []flaw) {
			if x.value.Type() != cty.Number {
				return 0, wrongType(x, "number")
			}
			n, accuracy := x.value.AsBigFloat().Int64()
			if accuracy != 0 || int64(int(n)) != n {
				text := x.value.AsBigFloat().Text('g', 10)
				return 0, []flaw{{summary: fmt.Sprintf("is %s; it must be a whole number from %d to %d", text, least, most)}}
			}
			return int(n), nil
		},
		check: func(n int) []flaw {
			if n < least || n > most {
				return []flaw{{summary: fmt.Sprintf("is %d; it must be from %d to %d", n, least, most)}}
			}
			return nil
		},
	}
}

// maybe is a kind whose zero value says something else than that nothing is written.
func maybe[V any](k kind[V]) kind[*V] {
	return kind[*V]{
		word: k.word,
		decode: func(x operand) (*V, []flaw) {
			v, flaws := k.decode(x)
			return &v, flaws
		},
		check: func(v *V) []flaw {
			if v == nil {
				return nil
			}
			return k.check(*v)
		},
	}
}

// fraction is a number within bounds.
func fraction(least, most float64) kind[float64] {
	return kind[float64]{
		word: "number",
		decode: func(x operand) (float64, []flaw) {
			if x.value.Type() != cty.Number {
				return 0, wrongType(x, "number")
			}
			n, _ := x.value.AsBigFloat().Float64()
			return n, nil
		},
		check: func(n float64) []flaw {
			if !(n >= least && n <= most) { // so that it holds for NaN
				return []flaw{{summary: fmt.Sprintf("is %v; it must be from %v to %v", n, least, most)}}
			}
			return nil
		},
	}
}

// bytesOf is the content of a file: a string, or the bytes of a file just as they are.
func bytesOf(most imx.Size) kind[[]byte] {
	return kind[[]byte]{
		word: "string", bytes: true,
		decode: func(x operand) ([]byte, []flaw) {
			switch {
			case x.raw != nil:
				return x.raw, nil
			case x.value.Type() != cty.String:
				return nil, wrongType(x, "string")
			}
			return []byte(x.value.AsString()), nil
		},
		check: func(b []byte) []flaw {
			if imx.Size(len(b)) > most {
				return []flaw{{summary: fmt.Sprintf("has %v; it may have %v", imx.Size(len(b)), most)}}
			}
			return nil
		},
	}
}

// truth is true or false.
func truth() kind[bool] {
	return kind[bool]{
		word: "true or false",
		decode: func(x operand) (bool, []flaw) {
			if x.value.Type() != cty.Bool {
				return false, []flaw{{summary: "must be true or false, not " + article(x.value.Type())}}
			}
			return x.value.True(), nil
		},
		check: nothing[bool],
	}
}

func nothing[V any](V) []flaw { return nil }

// element returns where the i-th element of a list stands, or the list where that can't be told.
func element(expr hcl.Expression, i int) hcl.Range {
	if list, ok := expr.(*hclsyntax.TupleConsExpr); ok && i < len(list.Exprs) {
		return list.Exprs[i].Range()
	}
	return expr.Range()
}
