package registry_test

// The four groups of cases that the OCI distribution specification 1.1 has registries checked by, written from its text: each subtest
// is named after the section whose words it holds the registry to. That spec.md says "MUST" is what makes a case.

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
)

func digest512(b []byte) string {
	sum := sha512.Sum512(b)
	return "sha512:" + hex.EncodeToString(sum[:])
}

func digest256(b []byte) string { return string(imx.DigestBytes(b)) }

// unknown is a digest that nothing has.
func unknown() string { return digest256([]byte("nothing has these bytes")) }

// code checks that an answer is an error in the specification's form.
func code(t *testing.T, body []byte, want string) {
	t.Helper()
	var wire struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(body, &wire); err != nil || len(wire.Errors) == 0 || wire.Errors[0].Code != want {
		t.Errorf("the answer isn't the error %s: %s", want, body)
	}
}

func TestConformancePull(t *testing.T) {
	w := newWorld(t)
	a := makeImage(t, "a layer")
	want(t, w.push("conf/app", "v1", a), http.StatusCreated)
	manifests, blobs := "/v2/conf/app/manifests/", "/v2/conf/app/blobs/"
	t.Run("Determining Support", func(t *testing.T) {
		want(t, w.do(http.MethodGet, "/v2/", nil), http.StatusOK)
	})
	t.Run("Pulling manifests", func(t *testing.T) {
		for _, ref := range []string{"v1", a.digest()} {
			rec := w.do(http.MethodGet, manifests+ref, nil, "Accept", image)
			want(t, rec, http.StatusOK)
			if !bytes.Equal(rec.Body.Bytes(), a.raw) || rec.Header().Get("Docker-Content-Digest") != a.digest() || rec.Header().Get("Content-Type") != image {
				t.Errorf("%s: %v %s", ref, rec.Header(), rec.Body)
			}
		}
		for _, path := range []string{manifests + "none", manifests + unknown(), "/v2/conf/none/manifests/v1"} {
			rec := w.do(http.MethodGet, path, nil)
			want(t, rec, http.StatusNotFound)
			code(t, rec.Body.Bytes(), map[bool]string{true: "NAME_UNKNOWN", false: "MANIFEST_UNKNOWN"}[strings.Contains(path, "conf/none")])
		}
	})
	t.Run("Pulling blobs", func(t *testing.T) {
		d := digest256([]byte("a layer"))
		rec := w.do(http.MethodGet, blobs+d, nil)
		want(t, rec, http.StatusOK)
		if rec.Body.String() != "a layer" || rec.Header().Get("Docker-Content-Digest") != d || rec.Header().Get("Content-Length") != "7" {
			t.Errorf("%v %s", rec.Header(), rec.Body)
		}
		part := w.do(http.MethodGet, blobs+d, nil, "Range", "bytes=2-4")
		want(t, part, http.StatusPartialContent, "lay")
		if part.Header().Get("Content-Range") != "bytes 2-4/7" {
			t.Errorf("Content-Range: %s", part.Header().Get("Content-Range"))
		}
		rec = w.do(http.MethodGet, blobs+unknown(), nil)
		want(t, rec, http.StatusNotFound)
		code(t, rec.Body.Bytes(), "BLOB_UNKNOWN")
	})
	t.Run("Checking if content exists in the registry", func(t *testing.T) {
		for path, status := range map[string]int{
			manifests + "v1": 200, manifests + a.digest(): 200, blobs + digest256([]byte("a layer")): 200,
			manifests + "none": 404, manifests + unknown(): 404, blobs + unknown(): 404,
		} {
			rec := w.do(http.MethodHead, path, nil)
			if rec.Code != status {
				t.Errorf("HEAD %s: %d", path, rec.Code)
			}
			if status == http.StatusOK && (rec.Header().Get("Content-Length") == "" || rec.Header().Get("Docker-Content-Digest") == "") {
				t.Errorf("HEAD %s: %v", path, rec.Header())
			}
		}
	})
	t.Run("Error Codes", func(t *testing.T) {
		for path, status := range map[string]int{
			"/v2/Not-a-name/manifests/v1": 400, "/v2/conf/app/blobs/sha256:short": 400, "/v2/conf/app/manifests/sha256:" + strings.Repeat("g", 64): 404,
		} {
			if rec := w.do(http.MethodGet, path, nil); rec.Code != status && rec.Code != http.StatusBadRequest {
				t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
			}
		}
	})
}

// begin begins an upload and returns where it goes on.
func (w *world) begin(repo string) string {
	rec := w.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/", nil)
	want(w.tb, rec, http.StatusAccepted)
	return rec.Header().Get("Location")
}

func TestConformancePush(t *testing.T) {
	w := newWorld(t)
	octets := []string{"Content-Type", "application/octet-stream"}
	pulled := func(t *testing.T, d string, b []byte) {
		t.Helper()
		rec := w.do(http.MethodGet, "/v2/conf/app/blobs/"+d, nil)
		if rec.Code != http.StatusOK || !bytes.Equal(rec.Body.Bytes(), b) {
			t.Errorf("pulled %s: %d %s", d, rec.Code, rec.Body)
		}
	}
	t.Run("Pushing a blob monolithically: POST then PUT", func(t *testing.T) {
		for _, digest := range []func([]byte) string{digest256, digest512} {
			b := []byte("post then put " + digest(nil)[:6])
			rec := w.do(http.MethodPut, w.begin("conf/app")+"?digest="+digest(b), b, octets...)
			want(t, rec, http.StatusCreated)
			if rec.Header().Get("Location") != "/v2/conf/app/blobs/"+digest(b) {
				t.Errorf("Location: %s", rec.Header().Get("Location"))
			}
			pulled(t, digest(b), b)
			rec = w.do(http.MethodPut, w.begin("conf/app")+"?digest="+digest([]byte("other")), b, octets...)
			want(t, rec, http.StatusBadRequest)
			code(t, rec.Body.Bytes(), "DIGEST_INVALID")
		}
		want(t, w.do(http.MethodPut, w.begin("conf/app")+"?digest=sha256:nonsense", []byte("x"), octets...), http.StatusBadRequest)
	})
	t.Run("Pushing a blob monolithically: Single POST", func(t *testing.T) {
		for _, digest := range []func([]byte) string{digest256, digest512} {
			b := []byte("single post " + digest(nil)[:6])
			want(t, w.do(http.MethodPost, "/v2/conf/app/blobs/uploads/?digest="+digest(b), b, octets...), http.StatusCreated)
			pulled(t, digest(b), b)
			rec := w.do(http.MethodPost, "/v2/conf/app/blobs/uploads/?digest="+digest([]byte("other")), b, octets...)
			want(t, rec, http.StatusBadRequest)
			code(t, rec.Body.Bytes(), "DIGEST_INVALID")
		}
	})
	t.Run("Pushing a blob in chunks", func(t *testing.T) {
		b := []byte("one chunk, another chunk")
		location := w.begin("conf/app")
		chunk := func(from, to int) (int, http.Header) {
			rec := w.do(http.MethodPatch, location, b[from:to], "Content-Range", fmt.Sprintf("%d-%d", from, to-1), "Content-Type", octets[1])
			if l := rec.Header().Get("Location"); l != "" {
				location = l
			}
			return rec.Code, rec.Header()
		}
		if status, h := chunk(10, 12); status != http.StatusRequestedRangeNotSatisfiable || h.Get("Location") == "" {
			t.Errorf("a first chunk that isn't the first: %d %v", status, h)
		}
		if status, h := chunk(0, 10); status != http.StatusAccepted || h.Get("Range") != "0-9" {
			t.Errorf("the first chunk: %d %v", status, h)
		}
		for _, from := range []int{0, 5, 11} {
			if status, h := chunk(from, 14); status != http.StatusRequestedRangeNotSatisfiable || h.Get("Range") != "0-9" {
				t.Errorf("a chunk out of order, from %d: %d %v", from, status, h)
			}
		}
		state := w.do(http.MethodGet, location, nil)
		want(t, state, http.StatusNoContent)
		if state.Header().Get("Range") != "0-9" || state.Header().Get("Location") == "" {
			t.Errorf("the upload's state: %v", state.Header())
		}
		if status, _ := chunk(10, 18); status != http.StatusAccepted {
			t.Errorf("the second chunk: %d", status)
		}
		want(t, w.do(http.MethodPut, location+"?digest="+digest256(b), b[20:], "Content-Range", fmt.Sprintf("20-%d", len(b)-1)), http.StatusRequestedRangeNotSatisfiable)
		want(t, w.do(http.MethodPut, location+"?digest="+digest256(b), b[18:], "Content-Range", fmt.Sprintf("18-%d", len(b)-1)), http.StatusCreated)
		pulled(t, digest256(b), b)
		streamed := w.begin("conf/app")
		want(t, w.do(http.MethodPatch, streamed, b), http.StatusAccepted)
		want(t, w.do(http.MethodPut, streamed+"?digest="+digest512(b), nil), http.StatusCreated)
		pulled(t, digest512(b), b)
	})
	t.Run("Mounting a blob from another repository", func(t *testing.T) {
		b := []byte("mounted")
		want(t, w.do(http.MethodPost, "/v2/conf/from/blobs/uploads/?digest="+digest256(b), b), http.StatusCreated)
		rec := w.do(http.MethodPost, "/v2/conf/app/blobs/uploads/?mount="+digest256(b)+"&from=conf/from", nil)
		want(t, rec, http.StatusCreated)
		if rec.Header().Get("Location") != "/v2/conf/app/blobs/"+digest256(b) {
			t.Errorf("Location: %s", rec.Header().Get("Location"))
		}
		pulled(t, digest256(b), b)
		for _, query := range []string{"mount=" + unknown() + "&from=conf/from", "mount=" + digest256(b)} {
			rec := w.do(http.MethodPost, "/v2/conf/third/blobs/uploads/?"+query, nil)
			want(t, rec, http.StatusAccepted)
			if rec.Header().Get("Location") == "" {
				t.Error("a mount that isn't possible doesn't become an upload")
			}
		}
	})
	t.Run("Pushing manifests", func(t *testing.T) {
		a := makeImage(t, "in a manifest")
		for _, b := range a.blobs {
			want(t, w.pushBlob("conf/app", b), http.StatusCreated)
		}
		for ref, digest := range map[string]string{"v1": a.digest(), a.digest(): a.digest(), digest512(a.raw): digest512(a.raw)} {
			rec := w.do(http.MethodPut, "/v2/conf/app/manifests/"+ref, a.raw, "Content-Type", image)
			want(t, rec, http.StatusCreated)
			if rec.Header().Get("Location") == "" || rec.Header().Get("Docker-Content-Digest") != digest {
				t.Errorf("%s: %v", ref, rec.Header())
			}
			got := w.do(http.MethodGet, "/v2/conf/app/manifests/"+ref, nil)
			if got.Code != http.StatusOK || !bytes.Equal(got.Body.Bytes(), a.raw) || got.Header().Get("Docker-Content-Digest") != digest {
				t.Errorf("pulled by %s: %d %v", ref, got.Code, got.Header())
			}
		}
		for _, ref := range []string{unknown(), digest512([]byte("other"))} {
			rec := w.do(http.MethodPut, "/v2/conf/app/manifests/"+ref, a.raw, "Content-Type", image)
			want(t, rec, http.StatusBadRequest)
			code(t, rec.Body.Bytes(), "DIGEST_INVALID")
		}
		lacks := makeImage(t, "that isn't there")
		rec := w.do(http.MethodPut, "/v2/conf/app/manifests/lacks", lacks.raw, "Content-Type", image)
		want(t, rec, http.StatusNotFound)
		code(t, rec.Body.Bytes(), "MANIFEST_BLOB_UNKNOWN")
		index := encode(t, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{
			{MediaType: image, Digest: ocispecDigest(a.raw), Size: int64(len(a.raw))}, {MediaType: image, Digest: digest.Digest(digest512(a.raw)), Size: int64(len(a.raw))},
		}})
		want(t, w.do(http.MethodPut, "/v2/conf/app/manifests/index", index, "Content-Type", ocispec.MediaTypeImageIndex), http.StatusCreated)
	})
	t.Run("Pushing manifests with subject", func(t *testing.T) {
		subject := digest256([]byte("may come later"))
		a := referrerOf(t, subject, "application/x.test", "note")
		for _, b := range a.blobs {
			want(t, w.pushBlob("conf/app", b), http.StatusCreated)
		}
		for _, ref := range []string{a.digest(), digest512(a.raw)} {
			rec := w.do(http.MethodPut, "/v2/conf/app/manifests/"+ref, a.raw, "Content-Type", image)
			want(t, rec, http.StatusCreated)
			if rec.Header().Get("OCI-Subject") != subject {
				t.Errorf("OCI-Subject: %s", rec.Header().Get("OCI-Subject"))
			}
		}
	})
}

// referrerOf is an artifact that says something about a digest.
func referrerOf(t *testing.T, subject, artifactType, note string) artifact {
	t.Helper()
	a := artifact{kind: image, blobs: [][]byte{[]byte("{}")}}
	a.raw = encode(t, map[string]any{
		"schemaVersion": 2, "mediaType": image, "artifactType": artifactType, "config": describe(a.blobs[0], "application/vnd.oci.empty.v1+json"),
		"layers": []any{}, "subject": map[string]any{"mediaType": image, "digest": subject, "size": 100}, "annotations": map[string]string{"note": note},
	})
	return a
}

func TestConformanceContentDiscovery(t *testing.T) {
	w := newWorld(t)
	a := makeImage(t, "layer")
	for _, tag := range []string{"delta", "alpha", "charlie", "bravo"} {
		want(t, w.push("conf/app", tag, a), http.StatusCreated)
	}
	tags := func(query string) []string {
		rec := w.do(http.MethodGet, "/v2/conf/app/tags/list"+query, nil)
		want(t, rec, http.StatusOK)
		var list struct {
			Name string   `json:"name"`
			Tags []string `json:"tags"`
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &list); err != nil || list.Name != "conf/app" {
			t.Errorf("%s: %s", query, rec.Body)
		}
		return list.Tags
	}
	t.Run("Listing Tags", func(t *testing.T) {
		for query, want := range map[string]string{
			"": "[alpha bravo charlie delta]", "?n=2": "[alpha bravo]", "?n=0": "[]", "?n=99": "[alpha bravo charlie delta]",
			"?last=bravo": "[charlie delta]", "?n=1&last=bravo": "[charlie]", "?last=between": "[bravo charlie delta]", "?last=delta": "[]",
		} {
			if got := fmt.Sprint(tags(query)); got != want {
				t.Errorf("%q: %s, want %s", query, got, want)
			}
		}
		rec := w.do(http.MethodGet, "/v2/conf/none/tags/list", nil)
		want(t, rec, http.StatusNotFound)
		code(t, rec.Body.Bytes(), "NAME_UNKNOWN")
	})
	list := func(t *testing.T, digest, query string) (ocispec.Index, http.Header) {
		t.Helper()
		rec := w.do(http.MethodGet, "/v2/conf/app/referrers/"+digest+query, nil)
		want(t, rec, http.StatusOK)
		var index ocispec.Index
		if err := json.Unmarshal(rec.Body.Bytes(), &index); err != nil || index.MediaType != ocispec.MediaTypeImageIndex || index.SchemaVersion != 2 {
			t.Errorf("no image index: %s", rec.Body)
		}
		if rec.Header().Get("Content-Type") != ocispec.MediaTypeImageIndex {
			t.Errorf("Content-Type: %s", rec.Header().Get("Content-Type"))
		}
		return index, rec.Header()
	}
	t.Run("Listing Referrers", func(t *testing.T) {
		if index, _ := list(t, unknown(), ""); index.Manifests == nil || len(index.Manifests) != 0 {
			t.Errorf("of what nobody refers to: %+v", index)
		}
		want(t, w.do(http.MethodGet, "/v2/conf/app/referrers/sha256:nonsense", nil), http.StatusBadRequest)
		for _, subject := range []string{a.digest(), digest512(a.raw)} {
			one, two := referrerOf(t, subject, "application/x.one", "1"), referrerOf(t, subject, "application/x.two", "2")
			want(t, w.push("conf/app", one.digest(), one), http.StatusCreated)
			want(t, w.push("conf/app", digest512(two.raw), two), http.StatusCreated)
			index, _ := list(t, subject, "")
			found := map[string]ocispec.Descriptor{}
			for _, m := range index.Manifests {
				found[string(m.Digest)] = m
			}
			for d, r := range map[string]artifact{one.digest(): one, digest512(two.raw): two} {
				m := found[d]
				if m.Size != int64(len(r.raw)) || m.MediaType != image || m.ArtifactType == "" || m.Annotations["note"] == "" {
					t.Errorf("%s: %+v", d, m)
				}
			}
			filtered, h := list(t, subject, "?artifactType=application/x.two")
			if len(filtered.Manifests) != 1 || filtered.Manifests[0].ArtifactType != "application/x.two" || h.Get("OCI-Filters-Applied") != "artifactType" {
				t.Errorf("filtered: %+v %v", filtered, h)
			}
		}
	})
}

// Deleting is something that a registry may switch off, and this one has: what releases need must stay. It says so as the
// specification has it.
func TestConformanceContentManagement(t *testing.T) {
	w := newWorld(t)
	a := makeImage(t, "layer")
	want(t, w.push("conf/app", "v1", a), http.StatusCreated)
	for section, path := range map[string]string{
		"Deleting tags": "manifests/v1", "Deleting Manifests": "manifests/" + a.digest(), "Deleting Blobs": "blobs/" + digest256(a.blobs[1]),
	} {
		t.Run(section, func(t *testing.T) {
			rec := w.do(http.MethodDelete, "/v2/conf/app/"+path, nil)
			want(t, rec, http.StatusMethodNotAllowed)
			code(t, rec.Body.Bytes(), "UNSUPPORTED")
			if err := w.whole("conf/app", "v1", a); err != nil {
				t.Error(err)
			}
		})
	}
}

// A manifest whose parts are named by SHA-512 keeps them, and is kept, like any other.
func TestACollectionKnowsWhatIsNamedBySHA512(t *testing.T) {
	w := newWorld(t)
	layer, config := []byte("layer"), []byte("{}")
	for _, b := range [][]byte{layer, config} {
		want(t, w.do(http.MethodPost, "/v2/app/blobs/uploads/?digest="+digest512(b), b), http.StatusCreated)
	}
	m := artifact{kind: image, raw: encode(t, map[string]any{
		"schemaVersion": 2, "mediaType": image,
		"config": map[string]any{"mediaType": ocispec.MediaTypeImageConfig, "digest": digest512(config), "size": len(config)},
		"layers": []any{map[string]any{"mediaType": ocispec.MediaTypeImageLayer, "digest": digest512(layer), "size": len(layer)}},
	})}
	want(t, w.do(http.MethodPut, "/v2/app/manifests/"+digest512(m.raw), m.raw, "Content-Type", image), http.StatusCreated)
	index := encode(t, map[string]any{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": []any{
		map[string]any{"mediaType": image, "digest": digest512(m.raw), "size": len(m.raw)},
	}})
	want(t, w.do(http.MethodPut, "/v2/app/manifests/v1", index, "Content-Type", ocispec.MediaTypeImageIndex), http.StatusCreated)
	said := referrerOf(t, digest512(m.raw), "application/x.test", "kept")
	want(t, w.push("app", said.digest(), said), http.StatusCreated)
	loose := []byte("nobody names me")
	want(t, w.do(http.MethodPost, "/v2/app/blobs/uploads/?digest="+digest512(loose), loose), http.StatusCreated)
	w.collect(t)
	for _, path := range []string{
		"manifests/v1", "manifests/" + digest512(m.raw), "blobs/" + digest512(layer), "blobs/" + digest512(config), "manifests/" + said.digest(),
	} {
		want(t, w.do(http.MethodGet, "/v2/app/"+path, nil), http.StatusOK)
	}
	want(t, w.do(http.MethodGet, "/v2/app/blobs/"+digest512(loose), nil), http.StatusNotFound)
}
