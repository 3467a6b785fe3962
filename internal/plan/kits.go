package plan

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"imx"
	"imx/internal/deb"
)

// A kit (imx.Kit) is resolved when its image is: over the image's packages, just as they are, the solver chooses what
// else a test's command needs. So the versions agree, and the image is what it would be without the test.

// kitAsked is a kit that commands of tests ask for.
type kitAsked struct {
	packages []string // as imx.Kit has them
	first    imx.CommandTest
}

// kitsAsked returns the kits that the template's tests ask for of an image, sorted.
func (in Input) kitsAsked(image string) []kitAsked {
	var all []kitAsked
	for _, t := range in.Template.Tests {
		if in.imageOf(t) != image {
			continue
		}
		for _, c := range t.Commands {
			packages := imx.KitPackages(c.Packages)
			known := slices.ContainsFunc(all, func(k kitAsked) bool { return slices.Equal(k.packages, packages) })
			if len(packages) > 0 && !known {
				all = append(all, kitAsked{packages, c})
			}
		}
	}
	slices.SortFunc(all, func(a, b kitAsked) int { return slices.Compare(a.packages, b.packages) })
	return all
}

// imageOf returns the name of the image that a test is of.
func (in Input) imageOf(t imx.Test) string {
	for _, s := range in.Template.Services {
		if s.Name == t.Service {
			return s.Image
		}
	}
	return t.Image
}

// over names the packages of an image, whichever archives they came from.
func over(p imx.ImagePlan) imx.Digest {
	var groups [3][]string
	for i, group := range [][]imx.Package{p.Base, p.Tools, p.Ship} {
		for _, pkg := range group {
			groups[i] = append(groups[i], pkg.Ref()+" "+string(pkg.Digest))
		}
	}
	return imx.DigestJSON(groups)
}

// keepsKit returns what the lock says of a kit of an image, if that answers what is asked.
func (in Input) keepsKit(image imx.ImagePlan, asked kitAsked) (imx.LockedKit, bool) {
	l, ok := in.locked(image.Spec)
	if !ok || in.Update || !slices.Equal(l.From, archivesOf(image.Spec)) {
		return imx.LockedKit{}, false
	}
	at := over(image)
	i := slices.IndexFunc(l.Kits, func(k imx.LockedKit) bool { return k.Over == at && slices.Equal(k.Asked, asked.packages) })
	if i < 0 || !in.there(slices.Concat(l.Kits[i].Base, l.Kits[i].Tools, l.Kits[i].Ship)) {
		return imx.LockedKit{}, false
	}
	return l.Kits[i], true
}

// kits adds the kits of a resolved image.
func (r *resolver) kits(spec imx.ImageSpec, image imx.ImagePlan) {
	for _, asked := range r.in.kitsAsked(spec.Name) {
		kit := imx.Kit{Image: spec.Name, Packages: asked.packages, Plan: imx.ImagePlan{Spec: kitSpec(spec, asked.packages), Architecture: image.Architecture}}
		if locked, ok := r.in.keepsKit(image, asked); ok {
			pins := pinned(*r.in.Lock)
			kit.Plan.Epoch = locked.Epoch
			kit.Plan.Base = slices.Concat(image.Base, at(pins, locked.Base))
			kit.Plan.Ship = slices.Concat(image.Ship, at(pins, locked.Ship))
			kit.Plan.Tools = less(slices.Concat(image.Tools, at(pins, locked.Tools)), kit.Plan.Ship)
		} else if !r.solveKit(spec, image, asked, &kit.Plan) {
			continue
		}
		for _, group := range []*[]imx.Package{&kit.Plan.Base, &kit.Plan.Tools, &kit.Plan.Ship} {
			*group = append([]imx.Package{}, *group...) // never nil: the digest is of the JSON
			sortPackages(*group)
		}
		r.kitsMade = append(r.kitsMade, kit)
	}
}

// kitSpec is the image block that a kit is built by. No image has such a name.
func kitSpec(spec imx.ImageSpec, packages []string) imx.ImageSpec {
	has := spec.Asked()
	spec = strippedImage(spec)
	spec.Name += "+" + strings.Join(packages, "+")
	for _, p := range packages {
		if !has[imx.ReadRequest(p).Name] {
			spec.Packages = append(spec.Packages, p)
		}
	}
	return spec
}

// solveKit chooses a kit's packages, or reports why that can't be done.
func (r *resolver) solveKit(spec imx.ImageSpec, image imx.ImagePlan, asked kitAsked, kit *imx.ImagePlan) bool {
	archives, missing := r.in.archives(spec)
	if missing != "" {
		r.report(asked.first.At, "tests of image."+spec.Name+": the index of archive "+missing+" is missing", "")
		return false
	}
	r.chosenFrom(spec)
	s := r.solver(archives)
	q := questions{
		solver: s, subject: "tests of image." + spec.Name, report: r.report, at: map[string]imx.Pos{},
		spec: imx.ImageSpec{Packages: asked.first.Packages, PackagesAt: asked.first.PackagesAt, From: spec.From, At: asked.first.At},
	}
	names, ok := q.ask()
	_, intact := r.prefer(s, spec)
	given, fits := q.give(image)
	if !ok || !intact || !fits {
		return false
	}
	last := s.run(func(p *pass) { p.stand(given) }, names)
	for _, f := range last.failures {
		hint := f.advice()
		if f.cause() != nil {
			hint = "the image has it in that version; `imx plan --update` takes newer ones for the image, too"
		}
		q.report(q.place(f.owner), q.subject+": "+f.text(), hint)
	}
	if len(last.failures) > 0 {
		return false
	}
	for _, p := range given.ship {
		names = append(names, p.Name)
	}
	without := slices.DeleteFunc(slices.Clone(spec.Without), func(name string) bool { return slices.Contains(names, name) })
	g, _ := group(last, slices.Compact(slices.Sorted(slices.Values(names))), without)
	kit.Base, kit.Tools, kit.Ship, kit.Epoch = g.base, g.tools, g.ship, image.Epoch
	if len(spec.Packages) == 0 {
		kit.Epoch = newest(archives)
	}
	return true
}

// given are the packages of an image that a kit is laid over.
type given struct{ base, tools, ship []*deb.Package }

// give pins the packages of an image, and reports where what is asked for is another version of one of them.
func (q *questions) give(image imx.ImagePlan) (g given, fits bool) {
	fits = true
	for _, group := range []struct {
		from []imx.Package
		to   *[]*deb.Package
	}{{image.Base, &g.base}, {image.Tools, &g.tools}, {image.Ship, &g.ship}} {
		for _, p := range group.from {
			one := q.standIn(p)
			if pin := q.pins[p.Name]; pin != nil && pin.Version != p.Version {
				q.report(q.at[p.Name], q.subject+": "+p.Name+" "+pin.Version+" is asked for, and the image has "+p.Version, "leave the version out")
				fits = false
			}
			q.pins[p.Name] = one
			*group.to = append(*group.to, one)
		}
	}
	return g, fits
}

// standIn returns what the index has of a package of the image. One that the index no longer lists is taken for what
// it lists of the name: what it provides and excludes hardly changes, and what it needs is in the image. In the end
// dpkg sees the real one.
func (q *questions) standIn(p imx.Package) *deb.Package {
	if pin := q.pins[p.Name]; pin != nil && pin.Package == p { // it is in two groups
		return pin
	}
	if found, ok := q.stock.version(p.Name, p.Version); ok && found.Digest == p.Digest {
		return found
	}
	one := &deb.Package{}
	if like, ok := q.stock.newest(p.Name); ok {
		copied := *like
		one = &copied
		q.standsFor[one] = like
	}
	one.Package = p
	return one
}

// stand begins a pass with the packages of an image, and with the build root where it has none.
func (p *pass) stand(on given) {
	if len(on.base) == 0 {
		p.settle()
	}
	take := func(list []*deb.Package) {
		for _, pkg := range list {
			if p.chosen[pkg.Name] == nil {
				p.add(&node{pkg: pkg})
			}
		}
	}
	take(on.base)
	p.phase, p.base = choosing, len(p.order)
	take(on.tools)
	take(on.ship)
}

// lockedKits pins the kits of an image.
func (r *resolver) lockedKits(image imx.ImagePlan) []imx.LockedKit {
	var all []imx.LockedKit
	for _, k := range r.kitsMade {
		if k.Image != image.Spec.Name {
			continue
		}
		locked := imx.LockedKit{
			Asked: k.Packages, Over: over(image), Epoch: k.Plan.Epoch,
			Ship: refs(less(k.Plan.Ship, image.Ship)),
		}
		// Left out of the file where empty, unlike the others.
		if base := less(k.Plan.Base, image.Base); len(base) > 0 {
			locked.Base = refs(base)
		}
		if tools := less(k.Plan.Tools, image.Tools); len(tools) > 0 {
			locked.Tools = refs(tools)
		}
		all = append(all, locked)
	}
	return all
}

// less returns the packages that aren't among the others.
func less(packages, others []imx.Package) []imx.Package {
	has := map[string]bool{}
	for _, p := range others {
		has[p.Ref()] = true
	}
	return slices.DeleteFunc(slices.Clone(packages), func(p imx.Package) bool { return has[p.Ref()] })
}

// checkLockedKits says what is wrong with the kits of a locked image.
func checkLockedKits(kits []imx.LockedKit, known map[string]bool) error {
	for i, k := range kits {
		if len(k.Asked) == 0 || k.Over == "" || k.Epoch.IsZero() {
			return errors.New("has a kit without packages, image or epoch")
		}
		if slices.ContainsFunc(kits[:i], func(o imx.LockedKit) bool { return slices.Equal(o.Asked, k.Asked) }) {
			return errors.New("has a kit twice")
		}
		if err := refersTo(slices.Concat(k.Base, k.Tools, k.Ship), known); err != nil {
			return err
		}
	}
	return nil
}

// sortKits sorts kits by image and packages.
func sortKits(kits []imx.Kit) {
	slices.SortFunc(kits, func(a, b imx.Kit) int {
		return cmp.Or(strings.Compare(a.Image, b.Image), slices.Compare(a.Packages, b.Packages))
	})
}
