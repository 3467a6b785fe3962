package attest_test

// A statement about an image is only worth something if it was made of the bytes that are there, and if what was
// changed since is found out. All parts are the server's own; the images are of the template's files alone.

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/attest"
	"imx/internal/blob"
	"imx/internal/build"
	"imx/internal/control"
	"imx/internal/eventlog"
	"imx/internal/evidence"
	"imx/internal/gc"
	"imx/internal/keyring"
	"imx/internal/pipeline"
	"imx/internal/provenance"
	"imx/internal/registry"
	"imx/internal/statement"
	"imx/internal/template"
	"imx/internal/trust"
)

type world struct {
	*attest.Attester

	control  *control.Control
	blobs    *blob.Store
	registry *registry.Registry
	pipeline *pipeline.Pipeline
	between  func() // is called when a statement is kept and nothing names it yet
	trust    *trust.Registrar
	store    *evidence.Store
	dir      string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	log, _, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(dir, "log"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	w := &world{dir: dir}
	ids := 0
	w.control, err = control.Open(control.Config{
		Log: log, Now: time.Now, NewID: func() string { ids++; return fmt.Sprint("apply", ids) }, Network: netip.MustParsePrefix("10.0.0.0/24"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.blobs, err = blob.Open(filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	pushed := func(_ context.Context, p imx.ManifestPushed) error { return w.control.Record("somebody", p) }
	if w.registry, err = registry.New(registry.Config{Dir: filepath.Join(dir, "registry"), Blobs: w.blobs, Pushed: pushed}); err != nil {
		t.Fatal(err)
	}
	builder, err := build.New(build.Config{Dir: filepath.Join(dir, "build"), Blobs: w.blobs})
	if err != nil {
		t.Fatal(err)
	}
	w.pipeline = pipeline.New(pipeline.Config{
		Stores:  []func() gc.Store{w.registry.Things, builder.Things, w.blobs.Things},
		Control: w.control, Builder: builder, Blobs: w.blobs, Architecture: "amd64", Now: time.Now,
		Check:   func(context.Context, imx.Template) ([]imx.Finding, error) { return nil, nil },
		Checked: func(context.Context, imx.Principal, imx.Image, imx.PlanResult) error { return nil },
		Publish: func(ctx context.Context, repository, tag string, r build.Result) error {
			_, err := w.registry.Put(ctx, repository, tag, r.Manifest, r.MediaType)
			return err
		},
		Doubted: func(d imx.Digest) error { return w.Doubted(d) },
		Attest: func(ctx context.Context, by imx.Principal, b provenance.Build, report imx.Report) error {
			return w.Built(ctx, by, b, report)
		},
	})
	keys, err := keyring.OpenFiles(filepath.Join(dir, "keys"), filepath.Join(dir, "identity"))
	if err != nil {
		t.Fatal(err)
	}
	if w.trust, err = trust.Open(trust.Config{Control: w.control, Store: keys, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	w.store = evidence.New(evidence.Config{
		Blobs: w.blobs, Sign: w.trust.Sign, Keys: w.trust.Known,
		Refer: func(ctx context.Context, repository string, manifest []byte) error {
			if w.between != nil {
				w.between()
			}
			_, err := w.registry.Put(ctx, repository, "", manifest, ocispec.MediaTypeImageManifest)
			return err
		},
	})
	w.Attester = attest.New(attest.Config{Control: w.control, Images: w.pipeline, Now: time.Now, Version: "test", Enter: w.pipeline.Enter, Store: w.store})
	return w
}

// build builds the image "app" of two files.
func (w *world) build(t *testing.T) imx.Image {
	t.Helper()
	image, err := w.buildOf(t, "a program", imx.Source{})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// buildOf builds the image "app" with a program, of a template from somewhere.
func (w *world) buildOf(t *testing.T, program string, from imx.Source) (imx.Image, error) {
	t.Helper()
	tmpl, ds := template.Parse(fstest.MapFS{"t.imx.hcl": {Data: []byte(`
image "app" {
  command = ["/app"]
  file "/app" {
    content = "` + program + `"
    mode    = "0755"
  }
  file "/opt/x/package.json" {
    content = "{\"name\":\"x\",\"version\":\"1.2.3\"}"
  }
}`)}})
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	tmpl.Source = from
	quiet := func(imx.Progress) {}
	planned, err := w.pipeline.Plan(t.Context(), "root", imx.PlanRequest{Template: tmpl}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.pipeline.Build(t.Context(), "root", imx.PlanRequest{Template: tmpl, Lock: &planned.Lock}, quiet)
	if err != nil {
		return imx.Image{}, err
	}
	return r.Images[0], nil
}

func (w *world) stated(image imx.Digest) []string {
	var types []string
	for _, e := range control.Evidence(w.control.State(), image) {
		types = append(types, imx.PredicateNames()[e.PredicateType])
	}
	return types
}

// change overwrites a blob on the disk.
func (w *world) change(t *testing.T, d imx.Digest, with func([]byte) []byte) {
	t.Helper()
	raw, err := os.ReadFile(w.blobs.Path(d))
	if err == nil {
		err = os.Remove(w.blobs.Path(d))
	}
	if err == nil {
		err = os.WriteFile(w.blobs.Path(d), with(raw), 0o400)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) put(t *testing.T, b []byte) imx.Digest {
	t.Helper()
	d, _, err := w.blobs.Put(bytes.NewReader(b), "")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestABuildIsStatedOnceAndANewBuildOfTheSameWritesNothing(t *testing.T) {
	w := newWorld(t)
	image := w.build(t)
	if got := w.stated(image.Digest); !slices.Equal(got, []string{"cyclonedx", "provenance", "spdx"}) {
		t.Fatalf("stated: %v", got)
	}
	before := w.control.State().Next
	if again := w.build(t); again != image || w.control.State().Next != before {
		t.Errorf("%d more events", w.control.State().Next-before)
	}
	doc, err := w.SBOM(t.Context(), "root", "app", imx.PredicateSPDX)
	if err != nil || !bytes.Contains(doc, []byte("pkg:npm/x@1.2.3")) || !bytes.Contains(doc, []byte(image.Digest.Hex())) {
		t.Errorf("%v: %s", err, doc)
	}
	for _, name := range []string{"spdx", imx.PredicateSPDX} {
		st, err := w.Statement(t.Context(), "app", name)
		if err != nil || !bytes.Equal(st.Predicate, doc) {
			t.Errorf("statement %s: %v, %s", name, err, st.Predicate)
		}
	}
	if _, err := w.Statement(t.Context(), "app", "test"); imx.KindOf(err) != imx.NotFound || !strings.Contains(imx.AsError(err).Hint, "cyclonedx, provenance, spdx") {
		t.Errorf("a statement that isn't there: %v", err)
	}
}

func TestTheSBOMOfAnImageThatWasTamperedWithIsRefused(t *testing.T) {
	flip := func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
	refused := func(t *testing.T, w *world) {
		t.Helper()
		for _, form := range []string{imx.PredicateSPDX, imx.PredicateCycloneDX} {
			if doc, err := w.SBOM(t.Context(), "root", "app", form); imx.KindOf(err) != imx.Refused || doc != nil {
				t.Errorf("%s: err = %v, document %.80s", form, err, doc)
			}
		}
	}
	t.Run("a layer", func(t *testing.T) {
		w := newWorld(t)
		w.build(t)
		d, err := w.pipeline.Image(t.Context(), "app")
		if err != nil {
			t.Fatal(err)
		}
		w.change(t, d.Layers[0].Digest, flip)
		refused(t, w)
	})
	t.Run("its inventory", func(t *testing.T) {
		w := newWorld(t)
		w.change(t, w.build(t).Inventory, flip)
		refused(t, w)
	})
	t.Run("an inventory of something else", func(t *testing.T) {
		w := newWorld(t)
		image := w.build(t)
		image.Inventory = w.put(t, fmt.Appendf(nil, `{"version":%d,"packages":[],"paths":[],"users":[]}`, imx.InventoryVersion))
		if err := w.control.Record("root", imx.ImageBuilt{Image: image}); err != nil {
			t.Fatal(err)
		}
		refused(t, w)
	})
}

// The documents are made of what is there and compared with: made again, they are the same.
func TestDocumentsThatAreDamagedOrGoneAreMadeAgain(t *testing.T) {
	damage := map[string]func(*testing.T, *world, imx.Evidence){
		"damaged": func(t *testing.T, w *world, e imx.Evidence) {
			w.change(t, e.Bundle, func(b []byte) []byte { return append(b, 'x') })
		},
		"gone": func(t *testing.T, w *world, e imx.Evidence) {
			if err := os.RemoveAll(w.blobs.Path(e.Bundle)); err != nil {
				t.Fatal(err)
			}
		},
		"not listed": func(t *testing.T, w *world, e imx.Evidence) {
			if err := os.RemoveAll(w.blobs.Path(e.Manifest)); err != nil {
				t.Fatal(err)
			}
		},
		"of another image": func(t *testing.T, w *world, e imx.Evidence) {
			st, err := statement.Make("other", imx.DigestBytes(nil), e.PredicateType, map[string]int{})
			if err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(st)
			if err != nil {
				t.Fatal(err)
			}
			bundle, signer, err := w.trust.Sign(e.PredicateType, raw)
			if err != nil {
				t.Fatal(err)
			}
			e.Statement, e.Bundle, e.Signer = imx.DigestBytes(raw), w.put(t, bundle), signer
			if _, err := w.control.AddEvidence("root", e); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			image := w.build(t)
			before := control.Evidence(w.control.State(), image.Digest)
			want := map[string]json.RawMessage{}
			for _, e := range before {
				st, err := w.Read(e)
				if err != nil {
					t.Fatal(err)
				}
				want[e.PredicateType] = st.Predicate
				harm(t, w, e)
			}
			for _, form := range []string{imx.PredicateSPDX, imx.PredicateCycloneDX} {
				if doc, err := w.SBOM(t.Context(), "root", "app", form); err != nil || !bytes.Equal(doc, want[form]) {
					t.Errorf("%s: %v", form, err)
				}
			}
			if name == "of another image" {
				return // a build asks only whether what the log names is there
			}
			for _, e := range before {
				harm(t, w, e)
			}
			w.build(t)
			for _, e := range control.Evidence(w.control.State(), image.Digest) {
				if st, err := w.Read(e); err != nil || e.PredicateType != imx.PredicateProvenance && !bytes.Equal(st.Predicate, want[e.PredicateType]) {
					t.Errorf("after a build: %s: %v", imx.PredicateNames()[e.PredicateType], err)
				}
				if !w.blobs.Has(e.Manifest) {
					t.Errorf("%s isn't listed", imx.PredicateNames()[e.PredicateType])
				}
			}
		})
	}
}

func TestAnImageThatWasPushedGetsAnSBOMOfWhatIsInItWhenItIsAskedFor(t *testing.T) {
	w := newWorld(t)
	var layer bytes.Buffer
	out := tar.NewWriter(&layer)
	for name, text := range map[string]string{
		"var/lib/dpkg/status.d/tz": "Package: tzdata\nVersion: 2026a-0+deb12u1\nArchitecture: all\nMaintainer: x\n",
		"usr/lib/os-release":       "ID=debian\nVERSION_CODENAME=bookworm\n",
		"srv/package.json":         strings.Repeat(" ", 2<<20),
	} {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	describe := func(mediaType string, b []byte) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.Digest(w.put(t, b)), Size: int64(len(b))}
	}
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, Config: describe(ocispec.MediaTypeImageConfig, []byte(`{"architecture":"amd64","os":"linux"}`)),
		Layers: []ocispec.Descriptor{describe(ocispec.MediaTypeImageLayer, layer.Bytes())},
	}
	m.SchemaVersion = 2
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	image, err := w.registry.Put(t.Context(), "team/foreign", "v1", raw, ocispec.MediaTypeImageManifest)
	if err != nil {
		t.Fatal(err)
	}
	first, err := w.SBOM(t.Context(), "root", "team/foreign:v1", imx.PredicateCycloneDX)
	if err != nil || !bytes.Contains(first, []byte(`pkg:deb/debian/tzdata@2026a-0%2Bdeb12u1?arch=all\u0026distro=bookworm`)) {
		t.Fatalf("%v: %s", err, first)
	}
	before := w.control.State().Next
	again, err := w.SBOM(t.Context(), "root", "team/foreign:v1", imx.PredicateCycloneDX)
	if err != nil || !bytes.Equal(first, again) || w.control.State().Next != before {
		t.Errorf("again: %v, %d events, %s", err, w.control.State().Next-before, again)
	}
	if got := w.stated(image); !slices.Equal(got, []string{"cyclonedx", "spdx"}) {
		t.Errorf("stated: %v", got)
	}
	for _, e := range control.Evidence(w.control.State(), image) {
		if !strings.Contains(e.Summary, "files that aren't all known 1") {
			t.Errorf("the summary says nothing of a file that wasn't looked into: %s", e.Summary)
		}
	}
	if !bytes.Contains(first, []byte("what is in /srv/package.json isn't all known: it has more than 1.0 MiB")) {
		t.Errorf("nor does the document: %s", first)
	}
	if list, err := w.pipeline.Images(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("images: %+v, %v", list, err)
	}
}

// A statement that is kept and that nothing names yet is no garbage, whoever makes it and however soon it is collected.
func TestACollectionWaitsUntilWhatIsStatedIsNamed(t *testing.T) {
	w := newWorld(t)
	image := w.build(t)
	none, collected := imx.Duration(0), make(chan error, 1)
	w.between = func() {
		soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := w.pipeline.Collect(soon, "root", imx.CollectRequest{Grace: &none}, func(imx.Progress) {})
		collected <- err
	}
	e, err := w.Add(t.Context(), "scanner", attest.Claim{
		Repository: image.Name, Image: image.Digest, PredicateType: imx.PredicateTest, Predicate: map[string]string{"result": "PASSED"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-collected; imx.KindOf(err) != imx.Unavailable {
		t.Errorf("the collection went on: %v", err)
	}
	if _, err := w.pipeline.Collect(t.Context(), "root", imx.CollectRequest{Grace: &none}, func(imx.Progress) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read(e); err != nil {
		t.Errorf("the statement is gone: %v", err)
	}
}

func TestEvidenceIsSignedByTheRoleThatSpeaksForItAtTheLogsTime(t *testing.T) {
	w := newWorld(t)
	image := w.build(t)
	logged := map[string]time.Time{} // by predicate type
	for e, err := range w.control.Events(0) {
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := e.Body.(imx.EvidenceAdded); ok {
			logged[b.Evidence.PredicateType] = e.Time
		}
	}
	for predicateType, at := range logged {
		v := w.control.State().Evidence[image.Digest][predicateType]
		if k := w.trust.Known()[v.Signer]; k.Role != imx.RoleBuilder || !v.Made.Equal(at) {
			t.Errorf("%s is signed by %+v, and made at %s, not %s", v.PredicateType, k, v.Made, at)
		}
		bundle, err := w.Bundle(t.Context(), "app", v.PredicateType)
		if err != nil || imx.DigestBytes(bundle) != v.Bundle {
			t.Errorf("its bundle: %v", err)
		}
	}
	if len(logged) != 3 {
		t.Errorf("%d statements", len(logged))
	}
}

func TestWhatARotatedKeySignedCountsAndWhatACompromisedOneSignedIsMadeAnew(t *testing.T) {
	w := newWorld(t)
	image := w.build(t)
	first := w.control.State().Evidence[image.Digest][imx.PredicateProvenance]
	if _, err := w.trust.Rotate(t.Context(), "root", imx.RotateRequest{Role: imx.RoleBuilder}); err != nil {
		t.Fatal(err)
	}
	before := w.control.State().Next
	w.build(t)
	if _, err := w.Counted(image.Digest, imx.PredicateProvenance); err != nil || w.control.State().Next != before {
		t.Errorf("after the rotation: %v, %d more events", err, w.control.State().Next-before)
	}
	if _, err := w.trust.EndKey(t.Context(), "root", imx.KeyEndRequest{Key: first.Signer, Compromised: true, Reason: "stolen"}); err != nil {
		t.Fatal(err)
	}
	for _, read := range []func() error{
		func() error { _, err := w.Counted(image.Digest, imx.PredicateProvenance); return err },
		func() error { _, err := w.Statement(t.Context(), "app", "provenance"); return err },
		func() error { _, err := w.Bundle(t.Context(), "app", "provenance"); return err },
	} {
		if err := read(); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "compromised key") {
			t.Errorf("err = %v", err)
		}
	}
	w.build(t)
	again := w.control.State().Evidence[image.Digest][imx.PredicateProvenance]
	if _, err := w.Counted(image.Digest, imx.PredicateProvenance); err != nil || again.Signer == first.Signer {
		t.Errorf("built again: %v, signed by %s, before by %s", err, again.Signer, first.Signer)
	}
	if doc, err := w.SBOM(t.Context(), "root", "app", imx.PredicateSPDX); err != nil || len(doc) == 0 {
		t.Error(err)
	}
}

// As it was kept before statements were signed.
func TestUnsignedEvidenceReadsAndDoesNotCountUntilItIsMadeAnew(t *testing.T) {
	w := newWorld(t)
	image := w.build(t)
	st, err := statement.Make("app", image.Digest, imx.PredicateProvenance, map[string]int{"old": 1})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	old := imx.Evidence{Image: image.Digest, PredicateType: imx.PredicateProvenance, Statement: w.put(t, raw)}
	if _, err := w.control.AddEvidence("root", old); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Statement(t.Context(), "app", "provenance"); err != nil || string(got.Predicate) != `{"old":1}` {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := w.Counted(image.Digest, imx.PredicateProvenance); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "unsigned") {
		t.Errorf("counted with err = %v", err)
	}
	if _, err := w.Bundle(t.Context(), "app", "provenance"); imx.KindOf(err) != imx.NotFound {
		t.Errorf("its bundle: err = %v", err)
	}
	w.build(t)
	if _, err := w.Counted(image.Digest, imx.PredicateProvenance); err != nil {
		t.Error(err)
	}
}
