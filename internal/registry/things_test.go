package registry_test

// What a collection of garbage may take out of the registry. What somebody named stays, with all that belongs to it.

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/gc"
)

// collect removes what neither the roots nor the registry need, of whatever age.
func (w *world) collect(t *testing.T, roots ...gc.Thing) {
	t.Helper()
	w.collectBefore(t, time.Now().Add(time.Hour), roots...)
}

func (w *world) collectBefore(t *testing.T, before time.Time, roots ...gc.Thing) {
	t.Helper()
	found, err := gc.Unneeded([]gc.Store{w.Things(), w.blobs.Things()}, roots, before)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if err := f.In.Remove(f.Thing); err != nil {
			t.Fatal(err)
		}
	}
}

func TestATaggedImageStaysWithWhatRefersToIt(t *testing.T) {
	w := newWorld(t)
	subject, loose, signature := makeImage(t, "layer"), makeImage(t, "nobody names me"), makeImage(t)
	signature.blobs = append(signature.blobs, []byte("signed"))
	signature.raw = encode(t, ocispec.Manifest{
		MediaType: image, ArtifactType: "application/signature", Config: describe(signature.blobs[0], ocispec.MediaTypeImageConfig),
		Layers:  []ocispec.Descriptor{describe(signature.blobs[1], ocispec.MediaTypeImageLayer)},
		Subject: &ocispec.Descriptor{MediaType: image, Digest: ocispecDigest(subject.raw), Size: int64(len(subject.raw))},
	})
	want(t, w.push("app", "v1", subject), http.StatusCreated)
	for _, a := range []artifact{loose, signature} {
		want(t, w.push("app", a.digest(), a), http.StatusCreated)
	}
	w.collect(t)
	for _, a := range []artifact{subject, signature} {
		if err := w.whole("app", a.digest(), a); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := w.Manifest(t.Context(), "app", loose.digest()); imx.KindOf(err) != imx.NotFound {
		t.Errorf("what nobody names is still there: %v", err)
	}
	want(t, w.push("app", "v2", loose), http.StatusCreated) // and can be pushed again
	if err := w.whole("app", "v2", loose); err != nil {
		t.Error(err)
	}
}

func TestABuildsTagGoesWithItsImageAndStaysWithIt(t *testing.T) {
	w := newWorld(t)
	one, two := makeImage(t, "one"), makeImage(t, "two")
	for tag, a := range map[string]artifact{"plan-one": one, "plan-two": two} {
		for _, b := range a.blobs {
			if _, _, err := w.blobs.Put(bytes.NewReader(b), ""); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Put(t.Context(), "app", tag, a.raw, a.kind); err != nil {
			t.Fatal(err)
		}
	}
	w.collect(t, gc.Of(gc.Image, imx.Digest(one.digest())))
	if err := w.whole("app", "plan-one", one); err != nil {
		t.Error("an image that stays:", err)
	}
	if _, _, err := w.Manifest(t.Context(), "app", "plan-two"); imx.KindOf(err) != imx.NotFound {
		t.Error("the tag of an image that went:", err)
	}
}

// Between the push of an image's blobs and that of its manifest nothing names them.
func TestWhatWasJustPushedStaysUntilItsManifestCame(t *testing.T) {
	w := newWorld(t)
	a := makeImage(t, "layer")
	for _, b := range a.blobs {
		want(t, w.pushBlob("app", b), http.StatusCreated)
	}
	w.collectBefore(t, time.Now().Add(-time.Hour))
	want(t, w.do(http.MethodPut, "/v2/app/manifests/v1", a.raw, "Content-Type", a.kind), http.StatusCreated)
}

// An index that somebody tagged is no use without the images that it names.
func TestAnIndexKeepsItsImages(t *testing.T) {
	w := newWorld(t)
	part := makeImage(t, "for one machine")
	want(t, w.push("app", part.digest(), part), http.StatusCreated)
	index := artifact{kind: ocispec.MediaTypeImageIndex, raw: encode(t, ocispec.Index{
		MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{describe(part.raw, image)},
	})}
	want(t, w.push("app", "v1", index), http.StatusCreated)
	w.collect(t)
	if err := w.whole("app", part.digest(), part); err != nil {
		t.Error(err)
	}
}
