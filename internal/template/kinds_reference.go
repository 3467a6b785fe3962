package template

import (
	"fmt"
	"slices"

	"github.com/zclconf/go-cty/cty"

	"imx"
)

// reference is a reference to an image or an archive: an object with the one attribute that is
// called like the block.
func reference(to string) kind[string] {
	return kind[string]{
		word: "reference to " + an(to),
		decode: func(x operand) (string, []flaw) {
			t := x.value.Type()
			if t == cty.String {
				return "", []flaw{{
					summary: "must be a reference to " + an(to) + ", not a string",
					hint:    "write " + to + "." + x.value.AsString() + " without quotes",
				}}
			}
			if !t.Equals(cty.Object(map[string]cty.Type{to: cty.String})) {
				return "", []flaw{{summary: "must be a reference to " + an(to), hint: "write " + to + ".NAME"}}
			}
			return x.value.GetAttr(to).AsString(), nil
		},
		check: nothing[string],
	}
}

// oneOrMore is one reference, or a list of references, to an image or an archive.
func oneOrMore(to string) kind[imx.Names] {
	one := reference(to)
	return kind[imx.Names]{
		word: one.word + ", or a list of them",
		decode: func(x operand) (imx.Names, []flaw) {
			if !isList(x.value.Type()) {
				name, flaws := one.decode(x)
				return imx.Names{name}, flaws
			}
			var names imx.Names
			var flaws []flaw
			for i, v := range x.value.AsValueSlice() {
				name, wrong := "", []flaw{{summary: "must be a list of references, and one of them is null"}}
				if !v.IsNull() {
					name, wrong = one.decode(operand{value: v, expr: x.expr, pos: x.pos})
				}
				for _, f := range wrong {
					f.part = index(i)
					flaws = append(flaws, f)
				}
				names = append(names, name)
			}
			return names, flaws
		},
		check: func(names imx.Names) []flaw {
			for i, n := range names {
				if slices.Contains(names[:i], n) && n != "" {
					return []flaw{{part: index(i), summary: "has " + to + "." + n + " twice", hint: "leave one of them out"}}
				}
			}
			return nil
		},
	}
}

func an(noun string) string {
	if noun == "image" || noun == "archive" || noun == "ingress" {
		return "an " + noun
	}
	return "a " + noun
}

// portRefs is a list of references to ports of services.
func portRefs() kind[[]imx.PortRef] {
	const word = "list of ports"
	return kind[[]imx.PortRef]{
		word: word,
		decode: func(x operand) ([]imx.PortRef, []flaw) {
			if !isList(x.value.Type()) {
				return nil, wrongType(x, word)
			}
			var refs []imx.PortRef
			var flaws []flaw
			for i, v := range x.value.AsValueSlice() {
				if !v.Type().Equals(portType()) || v.IsNull() {
					flaws = append(flaws, flaw{
						part:    index(i),
						summary: "must be a " + word + ", and one of them is not a port",
						hint:    "write service.NAME.port.PORT",
					})
					continue
				}
				refs = append(refs, imx.PortRef{
					Service: v.GetAttr("host").AsString(), Port: v.GetAttr("name").AsString(), At: x.pos(element(x.expr, i)),
				})
			}
			return refs, flaws
		},
		check: func(refs []imx.PortRef) []flaw {
			if len(refs) > maxDeclared {
				return []flaw{{summary: fmt.Sprintf("has %d ports; it may have %d", len(refs), maxDeclared)}}
			}
			return nil
		},
	}
}

// things is a list of references to services, images and archives, and of paths of files; or one of these.
func things() kind[[]string] {
	const word = "list of references and file names"
	return kind[[]string]{
		word: word,
		decode: func(x operand) ([]string, []flaw) {
			if name, ok := thing(x.value); ok {
				return []string{name}, nil
			}
			if !isList(x.value.Type()) {
				return nil, wrongType(x, word)
			}
			var all []string
			var flaws []flaw
			for i, v := range x.value.AsValueSlice() {
				name, ok := thing(v)
				if !ok {
					flaws = append(flaws, flaw{
						part: index(i), summary: "must be a " + word + ", and one of them is neither",
						hint: "write service.NAME, image.NAME or archive.NAME",
					})
				}
				all = append(all, name)
			}
			return all, flaws
		},
		check: manyStrings(isThing).check,
	}
}

// thing names what a reference stands for: "service.web"; a string stands for itself.
func thing(v cty.Value) (string, bool) {
	switch t := v.Type(); {
	case v.IsNull():
	case t == cty.String:
		return v.AsString(), true
	case t.IsObjectType():
		for _, to := range []string{"service", "image", "archive"} {
			if t.HasAttribute(to) {
				return to + "." + v.GetAttr(to).AsString(), true
			}
		}
	}
	return "", false
}
