// Which paths go into which layer: a pure choice, shown by its laws.

package pack_test

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/build/pack"
	"imx/internal/build/tree"
)

// scene is some packages and the tree that installing them came to.
type scene struct {
	tree  tree.Tree
	ships []pack.Package
}

// ship returns a package with what its .deb has.
func ship(name, source string, has map[string]*tree.Item) pack.Package {
	p := imx.InventoryPackage{Package: imx.Package{Name: name}, Source: source}
	return pack.Package{InventoryPackage: p, Has: has}
}

// arranged returns the items of each layer, and what each is.
func arranged(t tree.Tree, ships []pack.Package, epoch time.Time) (layers [][]*tree.Item, says []string) {
	for _, g := range pack.Arrange(t, ships, epoch) {
		layers, says = append(layers, g.Items), append(says, g.Says)
	}
	return layers, says
}

// drawScene makes packages that share directories and sources, and scripts that change what they like.
func drawScene(t *rapid.T) scene {
	s := scene{tree: tree.Tree{}}
	s.tree["usr"] = &tree.Item{Path: "usr", Mode: fs.ModeDir | 0o755, Origin: imx.OriginFrame}
	for i := range rapid.IntRange(1, 8).Draw(t, "packages") {
		name := fmt.Sprintf("p%d", i)
		has := map[string]*tree.Item{}
		for j := range rapid.IntRange(0, 4).Draw(t, "files") {
			dir := "usr/" + rapid.SampledFrom([]string{"a", "b", "a/c"}).Draw(t, "dir")
			file := fmt.Sprintf("%s/%s-%d", dir, name, j)
			has[file] = &tree.Item{Path: file, Mode: 0o644, Size: int64(j), Digest: imx.DigestBytes([]byte(file)), Time: int64(1000 + i)}
			for d := dir; d != "."; d = path.Dir(d) {
				mode := rapid.SampledFrom([]fs.FileMode{0o755, 0o700}).Draw(t, "mode")
				if has[d] == nil {
					has[d] = &tree.Item{Path: d, Mode: fs.ModeDir | mode, Time: 7}
				}
			}
		}
		source := fmt.Sprintf("s%d", rapid.IntRange(0, 3).Draw(t, "source"))
		s.ships = append(s.ships, ship(name, source, has))
		s.install(name, has)
	}
	for _, name := range slices.Sorted(maps.Keys(s.tree)) {
		switch rapid.IntRange(0, 9).Draw(t, "script") {
		case 0:
			s.tree[name].UID = 33
		case 1:
			if s.tree[name].Mode.IsRegular() {
				s.tree[name].Digest = imx.DigestBytes([]byte("changed"))
			}
		case 2:
			made := name + ".made"
			s.tree[made] = &tree.Item{Path: made, Mode: fs.ModeDir | 0o755, Origin: imx.OriginGenerated}
			if !s.tree[name].Mode.IsDir() {
				s.tree[made].Mode = 0o600
			}
		}
	}
	return s
}

// install puts what a package has into the tree, as dpkg does: the first decides about directories.
func (s scene) install(name string, has map[string]*tree.Item) {
	for _, file := range slices.Sorted(maps.Keys(has)) {
		if s.tree[file] == nil {
			it := *has[file]
			it.Origin, it.Owner, it.Time = imx.OriginPackage, name, 0
			s.tree[file] = &it
		}
	}
}

// flat is an item without what no layer has.
func flat(it tree.Item) tree.Item {
	it.Origin, it.Owner = "", ""
	return it
}

func diff(a, b any) string { return cmp.Diff(a, b) }

func TestLayersLaidOverEachOtherAreTheTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		layers, _ := arranged(s.tree, s.ships, epoch)
		want, got := map[string]tree.Item{}, map[string]tree.Item{}
		for name, it := range s.tree {
			want[name] = flat(*it)
		}
		for _, layer := range layers {
			seen := map[string]bool{".": true}
			for _, it := range layer {
				if !seen[path.Dir(it.Path)] || seen[it.Path] {
					t.Fatalf("%s comes without the directory above it, or twice", it.Path)
				}
				seen[it.Path] = true
				got[it.Path] = flat(*it)
			}
		}
		if d := diff(want, got); d != "" {
			t.Fatalf("tree (-), layers (+):\n%s", d)
		}
	})
}

func TestTheLayerOfASourceFollowsFromItsOwnPackagesAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		layers, says := arranged(s.tree, s.ships, epoch)
		of := rapid.SampledFrom(s.ships).Draw(t, "package").Source
		lone := scene{tree: tree.Tree{"usr": s.tree["usr"]}}
		for _, ship := range slices.Backward(s.ships) {
			if ship.Source == of {
				lone.ships = append(lone.ships, ship)
			}
		}
		for _, ship := range lone.ships {
			has := map[string]*tree.Item{}
			for name, it := range s.tree {
				if it.Owner == ship.Name && it.Origin == imx.OriginPackage {
					has[name] = it
				}
			}
			maps.Copy(lone.tree, has) // what a script changed is left out of the layer here as there
			for name, it := range s.tree {
				if it.Mode.IsDir() && it.Origin == imx.OriginPackage {
					lone.tree[name] = it
				}
			}
		}
		alone, saysAlone := arranged(lone.tree, lone.ships, epoch.Add(time.Hour))
		var one, other []tree.Item
		for _, it := range layers[slices.Index(says, "source package "+of)] {
			one = append(one, flat(*it))
		}
		for _, it := range alone[slices.Index(saysAlone, "source package "+of)] {
			other = append(other, flat(*it))
		}
		if d := diff(one, other); d != "" {
			t.Fatalf("with others (-), alone and at another epoch (+):\n%s", d)
		}
	})
}

func TestManySourcesShareTheLastOfTheirLayers(t *testing.T) {
	s := scene{tree: tree.Tree{}}
	for i := range 300 {
		name := fmt.Sprintf("p%03d", i)
		has := map[string]*tree.Item{name: {Path: name, Mode: 0o644, Size: int64(i), Digest: imx.DigestBytes([]byte(name))}}
		s.ships = append(s.ships, ship(name, name, has))
		s.install(name, has)
	}
	layers, says := arranged(s.tree, s.ships, epoch)
	if len(layers) != 99 { // with the template's it makes 100
		t.Errorf("%d layers", len(layers))
	}
	if says[1] != "source package p204" || says[96] != "source package p299" || says[97] != "further source packages" || len(layers[97]) != 204 {
		t.Errorf("%q, the shared one has %d paths", says, len(layers[97]))
	}
}
