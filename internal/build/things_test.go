// What a collection of garbage may remove of earlier builds: all that no kept image needs, and nothing that one does.

package build_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"imx"
	"imx/internal/build"
	"imx/internal/gc"
	"imx/internal/registry"
)

// stores are those of the shared builder, with the owner of manifests.
func stores(t *testing.T, w *world, b *build.Builder) []gc.Store {
	t.Helper()
	r, err := registry.New(registry.Config{Dir: t.TempDir(), Blobs: w.blobs})
	if err != nil {
		t.Fatal(err)
	}
	return []gc.Store{r.Things(), b.Things(), w.blobs.Things()}
}

func everything(t *testing.T, all []gc.Store) (things []gc.Thing) {
	t.Helper()
	for _, s := range all {
		for it, err := range s.Items() {
			if err != nil {
				t.Fatal(err)
			}
			things = append(things, it.Thing)
		}
	}
	return things
}

func TestACollectionLeavesWhatAKeptImageNeedsToStartAndToBeBuiltAgain(t *testing.T) {
	w, b := host(t)
	run(t, b, w.own(t, imx.ImageSpec{}, pkg{Name: "base"}))
	before := everything(t, stores(t, w, b)) // other tests'
	kept := w.own(t, imx.ImageSpec{Name: "kept"}, pkg{Name: "stays", Files: files{{Path: "/usr/share/stays", Content: "x"}}},
		pkg{Name: "shared", Files: files{{Path: "/usr/share/shared", Content: "y"}}})
	gone := w.own(t, imx.ImageSpec{Name: "gone"}, pkg{Name: "goes", Files: files{{Path: "/usr/share/goes", Content: "z"}}})
	gone.Ship = append(gone.Ship, kept.Ship[1])
	first, second := run(t, b, kept), run(t, b, gone)
	for _, p := range []imx.ImagePlan{kept, gone} {
		raw, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.blobs.Put(bytes.NewReader(raw), p.Digest()); err != nil {
			t.Fatal(err)
		}
	}
	roots := append(before, gc.Of(gc.Image, first.Image.Digest), gc.Of(gc.Build, kept.Digest()))
	found, err := gc.Unneeded(stores(t, w, b), roots, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[gc.Kind]int{}
	for _, f := range found {
		kinds[f.Kind]++
		if size, err := f.In.Size(f.Thing); err != nil || size == 0 {
			t.Errorf("%s has %s, %v", f.Thing, size, err)
		}
		for range 2 { // what isn't there any more is no error
			if err := f.In.Remove(f.Thing); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, k := range []gc.Kind{"plans", "packages", "layers", "contents", "roots", "root files", "root parts", "unpacked", gc.Blob} {
		if kinds[k] == 0 {
			t.Errorf("of kind %q nothing went", k)
		}
	}
	if left := everything(t, stores(t, w, b)); slices.Contains(left, gc.Of("plans", gone.Digest())) || w.blobs.Has(second.Image.Digest) {
		t.Error("the other image is still there")
	}
	none := func(context.Context, []imx.Package, imx.Report) error {
		t.Error("a package of the kept image is gone")
		return nil
	}
	again, err := b.Run(t.Context(), kept, none, quiet)
	if err != nil || !again.Cached || again.Image != first.Image {
		t.Errorf("the kept image: %+v, %v", again, err)
	}
	if r, err := b.CheckRepro(t.Context(), kept, none, quiet); err != nil || !r.Same() {
		t.Errorf("built again: %+v, %v", r, err)
	}
	w.own(t, imx.ImageSpec{Name: "gone"}, pkg{Name: "goes", Files: files{{Path: "/usr/share/goes", Content: "z"}}}) // its .deb
	if back := run(t, b, gone); back.Cached || back.Image != second.Image {
		t.Errorf("the other image, made anew: %+v", back)
	}
}
