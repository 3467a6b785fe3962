package plan_test

// What the solver chooses, what it says when it can't, and what a plan would change: told in
// testdata/stories as documents to read. Rewrite them with `go test ./internal/plan -rewrite`.

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/deb"
	"imx/internal/plan"
)

// story is what the directives of one file have built up.
type story struct {
	t          *testing.T
	archives   map[string]map[string][]deb.Package // by archive and suite
	suites     map[string]map[string]imx.LockedSuite
	priorities map[string]int // of suites, where they aren't apt's usual
	lock       *imx.Lock
	plan       imx.Plan
	world      *world
}

func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		s := story{
			t: t, archives: map[string]map[string][]deb.Package{},
			suites: map[string]map[string]imx.LockedSuite{}, world: newWorld(), priorities: map[string]int{},
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "archive":
				return s.archive(d)
			case "resolve":
				return s.resolve(d)
			case "apply":
				s.world.apply(s.plan)
				return ""
			case "diff":
				return s.diff()
			case "lock":
				return string(plan.FormatLock(*s.lock))
			case "forget":
				clear(s.world.built)
				return ""
			case "scale", "destroy":
				return s.operate(d)
			}
			t.Fatalf("unknown directive %s", d.Cmd)
			return ""
		})
	})
}

// archive fills or refills a suite of an archive.
func (s *story) archive(d *datadriven.TestData) string {
	name, suite, date := imx.HostArchive, "bookworm", "2025-06-01"
	d.MaybeScanArgs(s.t, "name", &name)
	d.MaybeScanArgs(s.t, "suite", &suite)
	d.MaybeScanArgs(s.t, "date", &date)
	if d.HasArg("priority") {
		n := 0
		d.ScanArgs(s.t, "priority", &n)
		s.priorities[suite] = n
	}
	if s.archives[name] == nil {
		s.archives[name], s.suites[name] = map[string][]deb.Package{}, map[string]imx.LockedSuite{}
	}
	s.archives[name][suite] = parsePackages(s.t, name, suite, d.Input)
	s.suites[name][suite] = lockedSuite(name, suite, date)
	return ""
}

func (s *story) indexes() map[string]plan.Archive {
	all := map[string]plan.Archive{}
	for name, suites := range s.archives {
		var lists [][]deb.Package
		var locked []imx.LockedSuite
		for suite, list := range suites {
			lists, locked = append(lists, list), append(locked, s.suites[name][suite])
		}
		all[name] = plan.Archive{Index: deb.NewIndex(lists...), Suites: locked, Priorities: s.priorities}
	}
	return all
}

// resolve resolves the input; with "locked" against the lock of the last resolve, with "update"
// against that and choosing anew.
func (s *story) resolve(d *datadriven.TestData) string {
	in := plan.Input{Template: parseTemplate(d.Input), Architecture: "amd64", Update: d.HasArg("update")}
	if d.HasArg("locked") || in.Update {
		in.Lock = s.lock
	}
	var b strings.Builder
	fmt.Fprintf(&b, "needs %v\n", plan.Archives(in))
	all := s.indexes()
	in.Indexes = map[string]plan.Archive{}
	for _, name := range plan.Archives(in) {
		in.Indexes[name] = all[name]
	}
	p, lock, said := plan.Resolve(in)
	b.WriteString(diagnostics(said))
	if said.Err() != nil {
		return b.String()
	}
	s.plan, s.lock = p, &lock
	plans := slices.Clone(p.Images)
	for _, k := range p.Kits {
		plans = append(plans, k.Plan)
	}
	for _, im := range plans {
		fmt.Fprintf(&b, "image.%s of %s\n", im.Spec.Name, im.Epoch.Format("2006-01-02"))
		for _, g := range []struct {
			name string
			list []imx.Package
		}{{"base", im.Base}, {"tools", im.Tools}, {"ship", im.Ship}} {
			var names []string
			for _, p := range g.list {
				names = append(names, p.Name+" "+p.Version)
			}
			if len(names) > 0 {
				fmt.Fprintf(&b, "  %-6s%s\n", g.name, strings.Join(names, ", "))
			}
		}
	}
	return b.String()
}

func (s *story) diff() string {
	var b strings.Builder
	for _, c := range plan.Diff(s.plan, s.world.state, s.world.prev) {
		b.WriteString(write(c))
	}
	b.WriteString(diagnostics(plan.Unlisted(s.plan, s.world.state)))
	if b.Len() == 0 {
		return "nothing\n"
	}
	return b.String()
}

// operate changes a service behind the template's back.
func (s *story) operate(d *datadriven.TestData) string {
	var name string
	d.ScanArgs(s.t, "service", &name)
	sv := s.world.state.Services[name]
	sv.Destroyed = d.Cmd == "destroy"
	d.MaybeScanArgs(s.t, "replicas", &sv.Replicas)
	s.world.state.Services[name] = sv
	return ""
}

func TestABrokenLockIsAnsweredWithADiagnostic(t *testing.T) {
	for _, l := range []imx.Lock{{}, {Version: imx.LockVersion + 1}, {Version: 1, Images: []imx.LockedImage{{Name: "web"}}}} {
		_, _, said := plan.Resolve(plan.Input{Lock: &l, Architecture: "amd64"})
		if err := said.Err(); err == nil || !strings.Contains(err.Error(), imx.LockFile) {
			t.Errorf("got %v", err)
		}
	}
}

// A mistake is told at the package's own place in the template, however deep below it the reason is.
func TestMistakesAreToldAtThePackagesOwnPlace(t *testing.T) {
	list := parsePackages(t, "host", "bookworm", "nginx-common 1; Depends: libfoo (>= 2)\nnginx 1; Depends: nginx-common\nlibfoo 1.5\ngood 1; Recommends: gone")
	tpl := parseTemplate("image web: good, nginx, ngnix   recommends")
	for i := range tpl.Images[0].Packages {
		tpl.Images[0].PackagesAt = append(tpl.Images[0].PackagesAt, imx.Pos{File: "app.imx.hcl", Line: 10 + i})
	}
	resolve := func() imx.Diagnostics {
		_, _, said := plan.Resolve(plan.Input{Template: tpl, Architecture: "amd64", Indexes: map[string]plan.Archive{
			"host": {Index: deb.NewIndex(list), Suites: []imx.LockedSuite{lockedSuite("host", "bookworm", "2025-06-01")}},
		}})
		return said
	}
	want := `error: app.imx.hcl:11: image.web: nginx -> nginx-common needs libfoo (>= 2), the archive has 1.5
  hint: add the suite or archive that has it, or leave out "nginx"
error: app.imx.hcl:12: image.web: there is no package "ngnix" for amd64 in archive host
  hint: did you mean "nginx"?
`
	if diff := cmp.Diff(want, diagnostics(resolve())); diff != "" {
		t.Error(diff)
	}
	tpl.Images[0].Packages, tpl.Images[0].PackagesAt = tpl.Images[0].Packages[:1], tpl.Images[0].PackagesAt[:1]
	want = "notice: app.imx.hcl:10: image.web: good recommends gone, the archive has no gone; it is left out\n"
	if diff := cmp.Diff(want, diagnostics(resolve())); diff != "" {
		t.Error(diff)
	}
}

// Each suggestion is a look at every name of the archive: a template of nothing but mistakes gets some of them.
func TestOnlyTheFirstOfManyWrongNamesGetSuggestions(t *testing.T) {
	tpl := imx.Template{Images: []imx.ImageSpec{{Name: "web"}}}
	for i := range 100 {
		tpl.Images[0].Packages = append(tpl.Images[0].Packages, fmt.Sprintf("nginx%02d", i))
	}
	_, _, said := plan.Resolve(plan.Input{Template: tpl, Architecture: "amd64", Indexes: map[string]plan.Archive{
		"host": {Index: deb.NewIndex(parsePackages(t, "host", "bookworm", "nginxes 1")), Suites: []imx.LockedSuite{lockedSuite("host", "bookworm", "2025-06-01")}},
	}})
	suggested := strings.Count(diagnostics(said), "did you mean")
	if len(said) != 100 || suggested == 0 || suggested > 50 {
		t.Errorf("%d mistakes, %d with suggestions", len(said), suggested)
	}
}

func TestAMissingIndexIsAnsweredWithADiagnostic(t *testing.T) {
	_, _, said := plan.Resolve(plan.Input{Template: parseTemplate("image web: nginx"), Architecture: "amd64"})
	if got, want := diagnostics(said), "error: app.imx.hcl:1: image.web: the index of archive host is missing\n"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestAPlanHoldsNoPositionsAndNoContents(t *testing.T) {
	tpl := parseTemplate("image web:   file=/etc/x:content dir=/data\nservice web image=web file=/etc/y:z port=http:1 volume=a:/b connect=web:http")
	tpl.Services[0].Tmpfs = []imx.Tmpfs{{Path: "/t"}}
	mark := imx.Pos{File: "marked", Line: 1}
	sv := &tpl.Services[0]
	sv.Tmpfs[0].At, sv.Ports[0].At, sv.Volumes[0].At, sv.Connect[0].At, sv.Files[0].At = mark, mark, mark, mark, mark
	tpl.Images[0].Directories[0].At = mark
	p, _, said := plan.Resolve(plan.Input{Template: tpl, Architecture: "amd64", Indexes: map[string]plan.Archive{
		imx.HostArchive: {Index: deb.NewIndex(), Suites: []imx.LockedSuite{lockedSuite("host", "bookworm", "2025-06-01")}},
	}})
	if err := said.Err(); err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%+v", p); strings.Contains(s, "marked") || strings.Contains(s, "imx.hcl") || p.Images[0].Spec.Files[0].Content != nil {
		t.Errorf("left: %s", s)
	}
	if f := p.Images[0].Spec.Files[0]; f.Size != 7 || f.Digest != imx.DigestBytes([]byte("content")) {
		t.Errorf("file %+v", f)
	}
	if tpl.Services[0].Ports[0].At != mark || tpl.Images[0].Files[0].Content == nil {
		t.Error("the template was changed")
	}
	if slices.ContainsFunc(p.Services, func(s imx.Spec) bool { return s.At != (imx.Pos{}) }) {
		t.Error("a service has a position")
	}
}
