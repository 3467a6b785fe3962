// What layers come to is told by a model that is too slow to use: a flat list that is gone over for each name.

package changeset_test

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx/internal/changeset"
)

type model struct {
	layer   int
	entries map[string]int // the layer that a path is of
}

func (m *model) take(cleared func(name string) bool, keep bool) {
	maps.DeleteFunc(m.entries, func(name string, layer int) bool { return cleared(name) && (!keep || layer < m.layer) })
}

func below(dir string) func(string) bool {
	return func(name string) bool { return name != dir && (dir == "." || strings.HasPrefix(name, dir+"/")) }
}

func atOrBelow(dir string) func(string) bool {
	return func(name string) bool { return name == dir || below(dir)(name) }
}

// step does to the stack and to the model what a layer's entry says.
func step(t *rapid.T, s *changeset.Stack[int], m *model) {
	dir := rapid.SampledFrom([]string{".", "a", "a/b", "a/b/c", "b", "./a/", "/b", "a/../a"}).Draw(t, "dir")
	base := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "base")
	folder, name := path.Join(".", strings.Trim(path.Clean(dir), "/")), dir+"/"+base
	at := path.Join(folder, base)
	switch kind := rapid.SampledFrom([]string{"layer", "folder", "leaf", "leaf", "remove", "whiteout", "opaque"}).Draw(t, "kind"); kind {
	case "layer":
		s.Layer()
		m.layer++
	case "folder":
		s.Put(name, m.layer)
		m.entries[at] = m.layer
	case "leaf":
		s.PutLeaf(name, m.layer)
		m.take(below(at), false)
		m.entries[at] = m.layer
	case "remove":
		s.Remove(name)
		m.take(atOrBelow(at), false)
	case "whiteout", "opaque":
		hidden, gone := dir+"/.wh."+base, atOrBelow(at)
		if kind == "opaque" {
			hidden, gone = dir+"/.wh..wh..opq", below(folder)
		}
		if s.Whiteout(name) || !s.Whiteout(hidden) {
			t.Fatalf("%s and %s are taken for each other", name, hidden)
		}
		m.take(gone, true)
	}
}

func TestAStackComesToWhatItsLayersSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s changeset.Stack[int]
		m := &model{layer: 1, entries: map[string]int{}}
		s.Layer()
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			step(t, &s, m)
			got, names := map[string]int{}, map[string]bool{}
			for name, layer := range s.All() {
				got[name] = layer
				for ; name != "."; name = path.Dir(name) {
					names[name] = true
				}
			}
			if diff := cmp.Diff(m.entries, got); diff != "" {
				t.Fatalf("(-model +stack):\n%s", diff)
			}
			if s.Names() < len(names) {
				t.Fatalf("%d names, and these are more: %v", s.Names(), slices.Sorted(maps.Keys(names)))
			}
		}
		for name, layer := range m.entries {
			if got, ok := s.Get("/" + name); got != layer || !ok {
				t.Fatalf("%s is of layer %d, not %d", name, got, layer)
			}
		}
	})
}

func TestNoNameLeadsOutOfTheRootAndOddWhiteoutsTakeNothingAway(t *testing.T) {
	var s changeset.Stack[string]
	s.Layer()
	s.PutLeaf("../../etc/passwd", "a file")
	s.Layer()
	for _, odd := range []string{"etc/.wh.", "etc/.wh...", "etc/.wh..wh.plnk", ".wh.none", "none/.wh..wh..opq"} {
		if !s.Whiteout(odd) {
			t.Errorf("%s is taken for a file", odd)
		}
	}
	if got := maps.Collect(s.All()); cmp.Diff(map[string]string{"etc/passwd": "a file"}, got) != "" {
		t.Errorf("%v", got)
	}
}

// Each layer may say a million times that a folder of a million files is empty.
func TestTakingAwayAgainCostsNothing(t *testing.T) {
	var s changeset.Stack[struct{}]
	s.Layer()
	for i := range 200_000 {
		s.PutLeaf(fmt.Sprintf("a/b/%d", i), struct{}{})
	}
	s.Layer()
	for i := range 200_000 {
		s.PutLeaf(fmt.Sprintf("a/b/%d", i), struct{}{})
		s.Whiteout("a/b/.wh..wh..opq")
		s.Whiteout(".wh.a")
	}
	if s.Names() != 200_002 {
		t.Errorf("%d names", s.Names())
	}
}
