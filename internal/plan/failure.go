package plan

import (
	"slices"
	"strings"

	"imx/internal/deb"
)

// failure is one reason why a pass found no solution.
type failure struct {
	owner   *node  // the package that can't be had, or whose relation can't be met
	other   *node  // the package in its way, if that is the reason
	because string // verb and object, with owner as the subject
	hint    string
	tried   []*failure   // why each target of the relation can't be had
	pin     *deb.Package // the package of the template's choice that another version of would do, if that is the reason
	wants   string       // who can't be beside pin, and why: "bash needs libc6 (>= 2.38)"
}

// text names the chain from what was asked for to the failing package, and the reason.
func (f *failure) text() string {
	s := f.because
	if f.owner != nil {
		s = chain(f.owner) + " " + s
	}
	told := map[string]bool{}
	for _, t := range f.tried {
		if text := t.text(); !told[text] {
			told[text] = true
			s += "; " + text
		}
	}
	return s
}

// text says what isn't had, and why.
func (w wish) text() string {
	if w.why.owner == w.owner {
		return w.why.text() + "; it is left out"
	}
	return chain(w.owner) + " recommends " + w.group.String() + "; it is left out: " + w.why.text()
}

// advice is what to do next, of the failure or of the first one below it that knows.
func (f *failure) advice() string {
	if f.hint != "" {
		return f.hint
	}
	for _, t := range f.tried {
		if hint := t.advice(); hint != "" {
			return hint
		}
	}
	if f.other != nil && f.owner != nil && root(f.owner) != root(f.other) {
		a, b := root(f.owner).pkg, root(f.other).pkg
		if b.Essential {
			return quote(a.Name) + " can't be in an image: Debian's essential packages exclude it"
		}
		return "leave out " + quote(a.Name) + " or " + quote(b.Name) + ", or give each an image of its own"
	}
	return ""
}

// chain writes "nginx-light -> nginx-common": from a root to the node.
func chain(n *node) string {
	if n.by == nil {
		return n.pkg.Name
	}
	return chain(n.by) + " -> " + n.pkg.Name
}

// root returns the package that led to n.
func root(n *node) *node {
	for n.by != nil {
		n = n.by
	}
	return n
}

// impossible is the failure of a relation that no candidate satisfies.
func (p *pass) impossible(d demand) *failure {
	f := &failure{owner: d.owner}
	var have []string
	for _, r := range d.group {
		have = append(have, p.having(r))
		if f.hint == "" {
			f.hint = p.wayOut(d.owner, r)
		}
	}
	f.because = d.verb + " " + d.group.String() + ", " + strings.Join(slices.Compact(have), " and ")
	if f.pin = p.inTheWay(d); f.pin != nil {
		f.wants = d.owner.pkg.Name + " " + d.verb + " " + d.group.String()
	}
	if f.hint == "" {
		f.hint = "add the suite or archive that has it, or leave out " + quote(root(d.owner).pkg.Name)
	}
	return f
}

// having says what there is in place of what the relation asks for.
func (p *pass) having(r deb.Relation) string {
	where := "the archive has "
	if len(p.stock.archives) > 1 {
		where = "the archives have "
	}
	held := p.stock.held(r.Name)
	var provided []string
	for _, pr := range p.stock.providers(r.Name) {
		if pr.Package.RunsOn(p.stock.architecture) {
			provided = append(provided, pr.Package.Name)
		}
	}
	slices.Sort(provided)
	switch pin := p.pins[r.Name]; {
	case pin != nil && !r.Allows(pin.Version):
		return r.Name + " is pinned to " + pin.Version
	case len(held) > 0:
		return where + strings.Join(held, ", ")
	case len(provided) > 0:
		return p.notProvided(slices.Compact(provided))
	}
	return where + "no " + r.Name
}

// notProvided says why none of the packages, of which some version provides a name, can provide it here.
func (p *pass) notProvided(names []string) string {
	for _, name := range names {
		if pin := p.pins[name]; pin != nil {
			return name + " is pinned to " + pin.Version + ", which doesn't provide it"
		}
	}
	return "no version of " + strings.Join(first(names, 3), ", ") + " that can be had provides it"
}

// wayOut names a version that would satisfy the relation, if it were asked for.
func (p *pass) wayOut(owner *node, r deb.Relation) string {
	for _, v := range p.stock.versions(r.Name) {
		if !r.Allows(v.Version) || !p.qualified(r, v) {
			continue
		}
		if p.pins[r.Name] != nil {
			return p.unpin(r.Name, owner)
		}
		if p.stock.priority(v) < deb.PriorityNormal {
			return "ask for " + quote(v.Name+"/"+v.Suite) + " too"
		}
		return "ask for " + quote(v.Name+"="+v.Version) + " too"
	}
	for _, pr := range p.stock.providers(r.Name) {
		if p.pins[pr.Package.Name] != nil {
			return p.unpin(pr.Package.Name, owner)
		}
	}
	return ""
}

// unpin is the advice about a pin that a package doesn't agree with. Where what led there is pinned itself, it
// is the package on the way that isn't.
func (p *pass) unpin(name string, owner *node) string {
	other := root(owner).pkg.Name
	if p.pins[other] != nil {
		other = owner.pkg.Name
	}
	return "take the pin off " + quote(name) + ", or pin " + quote(other) + " to a version that agrees with it"
}
