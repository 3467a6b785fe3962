package template

import (
	"fmt"
	"reflect"
	"slices"

	"imx"
)

// need says whether a setting must be written, and what its zero value means in a Template.
type need int

const (
	optional need = iota // may be left out; zero then stands for "not written" and is not checked
	filled               // may be left out, but a Template always holds its default
	required             // must be written
)

// setting is one attribute of a block: the only place where it is described.
type setting struct {
	name    string
	word    string // its type, for people: "list of strings"
	need    need
	def     string // the default as HCL text; "" for none
	unset   string // what leaving it out means, where there is no default to show
	example string // a value as HCL text
	bytes   bool   // file("...") as the whole value gives the bytes of the file, unchanged
	doc     string // one sentence

	decode func(target any, x operand) []flaw // checks too
	check  func(target any) []flaw
}

// field describes the setting that fills one field of T, a struct of the glossary.
func field[T, V any](k kind[V], at func(*T) *V, s setting) setting {
	s.word, s.bytes = k.word, k.bytes
	s.decode = func(target any, x operand) []flaw {
		v, flaws := k.decode(x)
		*at(as[*T](target)) = v
		return append(flaws, others(k.check(v), flaws)...)
	}
	s.check = func(target any) []flaw {
		v := *at(as[*T](target))
		if s.need == optional && reflect.ValueOf(&v).Elem().IsZero() {
			return nil
		}
		return k.check(v)
	}
	return s
}

// others returns the flaws of those elements that have none among the known ones; none at all if
// the known ones are of the whole value.
func others(flaws, known []flaw) []flaw {
	return slices.DeleteFunc(flaws, func(f flaw) bool {
		return slices.ContainsFunc(known, func(k flaw) bool { return k.part == "" || k.part == f.part })
	})
}

// block is one kind of block, and the struct of the glossary that it fills.
type block struct {
	name     string
	label    *kind[string] // nil for a block without a label
	sample   string        // a label, for examples
	doc      string
	settings []setting
	blocks   []*block
	always   bool // the struct is there without the block too, and gets its defaults
	repeats  bool // may stand any number of times

	add     func(parent any) any   // makes a struct in the parent's and returns its address
	each    func(parent any) []any // addresses of those that there are
	labelOf func(target any) *string
	at      func(target any) *imx.Pos // nil where the struct has no position
}

// many describes a block with a label that may stand any number of times.
func many[P, C any](list func(*P) *[]C, label func(*C) *string, at func(*C) *imx.Pos, b block) *block {
	b.labelOf = func(target any) *string { return label(as[*C](target)) }
	return several(list, at, b)
}

// several describes a block without a label that may stand any number of times.
func several[P, C any](list func(*P) *[]C, at func(*C) *imx.Pos, b block) *block {
	b.repeats = true
	b.add = func(parent any) any {
		l := list(as[*P](parent))
		*l = append(*l, *new(C))
		return &(*l)[len(*l)-1]
	}
	b.each = func(parent any) []any {
		l := *list(as[*P](parent))
		all := make([]any, len(l))
		for i := range l {
			all[i] = &l[i]
		}
		return all
	}
	b.at = func(target any) *imx.Pos { return at(as[*C](target)) }
	return &b
}

// one describes a block that stands at most once, for a struct that is always there.
func one[P, C any](of func(*P) *C, b block) *block {
	b.always = true
	b.add = func(parent any) any { return of(as[*P](parent)) }
	b.each = func(parent any) []any { return []any{of(as[*P](parent))} }
	return &b
}

// placed is perhaps, for a struct that has a position.
func placed[P, C any](of func(*P) **C, at func(*C) *imx.Pos, b block) *block {
	b.at = func(target any) *imx.Pos { return at(as[*C](target)) }
	return perhaps(of, b)
}

// perhaps describes a block that stands at most once, for a struct that may be missing.
func perhaps[P, C any](of func(*P) **C, b block) *block {
	b.add = func(parent any) any {
		p := of(as[*P](parent))
		*p = new(C)
		return *p
	}
	b.each = func(parent any) []any {
		if c := *of(as[*P](parent)); c != nil {
			return []any{c}
		}
		return nil
	}
	return &b
}

func as[T any](v any) T {
	t, ok := v.(T)
	if !ok {
		panic("template: the table of settings names a field of another struct")
	}
	return t
}

func (b *block) setting(name string) (setting, bool) {
	for _, s := range b.settings {
		if s.name == name {
			return s, true
		}
	}
	return setting{}, false
}

func (b *block) block(name string) (*block, bool) {
	for _, n := range b.blocks {
		if n.name == name {
			return n, true
		}
	}
	return nil, false
}

func (b *block) settingNames() []string {
	names := make([]string, len(b.settings))
	for i, s := range b.settings {
		names[i] = s.name
	}
	return names
}

func (b *block) blockNames() []string {
	names := make([]string, len(b.blocks))
	for i, n := range b.blocks {
		names[i] = n.name
	}
	return names
}

// header is a block's first line without its brace: `port "http"`, `health`.
func (b *block) header(label string) string {
	if b.label == nil {
		return b.name
	}
	return b.name + " " + quote(label)
}

// walker checks a Template against the table.
type walker struct{ r *report }

// each checks the blocks inside of one, whose struct is parent.
func (w walker) each(b *block, parent any, at where) {
	for _, n := range b.blocks {
		targets := n.each(parent)
		if len(targets) > maxDeclared {
			w.r.fail(at.place, flaw{
				summary: at.nested("", fmt.Sprintf("there are more than %d %s blocks", maxDeclared, n.name)).subject, hint: "split the template",
			})
			w.r.tooMany = true
			return
		}
		for i, target := range targets {
			w.one(n, target, at, at.place.block(n.name, i))
		}
	}
}

func (w walker) one(b *block, target any, outer where, p place) {
	at := outer.nested(p, b.name)
	if b.at != nil {
		w.r.places[p] = *b.at(target)
	}
	if b.label != nil {
		label := *b.labelOf(target)
		at = outer.nested(p, b.header(label))
		w.r.failLabel(at, b, label)
	}
	for _, s := range b.settings {
		w.r.failSetting(at, s.name, s.check(target))
	}
	w.each(b, target, at)
}

// failLabel reports what is wrong with a block's label.
func (r *report) failLabel(w where, b *block, label string) {
	for _, f := range b.label.check(label) {
		r.fail(w.place, flaw{summary: w.subject + ": its " + b.label.word + " " + f.summary, hint: f.hint})
	}
}
