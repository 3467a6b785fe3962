package plan

import (
	"cmp"
	"slices"
	"strings"

	"imx"
	"imx/internal/deb"
)

// maxPasses bounds the search. Real archives need one pass, two or three where a lock holds
// versions that don't fit any more; each pass gives up at least one choice, so that it always ends.
const maxPasses = 1000

// solver chooses packages as apt does without Recommends. Like apt it has one candidate of each
// name: the pinned version, else the one that the lock prefers, else the newest. From the
// Essential packages, and then from those that were asked for, it follows Pre-Depends and Depends:
// relations with one answer first, then those with several, each by the first answer that is
// there already, else the first in the field's order. Conflicts and Breaks are checked at the end.
//
// Where that fails, the solver gives up what it had preferred on the way there, a locked version
// or else an alternative, and starts over.
type solver struct {
	index        *deb.Index
	architecture string
	pins         map[string]string // versions that the template asks for
	preferred    map[string]string // versions that the lock has; those that don't fit are taken out
	given        map[alternative]string
	relations    map[*deb.Package][]deb.Group
	stale        bool // a preference went in the middle of a pass, which then means nothing
}

// alternative is one target of a relation that has several; given up, with the reason.
type alternative struct{ owner, group, target string }

// node is a chosen package and how it came to be chosen.
type node struct {
	pkg   *deb.Package
	by    *node     // whose relation led here; nil for a root
	group deb.Group // that relation
	free  bool      // it had other targets
}

// demand is a relation of a chosen package.
type demand struct {
	owner *node
	group deb.Group
}

// pass is one try to choose.
type pass struct {
	*solver

	chosen   map[string]*node
	order    []*node  // the chosen, in the order of choice
	queue    []*node  // whose relations aren't looked at yet
	open     []demand // several targets; decided once the queue is empty
	failures []failure
}

// run tries until it finds a solution or nothing is left to give up; then the last pass holds
// the failures. It also returns the number of packages that the Essential and the granted ones brought.
func (s *solver) run(asked []string) (last *pass, base int) {
	for range maxPasses {
		last = &pass{solver: s, chosen: map[string]*node{}}
		for _, name := range s.index.Essential() {
			if p, ok := s.candidate(name); ok && p.Essential {
				last.add(&node{pkg: p})
			}
		}
		last.drain()
		for _, name := range s.index.Granted() {
			if p, ok := s.candidate(name); ok && p.Granted() {
				last.add(&node{pkg: p})
			}
		}
		last.drain()
		base = len(last.order)
		for _, name := range asked {
			if p, ok := s.candidate(name); ok {
				last.add(&node{pkg: p})
			}
		}
		last.drain()
		last.checkConflicts()
		if !s.again(last.failures) {
			break
		}
	}
	return last, base
}

// again reports whether another pass may do better than the one with the failures.
func (s *solver) again(failures []failure) bool {
	if s.stale {
		s.stale = false
		return true
	}
	for _, giveUp := range []func(failure) bool{s.giveUpVersion, s.giveUpAlternative} {
		again := false
		for _, f := range failures {
			again = giveUp(f) || again
		}
		if again {
			return true
		}
	}
	if len(failures) > 0 && len(s.preferred) > 0 {
		clear(s.preferred)
		clear(s.given)
		return true
	}
	return false
}

// unprefer takes back the preference of a locked version. Alternatives that were given up are tried
// again: it may have been that version's fault.
func (s *solver) unprefer(name string) {
	delete(s.preferred, name)
	clear(s.given)
}

// candidate returns the one package of the name that may be chosen, or false.
func (s *solver) candidate(name string) (*deb.Package, bool) {
	for _, wanted := range []string{s.pins[name], s.preferred[name]} {
		if wanted == "" {
			continue
		}
		if p, ok := s.version(name, wanted); ok {
			return p, true
		}
	}
	return s.index.Newest(name, s.architecture)
}

// version returns the package of just that version, or false.
func (s *solver) version(name, version string) (*deb.Package, bool) {
	for _, p := range s.index.Versions(name) {
		if p.Version == version && p.RunsOn(s.architecture) {
			return p, true
		}
	}
	return nil, false
}

func (p *pass) add(n *node) {
	if p.chosen[n.pkg.Name] != nil {
		return
	}
	p.chosen[n.pkg.Name] = n
	p.order = append(p.order, n)
	p.queue = append(p.queue, n)
}

func (p *pass) drain() {
	for len(p.queue) > 0 || len(p.open) > 0 {
		if len(p.queue) > 0 {
			n := p.queue[0]
			p.queue = p.queue[1:]
			p.expand(n)
			continue
		}
		d := p.open[0]
		p.open = p.open[1:]
		p.choose(d)
	}
}

// expand follows the relations of a chosen package as far as they leave no choice.
func (p *pass) expand(n *node) {
	groups, err := p.depends(n.pkg)
	if err != nil {
		p.failures = append(p.failures, failure{owner: n, because: "has a Depends that can't be read: " + err.Error()})
		return
	}
	for _, g := range groups {
		targets := p.targets(g)
		switch {
		case len(targets) == 0 && p.loosen(g):
		case len(targets) == 0:
			p.failures = append(p.failures, p.unmet(n, g))
		case p.satisfied(targets):
		case len(targets) == 1:
			p.add(&node{pkg: targets[0], by: n, group: g})
		default:
			p.open = append(p.open, demand{n, g})
		}
	}
}

// choose decides a relation with several targets.
func (p *pass) choose(d demand) {
	targets := p.targets(d.group)
	if p.satisfied(targets) {
		return
	}
	for _, t := range targets {
		if _, given := p.given[alternative{d.owner.pkg.Name, d.group.String(), t.Name}]; !given {
			p.add(&node{pkg: t, by: d.owner, group: d.group, free: true})
			return
		}
	}
	p.failures = append(p.failures, p.exhausted(d, targets))
}

func (p *pass) satisfied(targets []*deb.Package) bool {
	return slices.ContainsFunc(targets, func(t *deb.Package) bool {
		n := p.chosen[t.Name]
		return n != nil && n.pkg == t
	})
}

// depends returns the relations that must hold for the package to work, Pre-Depends first.
func (s *solver) depends(p *deb.Package) ([]deb.Group, error) {
	if g, ok := s.relations[p]; ok {
		return g, nil
	}
	var all []deb.Group
	for _, field := range []string{p.Relations.PreDepends, p.Relations.Depends} {
		groups, err := deb.ParseRelations(field)
		if err != nil {
			return nil, err
		}
		all = append(all, groups...)
	}
	s.relations[p] = all
	return all, nil
}

// targets returns the candidates that satisfy the group, in the order in which apt prefers them:
// by the field's order, and for each name the package itself before those that provide it.
func (s *solver) targets(g deb.Group) []*deb.Package {
	var out []*deb.Package
	for _, r := range g {
		if !r.On(s.architecture) {
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
		if newer, ok := s.index.Newest(r.Name, s.architecture); ok && r.Allows(newer.Version) {
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
		for _, pr := range s.index.Providers(r.Name) {
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
	for _, pr := range s.index.Providers(r.Name) {
		if !r.Allows(pr.Version) || !s.qualified(r, pr.Package) {
			continue
		}
		if p, ok := s.candidate(pr.Package.Name); ok && p == pr.Package {
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
	case "", "native", s.architecture:
		return true
	case "any":
		return p.MultiArch == "allowed"
	}
	return false
}

// checkConflicts notes every chosen package that can't be beside another.
func (p *pass) checkConflicts() {
	provided := p.provided()
	for _, n := range p.order {
		for _, field := range []struct{ verb, text string }{
			{"conflicts with", n.pkg.Relations.Conflicts}, {"breaks", n.pkg.Relations.Breaks},
		} {
			groups, err := deb.ParseRelations(field.text)
			if err != nil {
				p.failures = append(p.failures, failure{owner: n, because: "has a field that can't be read: " + err.Error()})
				continue
			}
			for _, g := range groups {
				p.checkConflict(n, field.verb, g[0], provided[g[0].Name])
			}
		}
	}
}

// checkConflict looks for the chosen packages that r of n excludes. No package excludes itself,
// even where it provides the name that it conflicts with (Debian policy 7.4).
func (p *pass) checkConflict(n *node, verb string, r deb.Relation, providers []deb.Provider) {
	if r.Qualifier != "" && r.Qualifier != "any" && r.Qualifier != p.architecture || !r.On(p.architecture) {
		return
	}
	if other := p.chosen[r.Name]; other != nil && other != n && r.Allows(other.pkg.Version) {
		p.failures = append(p.failures, failure{owner: n, other: other, because: verb + " " + r.String()})
		return
	}
	for _, pr := range providers {
		if other := p.chosen[pr.Package.Name]; other != n && r.Allows(pr.Version) {
			p.failures = append(p.failures, failure{owner: n, other: other, because: verb + " " + r.String()})
			return
		}
	}
}

// provided returns what the chosen packages provide, by virtual name.
func (p *pass) provided() map[string][]deb.Provider {
	all := map[string][]deb.Provider{}
	for _, n := range p.order {
		groups, err := deb.ParseRelations(n.pkg.Relations.Provides)
		if err != nil {
			continue // as in deb.Index: it provides nothing
		}
		for _, g := range groups {
			all[g[0].Name] = append(all[g[0].Name], deb.Provider{Package: n.pkg, Version: g[0].Version})
		}
	}
	return all
}

// giveUpVersion takes back the nearest preference of a locked version on the way to the failure,
// and reports whether there was one.
func (s *solver) giveUpVersion(f failure) bool {
	for _, n := range []*node{f.other, f.owner} {
		for ; n != nil; n = n.by {
			if v := s.preferred[n.pkg.Name]; v != "" && v == n.pkg.Version {
				s.unprefer(n.pkg.Name)
				return true
			}
		}
	}
	return false
}

// giveUpAlternative takes back the nearest choice between alternatives on the way to the failure,
// and reports whether there was one.
func (s *solver) giveUpAlternative(f failure) bool {
	for _, n := range []*node{f.other, f.owner} {
		for ; n != nil; n = n.by {
			if !n.free {
				continue
			}
			key := alternative{n.by.pkg.Name, n.group.String(), n.pkg.Name}
			if s.given[key] == "" {
				s.given[key] = f.text()
			}
			return true
		}
	}
	return false
}

// sortedPins turns chosen packages into the pins of a plan.
func sortedPins(packages []*deb.Package) []imx.Package {
	out := make([]imx.Package, 0, len(packages))
	for _, p := range packages {
		out = append(out, p.Package)
	}
	sortPackages(out)
	return out
}
