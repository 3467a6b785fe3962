package plan_test

// apt is the oracle: for random sets of packages the solver has to choose what `apt-get install`
// chooses, given the same index and the same build root, and to refuse what apt refuses.

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imx"
	"imx/internal/archive"
	"imx/internal/blob"
	"imx/internal/deb"
	"imx/internal/plan"
)

// fetched returns the verified index of some of Debian's suites, or skips the test where they
// can't be had. It is kept below $IMX_TEST_CACHE, or the user's cache folder.
func fetched(tb testing.TB, suites ...string) plan.Archive {
	tb.Helper()
	if testing.Short() {
		tb.Skip("reads a whole archive's index")
	}
	dir := os.Getenv("IMX_TEST_CACHE")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			tb.Skip(err)
		}
		dir = filepath.Join(cache, "imx-test")
	}
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		tb.Fatal(err)
	}
	a, err := archive.New(archive.Config{Dir: filepath.Join(dir, "archive"), Blobs: blobs})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := a.Fetch(context.Background(), imx.Archive{Name: imx.HostArchive, Suites: suites}, "amd64", nil, func(imx.Progress) {})
	if kind := imx.KindOf(err); kind == imx.Unavailable || kind == imx.NotFound {
		tb.Skip("no archive: ", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return plan.Archive{Index: s.Index, Suites: s.Suites, Priorities: s.Priorities}
}

// oracle is apt with a root of its own, in which the packages of a base are installed.
type oracle struct {
	dir   string
	index *deb.Index
}

func newOracle(tb testing.TB, index *deb.Index, base []imx.Package) oracle {
	tb.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		tb.Skip("needs apt-get")
	}
	o := oracle{dir: tb.TempDir(), index: index}
	var status bytes.Buffer
	for _, pin := range base {
		for _, p := range index.Versions(pin.Name) {
			if p.Version == pin.Version && p.Suite == pin.Suite {
				writeStanza(&status, p, "Status: install ok installed\n")
			}
		}
	}
	o.write(tb, "status", status.Bytes())
	return o
}

func (o oracle) write(tb testing.TB, name string, b []byte) {
	tb.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		tb.Fatal(err)
	}
}

// writeStanza writes a package as an archive lists it.
func writeStanza(b *bytes.Buffer, p *deb.Package, more string) {
	fmt.Fprintf(b, "Package: %s\nVersion: %s\nArchitecture: %s\nPriority: %s\nSection: %s\n%s", p.Name, p.Version, p.Architecture, p.Priority, p.Section, more)
	fmt.Fprintf(b, "Filename: %s\nSize: %d\nSHA256: %s\nInstalled-Size: %d\n", p.Path, p.Size, p.Digest.Hex(), p.Installed>>10)
	if p.Essential {
		b.WriteString("Essential: yes\n")
	}
	for _, field := range []struct{ name, value string }{
		{"Multi-Arch", p.MultiArch},
		{"Source", p.Source},
		{"Pre-Depends", p.Relations.PreDepends},
		{"Depends", p.Relations.Depends},
		{"Recommends", p.Relations.Recommends},
		{"Provides", p.Relations.Provides},
		{"Conflicts", p.Relations.Conflicts},
		{"Breaks", p.Relations.Breaks},
		{"Replaces", p.Relations.Replaces},
	} {
		if field.value != "" {
			fmt.Fprintf(b, "%s: %s\n", field.name, field.value)
		}
	}
	b.WriteString("\n")
}

// reach returns all packages that a solver could ever come to from the names: through every
// alternative and every provider, in all versions. No other can matter to it.
func reach(index *deb.Index, names []string, recommends bool) []*deb.Package {
	seen := map[string]bool{}
	var found []*deb.Package
	queue := slices.Clone(names)
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		for _, pr := range index.Providers(name) {
			queue = append(queue, pr.Package.Name)
		}
		for _, p := range index.Versions(name) {
			found = append(found, p)
			fields := p.Relations.PreDepends + "," + p.Relations.Depends
			if recommends {
				fields += "," + p.Relations.Recommends
			}
			groups, _ := deb.ParseRelations(fields)
			for _, g := range groups {
				for _, r := range g {
					queue = append(queue, r.Name)
				}
			}
		}
	}
	return found
}

// verdict is what a solver makes of a set of packages: "name version" of each that it adds to the
// base, or that it can't be done.
type verdict struct {
	added   []string
	refused string
}

// install asks apt. What it would remove from the base counts as refused: imx never does.
func (o oracle) install(tb testing.TB, asked []string, recommends bool) verdict {
	tb.Helper()
	suites := map[string]*bytes.Buffer{}
	for _, p := range reach(o.index, asked, recommends) {
		if suites[p.Suite] == nil {
			suites[p.Suite] = &bytes.Buffer{}
		}
		writeStanza(suites[p.Suite], p, "")
	}
	var sources bytes.Buffer
	for _, suite := range slices.Sorted(maps.Keys(suites)) {
		fmt.Fprintf(&sources, "deb [trusted=yes arch=amd64] http://archive.invalid/debian %s main\n", suite)
		o.write(tb, "lists/archive.invalid_debian_dists_"+suite+"_main_binary-amd64_Packages", suites[suite].Bytes())
	}
	o.write(tb, "etc/sources.list", sources.Bytes())
	args := []string{"--simulate", "install"}
	for _, option := range []string{
		"Dir::Etc=" + o.dir + "/etc", "Dir::State=" + o.dir, "Dir::State::status=" + o.dir + "/status",
		"Dir::Cache=" + o.dir + "/cache", "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache=", "Dir::Log=" + o.dir,
		"APT::Architecture=amd64", "APT::Architectures=amd64", fmt.Sprint("APT::Install-Recommends=", recommends),
	} {
		args = append(args, "-o", option)
	}
	cmd := exec.Command("apt-get", append(args, asked...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "APT_CONFIG=/dev/null")
	out, err := cmd.CombinedOutput()
	var v verdict
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		switch {
		case len(words) > 2 && words[0] == "Inst":
			version := words[2]
			if strings.HasPrefix(version, "[") {
				version = words[3]
			}
			v.added = append(v.added, words[1]+" "+strings.TrimPrefix(version, "("))
		case len(words) > 1 && words[0] == "Remv":
			v.refused = "removes " + words[1]
		}
	}
	if err != nil {
		v.refused = string(out)
	}
	slices.Sort(v.added)
	return v
}

// choose asks imx.
func choose(in plan.Archive, asked []string, recommends bool) (verdict, imx.ImagePlan) {
	p, _, said := plan.Resolve(plan.Input{
		Template:     imx.Template{Images: []imx.ImageSpec{{Name: "x", Packages: asked, Recommends: recommends}}},
		Architecture: "amd64", Indexes: map[string]plan.Archive{imx.HostArchive: in},
	})
	if err := said.Err(); err != nil {
		return verdict{refused: diagnostics(said)}, imx.ImagePlan{}
	}
	im := p.Images[0]
	var v verdict
	for _, pkg := range slices.Concat(im.Tools, im.Ship) {
		if !slices.ContainsFunc(im.Base, func(b imx.Package) bool { return b.Ref() == pkg.Ref() }) {
			v.added = append(v.added, pkg.Name+" "+pkg.Version)
		}
	}
	slices.Sort(v.added)
	return v, im
}

// dealer draws sets of packages, with a fixed seed.
type dealer struct {
	random *rand.Rand
	decks  [][]string // names of one kind: servers, languages, libraries, all else
}

func newDealer(index *deb.Index) dealer {
	kinds := map[string]int{
		"httpd": 0, "net": 0, "database": 0, "mail": 0, "web": 0, "admin": 0,
		"python": 1, "perl": 1, "ruby": 1, "php": 1, "java": 1, "javascript": 1, "interpreters": 1, "devel": 1,
		"libs": 2, "libdevel": 2,
	}
	d := dealer{random: rand.New(rand.NewPCG(3, 3)), decks: make([][]string, 4)}
	for _, name := range slices.Sorted(index.Names()) {
		p, ok := index.Newest(name, "amd64")
		if !ok {
			continue
		}
		kind, ok := kinds[p.Section]
		if !ok {
			kind = 3
		}
		d.decks[kind] = append(d.decks[kind], name)
	}
	return d
}

func (d dealer) draw() []string {
	weights := []int{0, 0, 0, 0, 1, 1, 1, 2, 2, 3}
	var set []string
	for range 1 + d.random.IntN(8) {
		deck := d.decks[weights[d.random.IntN(len(weights))]]
		set = append(set, deck[d.random.IntN(len(deck))])
	}
	slices.Sort(set)
	return slices.Compact(set)
}

func TestAptChoosesTheSame(t *testing.T) {
	in := fetched(t, "bookworm", "bookworm-updates", "bookworm-security")
	_, im := choose(in, []string{"libc6"}, false)
	for _, recommends := range []bool{false, true} {
		d := newDealer(in.Index)
		o := newOracle(t, in.Index, im.Base)
		differ := 0
		for i := range 200 {
			asked := d.draw()
			ours, _ := choose(in, asked, recommends)
			theirs := o.install(t, asked, recommends)
			if (ours.refused != "") != (theirs.refused != "") {
				differ++
				t.Logf("%d %v %v: ours %q\n theirs %q", i, recommends, asked, ours.refused, tail(theirs.refused))
				continue
			}
			if ours.refused == "" && !slices.Equal(ours.added, theirs.added) {
				differ++
				t.Logf("%d %v %v:\n   only apt %v\n   only imx %v", i, recommends, asked, minus(theirs.added, ours.added), minus(ours.added, theirs.added))
			}
		}
		t.Logf("%d differ", differ)
	}
}

func tail(s string) string { return s[max(0, len(s)-700):] }

func minus(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
