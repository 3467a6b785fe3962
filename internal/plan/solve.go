package plan

import (
	"cmp"
	"math"
	"slices"

	"imx"
	"imx/internal/deb"
)

// maxPasses bounds the search. Real archives need one pass, two or three where a lock holds
// versions that don't fit any more; each pass gives up at least one choice, so that it always ends.
const maxPasses = 1000

// solver chooses packages as apt does. Like apt it has one candidate of each name: the pinned one,
// else the version that the lock prefers, else the newest of those with the highest priority.
//
// The Essential packages are settled first. Then, with those that were asked for taken, each one's
// Pre-Depends and Depends are followed to the end before the next one's: of a relation's
// targets the first that is taken already, else the first that can be, in the field's order. A
// target can't be had beside a chosen package that it excludes or that excludes it, nor without what it
// needs itself; what was chosen on the way to that is undone.
//
// Where that fails, the solver gives up a choice that it had made before, a locked version or an
// alternative in the way, and starts over.
type solver struct {
	stock      *stock
	pins       map[string]*deb.Package       // what the template asks for, and what is given
	standsFor  map[*deb.Package]*deb.Package // of given packages that the index lacks: of which they are taken for
	preferred  map[string]string             // versions that the lock has; those that don't fit are taken out
	given      map[alternative]*failure
	read       map[*deb.Package]*relations
	recommends bool // follow Recommends too
	stale      bool // a preference went in the middle of a pass, which then means nothing
}

// alternative is one target of a relation that has several; given up, with the reason.
type alternative struct{ owner, group, target string }

// node is a chosen package and how it came to be chosen.
type node struct {
	pkg   *deb.Package
	by    *node     // whose relation led here; nil for a root
	group deb.Group // that relation
	free  bool      // it had other targets, or isn't needed
}

// demand is a relation of a chosen package.
type demand struct {
	owner *node
	verb  string // "needs" or "recommends"
	group deb.Group
}

// pass is one try to choose.
type pass struct {
	*solver

	chosen   map[string]*node
	provided map[string][]offer
	excluded map[string][]ban
	order    []*node // the chosen, in the order of choice
	base     int     // so many of them are the build root's
	rejected map[*deb.Package]*failure
	open     []demand // of the base; decided once the rest of it is known
	phase    phase
	failures []*failure
	unmet    []wish // Recommends that couldn't be had when they were looked at
}

// wish is a Recommends that couldn't be had.
type wish struct {
	demand
	why *failure
}

// phase is what a pass is at.
type phase int

const (
	choosing   phase = iota // what was asked for
	settling                // the base: relations between real alternatives stay open
	estimating              // what an alternative would bring
)

// offer is a name that a chosen package provides.
type offer struct {
	by      *node
	version string
}

// ban is a name that a chosen package excludes.
type ban struct {
	by *node
	exclusion
}

// run tries until it finds a solution or nothing is left to give up; then the last pass holds
// the failures. Each pass begins with what begin chooses.
func (s *solver) run(begin func(*pass), asked []string) *pass {
	for range maxPasses {
		p := &pass{
			solver: s, chosen: map[string]*node{}, rejected: map[*deb.Package]*failure{},
			provided: map[string][]offer{}, excluded: map[string][]ban{},
		}
		begin(p)
		p.roots(asked, func(*deb.Package) bool { return true })
		if !s.again(p.failures) {
			return p
		}
	}
	return &pass{failures: []*failure{{because: "can't be decided: too many choices exclude each other"}}}
}

// settle chooses the build root: the Essential packages, the granted ones, and what they need.
func (p *pass) settle() {
	p.phase = settling
	p.roots(p.stock.standing((*deb.Index).Essential), func(e *deb.Package) bool { return e.Essential })
	p.roots(p.stock.standing((*deb.Index).Granted), (*deb.Package).Granted)
	for len(p.open) > 0 {
		d := p.open[0]
		p.open = p.open[1:]
		p.fail(p.choose(d, p.smallestFirst(d)))
	}
	p.phase, p.base = choosing, len(p.order)
}

// roots takes the named packages, and then follows what each of them needs.
func (p *pass) roots(names []string, wanted func(*deb.Package) bool) {
	var taken []*node
	for _, name := range names {
		c, ok := p.candidate(name)
		if !ok || !wanted(c) || p.chosen[name] != nil {
			continue
		}
		n := &node{pkg: c}
		if f := p.obstacle(n); f != nil {
			p.fail(f)
			continue
		}
		p.add(n)
		taken = append(taken, n)
	}
	for _, n := range taken {
		p.fail(p.follow(n))
	}
}

func (p *pass) fail(f *failure) {
	if f != nil {
		p.failures = append(p.failures, f)
	}
}

// again reports whether another pass may do better than the one with the failures.
func (s *solver) again(failures []*failure) bool {
	if s.stale {
		s.stale = false
		return true
	}
	for _, giveUp := range []func(*failure) bool{s.giveUpVersion, s.giveUpAlternative} {
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
	if p := s.pins[name]; p != nil {
		return p, true
	}
	if v := s.preferred[name]; v != "" {
		if p, ok := s.stock.version(name, v); ok {
			return p, true
		}
	}
	return s.stock.newest(name)
}

func (s *solver) relations(p *deb.Package) *relations {
	r := s.read[p]
	if r == nil {
		r = readRelations(p)
		s.read[p] = r
	}
	return r
}

// add chooses a package that nothing stands in the way of.
func (p *pass) add(n *node) {
	p.chosen[n.pkg.Name] = n
	p.order = append(p.order, n)
	r := p.relations(n.pkg)
	for _, v := range r.provides {
		p.provided[v.Name] = append(p.provided[v.Name], offer{n, v.Version})
	}
	for _, e := range r.excludes {
		if p.applies(e) {
			p.excluded[e.Name] = append(p.excluded[e.Name], ban{n, e})
		}
	}
}

// undo takes back the choices from the i-th on.
func (p *pass) undo(i int) {
	for _, n := range p.order[i:] {
		delete(p.chosen, n.pkg.Name)
		r := p.relations(n.pkg)
		for _, v := range r.provides {
			p.provided[v.Name] = slices.DeleteFunc(p.provided[v.Name], func(o offer) bool { return o.by == n })
		}
		for _, e := range r.excludes {
			p.excluded[e.Name] = slices.DeleteFunc(p.excluded[e.Name], func(b ban) bool { return b.by == n })
		}
	}
	p.order = p.order[:i]
}

// take chooses a package and what it needs, or changes nothing and says why that can't be.
func (p *pass) take(n *node) *failure {
	if f := p.rejected[n.pkg]; f != nil {
		return f
	}
	f := p.obstacle(n)
	if f == nil {
		before, open := len(p.order), len(p.open)
		p.add(n)
		if f = p.follow(n); f != nil {
			p.undo(before)
			p.open = p.open[:open]
		}
	}
	if f != nil {
		p.rejected[n.pkg] = f
	}
	return f
}

// follow chooses what a chosen package needs, and what it recommends.
func (p *pass) follow(n *node) *failure {
	r := p.relations(n.pkg)
	if r.err != nil {
		return &failure{owner: n, because: "has a relation that can't be read: " + r.err.Error()}
	}
	for _, g := range r.needs {
		if f := p.meet(demand{n, "needs", g}); f != nil {
			return f
		}
	}
	if !p.recommends || p.phase != choosing {
		return nil
	}
	for _, g := range r.wishes {
		d := demand{n, "recommends", g}
		if f := p.meet(d); f != nil {
			p.unmet = append(p.unmet, wish{d, f})
		}
	}
	return nil
}

// meet sees to it that a relation holds, or says why that can't be.
func (p *pass) meet(d demand) *failure {
	targets := p.targets(d.group)
	switch {
	case p.satisfied(targets):
		return nil
	case len(targets) == 0 && p.loosen(d.group):
		return nil
	case len(targets) == 0:
		return p.impossible(d)
	case p.phase == settling && len(p.real(d.group, targets)) > 1:
		p.open = append(p.open, d)
		return nil
	}
	return p.choose(d, targets)
}

// choose takes the first of the targets that can be had.
func (p *pass) choose(d demand, targets []*deb.Package) *failure {
	if p.satisfied(targets) {
		return nil
	}
	f := &failure{owner: d.owner, because: d.verb + " " + d.group.String() + ", and none of them can be had"}
	for _, t := range targets {
		why := p.given[alternative{d.owner.pkg.Name, d.group.String(), t.Name}]
		if why == nil {
			why = p.take(&node{pkg: t, by: d.owner, group: d.group, free: len(targets) > 1 || d.verb == "recommends"})
		}
		if why == nil {
			return nil
		}
		f.tried = append(f.tried, why)
	}
	if len(targets) == 1 {
		return f.tried[0]
	}
	return f
}

// real returns the places in targets of those that the relation itself names.
func (p *pass) real(g deb.Group, targets []*deb.Package) []int {
	var found []int
	for i, t := range targets {
		if slices.ContainsFunc(g, func(r deb.Relation) bool { return r.Name == t.Name }) {
			found = append(found, i)
		}
	}
	return found
}

// smallestFirst returns the targets of a relation of the base, those that the relation names in the order
// of what they would add to the base. The base is in no image: what is in it costs time alone.
func (p *pass) smallestFirst(d demand) []*deb.Package {
	targets := p.targets(d.group)
	if p.satisfied(targets) {
		return targets
	}
	slots := p.real(d.group, targets)
	sizes := map[*deb.Package]imx.Size{}
	var sorted []*deb.Package
	for _, i := range slots {
		sizes[targets[i]] = p.addition(&node{pkg: targets[i], by: d.owner, group: d.group})
		sorted = append(sorted, targets[i])
	}
	slices.SortStableFunc(sorted, func(a, b *deb.Package) int { return cmp.Compare(sizes[a], sizes[b]) })
	for k, i := range slots {
		targets[i] = sorted[k]
	}
	return targets
}

// addition returns what taking the package would add; it is taken back at once.
func (p *pass) addition(n *node) imx.Size {
	p.phase = estimating
	defer func() { p.phase = settling }()
	before := len(p.order)
	if p.take(n) != nil {
		return math.MaxInt64
	}
	var sum imx.Size
	for _, added := range p.order[before:] {
		sum += added.pkg.Installed
	}
	p.undo(before)
	return sum
}

func (p *pass) satisfied(targets []*deb.Package) bool {
	return slices.ContainsFunc(targets, func(t *deb.Package) bool {
		n := p.chosen[t.Name]
		return n != nil && n.pkg == t
	})
}

// obstacle returns why a package can't be beside those that are chosen, or nil. No package
// excludes itself, even where it provides the name that it conflicts with (Debian policy 7.4).
func (p *pass) obstacle(n *node) *failure {
	r := p.relations(n.pkg)
	for _, v := range append([]deb.Relation{{Name: n.pkg.Name, Version: n.pkg.Version}}, r.provides...) {
		for _, b := range p.excluded[v.Name] {
			if b.by.pkg.Name != n.pkg.Name && b.Allows(v.Version) {
				return p.banned(n, b)
			}
		}
	}
	for _, e := range r.excludes {
		if !p.applies(e) {
			continue
		}
		if other := p.chosen[e.Name]; other != nil && e.Name != n.pkg.Name && e.Allows(other.pkg.Version) {
			return p.beside(n, e, other)
		}
		for _, o := range p.provided[e.Name] {
			if o.by.pkg.Name != n.pkg.Name && e.Allows(o.version) {
				return p.beside(n, e, o.by)
			}
		}
	}
	return nil
}

// applies reports whether an exclusion means packages of this architecture at all.
func (s *solver) applies(e exclusion) bool {
	return (e.Qualifier == "" || e.Qualifier == "any" || e.Qualifier == s.stock.architecture) && e.On(s.stock.architecture)
}

// giveUpVersion takes back the nearest preference of a locked version on the way to the failure,
// and reports whether there was one.
func (s *solver) giveUpVersion(f *failure) bool {
	for _, n := range []*node{f.other, f.owner} {
		for ; n != nil; n = n.by {
			if v := s.preferred[n.pkg.Name]; v != "" && v == n.pkg.Version {
				s.unprefer(n.pkg.Name)
				return true
			}
		}
	}
	return slices.ContainsFunc(f.tried, s.giveUpVersion)
}

// giveUpAlternative takes back the nearest choice that led to what stood in the way, and reports
// whether there was one. What the failing package itself was chosen by has tried all others already.
func (s *solver) giveUpAlternative(f *failure) bool {
	for n := f.other; n != nil; n = n.by {
		if !n.free {
			continue
		}
		key := alternative{n.by.pkg.Name, n.group.String(), n.pkg.Name}
		if s.given[key] == nil {
			s.given[key] = f
			return true
		}
	}
	return slices.ContainsFunc(f.tried, s.giveUpAlternative)
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
