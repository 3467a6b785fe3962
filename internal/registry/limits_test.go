// These tests are here because whoever reaches the registry's address can push, or at least try: he must
// neither fill the disk, nor keep others out, nor take the names that builds need.

package registry_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"imx"
	"imx/internal/registry"
)

func TestAReadOnlyAddressGivesOutEverythingAndTakesNothing(t *testing.T) {
	w := newWorld(t)
	a := makeImage(t, "layer")
	want(t, w.push("app", "v1", a), http.StatusCreated)
	upload := w.do(http.MethodPost, "/v2/app/blobs/uploads/", nil).Header().Get("Location")
	before := w.files("registry", "blobs")
	w.h = w.Behind(givesOut())

	if err := w.whole("app", "v1", a); err != nil {
		t.Error(err)
	}
	layer := string(imx.DigestBytes([]byte("layer")))
	for path, part := range map[string]string{
		"/v2/": "", "/v2/_catalog": `["app"]`, "/v2/app/tags/list": `["v1"]`, "/v2/app/referrers/" + a.digest(): `"manifests":`,
	} {
		want(t, w.do(http.MethodGet, path, nil), http.StatusOK, part)
	}
	want(t, w.do(http.MethodGet, "/v2/app/blobs/"+layer, nil, "Range", "bytes=0-1"), http.StatusPartialContent, "la")
	want(t, w.do(http.MethodHead, "/v2/app/manifests/"+a.digest(), nil), http.StatusOK)
	want(t, w.do(http.MethodGet, "/v2/app/manifests/none", nil), http.StatusNotFound, "MANIFEST_UNKNOWN")

	for _, request := range []string{
		"POST /v2/app/blobs/uploads/", "POST /v2/app/blobs/uploads/?digest=" + layer, "POST /v2/other/blobs/uploads/?mount=" + layer + "&from=app",
		"GET " + upload, "PATCH " + upload, "PUT " + upload + "?digest=" + layer, "DELETE " + upload,
		"PUT /v2/app/manifests/v2", "DELETE /v2/app/manifests/v1", "DELETE /v2/app/blobs/" + layer, "OTHER /v2/",
	} {
		method, path, _ := strings.Cut(request, " ")
		rec := w.do(method, path, a.raw, "Content-Type", image)
		want(t, rec, http.StatusMethodNotAllowed, `"DENIED"`, "takes none", "imx registry token create", "start the server with --push")
	}
	if after := w.files("registry", "blobs"); len(after) != len(before) {
		t.Errorf("files: %q, before: %q", after, before)
	}
}

func TestTheTagsOfBuiltImagesAreTheBuildersAlone(t *testing.T) {
	w := newWorld(t)
	pushed, built := makeImage(t, "pushed"), makeImage(t, "built")
	const tag = "plan-0123456789ab"
	want(t, w.push("web", tag, pushed), http.StatusForbidden, `"DENIED"`, "for images that the server builds", "push under another tag")
	want(t, w.do(http.MethodGet, "/v2/web/manifests/"+tag, nil), http.StatusNotFound)
	for _, b := range built.blobs {
		if _, _, err := w.blobs.Put(bytes.NewReader(b), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Put(t.Context(), "web", tag, built.raw, image); err != nil {
		t.Fatal(err)
	}
	if err := w.whole("web", tag, built); err != nil {
		t.Error(err)
	}
	want(t, w.push("web", "planned", pushed), http.StatusCreated)
}

func TestABlobThatIsTooLargeIsRefusedInEveryWayToPushItAndLeavesNothing(t *testing.T) {
	w := newWorld(t)
	registry.Limit(w.Registry, 1000, 2, time.Hour)
	fits, large := bytes.Repeat([]byte("x"), 1000), bytes.Repeat([]byte("y"), 1001)
	want(t, w.pushBlob("app", fits), http.StatusCreated)
	before := w.files("registry", "blobs")
	refused := func(rec *httptest.ResponseRecorder) {
		t.Helper()
		want(t, rec, http.StatusRequestEntityTooLarge, "SIZE_INVALID", "more than the 1000 bytes")
	}
	digest := "?digest=" + string(imx.DigestBytes(large))
	begin := func() string { return w.do(http.MethodPost, "/v2/app/blobs/uploads/", nil).Header().Get("Location") }

	refused(w.do(http.MethodPost, "/v2/app/blobs/uploads/"+digest, large))
	unannounced := httptest.NewRequest(http.MethodPost, "/v2/app/blobs/uploads/"+digest, iotest.OneByteReader(bytes.NewReader(large)))
	unannounced.ContentLength = -1
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, unannounced)
	refused(rec)

	refused(w.do(http.MethodPut, begin()+digest, large))
	location := begin()
	refused(w.do(http.MethodPatch, location, large))
	want(t, w.do(http.MethodPatch, location, nil), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	location = begin()
	want(t, w.do(http.MethodPatch, location, large[:600]), http.StatusAccepted)
	refused(w.do(http.MethodPatch, location, large[600:], "Content-Range", "600-1000"))

	if after := w.files("registry", "blobs"); len(after) != len(before) {
		t.Errorf("files: %q, before: %q", after, before)
	}
}

func TestOnlySoManyUploadsAreTakenAtOnce(t *testing.T) {
	w := newWorld(t)
	registry.Limit(w.Registry, 1<<20, 2, time.Hour)
	single, feed := io.Pipe()
	digest := string(imx.DigestBytes([]byte("whole")))
	ended := make(chan *httptest.ResponseRecorder, 1)
	go func() { // one in one request, which isn't at its end
		rec := httptest.NewRecorder()
		w.h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/v2/app/blobs/uploads/?digest="+digest, single))
		ended <- rec
	}()
	if _, err := feed.Write([]byte("who")); err != nil { // returns when it was read
		t.Fatal(err)
	}
	first := w.do(http.MethodPost, "/v2/app/blobs/uploads/", nil)
	want(t, first, http.StatusAccepted)
	want(t, w.do(http.MethodPost, "/v2/app/blobs/uploads/", nil), http.StatusTooManyRequests, "TOOMANYREQUESTS", "2 uploads of everybody together are under way", "push again later")
	want(t, w.do(http.MethodPost, "/v2/app/blobs/uploads/?digest="+digest, []byte("whole")), http.StatusTooManyRequests, "TOOMANYREQUESTS")

	_, _ = feed.Write([]byte("le"))
	_ = feed.Close()
	want(t, <-ended, http.StatusCreated)
	want(t, w.do(http.MethodPut, first.Header().Get("Location")+"?digest="+digest, []byte("whole")), http.StatusCreated)
	for i := range 5 { // what has ended makes room
		want(t, w.push("app", fmt.Sprint("v", i), makeImage(t, "layer")), http.StatusCreated)
	}
}

func TestWhoHoldsTheirShareOfUploadsStopsNobodyElse(t *testing.T) {
	g := newGuarded(t, imx.Pull, imx.Push)
	registry.Limit(g.Registry, 1<<20, 20, time.Hour)
	registry.Share(g.Registry, 3, 2)
	from := func(w *guarded, address string) func() *httptest.ResponseRecorder {
		return func() *httptest.ResponseRecorder {
			req := httptest.NewRequest(http.MethodPost, "/v2/app/blobs/uploads/", nil)
			req.RemoteAddr = address
			rec := httptest.NewRecorder()
			w.h.ServeHTTP(rec, req)
			return rec
		}
	}
	ci, again := g.as(g.token(t, "ci", imx.Push, "*")), g.as(g.token(t, "ci", imx.Push, "*")) // two tokens of one owner
	var open string
	for range 3 {
		rec := from(ci, "192.0.2.1:1")()
		want(t, rec, http.StatusAccepted)
		open = rec.Header().Get("Location")
	}
	for _, address := range []string{"192.0.2.1:1", "192.0.2.2:2"} {
		rec := from(again, address)()
		want(t, rec, http.StatusTooManyRequests, "TOOMANYREQUESTS", "3 uploads of ci are under way")
		if after := rec.Header().Get("Retry-After"); after != "1" {
			t.Errorf("Retry-After: %q", after)
		}
	}
	other := g.as(g.token(t, "other", imx.Push, "*"))
	want(t, other.push("team/b", "v1", makeImage(t, "b")), http.StatusCreated)
	for address, next := range map[string]string{"192.0.2.1:1": "192.0.2.1:2", "[2001:db8::1]:1": "[2001:db8::2:3]:1"} {
		for range 2 {
			want(t, from(g, address)(), http.StatusAccepted)
		}
		want(t, from(g, next)(), http.StatusTooManyRequests, "2 uploads of address")
	}
	want(t, from(g, "[2001:db8:0:1::1]:1")(), http.StatusAccepted) // another network's

	body := []byte("the end")
	want(t, ci.do(http.MethodPut, open+"?digest="+string(imx.DigestBytes(body)), body), http.StatusCreated)
	want(t, from(again, "192.0.2.1:1")(), http.StatusAccepted)
}

func TestStrangersOfManyAddressesLeaveRoomForThoseWithATokenAndForRoot(t *testing.T) {
	g := newGuarded(t, imx.Push)
	tokens := g.as(g.token(t, "ci", imx.Push, "*"))
	refused := 0
	for i := range 200 {
		req := httptest.NewRequest(http.MethodPost, "/v2/app/blobs/uploads/", nil)
		req.RemoteAddr = fmt.Sprintf("198.51.100.%d:1", i)
		rec := httptest.NewRecorder()
		if g.h.ServeHTTP(rec, req); rec.Code == http.StatusTooManyRequests {
			want(t, rec, http.StatusTooManyRequests, "64 uploads of those without a token are under way")
			refused++
		}
	}
	if refused != 200-64 {
		t.Errorf("%d refused", refused)
	}
	want(t, tokens.pushBlob("app", []byte("x")), http.StatusCreated)
	want(t, g.rootPush("v1", makeImage(t, "layer")), http.StatusCreated)
}

func TestSkopeoWaitsUntilAnUploadOfItsOwnerHasEnded(t *testing.T) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skopeo isn't installed: make deps")
	}
	g := newGuarded(t)
	registry.Limit(g.Registry, 1<<20, 20, time.Hour)
	registry.Share(g.Registry, 1, 1)
	secret := g.token(t, "ci", imx.Push, "*")
	ci := g.as(secret)
	location := ci.do(http.MethodPost, "/v2/app/blobs/uploads/", nil).Header().Get("Location")
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		rec := httptest.NewRecorder()
		g.h.ServeHTTP(rec, req)
		if rec.Code == http.StatusTooManyRequests { // the upload that is in its way ends
			once.Do(func() {
				want(t, ci.do(http.MethodPut, location+"?digest="+string(imx.DigestBytes(nil)), nil), http.StatusCreated)
			})
		}
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	}))
	defer server.Close()
	dir, a := t.TempDir(), makeImage(t, "layer")
	writeFile(t, filepath.Join(dir, "version"), []byte("Directory Transport Version: 1.1\n"))
	writeFile(t, filepath.Join(dir, "manifest.json"), a.raw)
	for _, b := range a.blobs {
		writeFile(t, filepath.Join(dir, imx.DigestBytes(b).Hex()), b)
	}
	out, err := exec.CommandContext(t.Context(), "skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "--preserve-digests",
		"--dest-creds", "ci:"+secret, "dir:"+dir, "docker://"+strings.TrimPrefix(server.URL, "http://")+"/app:v1").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	waited := true
	once.Do(func() { waited = false })
	if !waited {
		t.Error("skopeo was never asked to wait")
	}
	if err := ci.whole("app", "v1", a); err != nil {
		t.Error(err)
	}
}

func TestAnUploadEndsAnHourAfterItsLastByte(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{tb: t, dir: dir}
		w.restart()
		location := w.do(http.MethodPost, "/v2/app/blobs/uploads/", nil).Header().Get("Location")
		for i := range 3 {
			time.Sleep(59 * time.Minute)
			want(t, w.do(http.MethodPatch, location, []byte("byte"), "Content-Range", fmt.Sprintf("%d-%d", 4*i, 4*i+3)), http.StatusAccepted)
		}
		time.Sleep(30 * time.Minute)
		want(t, w.do(http.MethodGet, location, nil), http.StatusNoContent) // asking isn't going on
		time.Sleep(31 * time.Minute)
		want(t, w.do(http.MethodGet, location, nil), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
		if left := w.files("registry/uploads"); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
}

func TestARequestThatStallsIsCutOffAndMakesRoom(t *testing.T) {
	w := newWorld(t)
	registry.Limit(w.Registry, 1<<20, 1, 200*time.Millisecond)
	server := httptest.NewServer(w.h)
	defer server.Close()
	digest := string(imx.DigestBytes([]byte("whole")))
	for _, begin := range []func() (method, path string){
		func() (string, string) { return http.MethodPost, "/v2/app/blobs/uploads/?digest=" + digest },
		func() (string, string) {
			return http.MethodPatch, w.do(http.MethodPost, "/v2/app/blobs/uploads/", nil).Header().Get("Location")
		},
	} {
		method, path := begin()
		stalled, feed := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, stalled)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = feed.Write([]byte("who")) }() // and never more
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode < 400 {
				t.Errorf("%s: status %d", method, resp.StatusCode)
			}
		}
		_ = feed.Close()
		again := func() *httptest.ResponseRecorder {
			return w.do(http.MethodPost, "/v2/app/blobs/uploads/?digest="+digest, []byte("whole"))
		}
		rec := again()
		for deadline := time.Now().Add(10 * time.Second); rec.Code == http.StatusTooManyRequests && time.Now().Before(deadline); {
			rec = again()
		}
		want(t, rec, http.StatusCreated)
		if left := w.files("registry/uploads", "blobs/tmp"); len(left) > 0 {
			t.Errorf("%s: left behind: %q", method, left)
		}
	}
}
