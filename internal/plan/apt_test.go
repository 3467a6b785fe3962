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
	"strconv"
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
	base  []imx.Package
}

func newOracle(tb testing.TB, index *deb.Index, base []imx.Package) oracle {
	tb.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		tb.Skip("needs apt-get")
	}
	o := oracle{dir: tb.TempDir(), index: index, base: base}
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

// verdict is what a solver makes of a set of packages: all that would be there then, build root and
// all, as versions by name; or that it can't be done.
type verdict struct {
	there    map[string]string
	refused  string
	repaired bool // apt's first choice had a conflict in it, which its problem resolver took out
}

// order lists a version of each package that is never the newest. Between providers of equal rank apt
// takes the one that its cache met last; meeting them here first, by name from the end, it agrees
// with imx, which takes the first by name.
func (o oracle) order(packages []*deb.Package) *bytes.Buffer {
	var b bytes.Buffer
	slices.SortStableFunc(packages, func(a, b *deb.Package) int { return strings.Compare(b.Name, a.Name) })
	for i, p := range packages {
		if i == 0 || packages[i-1].Name != p.Name {
			fmt.Fprintf(&b, "Package: %s\nVersion: 0~~\nArchitecture: amd64\nFilename: x\nSize: 1\n\n", p.Name)
		}
	}
	return &b
}

// install asks apt.
func (o oracle) install(tb testing.TB, asked []string, recommends bool) verdict {
	tb.Helper()
	suites := map[string]*bytes.Buffer{}
	all := reach(o.index, asked, recommends)
	suites["a-order"] = o.order(all)
	for _, p := range all {
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
	return o.simulate(tb, asked, o.ownRoot(fmt.Sprint("APT::Install-Recommends=", recommends))...)
}

// ownRoot are the options that keep apt to the oracle's folder.
func (o oracle) ownRoot(more ...string) []string {
	return append(more,
		"Dir::Etc="+o.dir+"/etc", "Dir::State="+o.dir, "Dir::Cache="+o.dir+"/cache", "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache=",
		"Dir::Log="+o.dir, "APT::Architectures=amd64", "Debug::pkgProblemResolver=true")
}

// simulate runs apt, with a set of packages or what it says against that.
func (o oracle) simulate(tb testing.TB, asked []string, options ...string) verdict {
	tb.Helper()
	args := []string{"--simulate", "install", "-o", "Dir::State::status=" + o.dir + "/status", "-o", "APT::Architecture=amd64"}
	for _, option := range options {
		args = append(args, "-o", option)
	}
	cmd := exec.Command("apt-get", append(args, asked...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "APT_CONFIG=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return verdict{refused: string(out)}
	}
	v := verdict{there: map[string]string{}, repaired: bytes.Contains(out, []byte("\nInvestigating "))}
	for _, p := range o.base {
		v.there[p.Name] = p.Version
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		switch {
		case len(words) > 2 && words[0] == "Inst": // "Inst name [old] (new ...)"
			i := slices.IndexFunc(words, func(w string) bool { return w[0] == '(' })
			v.there[words[1]] = words[i][1:]
		case len(words) > 1 && words[0] == "Remv":
			delete(v.there, words[1])
		}
	}
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
	v := verdict{there: map[string]string{}}
	for _, pkg := range slices.Concat(im.Base, im.Tools, im.Ship) {
		v.there[pkg.Name] = pkg.Version
	}
	return v, im
}

// dealer draws sets of packages, with a fixed seed.
type dealer struct {
	random *rand.Rand
	decks  [][]string // names of one kind: servers, languages, libraries, all else; those that exclude others
}

func newDealer(index *deb.Index) dealer {
	kinds := map[string]int{
		"httpd": 0, "net": 0, "database": 0, "mail": 0, "web": 0, "admin": 0,
		"python": 1, "perl": 1, "ruby": 1, "php": 1, "java": 1, "javascript": 1, "interpreters": 1, "devel": 1,
		"libs": 2, "libdevel": 2,
	}
	d := dealer{random: rand.New(rand.NewPCG(seed(), 3)), decks: make([][]string, 5)}
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
		if p.Relations.Conflicts != "" {
			d.decks[4] = append(d.decks[4], name)
		}
	}
	return d
}

func seed() uint64 {
	n, err := strconv.ParseUint(os.Getenv("IMX_TEST_SEED"), 10, 64)
	if err != nil {
		return 3
	}
	return n
}

func (d dealer) draw() []string {
	weights := []int{0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 4}
	var set []string
	for range 1 + d.random.IntN(8) {
		deck := d.decks[weights[d.random.IntN(len(weights))]]
		set = append(set, deck[d.random.IntN(len(deck))])
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// TestAptChoosesTheSame knows three kinds of differences (docs/plan.md), and recognises them by what the
// sets are, not by names. What imx chooses has to be complete in any case.
func TestAptChoosesTheSame(t *testing.T) {
	in := fetched(t, "bookworm", "bookworm-updates", "bookworm-security")
	for _, recommends := range []bool{false, true} {
		t.Run(fmt.Sprint("recommends=", recommends), func(t *testing.T) {
			_, im := choose(in, []string{"libc6"}, false)
			o, d := newOracle(t, in.Index, im.Base), newDealer(in.Index)
			count := map[string]int{}
			for range 200 {
				asked := d.draw()
				ours, im := choose(in, asked, recommends)
				if ours.refused == "" && !slices.Equal(im.Base, o.base) { // a part of it was in the way
					o = newOracle(t, in.Index, im.Base)
				}
				theirs := o.install(t, asked, recommends)
				kind := compare(in.Index, ours, theirs, recommends)
				count[kind]++
				if kind == "" {
					t.Errorf("%v\n only apt: %v %s\n only imx: %v %s", asked,
						minus(theirs.there, ours.there), theirs.refused, minus(ours.there, theirs.there), ours.refused)
				}
			}
			t.Log(count)
			if count["same"]+count["refused"] < 195 {
				t.Error("there are more differences than these kinds should make")
			}
		})
	}
}

// compare names the kind of a difference, or "" for one that mustn't be.
//
//   - "rivals": each chose another of two packages that exclude each other. What apt chose itself gives way to
//     what it comes to later, at imx it stays unless it is in the way of what is needed.
//   - "repaired": what apt chose first can't be together with what was asked for. Its problem resolver takes out what
//     scores least and whatever then lacks something; imx goes back to the choice that was in the way.
//   - "left over": apt has all that imx has and more, none of which anything needs. It doesn't take back what it
//     chose for a package that couldn't be had in the end, if only somebody suggests it.
func compare(index *deb.Index, ours, theirs verdict, recommends bool) string {
	if (ours.refused == "") != (theirs.refused == "") {
		return ""
	}
	if ours.refused != "" {
		return "refused"
	}
	onlyApt, onlyOurs := minus(theirs.there, ours.there), minus(ours.there, theirs.there)
	switch {
	case len(onlyApt)+len(onlyOurs) == 0:
		return "same"
	case !complete(index, ours.there):
		return ""
	case theirs.repaired:
		return "repaired"
	case recommends && exclude(index, onlyApt, onlyOurs):
		return "rivals"
	case len(onlyOurs) == 0 && (!recommends || !recommended(index, ours.there, theirs.there)):
		return "left over"
	}
	return ""
}

// minus returns what a has and b hasn't, or in another version.
func minus(a, b map[string]string) map[string]string {
	only := map[string]string{}
	for name, version := range a {
		if b[name] != version {
			only[name] = version
		}
	}
	return only
}

// meets reports whether something in the set satisfies the relation.
func meets(index *deb.Index, set map[string]string, g deb.Group) bool {
	return slices.ContainsFunc(g, func(r deb.Relation) bool {
		if v, ok := set[r.Name]; ok && r.Allows(v) {
			return true
		}
		return slices.ContainsFunc(index.Providers(r.Name), func(p deb.Provider) bool {
			return set[p.Package.Name] == p.Package.Version && r.Allows(p.Version)
		})
	})
}

// complete reports whether all that is in the set has there what it needs.
func complete(index *deb.Index, set map[string]string) bool {
	for name, version := range set {
		p := entry(index, name, version)
		needs, _ := deb.ParseRelations(p.Relations.PreDepends + "," + p.Relations.Depends)
		if slices.ContainsFunc(needs, func(g deb.Group) bool { return !meets(index, set, g) }) {
			return false
		}
	}
	return true
}

// recommended reports whether anything in ours recommends what it has in theirs alone.
func recommended(index *deb.Index, ours, theirs map[string]string) bool {
	for name, version := range ours {
		wishes, _ := deb.ParseRelations(entry(index, name, version).Relations.Recommends)
		if slices.ContainsFunc(wishes, func(g deb.Group) bool { return !meets(index, ours, g) && meets(index, theirs, g) }) {
			return true
		}
	}
	return false
}

func entry(index *deb.Index, name, version string) *deb.Package {
	all := index.Versions(name)
	return all[slices.IndexFunc(all, func(p *deb.Package) bool { return p.Version == version })]
}

// exclude reports whether some package of a and some of b can't be together.
func exclude(index *deb.Index, a, b map[string]string) bool {
	excludes := func(x, y *deb.Package) bool {
		names := []deb.Relation{{Name: y.Name, Version: y.Version}}
		provides, _ := deb.ParseRelations(y.Relations.Provides)
		for _, g := range provides {
			names = append(names, g[0])
		}
		groups, _ := deb.ParseRelations(x.Relations.Conflicts + "," + x.Relations.Breaks)
		return x.Name != y.Name && slices.ContainsFunc(groups, func(g deb.Group) bool {
			return slices.ContainsFunc(names, func(n deb.Relation) bool { return g[0].Name == n.Name && g[0].Allows(n.Version) })
		})
	}
	for name, version := range a {
		for other, its := range b {
			p, q := entry(index, name, version), entry(index, other, its)
			if excludes(p, q) || excludes(q, p) {
				return true
			}
		}
	}
	return false
}
