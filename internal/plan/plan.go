// Package plan turns a template into a plan with nothing left to choose, keeps the choices in a
// lock, and says what applying a plan would change.
//
// It reads no index, no file and no log: indexes, lock and state are handed in, and plan, lock and
// changes come back as values. It doesn't check templates (template does), fetch packages
// (archive), or build anything (build).
//
// # Which packages
//
// The solver installs what apt would, with Recommends where the image asks for them: for every Depends
// and Pre-Depends an alternative that is chosen already, else the first that can be had, of each
// package the newest version of the suites with the highest priority, or the one that the
// template or the lock pins. See solver.
//
// # Three groups
//
// Debian packages depend on what their maintainer scripts call, not only on what their
// programs need, and the control data doesn't tell the two apart. An image has no use for the
// former. So its packages come in three groups, by the rule at shipper:
//
//   - Base: all Essential packages and what they depend on; the build root to begin with.
//   - Ship: what the image is made of. A library may be in Base and in Ship.
//   - Tools: all else that the asked packages depend on, for maintainer scripts only.
package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/deb"
)

// Input is all that a plan is made from.
type Input struct {
	Template     imx.Template
	Lock         *imx.Lock // nil where there is none
	Update       bool      // choose anew whatever the lock says
	Architecture string    // Debian's name of it: "amd64"
	Indexes      map[string]Archive
}

// Archive is the verified index of an archive and the signed suites that it is from.
type Archive struct {
	Index  *deb.Index
	Suites []imx.LockedSuite
	// Priorities are those of suites by name; one that isn't there has deb.PriorityNormal.
	Priorities map[string]int
}

// Resolve leaves nothing to choose: it returns the plan and the lock that pins its choices.
// Every mistake comes back at once, as a diagnostic of severity error at its image's
// place in the template; plan and lock are zero then. The same input gives the same plan and
// lock in any order of suites and images, and so does the input with the returned lock in it.
func Resolve(in Input) (imx.Plan, imx.Lock, imx.Diagnostics) {
	r := resolver{in: in}
	if in.Lock != nil {
		if err := CheckLock(*in.Lock); err != nil {
			r.report(imx.Pos{}, err.Error(), imx.AsError(err).Hint)
			return imx.Plan{}, imx.Lock{}, r.diagnostics
		}
	}
	images := slices.SortedFunc(slices.Values(in.Template.Images), func(a, b imx.ImageSpec) int {
		return strings.Compare(a.Name, b.Name)
	})
	for _, spec := range images {
		if image, ok := r.image(spec); ok {
			r.images = append(r.images, image)
			r.kits(spec, image)
		}
	}
	sortKits(r.kitsMade)
	if r.diagnostics.Err() == nil {
		r.unify()
	}
	slices.SortStableFunc(r.diagnostics, func(a, b imx.Diagnostic) int {
		return cmp.Or(strings.Compare(a.At.File, b.At.File), a.At.Line-b.At.Line)
	})
	if r.diagnostics.Err() != nil {
		return imx.Plan{}, imx.Lock{}, r.diagnostics.First()
	}
	p := imx.Plan{Source: in.Template.Source, Images: r.images, Services: strippedServices(in.Template.Services), Ingresses: strippedIngresses(in.Template.Ingresses), Kits: r.kitsMade}
	return p, r.lock(), r.diagnostics
}

// resolver gathers the images' plans and what there is to say about them.
type resolver struct {
	in          Input
	images      []imx.ImagePlan
	kitsMade    []imx.Kit
	anew        map[string]bool // the archives that something was chosen from
	diagnostics imx.Diagnostics
}

func (r *resolver) report(at imx.Pos, summary, hint string) {
	d := imx.Diagnostic{Severity: imx.SeverityError, Summary: summary, Hint: hint, At: at}
	if !slices.Contains(r.diagnostics, d) { // one cause may stop the choice in many places
		r.diagnostics = append(r.diagnostics, d)
	}
}

func (r *resolver) notice(at imx.Pos, summary string) {
	r.diagnostics = append(r.diagnostics, imx.Diagnostic{Severity: imx.SeverityNotice, Summary: summary, At: at})
}

// image returns the plan of one image, from the lock where it still answers, else chosen anew.
func (r *resolver) image(spec imx.ImageSpec) (plan imx.ImagePlan, ok bool) {
	if plan, ok = r.in.kept(spec); ok {
		return plan, true
	}
	archives, missing := r.in.archives(spec)
	if missing != "" {
		r.report(spec.At, "image."+spec.Name+": the index of archive "+missing+" is missing", "")
		return plan, false
	}
	r.chosenFrom(spec)
	groups, ok := r.solve(spec, archives)
	if !ok {
		return plan, false
	}
	plan = imx.ImagePlan{Spec: strippedImage(spec), Architecture: r.in.Architecture}
	plan.Base, plan.Tools, plan.Ship = groups.base, groups.tools, groups.ship
	plan.Epoch = newest(archives)
	if old, ok := r.in.locked(spec); ok && slices.Equal(old.From, archivesOf(spec)) && sameShip(pinned(*r.in.Lock), old, plan) {
		plan.Epoch = old.Epoch
	}
	return plan, true
}

// chosenFrom notes that something is chosen from the archives of an image.
func (r *resolver) chosenFrom(spec imx.ImageSpec) {
	if r.anew == nil {
		r.anew = map[string]bool{}
	}
	for _, name := range archivesOf(spec) {
		r.anew[name] = true
	}
}

// newest returns the newest date of the archives' suites, in UTC.
func newest(archives []Archive) time.Time {
	var t time.Time
	for _, a := range archives {
		for _, s := range a.Suites {
			if s.Date.After(t) {
				t = s.Date
			}
		}
	}
	return t.UTC()
}

// unify makes one pin of each package that images have from several archives, since a lock holds
// each once: the lock's own, else the one of the first archive by name. Different bytes under one
// version can't be unified.
func (r *resolver) unify() {
	pins := map[string]imx.Package{}
	if r.in.Lock != nil && !r.in.Update {
		pins = pinned(*r.in.Lock)
	}
	used := map[string]imx.Package{}
	for _, p := range r.packages() {
		pin, ok := pins[p.Ref()]
		if !ok || pin.Digest != p.Digest {
			pin = *p
		}
		old, twice := used[p.Ref()]
		if twice && old.Digest != p.Digest {
			r.report(imx.Pos{}, "archives "+old.Archive+" and "+p.Archive+" have different files under "+p.Ref()+
				": "+string(old.Digest)+" and "+string(p.Digest), "take both images from one archive")
			return
		}
		if !twice || pin.Archive < old.Archive {
			used[p.Ref()] = pin
		}
	}
	for _, p := range r.packages() {
		*p = used[p.Ref()]
	}
}

// packages returns all packages of all images and kits, each as often as it is there, to read or to set.
func (r *resolver) packages() []*imx.Package {
	plans := slices.Clone(r.images)
	for _, k := range r.kitsMade {
		plans = append(plans, k.Plan)
	}
	var all []*imx.Package
	for _, im := range plans {
		for _, group := range [][]imx.Package{im.Base, im.Tools, im.Ship} {
			for i := range group {
				all = append(all, &group[i])
			}
		}
	}
	return all
}

// lock returns the lock that pins the resolved images.
func (r *resolver) lock() imx.Lock {
	l := imx.Lock{Version: imx.LockVersion, Suites: r.suites(), Packages: []imx.Package{}, Images: []imx.LockedImage{}}
	used := map[string]imx.Package{}
	for _, p := range r.packages() {
		used[p.Ref()] = *p
	}
	for _, im := range r.images {
		locked := imx.LockedImage{
			Name: im.Spec.Name, From: archivesOf(im.Spec), Epoch: im.Epoch, Recommends: im.Spec.Recommends,
			Asked: append([]string{}, im.Spec.Packages...), Without: im.Spec.Without,
			Base: refs(im.Base), Ship: refs(im.Ship), Kits: r.lockedKits(im),
		}
		if len(im.Tools) > 0 {
			locked.Tools = refs(im.Tools) // left out of the file where empty, unlike the others
		}
		l.Images = append(l.Images, locked)
	}
	l.Packages = slices.AppendSeq(l.Packages, maps.Values(used))
	sortPackages(l.Packages)
	return l
}

// suites returns the suites that the images' archives had when something was last chosen from them.
func (r *resolver) suites() []imx.LockedSuite {
	suites, seen := []imx.LockedSuite{}, map[string]bool{}
	for _, im := range r.images {
		for _, name := range archivesOf(im.Spec) {
			if !seen[name] && len(im.Ship)+len(r.lockedKits(im)) > 0 {
				seen[name] = true
				suites = append(suites, r.suitesOf(name)...)
			}
		}
	}
	slices.SortFunc(suites, bySuite)
	return slices.Compact(suites)
}

// suitesOf returns the suites that the archive had when something was last chosen from it.
func (r *resolver) suitesOf(archive string) []imx.LockedSuite {
	from := r.in.Indexes[archive].Suites
	if !r.anew[archive] {
		from = r.in.Lock.Suites
	}
	var suites []imx.LockedSuite
	for _, s := range from {
		if s.Archive == archive {
			s.Date = s.Date.UTC()
			suites = append(suites, s)
		}
	}
	return suites
}
