package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"

	"imx"
	"imx/internal/deb"
)

// solve chooses the packages of one image, or reports why that can't be done.
func (r *resolver) solve(spec imx.ImageSpec, archives []Archive) (groups, bool) {
	s := r.solver(archives)
	s.recommends = spec.Recommends
	q := questions{solver: s, subject: "image." + spec.Name, spec: spec, report: r.report, at: map[string]imx.Pos{}}
	asked, ok := q.ask()
	gone, intact := r.prefer(s, spec)
	last := s.run((*pass).settle, asked)
	q.tell(last.failures)
	if !ok || !intact || len(last.failures) > 0 {
		return groups{}, false
	}
	for _, p := range gone {
		if n := last.chosen[p.Name]; n != nil {
			r.notice(spec.At, q.subject+": "+named(archivesOf(spec))+" no longer lists the locked "+p.Name+" "+p.Version+
				"; "+n.pkg.Version+" is taken instead")
		}
	}
	for _, w := range last.unmet {
		if last.chosen[w.owner.pkg.Name] == w.owner && !last.satisfied(last.targets(w.group)) {
			r.notice(q.place(w.owner), q.subject+": "+w.text())
		}
	}
	g, needless := group(last, asked, spec.Without)
	for _, name := range needless {
		r.report(spec.At, q.subject+" does without "+quote(name)+", which nothing in it depends on", "take it out of without")
	}
	return g, len(needless) == 0
}

func (r *resolver) solver(archives []Archive) *solver {
	return &solver{
		stock: newStock(archives, r.in.Architecture), pins: map[string]*deb.Package{}, preferred: map[string]string{},
		given: map[alternative]*failure{}, read: map[*deb.Package]*relations{}, standsFor: map[*deb.Package]*deb.Package{},
	}
}

// named names the archives: "archive debian", "archives debian and vendor".
func named(archives imx.Names) string {
	if len(archives) == 1 {
		return "archive " + archives[0]
	}
	last := len(archives) - 1
	return "archives " + strings.Join(archives[:last], ", ") + " and " + archives[last]
}

// prefer fills in the versions that the lock has, the image's own before those of other images. It
// returns the image's own packages that the index no longer has, and false where the index has
// one of them with other bytes under the same version.
func (r *resolver) prefer(s *solver, spec imx.ImageSpec) (gone []imx.Package, intact bool) {
	if r.in.Lock == nil || r.in.Update {
		return nil, true
	}
	from := archivesOf(spec)
	own, intact := map[string]bool{}, true
	if l, ok := r.in.locked(spec); ok && slices.Equal(l.From, from) {
		for _, ref := range slices.Concat(l.Base, l.Tools, l.Ship) {
			own[ref] = true
		}
	}
	for _, p := range r.in.Lock.Packages {
		found, ok := s.stock.version(p.Name, p.Version)
		switch {
		case !ok && own[p.Ref()]:
			gone = append(gone, p)
		case !ok || !slices.Contains(from, p.Archive) && !own[p.Ref()]:
		case found.Digest != p.Digest:
			r.report(spec.At, named(from)+" has other bytes under "+p.Ref()+" than "+imx.LockFile+" says: "+
				string(found.Digest)+" instead of "+string(p.Digest), "if the change is known and meant, run `imx plan --update`")
			intact = false
		case own[p.Ref()] || s.preferred[p.Name] == "" || !own[ownRef(p, s.preferred[p.Name])] && deb.Compare(p.Version, s.preferred[p.Name]) > 0:
			s.preferred[p.Name] = p.Version
		}
	}
	return gone, intact
}

// ownRef is p's Ref with another version.
func ownRef(p imx.Package, version string) string {
	p.Version = version
	return p.Ref()
}

// questions reads what an image asks for, and reports what can't be meant.
type questions struct {
	*solver

	subject string
	spec    imx.ImageSpec
	report  func(at imx.Pos, summary, hint string)
	at      map[string]imx.Pos // of each package that was asked for

	suggested int // how often the nearest names were looked for
}

// place returns where the template asks for what led to n.
func (q *questions) place(n *node) imx.Pos {
	if n != nil {
		if at, ok := q.at[root(n).pkg.Name]; ok {
			return at
		}
	}
	return q.spec.At
}

// ask fills in the pins and returns the names of the packages that can be chosen, sorted;
// false if there was something to report.
func (q *questions) ask() (asked []string, ok bool) {
	ok = true
	for i, text := range q.spec.Packages {
		at := q.spec.At
		if len(q.spec.PackagesAt) == len(q.spec.Packages) {
			at = q.spec.PackagesAt[i]
		}
		w := imx.ReadRequest(text)
		pin, problem, hint := q.find(w)
		if problem != "" {
			q.report(at, q.subject+": "+problem, hint)
			ok = false
			continue
		}
		if pin != nil {
			q.pins[w.Name] = pin
		}
		q.at[w.Name] = at
		asked = append(asked, w.Name)
	}
	for _, text := range q.spec.Packages {
		if w := imx.ReadRequest(text); w.Suite != "" && q.pins[w.Name] != nil {
			q.followSuite(q.pins[w.Name])
		}
	}
	slices.Sort(asked)
	return slices.Compact(asked), ok
}

// find returns the package that a request pins, if it pins one, or what is wrong with it and what
// to write instead.
func (q *questions) find(w imx.Request) (pin *deb.Package, problem, hint string) {
	_, known := q.stock.newest(w.Name)
	from := named(archivesOf(q.spec))
	switch {
	case deb.CheckName(w.Name) != nil:
		return nil, quote(w.Name) + " is not the name of a package", `write "name", "name=version" or "name/suite"`
	case !known && len(q.stock.providers(w.Name)) > 0:
		return nil, quote(w.Name) + " is only a name that other packages provide", "ask for one of them: " + q.providing(w.Name)
	case !known && q.stock.foreign(w.Name) != "":
		return nil, "package " + quote(w.Name) + " isn't there for " + q.stock.architecture, "it is for " + q.stock.foreign(w.Name)
	case !known:
		return nil, "there is no package " + quote(w.Name) + " for " + q.stock.architecture + " in " + from, q.nearest(w.Name)
	case w.Version == "" && w.Suite == "":
		return nil, "", ""
	}
	var ok bool
	if w.Suite != "" {
		pin, ok = q.stock.from(w.Name, w.Suite)
		problem = "suite " + quote(w.Suite) + " has no " + w.Name
	} else {
		pin, ok = q.stock.version(w.Name, w.Version)
		problem = from + " has no " + w.Name + " of version " + quote(w.Version)
	}
	if !ok {
		return nil, problem, "there is " + q.stock.listed(w.Name)
	}
	if old := q.pins[w.Name]; old != nil && old.Version != pin.Version {
		return nil, quote(w.Name) + " is asked for in two versions, " + old.Version + " and " + pin.Version, "keep one of them"
	}
	return pin, "", ""
}

// followSuite pins what a package that was asked for from a suite needs from there too: what no
// candidate satisfies, and a package of the same suite does. apt follows a suite just so far.
func (q *questions) followSuite(p *deb.Package) {
	for _, g := range q.relations(p).needs {
		if len(q.targets(g)) > 0 {
			continue
		}
		for _, r := range g {
			c, ok := q.stock.from(r.Name, p.Suite)
			if ok && q.pins[r.Name] == nil && r.On(q.stock.architecture) && q.qualified(r, c) && r.Allows(c.Version) {
				q.pins[r.Name] = c
				q.followSuite(c)
				break
			}
		}
	}
}

func quote(s string) string { return `"` + s + `"` }

// providing lists at most five packages that provide the name.
func (q *questions) providing(name string) string {
	var out []string
	for _, p := range q.stock.providers(name) {
		out = append(out, p.Package.Name)
	}
	slices.Sort(out)
	return strings.Join(first(slices.Compact(out), 5), ", ")
}

// maxSuggestions bounds how many names of an image are compared with those of the whole archive.
const maxSuggestions = 30

// nearest suggests at most three names of packages that are spelled much like the name.
func (q *questions) nearest(name string) string {
	if q.suggested++; q.suggested > maxSuggestions {
		return "look the name up at a Debian machine with `apt-cache search`"
	}
	type near struct {
		name     string
		distance int
	}
	var found []near
	far := 1 + len(name)/4
	for other := range q.stock.names() {
		if max(len(other)-len(name), len(name)-len(other)) > far {
			continue
		}
		if d := levenshtein.Distance(name, other, nil); d <= far {
			found = append(found, near{other, d})
		}
	}
	if len(found) == 0 {
		return "look the name up at a Debian machine with `apt-cache search`"
	}
	slices.SortFunc(found, func(a, b near) int { return cmp.Or(a.distance-b.distance, strings.Compare(a.name, b.name)) })
	var names []string
	for _, n := range first(slices.Compact(found), 3) {
		names = append(names, quote(n.name))
	}
	return "did you mean " + strings.Join(names, " or ") + "?"
}

func first[T any](list []T, n int) []T { return list[:min(n, len(list))] }
