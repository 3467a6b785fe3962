package plan_test

// What must hold of every plan, whatever the archive: nothing is left to choose, nothing that a
// package needs is missing, and the same choices give the same bytes.

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/deb"
	"imx/internal/plan"
)

// scene is two suites, of one archive or of one each, and a template of a few images from them.
type scene struct {
	suites   [2]string // lines of packages
	archives [2]string
	second   int // the priority of the second suite
	template imx.Template
}

// lists reads the suites' packages.
func (s scene) lists(t *rapid.T) [][]deb.Package {
	var lists [][]deb.Package
	for i, lines := range s.suites {
		list, err := deb.ParsePackages(strings.NewReader(stanzas(lines)), s.archives[i], fmt.Sprint("suite", i))
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, list)
	}
	return lists
}

// scenes makes small archives with all sorts of relations. Most of them have a solution.
func scenes() *rapid.Generator[scene] {
	return rapid.Custom(func(t *rapid.T) scene {
		n := rapid.IntRange(3, 9).Draw(t, "packages")
		var s scene
		for i := range n {
			for v := range rapid.IntRange(1, 2).Draw(t, "versions") {
				suite := rapid.IntRange(0, 1).Draw(t, "suite")
				s.suites[suite] += drawPackage(t, n, i, v+1) + "\n"
			}
		}
		s.archives = rapid.SampledFrom([][2]string{{"host", "host"}, {"host", "vendor"}}).Draw(t, "archives")
		s.second = rapid.SampledFrom([]int{deb.PriorityNormal, deb.PriorityLow}).Draw(t, "priority")
		s.template = drawTemplate(t, n, slices.Compact(slices.Clone(s.archives[:])))
		return s
	})
}

func name(i int) string { return fmt.Sprintf("pkg%d", i) }

func drawPackage(t *rapid.T, n, i, version int) string {
	one := func(label string, words ...string) string { return rapid.SampledFrom(words).Draw(t, label) }
	line := fmt.Sprintf("%s %d section=%s priority=%s", name(i), version,
		one("section", "libs", "libs", "admin", "httpd", "perl", "localization"), one("priority", "optional", "optional", "required"))
	if rapid.IntRange(0, 5).Draw(t, "essential") == 0 {
		line += " essential"
	}
	relation := func(label string) string {
		target := name(rapid.IntRange(0, n-1).Draw(t, label))
		return one(label+" name", target, target, target, "virtual") +
			one(label+" version", "", "", "", " (>= 1)", " (= 2)", " (<< 2)")
	}
	var depends []string
	for range rapid.IntRange(0, 3).Draw(t, "depends") {
		r := relation("depends")
		if rapid.Bool().Draw(t, "alternative") {
			r += " | " + relation("or")
		}
		depends = append(depends, r)
	}
	if len(depends) > 0 {
		line += "; " + one("field", "Depends: ", "Pre-Depends: ") + strings.Join(depends, ", ")
	}
	if rapid.IntRange(0, 3).Draw(t, "recommends") == 0 {
		line += "; Recommends: " + relation("recommends")
	}
	if rapid.IntRange(0, 2).Draw(t, "provides") == 0 {
		line += "; Provides: virtual" + one("provided", "", " (= 1)", " (= 2)")
	}
	if rapid.IntRange(0, 6).Draw(t, "conflicts") == 0 {
		line += "; " + one("exclusion", "Conflicts: ", "Breaks: ") + relation("conflicts")
	}
	return line
}

func drawTemplate(t *rapid.T, n int, archives []string) imx.Template {
	var text string
	for i := range rapid.IntRange(1, 3).Draw(t, "images") {
		asked := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 1, 2, rapid.ID).Draw(t, "asked")
		var names []string
		for _, a := range asked {
			names = append(names, name(a)+rapid.SampledFrom([]string{"", "", "", "", "", "", "", "=1", "=1", "/suite1"}).Draw(t, "pin"))
		}
		recommends := rapid.SampledFrom([]string{"", " recommends"}).Draw(t, "recommends")
		text += fmt.Sprintf("image im%d: %s  user=u%d from=%s%s\nservice sv%d image=im%d port=http:80 env=A:b\n",
			i, strings.Join(names, ", "), i, strings.Join(archives, ","), recommends, i, i)
	}
	return parseTemplate(text)
}

func (s scene) input(t *rapid.T, order *rand.Rand) plan.Input {
	in := plan.Input{Template: s.template, Architecture: "amd64"}
	lists := map[string][][]deb.Package{}
	suites := map[string][]imx.LockedSuite{}
	for i, list := range s.lists(t) {
		order.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		name := s.archives[i]
		lists[name] = append(lists[name], list)
		suites[name] = append(suites[name], lockedSuite(name, fmt.Sprint("suite", i), fmt.Sprintf("2025-06-0%d", i+1)))
	}
	in.Indexes = map[string]plan.Archive{}
	for name, of := range lists {
		order.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
		order.Shuffle(len(suites[name]), func(i, j int) { suites[name][i], suites[name][j] = suites[name][j], suites[name][i] })
		in.Indexes[name] = plan.Archive{Index: deb.NewIndex(of...), Suites: suites[name], Priorities: map[string]int{"suite1": s.second}}
	}
	in.Template.Images = slices.Clone(in.Template.Images)
	order.Shuffle(len(in.Template.Images), func(i, j int) {
		in.Template.Images[i], in.Template.Images[j] = in.Template.Images[j], in.Template.Images[i]
	})
	for i, im := range in.Template.Images {
		packages := slices.Clone(im.Packages)
		order.Shuffle(len(packages), func(i, j int) { packages[i], packages[j] = packages[j], packages[i] })
		in.Template.Images[i].Packages = packages
	}
	return in
}

// solution is a scene that has a plan, and what Resolve makes of it.
type solution struct {
	scene scene
	in    plan.Input
	plan  imx.Plan
	lock  imx.Lock
}

func solved(t *rapid.T) solution {
	s := scenes().Draw(t, "scene")
	in := s.input(t, rand.New(rand.NewPCG(1, 1)))
	p, l, said := plan.Resolve(in)
	if said.Err() != nil {
		t.Skip("no solution: " + said.Err().Error())
	}
	return solution{s, in, p, l}
}

func TestResolvingWithItsOwnLockChangesNothingAndNeedsNoArchive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := solved(t)
		in := s.in
		in.Lock, in.Indexes = &s.lock, nil
		if need := plan.Archives(in); len(need) != 0 {
			t.Fatalf("needs %v", need)
		}
		again, lock, said := plan.Resolve(in)
		if len(said) > 0 {
			t.Fatal(diagnostics(said))
		}
		if diff := cmp.Diff(s.plan, again) + cmp.Diff(s.lock, lock); diff != "" || s.plan.Digest() != again.Digest() {
			t.Fatal(diff)
		}
	})
}

// A plan and its template that went through JSON belong together; with anything changed that the template describes, they don't.
func TestAPlanIsOneOfItsTemplateAndOfNoOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := solved(t)
		tmpl := s.in.Template
		tmpl.Services = []imx.Spec{{Name: "web", Image: tmpl.Images[0].Name, Files: []imx.File{{Path: "/a", Content: []byte("a")}}, At: imx.Pos{Line: 3}}}
		tmpl.Ingresses = []imx.Ingress{{Name: "public", HTTP: 80, At: imx.Pos{Line: 9}}}
		in := s.in
		in.Template = tmpl
		made, _, said := plan.Resolve(in)
		if said.Err() != nil {
			t.Fatal(diagnostics(said))
		}
		made = through(t, made)
		if !plan.Of(made, through(t, tmpl)) {
			t.Fatal("a plan isn't one of its own template")
		}
		for what, change := range map[string]func(o *imx.Template){
			"a service less": func(o *imx.Template) { o.Services = nil },
			"another file":   func(o *imx.Template) { o.Services[0].Files[0].Content = []byte("b") },
			"a file that isn't its digest's": func(o *imx.Template) {
				f := &o.Services[0].Files[0]
				f.Digest, f.Size, f.Content = imx.DigestBytes(f.Content), int64(len(f.Content)), []byte("b")
			},
			"another port":          func(o *imx.Template) { o.Ingresses[0].HTTP = 81 },
			"an ingress less":       func(o *imx.Template) { o.Ingresses = nil },
			"another image's files": func(o *imx.Template) { o.Images[0].Files = append(o.Images[0].Files, imx.File{Path: "/b"}) },
			"an image less":         func(o *imx.Template) { o.Images = o.Images[1:] },
		} {
			other := through(t, tmpl)
			if change(&other); plan.Of(made, other) {
				t.Fatalf("%s: it is one of that template, too", what)
			}
		}
	})
}

// through is a value as it comes out of its JSON.
func through[T any](t *rapid.T, v T) T {
	var again T
	raw, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(raw, &again)
	}
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func TestUpdatingFromItsOwnLockChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := solved(t)
		in := s.in
		in.Lock, in.Update = &s.lock, true
		again, lock, _ := plan.Resolve(in)
		if diff := cmp.Diff(s.plan, again) + cmp.Diff(s.lock, lock); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestTheOrderOfSuitesPackagesAndImagesMeansNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := solved(t)
		seed := rapid.Uint64().Draw(t, "order")
		again, lock, _ := plan.Resolve(s.scene.input(t, rand.New(rand.NewPCG(seed, 2))))
		for i := range again.Images { // what was asked for stays as it is written
			again.Images[i].Spec.Packages, lock.Images[i].Asked = s.plan.Images[i].Spec.Packages, s.lock.Images[i].Asked
		}
		if diff := cmp.Diff(s.plan, again); diff != "" || s.plan.Digest() != again.Digest() {
			t.Fatal(diff)
		}
		if string(plan.FormatLock(s.lock)) != string(plan.FormatLock(lock)) {
			t.Fatal("the locks differ")
		}
	})
}

// TestEveryRelationIsMetWithinThePlan checks with a reading of the relations of its own.
func TestEveryRelationIsMetWithinThePlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := solved(t)
		for _, im := range s.plan.Images {
			checkClosed(t, s.scene, im)
		}
	})
}

// essential reports whether each version of a package is: which of them says it for the build root is up to the suites' ranks.
func (s scene) essential(name string) bool {
	for line := range strings.Lines(s.suites[0] + s.suites[1]) {
		if strings.HasPrefix(line, name+" ") && !strings.Contains(line, " essential") {
			return false
		}
	}
	return true
}

func checkClosed(t *rapid.T, s scene, im imx.ImagePlan) {
	all := map[string]deb.Package{}
	for _, list := range s.lists(t) {
		for _, p := range list {
			all[p.Ref()] = p
		}
	}
	in := map[string]deb.Package{}
	for _, pin := range slices.Concat(im.Base, im.Tools, im.Ship) {
		if old, twice := in[pin.Name]; twice && old.Version != pin.Version {
			t.Fatalf("%s in two versions", pin.Name)
		}
		in[pin.Name] = all[pin.Ref()]
	}
	meets := func(p deb.Package, r deb.Relation) bool {
		if p.Name == r.Name && r.Allows(p.Version) {
			return true
		}
		provides, _ := deb.ParseRelations(p.Relations.Provides)
		return slices.ContainsFunc(provides, func(g deb.Group) bool { return g[0].Name == r.Name && r.Allows(g[0].Version) })
	}
	for _, p := range in {
		needs, _ := deb.ParseRelations(p.Relations.PreDepends + "," + p.Relations.Depends)
		for _, g := range needs {
			met := false
			for _, r := range g {
				for _, other := range in {
					met = met || meets(other, r)
				}
			}
			if !met {
				t.Fatalf("%s needs %s", p.Name, g)
			}
		}
		excludes, _ := deb.ParseRelations(p.Relations.Conflicts + "," + p.Relations.Breaks)
		for _, g := range excludes {
			for _, other := range in {
				if other.Name != p.Name && meets(other, g[0]) {
					t.Fatalf("%s is beside %s", p.Name, other.Name)
				}
			}
		}
		if p.Essential && s.essential(p.Name) && !slices.ContainsFunc(im.Base, func(b imx.Package) bool { return b.Name == p.Name }) {
			t.Fatalf("%s is Essential, but not in Base", p.Name)
		}
	}
	for _, asked := range im.Spec.Packages {
		n, _, _ := strings.Cut(strings.ReplaceAll(asked, "/", "="), "=")
		if !slices.ContainsFunc(im.Ship, func(p imx.Package) bool { return p.Name == n }) {
			t.Fatalf("%s was asked for, but isn't shipped", n)
		}
	}
	for _, tool := range im.Tools {
		if slices.Contains(im.Base, tool) || slices.Contains(im.Ship, tool) {
			t.Fatalf("%s is a tool and something else", tool.Name)
		}
	}
}

// TestALockNeverStandsInTheWay resolves a second template from an archive that has moved on, with
// the first one's lock: what could be had without the lock can be had with it, and is complete.
func TestALockNeverStandsInTheWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := solved(t).lock
		s := solved(t)
		in := s.in
		in.Lock = &l
		need := plan.Archives(in)
		p, _, said := plan.Resolve(in)
		if err := said.Err(); err != nil {
			t.Fatal(err)
		}
		for _, im := range p.Images {
			kept := slices.ContainsFunc(l.Images, func(old imx.LockedImage) bool {
				asked := slices.Equal(slices.Sorted(slices.Values(old.Asked)), slices.Sorted(slices.Values(im.Spec.Packages)))
				return old.Name == im.Spec.Name && asked
			})
			if !kept && len(need) == 0 {
				t.Fatalf("image %s is new, but needs no archive", im.Spec.Name)
			}
			if !kept {
				checkClosed(t, s.scene, im)
			}
		}
	})
}

func TestAfterApplyingThereIsNothingToChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := solved(t).plan
		w := newWorld()
		if len(plan.Diff(p, w.state, w.prev)) == 0 {
			t.Fatal("nothing to do in an empty world")
		}
		w.apply(p)
		if left := plan.Diff(p, w.state, w.prev); len(left) > 0 {
			t.Fatalf("left: %v", left)
		}
		if said := plan.Unlisted(p, w.state); len(said) > 0 {
			t.Fatal(diagnostics(said))
		}
	})
}

func TestALockReadsBackAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := solved(t).lock
		b := plan.FormatLock(l)
		got, err := plan.ParseLock(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l, got); diff != "" || string(plan.FormatLock(got)) != string(b) {
			t.Fatal(diff)
		}
	})
}

// TestEveryFieldOfASpecShowsInADiff changes each field that a service or image may get, one by
// one: a field that somebody adds to the glossary must not be forgotten here.
func TestEveryFieldOfASpecShowsInADiff(t *testing.T) {
	base := imx.Plan{
		Images:   []imx.ImagePlan{{Spec: imx.ImageSpec{Name: "im"}, Epoch: time.Unix(1, 0).UTC()}},
		Services: []imx.Spec{{Name: "sv", Image: "im"}},
	}
	check := func(t *testing.T, subject string, changed imx.Plan) {
		t.Helper()
		w := newWorld()
		w.apply(base)
		detail := slices.ContainsFunc(plan.Diff(changed, w.state, w.prev), func(c imx.Change) bool {
			return c.Subject == subject && (c.Kind == "setting" || c.Kind == "file" || c.Kind == "instances" && c.Before != c.After)
		})
		if !detail {
			t.Error("the change isn't shown")
		}
	}
	each(reflect.TypeFor[imx.Spec](), func(path string, set func(reflect.Value)) {
		t.Run("service "+path, func(t *testing.T) {
			spec := imx.Spec{Name: "sv", Image: "im"}
			set(reflect.ValueOf(&spec).Elem())
			check(t, "service.sv", imx.Plan{Images: base.Images, Services: []imx.Spec{spec}})
		})
	})
	each(reflect.TypeFor[imx.ImageSpec](), func(path string, set func(reflect.Value)) {
		t.Run("image "+path, func(t *testing.T) {
			im := base.Images[0]
			set(reflect.ValueOf(&im.Spec).Elem())
			check(t, "image.im", imx.Plan{Images: []imx.ImagePlan{im}, Services: base.Services})
		})
	})
}

// each calls f for each field of the struct type but names and positions, with a function that
// gives it a value.
func each(typ reflect.Type, f func(path string, set func(reflect.Value))) {
	for i := range typ.NumField() {
		field := typ.Field(i)
		switch {
		case field.Name == "Name" || field.Name == "At" || field.Name == "PackagesAt":
		case field.Type.Kind() == reflect.Pointer && field.Type.Elem().Kind() == reflect.Struct:
			f(field.Name, func(v reflect.Value) { fill(v.Field(i)) })
			each(field.Type.Elem(), func(path string, set func(reflect.Value)) {
				f(field.Name+"."+path, func(v reflect.Value) {
					fill(v.Field(i))
					set(v.Field(i).Elem())
				})
			})
		case field.Type.Kind() == reflect.Struct:
			each(field.Type, func(path string, set func(reflect.Value)) {
				f(field.Name+"."+path, func(v reflect.Value) { set(v.Field(i)) })
			})
		default:
			f(field.Name, func(v reflect.Value) { fill(v.Field(i)) })
		}
	}
}

// fill gives a value other than the zero one.
func fill(v reflect.Value) {
	switch v.Kind() { //nolint:exhaustive // only the kinds that specs have; any other panics
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint32:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x"), reflect.ValueOf("y"))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Struct:
		fill(v.Field(0))
	default:
		panic(v.Kind().String())
	}
}
