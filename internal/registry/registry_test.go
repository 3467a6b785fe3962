// These tests are here because releases point at what the registry holds: what it confirmed must be
// there, whole and unchanged, after anything that clients, crashes and disks do.

package registry_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/registry"
)

func ocispecDigest(b []byte) digest.Digest { return digest.FromBytes(b) }

func TestWhatWasPushedIsPulledByTagAndByDigest(t *testing.T) {
	w := newWorld(t)
	a := makeImage(t, "layer one", "layer two", strings.Repeat("large ", 1<<20))
	want(t, w.push("team/app", "v1", a), http.StatusCreated)
	w.restart()
	for _, ref := range []string{"v1", a.digest()} {
		if err := w.whole("team/app", ref, a); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
		head := w.do(http.MethodHead, "/v2/team/app/manifests/"+ref, nil)
		if head.Code != http.StatusOK || head.Header().Get("Docker-Content-Digest") != a.digest() {
			t.Errorf("%s: HEAD = %d %v", ref, head.Code, head.Header())
		}
		b, kind, err := w.Manifest(t.Context(), "team/app", ref)
		if err != nil || !bytes.Equal(b, a.raw) || kind != image {
			t.Errorf("%s: Manifest = %q, %s, %v", ref, b, kind, err)
		}
	}
}

func TestATagNeverMoves(t *testing.T) {
	w := newWorld(t)
	first, second := makeImage(t, "first"), makeImage(t, "second")
	want(t, w.push("app", "v1", first), http.StatusCreated)
	want(t, w.push("app", "v1", first), http.StatusCreated) // the same again changes nothing
	want(t, w.push("app", "v1", second), http.StatusConflict, `"DENIED"`, first.digest(), second.digest(), "push under a new tag")
	if err := w.whole("app", "v1", first); err != nil {
		t.Error(err)
	}
	_, err := w.Put(t.Context(), "app", "v1", second.raw, image)
	if imx.KindOf(err) != imx.Conflict || imx.AsError(err).Hint == "" {
		t.Errorf("Put: err = %v (%s), want Conflict with a hint", err, imx.KindOf(err))
	}
	want(t, w.push("app", "v2", second), http.StatusCreated)
}

func TestOnlyOneOfManyPushesToATagWins(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	won := make(chan artifact, 16)
	for i := range 16 {
		a := makeImage(t, fmt.Sprint("layer ", i))
		wg.Go(func() {
			switch rec := w.push("app", "v1", a); rec.Code {
			case http.StatusCreated:
				won <- a
			case http.StatusConflict:
			default:
				t.Errorf("status %d: %s", rec.Code, rec.Body)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d pushes won", len(won))
	}
	if err := w.whole("app", "v1", <-won); err != nil {
		t.Error(err)
	}
}

func TestAManifestThatIsNotRightIsRefused(t *testing.T) {
	w := newWorld(t)
	good := makeImage(t, "layer")
	for _, b := range good.blobs {
		want(t, w.pushBlob("app", b), http.StatusCreated)
	}
	index := func(m ocispec.Descriptor) []byte {
		return encode(t, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{m}})
	}
	for name, test := range map[string]struct {
		raw    []byte
		kind   string
		status int
		words  string
	}{
		"a layer that isn't there": {makeImage(t, "another").raw, image, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN"},
		"a layer of another size":  {bytes.Replace(good.raw, []byte(`"size":5`), []byte(`"size":6`), 1), image, http.StatusBadRequest, "has 6 bytes, but it has 5"},
		"a digest out of the folder": {bytes.Replace(good.raw, []byte(imx.DigestBytes([]byte("layer"))),
			[]byte("sha256:../../../../../../../../etc/passwd"), 1), image, http.StatusBadRequest, "no SHA-256 or SHA-512 digest"},
		"not JSON":           {[]byte("{"), image, http.StatusBadRequest, "MANIFEST_INVALID"},
		"no config":          {[]byte("{}"), image, http.StatusBadRequest, "has no config"},
		"another media type": {good.raw, ocispec.MediaTypeImageIndex, http.StatusBadRequest, "calls itself"},
		"a strange one":      {[]byte("{}"), "text/plain", http.StatusBadRequest, "no media type of a manifest"},
		"no such child":      {index(describe([]byte("x"), image)), ocispec.MediaTypeImageIndex, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN"},
		"an absurd size":     {make([]byte, registry.MaxManifest+1), image, http.StatusRequestEntityTooLarge, "more than 4194304 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			want(t, w.do(http.MethodPut, "/v2/app/manifests/v1", test.raw, "Content-Type", test.kind), test.status, test.words)
			want(t, w.do(http.MethodGet, "/v2/app/manifests/v1", nil), http.StatusNotFound, "MANIFEST_UNKNOWN")
		})
	}
	want(t, w.do(http.MethodPut, "/v2/app/manifests/"+string(imx.DigestBytes([]byte("other"))), good.raw, "Content-Type", image),
		http.StatusBadRequest, "DIGEST_INVALID")
}

func TestNamesThatLeadElsewhereAreRefusedAndMakeNoFile(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{
		"/v2/../../etc/manifests/passwd", "/v2/a/../b/manifests/v1", "/v2/A/manifests/v1", "/v2/a+b/manifests/v1", "/v2/_tags/manifests/v1",
		"/v2/" + strings.Repeat("a/", 150) + "a/manifests/v1", "/v2/a/manifests/..", "/v2/a/manifests/.hidden",
		"/v2/a/manifests/" + strings.Repeat("x", 129), "/v2/a%2f..%2fb/manifests/v1", "/v2/a/manifests/%2e%2e",
		"/v2/a/blobs/sha256:..%2f..%2fetc", "/v2/a/blobs/sha512:" + strings.Repeat("0", 128), "/v2/a/blobs/uploads/Li4vLi4vZXRj",
	} {
		for _, method := range []string{http.MethodPut, http.MethodGet, http.MethodPatch, http.MethodPost} {
			req := httptest.NewRequest(http.MethodGet, "/", strings.NewReader("{}"))
			u, err := req.URL.Parse(path)
			if err != nil {
				t.Fatal(err)
			}
			u.Path = strings.ReplaceAll(path, "%2f", "/") // what a client's own cleaning would hide
			req.Method, req.URL = method, u
			req.Header.Set("Content-Type", image)
			rec := httptest.NewRecorder()
			w.h.ServeHTTP(rec, req)
			if rec.Code < 400 || rec.Code >= 500 {
				t.Errorf("%s %s: status %d", method, path, rec.Code)
			}
		}
	}
	w.onlyOwnFiles()
}

func TestDamageIsNeverServedAsWhole(t *testing.T) {
	w := newWorld(t)
	large := strings.Repeat("0123456789abcdef", 1<<19)
	a := makeImage(t, "small", large)
	want(t, w.push("app", "v1", a), http.StatusCreated)
	server := httptest.NewServer(w.h)
	defer server.Close()
	for name, b := range map[string][]byte{"small": []byte("small"), "large": []byte(large)} {
		d := imx.DigestBytes(b)
		w.damage(d)
		resp, err := http.Get(server.URL + "/v2/app/blobs/" + string(d))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK && err == nil {
			t.Errorf("%s: %d bytes were served as whole", name, len(got))
		}
		want(t, w.do(http.MethodGet, "/v2/app/blobs/"+string(d), nil, "Range", "bytes=0-1"), http.StatusInternalServerError, "damaged")
		want(t, w.pushBlob("app", b), http.StatusCreated) // mends it
		want(t, w.do(http.MethodGet, "/v2/app/blobs/"+string(d), nil), http.StatusOK)
	}
	w.damage(imx.Digest(a.digest()))
	want(t, w.do(http.MethodGet, "/v2/app/manifests/v1", nil), http.StatusInternalServerError, "damaged")
	if _, _, err := w.Manifest(t.Context(), "app", "v1"); imx.KindOf(err) != imx.Refused {
		t.Errorf("Manifest: err = %v, want Refused", err)
	}
	want(t, w.push("app", "v1", a), http.StatusCreated)
	if err := w.whole("app", "v1", a); err != nil {
		t.Error(err)
	}
}

func TestAPushIsWrittenDownBeforeItCanBePulledAndCanBeRefused(t *testing.T) {
	a := makeImage(t, "layer")
	var w *world
	calls, refuse := 0, errors.New("the log is full")
	w = newWorld(t, func(p imx.ManifestPushed) error {
		calls++
		if p != (imx.ManifestPushed{Repository: "app", Tag: "v1", Digest: imx.Digest(a.digest())}) {
			t.Errorf("Pushed(%+v)", p)
		}
		for _, ref := range []string{"v1", a.digest()} {
			want(t, w.do(http.MethodGet, "/v2/app/manifests/"+ref, nil), http.StatusNotFound)
		}
		if _, err := w.blobs.ReadAll(p.Digest, registry.MaxManifest); err != nil {
			t.Errorf("the manifest isn't on disk yet: %v", err)
		}
		return refuse
	})
	want(t, w.push("app", "v1", a), http.StatusInternalServerError, "wasn't written down", "the log is full")
	want(t, w.do(http.MethodGet, "/v2/app/manifests/v1", nil), http.StatusNotFound)
	refuse = nil
	want(t, w.push("app", "v1", a), http.StatusCreated)
	want(t, w.push("app", "v1", a), http.StatusCreated)
	if calls != 2 {
		t.Errorf("Pushed was called %d times: a push that changes nothing is no event", calls)
	}
}

func TestTheBuilderPutsWhatIsInTheBlobStore(t *testing.T) {
	w := newWorld(t)
	a := makeImage(t, "built")
	if _, err := w.Put(t.Context(), "web", "v1", a.raw, image); imx.KindOf(err) != imx.NotFound {
		t.Errorf("without its blobs: err = %v, want NotFound", err)
	}
	for _, b := range a.blobs {
		if _, _, err := w.blobs.Put(bytes.NewReader(b), ""); err != nil {
			t.Fatal(err)
		}
	}
	// In the store is not in the repository: package files and plans are in the store too.
	want(t, w.do(http.MethodGet, "/v2/web/blobs/"+string(imx.DigestBytes(a.blobs[1])), nil), http.StatusNotFound, "NAME_UNKNOWN")
	for range 2 {
		d, err := w.Put(t.Context(), "web", "v1", a.raw, image)
		if err != nil || string(d) != a.digest() {
			t.Fatalf("Put = %s, %v", d, err)
		}
	}
	if err := w.whole("web", "v1", a); err != nil {
		t.Error(err)
	}
	if _, err := w.Put(t.Context(), "../web", "v1", a.raw, image); imx.KindOf(err) != imx.Invalid {
		t.Errorf("a bad name: err = %v", err)
	}
	if _, _, err := w.Manifest(t.Context(), "web", "v9"); imx.KindOf(err) != imx.NotFound {
		t.Errorf("no such tag: err = %v", err)
	}
}

// A newer imx may make another image of a plan that an older one built before it.
func TestTheTagOfAPlanFollowsWhatTheBuilderMakesOfIt(t *testing.T) {
	w := newWorld(t)
	old, now := makeImage(t, "old"), makeImage(t, "new")
	for _, a := range []artifact{old, now} {
		for _, b := range a.blobs {
			if _, _, err := w.blobs.Put(bytes.NewReader(b), ""); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Put(t.Context(), "web", "plan-abc", a.raw, image); err != nil {
			t.Fatal(err)
		}
		if err := w.whole("web", "plan-abc", a); err != nil {
			t.Error(err)
		}
	}
	if err := w.whole("web", old.digest(), old); err != nil {
		t.Errorf("the image that the tag named before: %v", err)
	}
}

func TestUploadsInPiecesResumeWhereTheyStopped(t *testing.T) {
	w := newWorld(t)
	blob := []byte("first piece, second piece, third piece")
	location := w.do(http.MethodPost, "/v2/app/blobs/uploads/", nil).Header().Get("Location")
	patch := func(from, to int) *httptest.ResponseRecorder {
		return w.do(http.MethodPatch, location, blob[from:to], "Content-Range", fmt.Sprintf("%d-%d", from, to-1))
	}
	want(t, patch(0, 12), http.StatusAccepted)
	want(t, patch(20, 30), http.StatusRequestedRangeNotSatisfiable, "has 12 bytes")
	status := w.do(http.MethodGet, location, nil)
	if status.Code != http.StatusNoContent || status.Header().Get("Range") != "0-11" {
		t.Errorf("status %d, Range %q", status.Code, status.Header().Get("Range"))
	}
	want(t, w.do(http.MethodPatch, strings.Replace(location, "/app/", "/other/", 1), blob), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	want(t, patch(12, 25), http.StatusAccepted)
	want(t, w.do(http.MethodPut, location+"?digest="+string(imx.DigestBytes(blob)), blob[26:], "Content-Range", fmt.Sprintf("26-%d", len(blob)-1)),
		http.StatusRequestedRangeNotSatisfiable, "has 25 bytes")
	d := string(imx.DigestBytes(blob))
	want(t, w.do(http.MethodPut, location+"?digest="+d, blob[25:], "Content-Range", fmt.Sprintf("25-%d", len(blob)-1)), http.StatusCreated)
	want(t, w.do(http.MethodGet, "/v2/app/blobs/"+d, nil), http.StatusOK, string(blob))
	want(t, w.do(http.MethodGet, "/v2/app/blobs/"+d, nil, "Range", "bytes=6-10"), http.StatusPartialContent, "piece")
	want(t, w.do(http.MethodGet, "/v2/app/blobs/"+d, nil, "Range", "bytes=99-"), http.StatusRequestedRangeNotSatisfiable)
	want(t, w.do(http.MethodGet, location, nil), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
}

func TestAnUploadOfOtherBytesThanItsDigestIsRefusedAndLeavesNothing(t *testing.T) {
	w := newWorld(t)
	promised := string(imx.DigestBytes([]byte("promised")))
	location := w.do(http.MethodPost, "/v2/app/blobs/uploads/", nil).Header().Get("Location")
	want(t, w.do(http.MethodPut, location+"?digest="+promised, []byte("other")), http.StatusBadRequest, "DIGEST_INVALID", promised)
	want(t, w.do(http.MethodPost, "/v2/app/blobs/uploads/?digest="+promised, []byte("other")), http.StatusBadRequest, "DIGEST_INVALID", promised)
	want(t, w.do(http.MethodGet, "/v2/app/blobs/"+promised, nil), http.StatusNotFound)
	if left := w.files("registry/uploads", "registry/tmp", "blobs"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestUnfinishedUploadsGoWithTheProcess(t *testing.T) {
	w := newWorld(t)
	location := w.do(http.MethodPost, "/v2/app/blobs/uploads/", nil).Header().Get("Location")
	want(t, w.do(http.MethodPatch, location, []byte("half")), http.StatusAccepted)
	w.restart()
	want(t, w.do(http.MethodPatch, location, []byte("other half")), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	if left := w.files("registry", "blobs"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestBlobsAreMountedFromOneRepositoryIntoAnother(t *testing.T) {
	w := newWorld(t)
	want(t, w.pushBlob("one", []byte("shared")), http.StatusCreated)
	d := string(imx.DigestBytes([]byte("shared")))
	want(t, w.do(http.MethodGet, "/v2/two/blobs/"+d, nil), http.StatusNotFound)
	want(t, w.do(http.MethodPost, "/v2/two/blobs/uploads/?mount="+d+"&from=one", nil), http.StatusCreated)
	want(t, w.do(http.MethodGet, "/v2/two/blobs/"+d, nil), http.StatusOK, "shared")
	for _, from := range []string{"none", "../one", ""} { // what can't be mounted is uploaded
		want(t, w.do(http.MethodPost, "/v2/three/blobs/uploads/?mount="+d+"&from="+from, nil), http.StatusAccepted)
	}
}

func TestReferrersAreListedAndFiltered(t *testing.T) {
	w := newWorld(t)
	subject := makeImage(t, "layer")
	refer := func(artifactType string) artifact {
		a := makeImage(t)
		m := ocispec.Manifest{
			MediaType: image, ArtifactType: artifactType, Config: describe(a.blobs[0], ocispec.MediaTypeImageConfig),
			Layers: []ocispec.Descriptor{}, Subject: &ocispec.Descriptor{MediaType: image, Digest: ocispecDigest(subject.raw), Size: int64(len(subject.raw))},
			Annotations: map[string]string{"made": "for a test"},
		}
		a.raw = encode(t, m)
		return a
	}
	path := "/v2/app/referrers/" + subject.digest()
	want(t, w.do(http.MethodGet, path, nil), http.StatusOK, `"manifests":`)
	sbom, scan := refer("application/sbom"), refer("application/scan")
	rec := w.push("app", sbom.digest(), sbom) // its subject comes later
	want(t, rec, http.StatusCreated)
	if got := rec.Header().Get("OCI-Subject"); got != subject.digest() {
		t.Errorf("OCI-Subject: %q", got)
	}
	want(t, w.push("app", "scan", scan), http.StatusCreated)
	want(t, w.push("app", "v1", subject), http.StatusCreated)
	want(t, w.do(http.MethodGet, path, nil), http.StatusOK, sbom.digest(), scan.digest(), "for a test", "application/sbom")
	filtered := w.do(http.MethodGet, path+"?artifactType=application/scan", nil)
	want(t, filtered, http.StatusOK, scan.digest())
	if strings.Contains(filtered.Body.String(), sbom.digest()) {
		t.Error("the filter didn't filter")
	}
}

func TestTagsAndRepositoriesAreListedInPages(t *testing.T) {
	w := newWorld(t)
	a := makeImage(t, "layer")
	for _, tag := range []string{"c", "a", "b", "d", "e"} {
		want(t, w.push("app", tag, a), http.StatusCreated)
	}
	want(t, w.push("app/part", "x", a), http.StatusCreated)
	rec := w.do(http.MethodGet, "/v2/app/tags/list?n=2", nil)
	want(t, rec, http.StatusOK, `["a","b"]`)
	if link := rec.Header().Get("Link"); !strings.Contains(link, "last=b") || !strings.Contains(link, `rel="next"`) {
		t.Errorf("Link: %q", link)
	}
	want(t, w.do(http.MethodGet, "/v2/app/tags/list?n=2&last=bb", nil), http.StatusOK, `["c","d"]`)
	want(t, w.do(http.MethodGet, "/v2/app/tags/list", nil), http.StatusOK, `["a","b","c","d","e"]`)
	want(t, w.do(http.MethodGet, "/v2/none/tags/list", nil), http.StatusNotFound, "NAME_UNKNOWN")
	want(t, w.do(http.MethodGet, "/v2/_catalog", nil), http.StatusOK, `["app","app/part"]`)
}

func TestNothingCanBeDeleted(t *testing.T) {
	w := newWorld(t)
	a := makeImage(t, "layer")
	want(t, w.push("app", "v1", a), http.StatusCreated)
	for _, path := range []string{"manifests/v1", "manifests/" + a.digest(), "blobs/" + string(imx.DigestBytes(a.blobs[1]))} {
		want(t, w.do(http.MethodDelete, "/v2/app/"+path, nil), http.StatusMethodNotAllowed, "UNSUPPORTED", "nothing can be deleted")
	}
	if err := w.whole("app", "v1", a); err != nil {
		t.Error(err)
	}
}

// The machine stops before every single step of a push; each time the registry starts again and must
// serve nothing of it that isn't whole, never the tag, and take the push when it comes again.
func TestAPushThatACrashCutsOffLeavesNothingHalf(t *testing.T) {
	a := makeImage(t, "layer one", "layer two")
	for n := int64(0); ; n++ {
		w := newWorld(t)
		steps := registry.CrashAfter(w.Registry, n)
		rec := w.push("app", "v1", a)
		if steps() <= n {
			want(t, rec, http.StatusCreated)
			if n < 10 {
				t.Errorf("a push has %d steps only: the seam has come off", n)
			}
			return
		}
		if rec.Code < 500 {
			t.Errorf("step %d failed, and the answer is %d: %s", n, rec.Code, rec.Body)
		}
		w.restart()
		tag := w.do(http.MethodGet, "/v2/app/manifests/v1", nil)
		byDigest := w.do(http.MethodGet, "/v2/app/manifests/"+a.digest(), nil)
		if tag.Code == http.StatusOK || byDigest.Code == http.StatusOK {
			if err := w.whole("app", a.digest(), a); err != nil {
				t.Errorf("step %d: half an image is served: %v", n, err)
			}
		}
		want(t, w.push("app", "v1", a), http.StatusCreated)
		if err := w.whole("app", "v1", a); err != nil {
			t.Errorf("step %d: after the second push: %v", n, err)
		}
	}
}

func TestAFullDiskAtAnyStepIsSaidAndServesNothing(t *testing.T) {
	a := makeImage(t, "layer")
	for _, step := range []string{"stage", "rename", "sync-dir", "write"} {
		w := newWorld(t)
		location := w.do(http.MethodPost, "/v2/app/blobs/uploads/", nil).Header().Get("Location")
		registry.FillDisk(w.Registry, step)
		want(t, w.do(http.MethodPut, location+"?digest="+string(imx.DigestBytes([]byte("x"))), []byte("x")), http.StatusInsufficientStorage, "no space left")
		want(t, w.push("app", "v1", a), http.StatusInsufficientStorage, "no space left", "free some space")
		w.restart()
		want(t, w.do(http.MethodGet, "/v2/app/manifests/v1", nil), http.StatusNotFound)
		want(t, w.push("app", "v1", a), http.StatusCreated)
	}
}

func TestARealFullDiskIsSaidAndServesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("this test mounts a tmpfs of 256 KiB, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	w := &world{tb: t, dir: dir}
	w.restart()
	small := makeImage(t, "small")
	want(t, w.push("app", "v1", small), http.StatusCreated)
	want(t, w.push("app", "v2", makeImage(t, strings.Repeat("x", 1<<20))), http.StatusInsufficientStorage, "no space left")
	want(t, w.do(http.MethodGet, "/v2/app/manifests/v2", nil), http.StatusNotFound)
	w.restart() // removes the unfinished upload
	if err := w.whole("app", "v1", small); err != nil {
		t.Error(err)
	}
	want(t, w.push("app", "v3", makeImage(t, "fits again")), http.StatusCreated)
}

// files lists the files below some of the world's folders.
func (w *world) files(below ...string) []string {
	w.tb.Helper()
	var found []string
	for _, root := range below {
		err := walk(w.dir+"/"+root, func(path string) { found = append(found, path) })
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			w.tb.Fatal(err)
		}
	}
	return found
}
