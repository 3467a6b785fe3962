package registry_test

import (
	"bytes"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"imx"
	"imx/internal/registry"
)

// The registry must work with clients that others wrote: these two tests use two of them.

func TestSkopeoPushesAndPulls(t *testing.T) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skopeo isn't installed: make deps")
	}
	w := newWorld(t)
	server := httptest.NewServer(w.h)
	defer server.Close()
	a := makeImage(t, "a layer", strings.Repeat("another layer ", 100_000))
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "pulled")
	writeFile(t, filepath.Join(from, "version"), []byte("Directory Transport Version: 1.1\n"))
	writeFile(t, filepath.Join(from, "manifest.json"), a.raw)
	for _, b := range a.blobs {
		writeFile(t, filepath.Join(from, imx.DigestBytes(b).Hex()), b)
	}
	remoteRef := "docker://" + strings.TrimPrefix(server.URL, "http://") + "/team/app:v1"
	skopeo := func(args ...string) ([]byte, error) {
		args = append([]string{"--insecure-policy"}, args...)
		return exec.CommandContext(t.Context(), "skopeo", args...).CombinedOutput()
	}
	if out, err := skopeo("copy", "--dest-tls-verify=false", "--preserve-digests", "dir:"+from, remoteRef); err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
	if out, err := skopeo("copy", "--src-tls-verify=false", "--preserve-digests", remoteRef, "dir:"+to); err != nil {
		t.Fatalf("pull: %v\n%s", err, out)
	}
	if diff := cmp.Diff(read(t, from), read(t, to)); diff != "" {
		t.Errorf("pulled files (-pushed +pulled):\n%s", diff)
	}

	other := makeImage(t, "something else")
	writeFile(t, filepath.Join(from, "manifest.json"), other.raw)
	for _, b := range other.blobs {
		writeFile(t, filepath.Join(from, imx.DigestBytes(b).Hex()), b)
	}
	out, err := skopeo("copy", "--dest-tls-verify=false", "--preserve-digests", "dir:"+from, remoteRef)
	if err == nil || !bytes.Contains(out, []byte("can't be moved")) {
		t.Errorf("moving the tag: %v\n%s", err, out)
	}
	if out, err := skopeo("delete", "--tls-verify=false", remoteRef); err == nil {
		t.Errorf("deleting worked:\n%s", out)
	}
}

func TestAPushToAReadOnlyAddressTellsThePersonWhatToDo(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.Behind(givesOut()))
	defer server.Close()
	ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	err = remote.Write(ref, pushed)
	if err == nil || !strings.Contains(err.Error(), "gives images out and takes none") || !strings.Contains(err.Error(), "imx registry token create") {
		t.Errorf("err = %v", err)
	}
}

func TestGoContainerregistryPushesAndPulls(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.h)
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	ref := func(text string) name.Reference {
		r, err := name.ParseReference(host + "/" + text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	index, err := random.Index(50_000, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref("one:v1"), index); err != nil {
		t.Fatalf("push: %v", err)
	}
	pulled, err := remote.Index(ref("one:v1"))
	if err != nil {
		t.Fatalf("pull: %v", err)
	}
	if err := validate.Index(pulled); err != nil {
		t.Errorf("what was pulled: %v", err)
	}
	if err := remote.WriteIndex(ref("two:v1"), pulled); err != nil { // mounts what is in one
		t.Errorf("copy: %v", err)
	}
	again, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref("one:v1"), again); err == nil || !strings.Contains(err.Error(), "can't be moved") {
		t.Errorf("moving the tag: %v", err)
	}
	tags, err := remote.List(ref("one:v1").Context())
	if err != nil || len(tags) != 1 || tags[0] != "v1" {
		t.Errorf("tags: %q, %v", tags, err)
	}
}

// Whatever a client sends, the registry doesn't panic, answers with a status that exists, and makes
// no file but its own.
func FuzzRequests(f *testing.F) {
	shared := newWorld(f) // one for all: syncing a new one each time would be most of the work
	if rec := shared.pushBlob("a", []byte("x")); rec.Code != http.StatusCreated {
		f.Fatal(rec.Body)
	}
	registry.Limit(shared.Registry, 1<<20, 1<<30, time.Hour) // it begins more uploads than anybody may
	digest := string(imx.DigestBytes([]byte("x")))
	for _, path := range []string{
		"/v2/", "/v2/_catalog?n=1&last=a", "/v2/a/tags/list?n=-1", "/v2/a/manifests/v1", "/v2/a/manifests/" + digest, "/v2/a/blobs/" + digest,
		"/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/?digest=" + digest, "/v2/a/blobs/uploads/?mount=" + digest + "&from=b",
		"/v2/a/blobs/uploads/eA?digest=" + digest, "/v2/a/referrers/" + digest + "?artifactType=x", "/v2/../x/manifests/..", "/v2/a//b/manifests/v1", "/v2/a/manifests/",
	} {
		f.Add(uint8(0), path, []byte("x"), "application/vnd.oci.image.manifest.v1+json", "0-0")
	}
	f.Add(uint8(1), "/v2/a/manifests/v1", []byte(`{"config":{"digest":"`+digest+`","size":1},"subject":{"digest":"`+digest+`"}}`), image, "")
	f.Fuzz(func(t *testing.T, method uint8, path string, body []byte, contentType, contentRange string) {
		methods := []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodHead, http.MethodDelete, "OTHER"}
		req := httptest.NewRequest(methods[int(method)%len(methods)], "/", bytes.NewReader(body))
		u, err := req.URL.Parse(path)
		if err != nil {
			return
		}
		w := &world{Registry: shared.Registry, tb: t, dir: shared.dir, blobs: shared.blobs, h: shared.h}
		if strings.Contains(u.Path, "uploads/eA") {
			location := w.do(http.MethodPost, "/v2/a/blobs/uploads/", nil).Header().Get("Location")
			u.Path = strings.Replace(u.Path, "uploads/eA", "uploads/"+location[strings.LastIndex(location, "/")+1:], 1)
		}
		req.URL = u
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Content-Range", contentRange)
		req.Header.Set("Range", "bytes="+contentRange)
		rec := httptest.NewRecorder()
		w.h.ServeHTTP(rec, req)
		if rec.Code < 200 || rec.Code > 599 || rec.Code == http.StatusInternalServerError {
			t.Errorf("%s %q: status %d: %s", req.Method, u, rec.Code, rec.Body)
		}
		w.onlyOwnFiles()
	})
}

// onlyOwnFiles checks that every file in and beside the registry has a place in its layout.
func (w *world) onlyOwnFiles() {
	w.tb.Helper()
	const (
		hex  = `[0-9a-f]{64}`
		repo = `registry/repositories/[a-z0-9]+(([._]|__|-+|\+)[a-z0-9]+)*/`
	)
	own := regexp.MustCompile(`^(blobs/sha256/[0-9a-f]{2}/` + hex + `|registry/uploads/[A-Z2-7]{26}|` +
		repo + `(blobs/` + hex + `|manifests/` + hex + `|referrers/` + hex + `\.` + hex + `|tags/\w[\w.-]{0,127}))$`)
	err := walk(w.dir, func(path string) {
		if rel, err := filepath.Rel(w.dir, path); err != nil || !own.MatchString(rel) {
			w.tb.Errorf("the file %q has no place in the registry", rel)
		}
	})
	if err != nil {
		w.tb.Error(err)
	}
}

func walk(root string, visit func(path string)) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			visit(path)
		}
		return err
	})
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := walk(dir, func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		all[filepath.Base(path)] = string(b)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
