package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/blob"
	"imx/internal/registry"
)

// world is a registry with its folders, which outlive it.
type world struct {
	*registry.Registry
	tb     testing.TB
	dir    string
	blobs  *blob.Store
	h      http.Handler
	change func(*registry.Config)
}

func newWorld(tb testing.TB, pushed ...func(imx.ManifestPushed) error) *world {
	tb.Helper()
	w := &world{tb: tb, dir: tb.TempDir()}
	w.restart(pushed...)
	return w
}

// newWorldWith is a world whose registry is configured otherwise.
func newWorldWith(tb testing.TB, change func(*registry.Config)) *world {
	tb.Helper()
	w := &world{tb: tb, dir: tb.TempDir(), change: change}
	w.restart()
	return w
}

// restart opens the registry anew, as after the end of the process.
func (w *world) restart(pushed ...func(imx.ManifestPushed) error) {
	w.tb.Helper()
	var err error
	if w.blobs, err = blob.Open(filepath.Join(w.dir, "blobs")); err != nil {
		w.tb.Fatal(err)
	}
	cfg := registry.Config{Dir: filepath.Join(w.dir, "registry"), Blobs: w.blobs}
	for _, f := range pushed {
		cfg.Pushed = func(_ context.Context, p imx.ManifestPushed) error { return f(p) }
	}
	if w.change != nil {
		w.change(&cfg)
	}
	if w.Registry, err = registry.New(cfg); err != nil {
		w.tb.Fatal(err)
	}
	w.h = w.Handler()
}

// do makes one request; headers come in pairs.
func (w *world) do(method, path string, body []byte, headers ...string) *httptest.ResponseRecorder {
	w.tb.Helper()
	req := httptest.NewRequest(method, path, bytes.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, req)
	return rec
}

// want fails the test unless the answer has the status, and for a failure the code and words.
func want(tb testing.TB, rec *httptest.ResponseRecorder, status int, parts ...string) {
	tb.Helper()
	if rec.Code != status {
		tb.Errorf("status %d, want %d: %s", rec.Code, status, rec.Body)
	}
	for _, part := range parts {
		if !strings.Contains(rec.Body.String(), part) {
			tb.Errorf("the answer %s doesn't have %q", rec.Body, part)
		}
	}
}

const image = ocispec.MediaTypeImageManifest

// artifact is a manifest with its blobs.
type artifact struct {
	raw   []byte
	kind  string
	blobs [][]byte
}

func (a artifact) digest() string { return string(imx.DigestBytes(a.raw)) }

func makeImage(tb testing.TB, layers ...string) artifact {
	tb.Helper()
	a := artifact{kind: image, blobs: [][]byte{[]byte(`{"architecture":"amd64","os":"linux"}`)}}
	m := ocispec.Manifest{MediaType: image, Config: describe(a.blobs[0], ocispec.MediaTypeImageConfig)}
	m.SchemaVersion = 2
	for _, l := range layers {
		a.blobs = append(a.blobs, []byte(l))
		m.Layers = append(m.Layers, describe([]byte(l), ocispec.MediaTypeImageLayer))
	}
	a.raw = encode(tb, m)
	return a
}

func describe(b []byte, mediaType string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: ocispecDigest(b), Size: int64(len(b))}
}

func encode(tb testing.TB, v any) []byte {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// push pushes the blobs, each in one POST, and then the manifest; it returns the first answer that is a failure, or the last.
func (w *world) push(repo, tag string, a artifact) *httptest.ResponseRecorder {
	w.tb.Helper()
	for _, b := range a.blobs {
		if rec := w.pushBlob(repo, b); rec.Code != http.StatusCreated {
			return rec
		}
	}
	return w.do(http.MethodPut, "/v2/"+repo+"/manifests/"+tag, a.raw, "Content-Type", a.kind)
}

// pushBlob pushes a blob as most clients do: begin, one piece, end.
func (w *world) pushBlob(repo string, b []byte) *httptest.ResponseRecorder {
	w.tb.Helper()
	rec := w.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/", nil)
	if rec.Code != http.StatusAccepted {
		return rec
	}
	location := rec.Header().Get("Location")
	if rec = w.do(http.MethodPatch, location, b); rec.Code != http.StatusAccepted {
		return rec
	}
	return w.do(http.MethodPut, location+"?digest="+string(imx.DigestBytes(b)), nil)
}

// whole checks that the manifest can be pulled with all its blobs, byte for byte.
func (w *world) whole(repo, ref string, a artifact) error {
	w.tb.Helper()
	rec := w.do(http.MethodGet, "/v2/"+repo+"/manifests/"+ref, nil)
	if rec.Code != http.StatusOK || !bytes.Equal(rec.Body.Bytes(), a.raw) || rec.Header().Get("Content-Type") != a.kind {
		return errors.New("the manifest: " + rec.Body.String())
	}
	for _, b := range a.blobs {
		rec := w.do(http.MethodGet, "/v2/"+repo+"/blobs/"+string(imx.DigestBytes(b)), nil)
		if rec.Code != http.StatusOK || !bytes.Equal(rec.Body.Bytes(), b) {
			return errors.New("a blob: " + rec.Body.String())
		}
	}
	return nil
}

// damage flips a bit of a blob on the disk.
func (w *world) damage(d imx.Digest) {
	w.tb.Helper()
	path := w.blobs.Path(d)
	b, err := os.ReadFile(path)
	if err != nil {
		w.tb.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := errors.Join(os.Remove(path), os.WriteFile(path, b, 0o400)); err != nil {
		w.tb.Fatal(err)
	}
}
