// What of a build root is an image's, by build roots that are written here, file by file, as dpkg and
// scripts would leave them. The builder's own tests do the same with the real dpkg.

package take_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/build/take"
	"imx/internal/build/tree"
)

// scene is a build root: what packages carry, by package and path, and what scripts made.
type scene struct {
	spec      imx.ImageSpec
	ship      map[string][]string // paths by package, those that the image asks for
	tools     map[string][]string
	generated map[string]string // contents by path
	diverted  string            // dpkg's file
	prepare   func(root string)
}

func (s scene) plan() imx.ImagePlan {
	p := imx.ImagePlan{Spec: s.spec, Epoch: time.Unix(1.7e9, 0)}
	for name := range s.ship {
		p.Ship = append(p.Ship, imx.Package{Name: name, Version: "1", Architecture: "amd64"})
	}
	for name := range s.tools {
		p.Tools = append(p.Tools, imx.Package{Name: name, Version: "1", Architecture: "amd64"})
	}
	return p
}

type failer interface{ Fatal(args ...any) }

func put(tb failer, root, name, text string) {
	file := filepath.Join(root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
		tb.Fatal(err)
	}
}

// collect writes the build root below dir and takes the image out of it.
func (s scene) collect(tb failer, dir string) (tree.Tree, error) {
	root, upper := filepath.Join(dir, "root"), filepath.Join(dir, "upper")
	put(tb, root, "var/lib/dpkg/diversions", s.diverted)
	put(tb, upper, "var/lib/dpkg/diversions", s.diverted)
	var status strings.Builder
	for _, set := range []map[string][]string{s.ship, s.tools} {
		for name, paths := range set {
			status.WriteString("Package: " + name + "\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n")
			list := "/.\n"
			for _, p := range paths {
				list += p + "\n"
				put(tb, root, p, "of "+name+": "+p)
			}
			put(tb, root, "var/lib/dpkg/info/"+name+".list", list)
		}
	}
	put(tb, root, "var/lib/dpkg/status", status.String())
	for name, text := range s.generated {
		put(tb, root, name, text)
		put(tb, upper, name, text)
	}
	if s.prepare != nil {
		s.prepare(root)
	}
	r, err := tree.OpenRoot(root)
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	return take.Collect(s.plan(), r, upper, func(string, ...any) {})
}

// files are the paths of a tree that aren't in every image.
func files(t tree.Tree) []string {
	frame := take.Frame()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(t)), func(name string) bool {
		return frame[name] != nil || t[name].Mode.IsDir() || strings.HasPrefix(name, "var/lib/dpkg/")
	})
}

func collected(tb testing.TB, s scene) tree.Tree {
	tb.Helper()
	got, err := s.collect(tb, tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

func TestAnImageHasWhatItsPackagesCarryAndNothingOfTheTools(t *testing.T) {
	got := collected(t, scene{
		ship:  map[string][]string{"app": {"/usr/bin/app", "/usr/share/doc/app/copyright", "/usr/share/doc/app/README"}},
		tools: map[string][]string{"debconf": {"/usr/bin/debconf"}},
	})
	if diff := cmp.Diff([]string{"usr/bin/app", "usr/share/doc/app/copyright"}, files(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if it := got["var/lib/dpkg/status.d/app"]; it == nil || it.Owner != "app" {
		t.Errorf("the stanza that scanners read is %v", it)
	}
}

func TestAPackagesOwnFileStaysWhereEveryImageHasAnEmptyOne(t *testing.T) {
	got := collected(t, scene{ship: map[string][]string{"netbase": {"/etc/hosts"}}})
	if it := got["etc/hosts"]; it.Owner != "netbase" || it.Size == 0 {
		t.Errorf("etc/hosts is %v", it)
	}
	if it := got["etc/resolv.conf"]; it == nil || it.Origin != imx.OriginFrame || it.Size != 0 {
		t.Errorf("etc/resolv.conf is %v", it)
	}
}

func TestADivertedFileIsItsOwnPackagesWhereThatHasIt(t *testing.T) {
	got := collected(t, scene{
		ship:     map[string][]string{"plain": {"/usr/bin/tool"}, "better": {"/usr/bin/tool"}},
		diverted: "/usr/bin/tool\n/usr/bin/tool.plain\nbetter\n",
		prepare:  func(root string) { put(t, root, "usr/bin/tool.plain", "plain") },
	})
	if got["usr/bin/tool"].Owner != "better" || got["usr/bin/tool.plain"].Owner != "plain" {
		t.Errorf("%v, %v", got["usr/bin/tool"], got["usr/bin/tool.plain"])
	}
}

func TestAPathThatNoRuleKnowsIsNamedWithTheLineThatAllowsIt(t *testing.T) {
	s := scene{
		spec:      imx.ImageSpec{Name: "web"},
		ship:      map[string][]string{"app": {"/usr/bin/app"}},
		generated: map[string]string{"usr/lib/app/cache.bin": "\x00\x01", "var/cache/app/x": "left out"},
	}
	_, err := s.collect(t, t.TempDir())
	if imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), "/usr/lib/app/cache.bin") || strings.Contains(err.Error(), "var/cache") {
		t.Fatalf("err = %v", err)
	}
	s.spec.Generated = []string{"/usr/lib/app/**"}
	if got := collected(t, s); got["usr/lib/app/cache.bin"] == nil || got["var/cache/app/x"] != nil {
		t.Errorf("%q", files(got))
	}
}

func TestAShellComesOnlyWithAPackageThatIsAskedFor(t *testing.T) {
	s := scene{
		ship:    map[string][]string{"dash": {"/usr/bin/dash"}},
		prepare: func(root string) { put(t, root, "etc/shells", "/usr/bin/dash\n") },
	}
	if got := collected(t, s); got["usr/bin/dash"] != nil {
		t.Error("a shell is there that nobody asked for")
	}
	s.spec.Packages = []string{"dash"}
	if got := collected(t, s); got["usr/bin/dash"] == nil {
		t.Error("the shell isn't there")
	}
}

func TestAPrivilegedProgramKeepsItsCapabilitiesWhereTheTemplateNamesIt(t *testing.T) {
	s := scene{
		spec: imx.ImageSpec{Name: "ping", Setuid: []string{"/usr/bin/ping"}},
		ship: map[string][]string{"ping": {"/usr/bin/ping", "/usr/bin/other"}},
		prepare: func(root string) {
			const netRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
			for _, name := range []string{"ping", "other"} {
				file := filepath.Join(root, "usr/bin", name)
				err := errors.Join(os.Chmod(file, 0o755|fs.ModeSetuid), unix.Setxattr(file, tree.CapsXattr, []byte(netRaw), 0))
				if err != nil {
					t.Skipf("this test gives capabilities, which needs root: %v", err)
				}
			}
		},
	}
	got := collected(t, s)
	if it := got["usr/bin/ping"]; it.Mode&fs.ModeSetuid == 0 || !strings.HasPrefix(it.Caps, "0100000200") {
		t.Errorf("ping: %s %q", it.Mode, it.Caps)
	}
	if it := got["usr/bin/other"]; it.Mode&fs.ModeSetuid != 0 || it.Caps != "" {
		t.Errorf("other: %s %q", it.Mode, it.Caps)
	}
	s.spec.Setuid = []string{"/usr/bin/gone"}
	if _, err := s.collect(t, t.TempDir()); imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), "/usr/bin/gone") {
		t.Errorf("err = %v", err)
	}
}

// The laws: what the template leaves out is never there, whoever brings it; every path has the directories
// above it; and what was judged once is judged so again.
func TestWhateverPackagesAndScriptsBring(t *testing.T) {
	name := rapid.SampledFrom([]string{
		"usr/bin/a", "usr/bin/b", "usr/lib/x/a.so", "usr/share/man/man1/a.1", "etc/app/conf", "etc/cron.d/a",
		"var/lib/app/data", "usr/lib/python3/__pycache__/m.pyc", "opt/a/b/c", "var/log/app/log",
	})
	all := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		paths := rapid.SliceOfNDistinct(name, 0, 6, rapid.ID).Draw(t, "packages")
		s := scene{ship: map[string][]string{"app": {}}, tools: map[string][]string{"tool": {}}, generated: map[string]string{}}
		for i, p := range paths {
			owner := map[bool]map[string][]string{true: s.ship, false: s.tools}[i%3 != 2]
			for pkg := range owner {
				owner[pkg] = append(owner[pkg], "/"+p)
			}
		}
		for _, p := range rapid.SliceOfNDistinct(name, 0, 4, rapid.ID).Draw(t, "scripts") {
			if !slices.Contains(paths, p) {
				s.generated[p] = rapid.SampledFrom([]string{"", "# a comment\n", "key = value\n", "\x00binary"}).Draw(t, p)
			}
		}
		unwanted := rapid.SampledFrom([]string{"usr/bin/*", "opt/**", "**/*.so", "etc/app/conf"}).Draw(t, "unwanted")
		s.spec.Generated = []string{"!/" + unwanted, "/opt/**", "/usr/**", "/etc/**", "/var/lib/**"}
		dir, err := os.MkdirTemp(all, "take") //nolint:usetesting // rapid calls this hundreds of times in one test
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		got, err := s.collect(t, filepath.Join(dir, "one"))
		if err != nil {
			t.Fatal(err)
		}
		for name := range got {
			if take.Matches([]string{unwanted}, name) {
				t.Errorf("/%s is there, which the template leaves out", name)
			}
			if above := path.Dir(name); above != "." && got[above] == nil {
				t.Errorf("/%s is there without /%s", name, above)
			}
		}
		again, err := s.collect(t, filepath.Join(dir, "two"))
		if diff := cmp.Diff(files(got), files(again)); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}
