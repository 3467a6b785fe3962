package plan

import (
	"fmt"
	"slices"
	"strings"

	"imx/internal/deb"
)

// mostWants is how many of those that a pin is in the way of are named.
const mostWants = 3

// tell reports failures, each cause once: where a pin of the template is in the way of several packages,
// the mistake is the pin and not the packages.
func (q *questions) tell(failures []*failure) {
	told := map[*deb.Package]bool{}
	for _, f := range failures {
		pin := f.cause()
		wants := wanting(failures, pin)
		switch {
		case len(wants) < 2:
			q.report(q.place(f.owner), q.subject+": "+f.text(), f.advice())
		case !told[pin]:
			told[pin] = true
			q.reportPin(pin, wants)
		}
	}
}

// cause returns the pin that a failure comes from, nil where it comes from something else.
func (f *failure) cause() *deb.Package {
	if f.pin != nil {
		return f.pin
	}
	for _, t := range f.tried {
		if pin := t.cause(); pin != nil {
			return pin
		}
	}
	return nil
}

// wanting lists what the pin is in the way of, each once and sorted; nothing for no pin.
func wanting(failures []*failure, pin *deb.Package) []string {
	if pin == nil {
		return nil
	}
	var all []string
	for _, f := range failures {
		if f.pin == pin {
			all = append(all, f.wants)
		}
		all = append(all, wanting(f.tried, pin)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// reportPin says which pin is in the way of what, and what to write instead.
func (q *questions) reportPin(pin *deb.Package, wants []string) {
	at, ok := q.at[pin.Name]
	if !ok {
		at = q.spec.At // a package of a suite brought it along
	}
	text := strings.Join(first(wants, mostWants), ", ")
	if more := len(wants) - mostWants; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	hint := "leave the pin of " + quote(pin.Name) + " out"
	if free, ok := q.stock.newest(pin.Name); ok && free.Version != pin.Version {
		hint = fmt.Sprintf("write %q, which takes %s (%s)", pin.Name, free.Version, free.Suite)
		if free.Suite != pin.Suite {
			hint += ", or take the image from an archive that has no " + quote(free.Suite) + " among its suites"
		}
	}
	q.report(at, fmt.Sprintf("%s: %s is pinned to %s (%s), and that excludes what the image can't do without: %s",
		q.subject, pin.Name, pin.Version, pin.Suite, text), hint)
}

// inTheWay returns the pin that keeps a relation from being met, nil where there is none or no version would do.
func (p *pass) inTheWay(d demand) *deb.Package {
	for _, r := range d.group {
		if pin := p.pins[r.Name]; pin != nil && slices.ContainsFunc(p.stock.versions(r.Name), func(v *deb.Package) bool {
			return r.Allows(v.Version) && p.qualified(r, v)
		}) {
			return pin
		}
		for _, pr := range p.stock.providers(r.Name) {
			if pin := p.pins[pr.Package.Name]; pin != nil && r.Allows(pr.Version) {
				return pin
			}
		}
	}
	return nil
}

// banned is the failure of a package that a chosen one excludes.
func (p *pass) banned(n *node, b ban) *failure {
	return &failure{
		owner: n, other: b.by, pin: p.pinOf(n, b.by), wants: b.by.pkg.Name + " " + b.verb + " " + b.String(),
		because: "can't be there: " + chain(b.by) + " " + b.by.pkg.Version + " " + b.verb + " " + b.String(),
	}
}

// beside is the failure of a package that excludes a chosen one.
func (p *pass) beside(n *node, e exclusion, other *node) *failure {
	return &failure{
		owner: n, other: other, pin: p.pinOf(other, n), wants: n.pkg.Name + " " + e.verb + " " + e.String(),
		because: e.verb + " " + e.String() + ", and " + chain(other) + " " + other.pkg.Version + " is chosen",
	}
}

// pinOf returns the first of the packages that the template pins and that there are other versions of.
func (p *pass) pinOf(nodes ...*node) *deb.Package {
	for _, n := range nodes {
		if p.pins[n.pkg.Name] == n.pkg && len(p.stock.held(n.pkg.Name)) > 1 {
			return n.pkg
		}
	}
	return nil
}
