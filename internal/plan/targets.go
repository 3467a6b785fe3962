package plan

import (
	"cmp"
	"slices"
	"strings"

	"imx/internal/deb"
)

// targets returns the candidates that satisfy the group, in the order in which apt prefers them:
// by the field's order, and for each name the package itself before those that provide it.
func (s *solver) targets(g deb.Group) []*deb.Package {
	var out []*deb.Package
	for _, r := range g {
		if !r.On(s.stock.architecture) {
			continue
		}
		if p, ok := s.fitting(r); ok && !slices.Contains(out, p) {
			out = append(out, p)
		}
		for _, p := range s.providers(r) {
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// fitting returns the candidate of the relation's own name, if it satisfies the relation. A version
// that the lock prefers gives way to the newest one here already, as an installed one does in apt.
func (s *solver) fitting(r deb.Relation) (*deb.Package, bool) {
	p, ok := s.candidate(r.Name)
	if !ok || !s.qualified(r, p) {
		return nil, false
	}
	if !r.Allows(p.Version) && s.preferred[r.Name] != "" {
		if newer, ok := s.stock.newest(r.Name); ok && r.Allows(newer.Version) {
			s.unprefer(r.Name)
			s.stale = true
			p = newer
		}
	}
	return p, r.Allows(p.Version)
}

// loosen drops the preferred versions that keep other versions from providing what the group asks
// for, and reports whether there were any.
func (s *solver) loosen(g deb.Group) bool {
	loosened := false
	for _, r := range g {
		for _, pr := range s.stock.providers(r.Name) {
			name := pr.Package.Name
			if v := s.preferred[name]; v != "" && v != pr.Package.Version && r.Allows(pr.Version) {
				s.unprefer(name)
				s.stale, loosened = true, true
			}
		}
	}
	return loosened
}

// providers returns the candidates that provide the relation's name in a version that it allows.
func (s *solver) providers(r deb.Relation) []*deb.Package {
	var out []*deb.Package
	for _, pr := range s.stock.providers(r.Name) {
		if !r.Allows(pr.Version) || !s.qualified(r, pr.Package) {
			continue
		}
		if p, ok := s.candidate(pr.Package.Name); ok && (p == pr.Package || s.standsFor[p] == pr.Package) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b *deb.Package) int {
		return cmp.Or(rank(a)-rank(b), strings.Compare(a.Name, b.Name))
	})
	return out
}

// rank orders the providers of a name: Essential ones first, then by Priority, as apt does.
func rank(p *deb.Package) int {
	if p.Essential {
		return 0
	}
	order := []string{"required", "important", "standard", "optional", "extra"}
	if i := slices.Index(order, p.Priority); i >= 0 {
		return i + 1
	}
	return len(order) + 1
}

// qualified reports whether p is what the relation's architecture qualifier means. Only packages
// that allow it satisfy ":any", and dpkg insists on that (deb-control(5), Multi-Arch).
func (s *solver) qualified(r deb.Relation, p *deb.Package) bool {
	switch r.Qualifier {
	case "", "native", s.stock.architecture:
		return true
	case "any":
		return p.MultiArch == "allowed"
	}
	return false
}
