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
func (r *resolver) solve(spec imx.ImageSpec, index *deb.Index) (groups, bool) {
	s := &solver{
		index: index, architecture: r.in.Architecture,
		pins: map[string]string{}, preferred: map[string]string{},
		given: map[alternative]string{}, relations: map[*deb.Package][]deb.Group{},
	}
	q := questions{solver: s, subject: "image." + spec.Name, archive: archiveOf(spec), spec: spec, report: r.report}
	asked, ok := q.read()
	gone, intact := r.prefer(s, spec)
	if !intact {
		ok = false
	}
	last, base := s.run(asked)
	for _, f := range last.failures {
		r.report(spec.At, q.subject+": "+f.text(), f.hint)
	}
	if !ok || len(last.failures) > 0 {
		return groups{}, false
	}
	for _, p := range gone {
		if n := last.chosen[p.Name]; n != nil {
			r.notice(spec.At, q.subject+": archive "+q.archive+" no longer lists the locked "+p.Name+" "+p.Version+
				"; "+n.pkg.Version+" is taken instead")
		}
	}
	return group(last, base, asked), true
}

// prefer fills in the versions that the lock has, the image's own before those of other images. It
// returns the image's own packages that the index no longer has, and false where the index has
// one of them with other bytes under the same version.
func (r *resolver) prefer(s *solver, spec imx.ImageSpec) (gone []imx.Package, intact bool) {
	if r.in.Lock == nil || r.in.Update {
		return nil, true
	}
	own, intact := map[string]bool{}, true
	if l, ok := r.in.locked(spec); ok && l.From == archiveOf(spec) {
		for _, ref := range slices.Concat(l.Base, l.Tools, l.Ship) {
			own[ref] = true
		}
	}
	for _, p := range r.in.Lock.Packages {
		found, ok := s.version(p.Name, p.Version)
		switch {
		case !ok && own[p.Ref()]:
			gone = append(gone, p)
		case !ok || p.Archive != archiveOf(spec) && !own[p.Ref()]:
		case found.Digest != p.Digest:
			r.report(spec.At, "archive "+archiveOf(spec)+" has other bytes under "+p.Ref()+" than "+imx.LockFile+" says: "+
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

	subject, archive string
	spec             imx.ImageSpec
	report           func(at imx.Pos, summary, hint string)
}

// read fills in the pins and returns the names of the packages that can be chosen, sorted;
// false if there was something to report.
func (q *questions) read() (asked []string, ok bool) {
	ok = true
	for i, text := range q.spec.Packages {
		at := q.spec.At
		if len(q.spec.PackagesAt) == len(q.spec.Packages) {
			at = q.spec.PackagesAt[i]
		}
		name, version, pinned := strings.Cut(text, "=")
		if problem, hint := q.problem(name, version); problem != "" {
			q.report(at, q.subject+": "+problem, hint)
			ok = false
			continue
		}
		if pinned {
			q.pins[name] = version
		}
		asked = append(asked, name)
	}
	slices.Sort(asked)
	return slices.Compact(asked), ok
}

// problem says what is wrong with a package that was asked for, and what to write instead.
func (q *questions) problem(name, version string) (problem, hint string) {
	newest, known := q.index.Newest(name, q.architecture)
	switch {
	case deb.CheckName(name) != nil:
		return quote(name) + " is not the name of a package", `write "name" or "name=version"`
	case !known && len(q.index.Providers(name)) > 0:
		return quote(name) + " is only a name that other packages provide", "ask for one of them: " + q.providing(name)
	case !known && len(q.index.Versions(name)) > 0:
		return "package " + quote(name) + " isn't there for " + q.architecture, "it is for " + q.index.Versions(name)[0].Architecture
	case !known:
		return "there is no package " + quote(name) + " for " + q.architecture + " in archive " + q.archive, q.nearest(name)
	case version == "":
		return "", ""
	case q.pins[name] != "" && q.pins[name] != version:
		return quote(name) + " is asked for in two versions, " + q.pins[name] + " and " + version, "keep one of them"
	}
	if _, ok := q.version(name, version); !ok {
		return "archive " + q.archive + " has no " + name + " of version " + quote(version), "it has " + q.versions(newest.Name)
	}
	return "", ""
}

func quote(s string) string { return `"` + s + `"` }

// versions lists a package's versions.
func (s *solver) versions(name string) string {
	var out []string
	for _, p := range s.index.Versions(name) {
		if p.RunsOn(s.architecture) {
			out = append(out, p.Version)
		}
	}
	return strings.Join(out, ", ")
}

// providing lists at most five packages that provide the name.
func (q *questions) providing(name string) string {
	var out []string
	for _, p := range q.index.Providers(name) {
		out = append(out, p.Package.Name)
	}
	slices.Sort(out)
	return strings.Join(first(slices.Compact(out), 5), ", ")
}

// nearest suggests at most three names of packages that are spelled much like the name.
func (q *questions) nearest(name string) string {
	type near struct {
		name     string
		distance int
	}
	var found []near
	far := 1 + len(name)/4
	for other := range q.index.Names() {
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
	for _, n := range first(found, 3) {
		names = append(names, quote(n.name))
	}
	return "did you mean " + strings.Join(names, " or ") + "?"
}

func first[T any](list []T, n int) []T { return list[:min(n, len(list))] }

// failure is one reason why a pass found no solution.
type failure struct {
	owner   *node  // the package whose relation can't be met
	other   *node  // the package that it can't be beside, if that is the reason
	because string // verb and object, with owner as the subject
	hint    string
}

// text names the chain from what was asked for to the failing package, and the reason.
func (f failure) text() string {
	s := chain(f.owner) + " " + f.because
	if f.other == nil {
		return s
	}
	return s + ", but " + chain(f.other) + " is chosen too, in version " + f.other.pkg.Version
}

// chain writes "nginx-light → nginx-common": from a root to the node.
func chain(n *node) string {
	if n.by == nil {
		return n.pkg.Name
	}
	return chain(n.by) + " → " + n.pkg.Name
}

// unmet is the failure of a relation that no candidate satisfies.
func (p *pass) unmet(n *node, g deb.Group) failure {
	f := failure{owner: n}
	var have []string
	for _, r := range g {
		versions := p.versions(r.Name)
		switch {
		case versions == "":
			have = append(have, "there is no "+r.Name)
		case p.pins[r.Name] != "" && !r.Allows(p.pins[r.Name]):
			have = append(have, r.Name+" is pinned to "+p.pins[r.Name])
		default:
			have = append(have, "there is only "+r.Name+" "+versions)
		}
		for _, v := range p.index.Versions(r.Name) {
			if f.hint == "" && v.RunsOn(p.architecture) && r.Allows(v.Version) && p.qualified(r, v) {
				f.hint = "ask for " + quote(v.Name+"="+v.Version) + " too"
			}
		}
	}
	f.because = "depends on " + g.String() + ", but " + strings.Join(have, " and ")
	return f
}

// exhausted is the failure of a relation whose every target was tried.
func (p *pass) exhausted(d demand, targets []*deb.Package) failure {
	var tried []string
	for _, t := range targets {
		tried = append(tried, p.given[alternative{d.owner.pkg.Name, d.group.String(), t.Name}])
	}
	return failure{owner: d.owner, because: "depends on " + d.group.String() + ", and none will do: " + strings.Join(tried, "; ")}
}
