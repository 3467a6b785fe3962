package registry_test

// A collection may be killed between any two of the things that it removes, and what is rolled back to must be there after it.

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	"imx"
	"imx/internal/gc"
)

// built puts an image as the server's builder does.
func (w *world) built(t *testing.T, repo, tag string, a artifact) imx.Image {
	t.Helper()
	for _, b := range a.blobs {
		if _, _, err := w.blobs.Put(bytes.NewReader(b), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Put(t.Context(), repo, tag, a.raw, a.kind); err != nil {
		t.Fatal(err)
	}
	return imx.Image{Name: repo, Digest: imx.Digest(a.digest())}
}

func TestACollectionKilledBetweenAnyTwoStepsLeavesNothingHalf(t *testing.T) {
	kept, gone := makeImage(t, "shared", "kept"), makeImage(t, "shared", "gone")
	for n := 0; ; n++ {
		w := newWorld(t)
		want(t, w.push("app", "v1", kept), http.StatusCreated)
		signed := referrerOf(t, kept.digest(), "application/x.test", "kept")
		want(t, w.push("app", signed.digest(), signed), http.StatusCreated)
		w.built(t, "app", "plan-1", gone)
		about := referrerOf(t, gone.digest(), "application/x.test", "gone")
		want(t, w.push("app", about.digest(), about), http.StatusCreated)
		found, err := gc.Unneeded([]gc.Store{w.Things(), w.blobs.Things()}, nil, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) < 8 {
			t.Fatalf("only %d things are nobody's: %v", len(found), found)
		}
		for _, f := range found[:min(n, len(found))] {
			if err := f.In.Remove(f.Thing); err != nil {
				t.Fatal(err)
			}
		}
		w.restart() // killed here
		if err := w.whole("app", "v1", kept); err != nil {
			t.Errorf("after %d steps: %v", n, err)
		}
		want(t, w.do(http.MethodGet, "/v2/app/referrers/"+kept.digest(), nil), http.StatusOK, signed.digest())
		for _, ref := range []string{"plan-1", gone.digest()} {
			if w.do(http.MethodGet, "/v2/app/manifests/"+ref, nil).Code != http.StatusOK {
				continue
			}
			if err := w.whole("app", ref, gone); err != nil {
				t.Errorf("after %d steps half of %s is served: %v", n, ref, err)
			}
		}
		w.collect(t) // the next one ends it
		if err := w.whole("app", "v1", kept); err != nil {
			t.Errorf("after %d steps and the rest: %v", n, err)
		}
		if n >= len(found) {
			return
		}
	}
}

// A release of long ago, whose tag a newer build of the same plan took, is still what a rollback goes to.
func TestWhatARollbackGoesToIsKeptWhole(t *testing.T) {
	w := newWorld(t)
	var releases []imx.Release
	var images []artifact
	for i := range 4 {
		a := makeImage(t, "shared", fmt.Sprint("layer ", i))
		images = append(images, a)
		state := imx.ReleaseGood
		if i == 1 {
			state = imx.ReleaseFailed
		}
		releases = append(releases, imx.Release{Service: "shop", Number: i + 1, State: state, Image: w.built(t, "shop", "plan-1", a)})
	}
	service := imx.Service{Name: "shop", Current: 4, Target: 4, Releases: releases}
	roots := gc.Roots(imx.State{Services: map[string]imx.Service{"shop": service}}, nil, 10)
	w.collect(t, roots...)
	for i, a := range images {
		err := w.whole("shop", a.digest(), a)
		if good := i != 1; good != (err == nil) {
			t.Errorf("release %d: %v", i+1, err)
		}
	}
	service.Current, service.Target = 1, 1 // rolled back
	w.collect(t, gc.Roots(imx.State{Services: map[string]imx.Service{"shop": service}}, nil, 10)...)
	if err := w.whole("shop", images[0].digest(), images[0]); err != nil {
		t.Error(err)
	}
}
