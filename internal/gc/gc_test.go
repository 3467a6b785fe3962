// What nothing needs goes and what something needs stays, whatever the graph: that is the whole promise, and
// random graphs check it against a definition that is written down another way.
package gc_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/gc"
)

// memory is a store of some kinds. Things need only such that come later, so items are in the right order.
type memory struct {
	kinds map[gc.Kind]bool
	all   []gc.Item
	needs map[gc.Thing][]gc.Thing
	roots []gc.Thing
	fails error
}

func (m *memory) Roots() ([]gc.Thing, error) { return m.roots, nil }

func (m *memory) Items() iter.Seq2[gc.Item, error] {
	return func(yield func(gc.Item, error) bool) {
		for it := range m.items() {
			if !yield(it, nil) {
				return
			}
		}
	}
}

func (m *memory) items() iter.Seq[gc.Item] {
	return func(yield func(gc.Item) bool) {
		for _, it := range m.all {
			if m.kinds[it.Kind] && !yield(it) {
				return
			}
		}
	}
}

func (m *memory) Needs(t gc.Thing) ([]gc.Thing, error) { return m.needs[t], m.fails }

func (m *memory) Size(gc.Thing) (imx.Size, error) { return 1, nil }

func (m *memory) Remove(t gc.Thing) error {
	m.all = slices.DeleteFunc(m.all, func(it gc.Item) bool { return it.Thing == t })
	return nil
}

var old, now = time.Unix(1000, 0), time.Unix(2000, 0)

// world draws a graph of things over several stores: which of them there are, and who knows which need.
func world(t *rapid.T) (stores []gc.Store, parts []*memory, roots []gc.Thing) {
	kinds := []gc.Kind{"tag", gc.Image, "record", "layer", "root", gc.Blob}
	n := rapid.IntRange(0, 30).Draw(t, "things")
	var all []gc.Item
	for i := range n {
		k := kinds[i*len(kinds)/n]
		made := rapid.SampledFrom([]time.Time{old, old, old, now}).Draw(t, "made")
		all = append(all, gc.Item{Thing: gc.Thing{Kind: k, Key: strconv.Itoa(i)}, Made: made})
	}
	for i := range 3 {
		m := &memory{kinds: map[gc.Kind]bool{}, all: slices.Clone(all), needs: map[gc.Thing][]gc.Thing{}}
		for j, k := range kinds {
			m.kinds[k] = j%3 == i && k != gc.Image // an image is no file of its own
		}
		for a := range n {
			for b := a + 1; b < n; b++ {
				if rapid.IntRange(0, 9).Draw(t, "edge") == 0 {
					m.needs[all[a].Thing] = append(m.needs[all[a].Thing], all[b].Thing)
				}
			}
		}
		stores, parts = append(stores, m), append(parts, m)
	}
	for _, it := range all {
		switch rapid.IntRange(0, 9).Draw(t, "root") {
		case 0:
			roots = append(roots, it.Thing)
		case 1:
			parts[0].roots = append(parts[0].roots, it.Thing)
		}
	}
	return stores, parts, roots
}

// stays is the definition: something stays that is a root or young, or that something needs which stays.
func stays(parts []*memory, roots []gc.Thing) map[gc.Thing]bool {
	kept := map[gc.Thing]bool{}
	for _, r := range slices.Concat(roots, parts[0].roots, parts[1].roots, parts[2].roots) {
		kept[r] = true
	}
	for _, p := range parts {
		for it := range p.items() {
			kept[it.Thing] = kept[it.Thing] || it.Made.Equal(now)
		}
	}
	for before := -1; before != count(kept); {
		before = count(kept)
		for _, p := range parts {
			for from, to := range p.needs {
				for _, b := range to {
					kept[b] = kept[b] || kept[from]
				}
			}
		}
	}
	return kept
}

func count(kept map[gc.Thing]bool) (n int) {
	for _, k := range kept {
		if k {
			n++
		}
	}
	return n
}

func TestWhatSomethingNeedsStaysAndAllElseGoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stores, parts, roots := world(t)
		gone, err := gc.Unneeded(stores, roots, old)
		if err != nil {
			t.Fatal(err)
		}
		kept := stays(parts, roots)
		removed := map[gc.Thing]bool{}
		for _, f := range gone {
			removed[f.Thing] = true
		}
		for _, p := range parts {
			for it := range p.items() {
				if kept[it.Thing] == removed[it.Thing] {
					t.Errorf("%s: needed %t, removed %t", it.Thing, kept[it.Thing], removed[it.Thing])
				}
			}
		}
	})
}

// Killed after any number of removals, the next collection finds just the rest: what was to stay is there.
func TestAnInterruptedCollectionGoesOnWithTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stores, _, roots := world(t)
		first, err := gc.Unneeded(stores, roots, old)
		if err != nil {
			t.Fatal(err)
		}
		done := rapid.IntRange(0, len(first)).Draw(t, "done")
		for _, f := range first[:done] {
			if err := f.In.Remove(f.Thing); err != nil {
				t.Fatal(err)
			}
		}
		second, err := gc.Unneeded(stores, roots, old)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(things(first[done:]), things(second)); diff != "" {
			t.Error(diff)
		}
	})
}

func things(found []gc.Found) (all []gc.Thing) {
	for _, f := range found {
		all = append(all, f.Thing)
	}
	return all
}

// An owner that can't say what something needs may not be taken for one that needs nothing.
func TestWhereItIsNotKnownWhatIsNeededNothingGoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stores, parts, roots := world(t)
		roots = append(roots, gc.Thing{Kind: gc.Image, Key: "any"})
		parts[rapid.IntRange(0, 2).Draw(t, "broken")].fails = errors.New("unreadable")
		if gone, err := gc.Unneeded(stores, roots, old); err == nil {
			t.Fatalf("%v went", things(gone))
		}
	})
}

func digest(text string) imx.Digest { return imx.DigestBytes([]byte(text)) }

// service draws a service, whose releases have an image, a file and a plan each.
func service(t *rapid.T, name string, s *imx.State) imx.Service {
	v := imx.Service{Name: name, Destroyed: rapid.Bool().Draw(t, "destroyed")}
	for i := range rapid.IntRange(0, 8).Draw(t, "releases") {
		id := fmt.Sprintf("%s-%d", name, i+1)
		r := imx.Release{Service: name, Number: i + 1, Image: imx.Image{Digest: digest("image" + id), Plan: digest("plan" + id)}}
		r.State = rapid.SampledFrom([]imx.ReleaseState{imx.ReleaseGood, imx.ReleaseFailed, imx.ReleaseSuperseded}).Draw(t, "state")
		r.Spec.Files = []imx.File{{Path: "/x", Digest: digest("file" + id)}}
		r.Plan, r.Request, r.Origin = digest("whole plan"+id), digest("request"+id), &imx.Origin{Bundle: digest("offer" + id)}
		v.Releases = append(v.Releases, r)
		phase := rapid.SampledFrom([]imx.Phase{"", "", imx.Healthy, imx.Stopping, imx.Ended}).Draw(t, "phase")
		if phase != "" {
			s.Instances[id] = imx.Instance{ID: id, Service: name, Release: i + 1, Phase: phase}
		}
	}
	if n := len(v.Releases); n > 0 && !v.Destroyed {
		v.Current, v.Target = rapid.IntRange(0, n).Draw(t, "current"), rapid.IntRange(1, n).Draw(t, "target")
	}
	return v
}

func TestWhatRunsOrMayRunAgainIsARoot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := imx.State{Services: map[string]imx.Service{}, Instances: map[string]imx.Instance{}}
		for _, name := range []string{"a", "b"} {
			s.Services[name] = service(t, name, &s)
		}
		newest := []imx.Image{{Name: "web", Digest: digest("web2"), Inventory: digest("inventory")}, {Name: "web", Digest: digest("web1")}}
		keep := rapid.IntRange(0, 3).Draw(t, "keep")
		roots := map[gc.Thing]bool{}
		for _, r := range gc.Roots(s, newest, keep) {
			roots[r] = true
		}
		if !roots[gc.Of(gc.Image, digest("web2"))] || roots[gc.Of(gc.Image, digest("web1"))] || !roots[gc.Of(gc.Blob, digest("inventory"))] {
			t.Error("of the images of one name, not just the newest is a root")
		}
		for _, v := range s.Services {
			good := 0
			for _, r := range slices.Backward(v.Releases) {
				served := r.Number == v.Current || r.Number == v.Target
				running := s.Instances[fmt.Sprintf("%s-%d", v.Name, r.Number)].Phase
				want := served || running != "" && running != imx.Ended
				if !want && !v.Destroyed && r.State == imx.ReleaseGood {
					good++
					want = good <= keep
				}
				for _, root := range []gc.Thing{
					gc.Of(gc.Image, r.Image.Digest), gc.Of(gc.Blob, r.Spec.Files[0].Digest), gc.Of(gc.Blob, r.Image.Plan), gc.Of(gc.Blob, r.Plan), gc.Of(gc.Blob, r.Request),
					gc.Of(gc.Blob, r.Origin.Bundle),
				} {
					if roots[root] != want {
						t.Errorf("release %s %d: %s is a root: %t", v.Name, r.Number, root, roots[root])
					}
				}
				if roots[gc.Of(gc.Build, r.Image.Plan)] != served {
					t.Errorf("release %s %d: to be built again: %t", v.Name, r.Number, !served)
				}
			}
		}
	})
}
