package inventory_test

// A chain is an argument: whoever reads it must be able to check each step against the packages'
// own relations. So do these tests, for relations cut from real images and for made-up ones.

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/deb"
	"imx/internal/inventory"
)

// cut returns the packages of an image that was built, with their relations, and no path.
func cut(t *testing.T, name string) imx.Inventory {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	inv := imx.Inventory{Version: imx.InventoryVersion}
	if err := json.Unmarshal(raw, &inv.Packages); err != nil {
		t.Fatal(err)
	}
	return inv
}

// tester is what a *testing.T and a *rapid.T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// linked checks that a chain leads from a package that is asked for to the named one, each step
// along a relation that the package before has and the next one meets.
func linked(t tester, inv imx.Inventory, c inventory.Chain, to string) {
	t.Helper()
	byName := map[string]imx.InventoryPackage{}
	for _, p := range inv.Packages {
		byName[p.Name] = p
	}
	at := c.From
	if !byName[at].Asked {
		t.Fatalf("the chain to %s begins at %s, which the template doesn't name", to, at)
	}
	for _, s := range c.Steps {
		if s.From != at {
			t.Fatalf("a step from %s follows %s", s.From, at)
		}
		field := map[string]string{
			"Pre-Depends": byName[at].PreDepends, "Depends": byName[at].Depends, "Recommends": byName[at].Recommends,
		}[s.Field]
		if !meets(field, s, byName[s.To]) {
			t.Fatalf("%s has no %s on %s that %s %s meets: %q", at, s.Field, s.Relation, s.To, s.Version, field)
		}
		at = s.To
	}
	if at != to {
		t.Fatalf("the chain to %s ends at %s", to, at)
	}
}

// meets reports whether the relation of a step stands in the field, and the package meets it.
func meets(field string, s inventory.Step, to imx.InventoryPackage) bool {
	groups, _ := deb.ParseRelations(field)
	provides, _ := deb.ParseRelations(to.Provides)
	return slices.ContainsFunc(slices.Concat(groups...), func(r deb.Relation) bool {
		switch {
		case r.String() != s.Relation || to.Version != s.Version:
			return false
		case !s.Provides:
			return r.Name == to.Name && r.Allows(to.Version)
		}
		return slices.ContainsFunc(provides, func(g deb.Group) bool { return g[0].Name == r.Name && r.Allows(g[0].Version) })
	})
}

func TestEveryPackageOfARealImageIsAskedForOrHasAChain(t *testing.T) {
	for _, name := range []string{"web", "app", "db"} {
		inv := cut(t, name)
		for _, p := range inv.Packages {
			why, err := inventory.Explain(inv, p.Name)
			if err != nil || len(why.Chains) == 0 {
				t.Errorf("%s: nothing leads to %s (%v)", name, p.Name, err)
			}
			for _, c := range why.Chains {
				linked(t, inv, c, p.Name)
			}
		}
	}
}

func TestTheShortestChainOfARealImage(t *testing.T) {
	why, err := inventory.Explain(cut(t, "app"), "libssl3")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range why.Chains[0].Steps {
		name, _, _ := strings.Cut(s.Relation, " ")
		got = append(got, s.From+" "+s.Field+" "+name)
	}
	want := []string{
		"python3 Pre-Depends python3-minimal", "python3-minimal Pre-Depends python3.11-minimal",
		"python3.11-minimal Depends libpython3.11-minimal", "libpython3.11-minimal Depends libssl3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// closed draws an inventory as the builder makes them: packages that are asked for, and then each
// one because of a relation of an earlier one.
func closed(t *rapid.T) imx.Inventory {
	inv := imx.Inventory{Version: imx.InventoryVersion}
	for i := range rapid.IntRange(1, 12).Draw(t, "packages") {
		p := imx.InventoryPackage{Package: imx.Package{Name: fmt.Sprintf("p%02d", i), Version: fmt.Sprintf("1.%d", rapid.IntRange(0, 9).Draw(t, "version"))}}
		relation := p.Name
		switch rapid.IntRange(0, 3).Draw(t, "relation") {
		case 1:
			relation += " (>= 1.0)"
		case 2:
			relation, p.Provides = fmt.Sprintf("virtual%d", i), fmt.Sprintf("other, virtual%d (= 7)", i)
		case 3:
			relation = "gone (<< 3) | " + relation
		}
		if i == 0 || rapid.Bool().Draw(t, "asked") {
			p.Asked = true
		} else {
			from := &inv.Packages[rapid.IntRange(0, i-1).Draw(t, "from")]
			field := rapid.SampledFrom([]*string{&from.PreDepends, &from.Depends, &from.Recommends}).Draw(t, "field")
			*field = strings.TrimPrefix(*field+", "+relation, ", ")
		}
		inv.Packages = append(inv.Packages, p)
	}
	return inv
}

func TestEveryPackageIsAskedForOrHasALinkedChainAndTheShortestStandsFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inv := closed(t)
		for _, p := range inv.Packages {
			why, err := inventory.Explain(inv, p.Name)
			if err != nil || len(why.Chains) == 0 {
				t.Fatalf("nothing leads to %s (%v) in %+v", p.Name, err, inv.Packages)
			}
			if p.Asked != (len(why.Chains[0].Steps) == 0) {
				t.Fatalf("%s is asked for: %v, and its first chain has %d steps", p.Name, p.Asked, len(why.Chains[0].Steps))
			}
			for i, c := range why.Chains {
				linked(t, inv, c, p.Name)
				if i > 0 && len(c.Steps) < len(why.Chains[i-1].Steps) {
					t.Fatalf("a chain of %d steps follows one of %d", len(c.Steps), len(why.Chains[i-1].Steps))
				}
			}
		}
	})
}

// merged is an image with usr-merge's links, in which /etc/alternatives has a link to a link.
func merged() imx.Inventory {
	link := func(path, target string) imx.InventoryPath {
		return imx.InventoryPath{Path: path, Kind: imx.PathLink, Mode: 0o777, Target: target, Origin: imx.OriginFrame}
	}
	file := func(path, pkg string) imx.InventoryPath {
		return imx.InventoryPath{Path: path, Kind: imx.PathFile, Mode: 0o755, Size: 10, Digest: imx.DigestBytes([]byte(path)), Origin: imx.OriginPackage, Package: pkg}
	}
	return imx.Inventory{
		Version: imx.InventoryVersion,
		Packages: []imx.InventoryPackage{
			{Package: imx.Package{Name: "mawk", Version: "1.3"}, Asked: true, Depends: "libc6 (>= 2.34)"},
			{Package: imx.Package{Name: "libc6", Version: "2.36"}},
		},
		Paths: []imx.InventoryPath{
			link("/bin", "usr/bin"),
			{Path: "/etc", Kind: imx.PathDirectory, Mode: 0o755, Origin: imx.OriginFrame},
			link("/etc/alternatives/awk", "/bin/mawk"), link("/lib", "usr/lib"), link("/loop", "loop/x"),
			link("/usr/bin/awk", "/etc/alternatives/awk"), file("/usr/bin/mawk", "mawk"),
			file("/usr/lib/libc.so.6", "libc6"), link("/usr/lib/up", "../../lib"),
		},
	}
}

func TestLinksAmongAPathsFoldersAreFollowed(t *testing.T) {
	for asked, want := range map[string]string{
		"/lib/libc.so.6":                   "/usr/lib/libc.so.6 from libc6 by [/lib]",
		"/usr/lib/libc.so.6":               "/usr/lib/libc.so.6 from libc6 by []",
		"//usr/../lib/up/libc.so.6":        "/usr/lib/libc.so.6 from libc6 by [/lib /usr/lib/up /lib]",
		"usr/bin/mawk":                     "/usr/bin/mawk from mawk by []",
		"/etc":                             "/etc from  by []",
		"/bin/awk":                         "/usr/bin/awk from  by [/bin], ends at /usr/bin/mawk",
		"/bin":                             "/bin from  by []",
		"/loop":                            "/loop from  by []",
		"/etc/alternatives/../../bin/mawk": "/usr/bin/mawk from mawk by [/bin]",
	} {
		why, err := inventory.Explain(merged(), asked)
		if err != nil {
			t.Errorf("%s: %v", asked, err)
			continue
		}
		var by []string
		for _, l := range why.Links {
			by = append(by, l.Path)
		}
		got := fmt.Sprintf("%s from %s by %v", why.Path.Path, why.Path.Package, by)
		if why.Target != nil {
			got += ", ends at " + why.Target.Path
		}
		if got != want {
			t.Errorf("%s is %q, want %q", asked, got, want)
		}
	}
}

func TestWhatIsNotInAnImageIsNotFoundAndNearOnesAreNamed(t *testing.T) {
	for asked, want := range map[string]string{
		"/usr/bin/mwak":          "the image has nothing at /usr/bin/mwak; did you mean /usr/bin/awk or /usr/bin/mawk?",
		"/bin/mwak":              "the image has nothing at /bin/mwak, which is /usr/bin/mwak; did you mean /usr/bin/awk or /usr/bin/mawk?",
		"/sbin/mawk":             "the image has nothing at /sbin/mawk; did you mean /usr/bin/mawk?",
		"/var/lib/nothing/at/x7": "the image has nothing at /var/lib/nothing/at/x7; imx image show --files lists its files",
		"/loop/y":                "the image has nothing at /loop/y, which is ", // links without an end
		"libc":                   `the image has no package "libc"; did you mean libc6?`,
		"awk":                    `the image has no package "awk"; did you mean mawk?`,
		"libc.so.6":              `the image has no package "libc.so.6"; for a file, write its path: /usr/lib/libc.so.6`,
		"etc":                    `the image has no package "etc"; for the path, write /etc`,
		"zzzz":                   `the image has no package "zzzz"; imx image show --packages lists its packages`,
		"":                       `the image has no package ""; imx image show --packages lists its packages`,
	} {
		_, err := inventory.Explain(merged(), asked)
		got := fmt.Sprintf("%v; %s", err, imx.AsError(err).Hint)
		if imx.KindOf(err) != imx.NotFound || !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s %q, want %q", asked, imx.KindOf(err), got, want)
		}
	}
}
