package plan

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"

	"imx"
	"imx/internal/deb"
)

// stock is what the archives of one image have for its architecture, taken together. The order of
// the archives counts only between packages of the same priority and version: the first has it then.
type stock struct {
	archives     []Archive
	architecture string
	priorities   map[suite]int
	merged       map[string][]*deb.Package // by name, as far as asked for
	best         map[string]*deb.Package
}

// suite is one suite of an archive.
type suite struct{ archive, name string }

func newStock(archives []Archive, architecture string) *stock {
	s := &stock{
		archives: archives, architecture: architecture, priorities: map[suite]int{},
		merged: map[string][]*deb.Package{}, best: map[string]*deb.Package{},
	}
	for _, a := range archives {
		for _, l := range a.Suites {
			if p, ok := a.Priorities[l.Suite]; ok {
				s.priorities[suite{l.Archive, l.Suite}] = p
			}
		}
	}
	return s
}

// priority returns the priority of the suite that p is from.
func (s *stock) priority(p *deb.Package) int {
	if n, ok := s.priorities[suite{p.Archive, p.Suite}]; ok {
		return n
	}
	return deb.PriorityNormal
}

// versions returns the packages of the name that run on the architecture, newest first. What
// several suites list is there once for each.
func (s *stock) versions(name string) []*deb.Package {
	if list, ok := s.merged[name]; ok {
		return list
	}
	var list []*deb.Package
	for _, a := range s.archives {
		for _, p := range a.Index.Versions(name) {
			if p.RunsOn(s.architecture) {
				list = append(list, p)
			}
		}
	}
	if len(s.archives) > 1 {
		slices.SortStableFunc(list, func(a, b *deb.Package) int { return deb.Compare(b.Version, a.Version) })
	}
	s.merged[name] = list
	return list
}

// newest returns apt's candidate of the name: of the packages with the highest priority the newest.
func (s *stock) newest(name string) (*deb.Package, bool) {
	if p, ok := s.best[name]; ok {
		return p, p != nil
	}
	p := s.pick(s.versions(name))
	s.best[name] = p
	return p, p != nil
}

// version returns the package of just that version, or false.
func (s *stock) version(name, version string) (*deb.Package, bool) {
	p := s.pick(s.only(name, func(p *deb.Package) bool { return p.Version == version }))
	return p, p != nil
}

// from returns the newest package of the name in the suite, or false.
func (s *stock) from(name, suite string) (*deb.Package, bool) {
	p := s.pick(s.only(name, func(p *deb.Package) bool { return p.Suite == suite }))
	return p, p != nil
}

func (s *stock) only(name string, fits func(*deb.Package) bool) []*deb.Package {
	return slices.DeleteFunc(slices.Clone(s.versions(name)), func(p *deb.Package) bool { return !fits(p) })
}

// pick returns the first of those with the highest priority, nil for none.
func (s *stock) pick(list []*deb.Package) *deb.Package {
	var best *deb.Package
	for _, p := range list {
		if best == nil || s.priority(p) > s.priority(best) {
			best = p
		}
	}
	return best
}

// providers returns the packages that provide the name, in all their versions.
func (s *stock) providers(name string) []deb.Provider {
	if len(s.archives) == 1 {
		return s.archives[0].Index.Providers(name)
	}
	var all []deb.Provider
	for _, a := range s.archives {
		all = append(all, a.Index.Providers(name)...)
	}
	return all
}

// standing returns the names that each archive's index gives, sorted: of Essential packages, or granted ones.
func (s *stock) standing(of func(*deb.Index) []string) []string {
	var all []string
	for _, a := range s.archives {
		all = append(all, of(a.Index)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// names returns the names of all packages; one may be there more than once.
func (s *stock) names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, a := range s.archives {
			for name := range a.Index.Names() {
				if !yield(name) {
					return
				}
			}
		}
	}
}

// foreign returns an architecture that has the name when this one hasn't, or "".
func (s *stock) foreign(name string) string {
	for _, a := range s.archives {
		if all := a.Index.Versions(name); len(all) > 0 {
			return all[0].Architecture
		}
	}
	return ""
}

// listed names each version of a package with its suite: "1.22 (bookworm), 1.26 (bookworm-backports)".
func (s *stock) listed(name string) string {
	var out []string
	for _, p := range s.versions(name) {
		out = append(out, p.Version+" ("+p.Suite+")")
	}
	return strings.Join(out, ", ")
}

// held lists the versions of a package, each once.
func (s *stock) held(name string) []string {
	var out []string
	for _, p := range s.versions(name) {
		out = append(out, p.Version)
	}
	return slices.Compact(out)
}

// relations are a package's relation fields, read.
type relations struct {
	needs    []deb.Group // Pre-Depends, then Depends
	wishes   []deb.Group // Recommends
	excludes []exclusion
	provides []deb.Relation
	err      error
}

// exclusion is one relation of Conflicts or Breaks.
type exclusion struct {
	verb string
	deb.Relation
}

// readRelations reads the fields of p. A Provides that can't be read provides nothing, as in
// deb.Index; a Recommends that can't is none. What p needs and excludes has to be readable.
func readRelations(p *deb.Package) *relations {
	r := &relations{}
	for _, field := range []string{p.Relations.PreDepends, p.Relations.Depends} {
		groups, err := deb.ParseRelations(field)
		r.needs, r.err = append(r.needs, groups...), cmp.Or(r.err, err)
	}
	for _, field := range []struct{ verb, text string }{
		{"conflicts with", p.Relations.Conflicts}, {"breaks", p.Relations.Breaks},
	} {
		groups, err := deb.ParseRelations(field.text)
		r.err = cmp.Or(r.err, err)
		for _, g := range groups {
			r.excludes = append(r.excludes, exclusion{field.verb, g[0]})
		}
	}
	if wishes, err := deb.ParseRelations(p.Relations.Recommends); err == nil {
		r.wishes = wishes
	}
	provides, err := deb.ParseRelations(p.Relations.Provides)
	for _, g := range provides {
		if err == nil {
			r.provides = append(r.provides, g[0])
		}
	}
	return r
}

// archivesOf returns the names of the archives that the image is from.
func archivesOf(spec imx.ImageSpec) imx.Names {
	if len(spec.From) == 0 {
		return imx.Names{imx.HostArchive}
	}
	return spec.From
}

// archives returns the indexes of the image's archives, or the name of one that is missing.
func (in Input) archives(spec imx.ImageSpec) (all []Archive, missing string) {
	for _, name := range archivesOf(spec) {
		a := in.Indexes[name]
		if a.Index == nil || len(a.Suites) == 0 {
			return nil, name
		}
		all = append(all, a)
	}
	return all, ""
}

// Archives returns the names of the archives whose index Resolve will need, sorted. It is empty
// when the lock answers everything: then a plan needs no network at all.
func Archives(in Input) []string {
	need := map[string]bool{}
	for _, spec := range in.Template.Images {
		image, ok := in.kept(spec)
		for _, asked := range in.kitsAsked(spec.Name) {
			if ok {
				_, ok = in.keepsKit(image, asked)
			}
		}
		if !ok {
			for _, name := range archivesOf(spec) {
				need[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(need))
}
