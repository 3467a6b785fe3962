//go:build !client

package rego

import (
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"imx"
)

// Program are compiled modules. It is safe for concurrent use.
type Program struct {
	compiler *ast.Compiler
	packages []Package
	bounds   Bounds
	store    storage.Store
}

// Package is what one module declares.
type Package struct {
	Path  string // "data.own"
	At    imx.Pos
	Notes *Notes   // the package's metadata; nil where it has none
	Rules []string // names of its rules, as often as each is written

	uses   []ast.Ref // what it names of data
	ref    ast.Ref
	places map[string]imx.Pos // of its rules, each where it is first written
}

// Notes is a package's metadata.
type Notes struct {
	Title, Description string
	Custom             map[string]any
	Links              []string
	At                 imx.Pos
}

// maxModule bounds a file: what takes long to compile can't be interrupted.
const maxModule = 256 << 10

// Compile compiles modules, to be evaluated within bounds; they see data as `data`. Mistakes go to faults, and the error is theirs, of
// kind Invalid: text that isn't Rego, a built-in function that rules may not call.
func Compile(modules []Module, bounds Bounds, data map[string]any, faults *Faults) (*Program, error) {
	parsed := map[string]*ast.Module{}
	for _, m := range modules {
		if len(m.Text) > maxModule {
			faults.Add(imx.Pos{File: m.Name, Line: 1}, "a file of rules may have "+imx.Size(maxModule).String(), "split it")
			continue
		}
		one, err := ast.ParseModuleWithOpts(m.Name, m.Text, ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1, Capabilities: allowed()})
		if err != nil {
			faults.take(m.Name, err)
			continue
		}
		if one != nil { // nil for a file with nothing in it
			parsed[m.Name] = one
		}
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	p := &Program{bounds: bounds, store: inmem.NewFromObject(data)}
	for _, name := range slices.Sorted(maps.Keys(parsed)) {
		p.packages = append(p.packages, declared(parsed[name], faults))
	}
	p.compiler = ast.NewCompiler().WithCapabilities(allowed()).WithStrict(true).WithKeepModules(false)
	p.compiler.Compile(parsed)
	faults.takeAll(p.compiler.Errors)
	return p, faults.Err()
}

func declared(m *ast.Module, faults *Faults) Package {
	p := Package{Path: m.Package.Path.String(), At: faults.pos(m.Package.Location), ref: m.Package.Path, places: map[string]imx.Pos{}}
	for _, r := range m.Rules {
		name := r.Head.Ref().String()
		if p.Rules = append(p.Rules, name); p.places[name] == (imx.Pos{}) {
			p.places[name] = faults.pos(r.Location)
		}
	}
	p.uses = named(m)
	i := slices.IndexFunc(m.Annotations, func(a *ast.Annotations) bool { return a.Scope == "package" })
	if i < 0 {
		return p
	}
	a := m.Annotations[i]
	p.Notes = &Notes{Title: a.Title, Description: a.Description, Custom: a.Custom, At: faults.pos(a.Location)}
	for _, link := range a.RelatedResources {
		p.Notes.Links = append(p.Notes.Links, link.Ref.String())
	}
	return p
}

// named are the references of a module to data, and what it imports.
func named(m *ast.Module) []ast.Ref {
	var all []ast.Ref
	add := func(r ast.Ref) bool {
		if r.HasPrefix(ast.DefaultRootRef) {
			all = append(all, r)
		}
		return false
	}
	for _, i := range m.Imports {
		ast.WalkRefs(i, add)
	}
	for _, r := range m.Rules {
		ast.WalkRefs(r, add)
	}
	return all
}

// Uses reports whether a package names something of another, which it isn't itself.
func (p Package) Uses(other Package) bool {
	return p.Path != other.Path && slices.ContainsFunc(p.uses, func(r ast.Ref) bool { return r.HasPrefix(other.ref) })
}

// Packages returns what the modules declare, in the order of their names.
func (p *Program) Packages() []Package { return p.packages }
