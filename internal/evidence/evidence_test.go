// These tests are here because a verdict will stand on evidence: what is read back must be what was kept, about
// the image that it was kept for, and anybody's registry client must find it.
package evidence_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/blob"
	"imx/internal/evidence"
	"imx/internal/registry"
	"imx/internal/sign"
	"imx/internal/statement"
)

// world is a registry with one image, "web", and the evidence beside it.
type world struct {
	*evidence.Store

	blobs    *blob.Store
	registry *registry.Registry
	image    imx.Digest
	keys     map[string]imx.Key
	refuse   error // of the registry, where it isn't nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	var err error
	if w.blobs, err = blob.Open(filepath.Join(t.TempDir(), "blobs")); err != nil {
		t.Fatal(err)
	}
	if w.registry, err = registry.New(registry.Config{Dir: filepath.Join(t.TempDir(), "registry"), Blobs: w.blobs}); err != nil {
		t.Fatal(err)
	}
	config := []byte(`{"architecture":"amd64","os":"linux"}`)
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{},
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.Digest(imx.DigestBytes(config)), Size: int64(len(config))},
	}
	m.SchemaVersion = 2
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.blobs.Put(bytes.NewReader(config), ""); err != nil {
		t.Fatal(err)
	}
	if w.image, err = w.registry.Put(t.Context(), "web", "v1", raw, ocispec.MediaTypeImageManifest); err != nil {
		t.Fatal(err)
	}
	w.Store = evidence.New(evidence.Config{
		Blobs: w.blobs, Sign: w.signing(t), Keys: func() map[string]imx.Key { return w.keys },
		Refer: func(ctx context.Context, repository string, manifest []byte) error {
			if w.refuse != nil {
				return w.refuse
			}
			_, err := w.registry.Put(ctx, repository, "", manifest, ocispec.MediaTypeImageManifest)
			return err
		},
	})
	return w
}

// signing makes the tester's key known, and returns what signs with it.
func (w *world) signing(t *testing.T) func(string, []byte) ([]byte, string, error) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p, err := sign.PublicOf(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	w.keys = map[string]imx.Key{p.ID: {ID: p.ID, Owner: imx.Server, Role: imx.RoleTester, Public: p.Line}}
	return func(_ string, payload []byte) ([]byte, string, error) {
		bundle, err := sign.Seal(payload, key)
		return bundle, p.ID, err
	}
}

func saying(t *testing.T, image imx.Digest, says any) imx.Statement {
	t.Helper()
	st, err := statement.Make("web", image, imx.PredicateTest, says)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func (w *world) keep(t *testing.T, says any) imx.Evidence {
	t.Helper()
	e, err := w.Keep(t.Context(), "web", w.image, saying(t, w.image, says))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestARegistryClientFindsWhatWasStatedOfAnImageAndReadsIt(t *testing.T) {
	w := newWorld(t)
	kept := w.keep(t, map[string]any{"result": "PASSED", "why": "<&>"})
	server := httptest.NewServer(w.registry.Handler())
	defer server.Close()
	repository, err := name.NewRepository(strings.TrimPrefix(server.URL, "http://")+"/web", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Referrers(repository.Digest(string(w.image)))
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil || len(list.Manifests) != 1 {
		t.Fatalf("referrers %+v, %v", list, err)
	}
	found := list.Manifests[0]
	if found.Digest.String() != string(kept.Manifest) || found.ArtifactType != sign.Media || found.Annotations[evidence.PredicateNote] != imx.PredicateTest ||
		found.Annotations["dev.sigstore.bundle.content"] != "dsse-envelope" || found.Annotations["dev.sigstore.bundle.predicateType"] != imx.PredicateTest {
		t.Errorf("the referrer is %+v", found)
	}
	raw, err := w.registry.Blob("web", kept.Bundle, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := sign.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	read, err := statement.Parse(opened.Payload)
	if err != nil {
		t.Fatal(err)
	}
	own, err := w.Read(kept)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(own, read); diff != "" || len(own.Subject) != 1 || own.Subject[0].Digest["sha256"] != w.image.Hex() {
		t.Errorf("%+v; what the registry gives out differs:\n%s", own, diff)
	}
}

func TestTheSameStatementTwiceIsOne(t *testing.T) {
	w := newWorld(t)
	first, again, other := w.keep(t, map[string]int{"n": 1}), w.keep(t, map[string]int{"n": 1}), w.keep(t, map[string]int{"n": 2})
	if first != again || first.Statement == other.Statement || first.Manifest == other.Manifest {
		t.Errorf("kept %+v, again %+v, another %+v", first, again, other)
	}
}

// What was cut off is kept the next time, as if nothing had happened.
func TestKeepingIsDoneAgainAfterItFailed(t *testing.T) {
	w := newWorld(t)
	w.refuse = errors.New("the power went")
	if _, err := w.Keep(t.Context(), "web", w.image, saying(t, w.image, map[string]int{})); !errors.Is(err, w.refuse) {
		t.Fatalf("err = %v", err)
	}
	w.refuse = nil
	if _, err := w.Read(w.keep(t, map[string]int{})); err != nil {
		t.Error(err)
	}
}

func TestAStatementAboutSomethingElseIsRefused(t *testing.T) {
	w := newWorld(t)
	other := imx.DigestBytes([]byte("another image"))
	_, err := w.Keep(t.Context(), "web", w.image, saying(t, other, map[string]int{}))
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "is not about the image "+string(w.image)) {
		t.Errorf("kept with err = %v", err)
	}
	kept := w.keep(t, map[string]int{})
	wrongImage, wrongType := kept, kept
	wrongImage.Image, wrongType.PredicateType = other, imx.PredicateScan
	for _, e := range []imx.Evidence{wrongImage, wrongType} {
		if _, err := w.Read(e); imx.KindOf(err) != imx.Refused {
			t.Errorf("read %+v with err = %v", e, err)
		}
	}
	if _, err := w.Keep(t.Context(), "web", other, saying(t, other, map[string]int{})); imx.KindOf(err) != imx.NotFound {
		t.Errorf("about an image that isn't there: %v", err)
	}
}

func TestChangedBytesAreRefusedAndKeepingAgainMendsThem(t *testing.T) {
	w := newWorld(t)
	kept := w.keep(t, map[string]string{"result": "FAILED"})
	path := w.blobs.Path(kept.Bundle)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := errors.Join(os.Remove(path), os.WriteFile(path, raw, 0o444)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read(kept); imx.KindOf(err) != imx.Refused {
		t.Errorf("changed bytes: err = %v", err)
	}
	if got := w.keep(t, map[string]string{"result": "FAILED"}); got != kept {
		t.Errorf("kept again: %+v, first %+v", got, kept)
	}
	if _, err := w.Read(kept); err != nil {
		t.Error(err)
	}
}

func TestDigestsNamesAllThatTheEvidenceOfAnImageNeeds(t *testing.T) {
	w := newWorld(t)
	old, now := w.keep(t, map[string]int{"n": 1}), w.keep(t, map[string]int{"n": 2})
	found, err := evidence.Digests(func(yield func(imx.Event, error) bool) {
		for _, e := range []imx.Evidence{old, now} {
			if !yield(imx.Event{Body: imx.EvidenceAdded{Evidence: e}}, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	all := 0
	for b, err := range w.blobs.All() {
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(found[w.image], b.Digest) {
			all++
		}
	}
	if all != 5 || len(found) != 1 { // two bundles, two manifests, what stands for a configuration
		t.Errorf("%v: %d blobs", found, all)
	}
}

func TestABundleThatSomebodyElseSignedIsKeptAndJudgedWhenItIsRead(t *testing.T) {
	w := newWorld(t)
	raw, err := json.Marshal(saying(t, w.image, map[string]int{}))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := sign.Seal(raw, key)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := w.KeepSigned(t.Context(), "web", w.image, evidence.Signed{Bundle: bundle, Signer: "SHA256:mallory"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read(kept); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "unknown key") {
		t.Errorf("read with err = %v", err)
	}
	if got, err := w.Bundle(kept); err != nil || !bytes.Equal(got, bundle) {
		t.Errorf("bundle %q, %v", got, err)
	}
	bundle[0] = ' '
	if _, err := w.KeepSigned(t.Context(), "web", w.image, evidence.Signed{Bundle: bundle}); imx.KindOf(err) != imx.Refused {
		t.Errorf("a bundle that is none: err = %v", err)
	}
}
