package pipeline_test

// Collections while images are pushed from outside, with the real registry and its blobs, and a grace of nothing: the hardest case.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"imx"
)

// pushed is an image from outside.
type pushed struct {
	repo, tag string
	blobs     [][]byte
	manifest  []byte
}

const imageType = "application/vnd.oci.image.manifest.v1+json"

func outside(t *testing.T, repo, tag string, layers ...string) pushed {
	t.Helper()
	p := pushed{repo: repo, tag: tag, blobs: [][]byte{[]byte("{}")}}
	desc := func(b []byte) map[string]any {
		return map[string]any{"mediaType": "application/octet-stream", "digest": imx.DigestBytes(b), "size": len(b)}
	}
	list := []any{}
	for _, l := range layers {
		p.blobs = append(p.blobs, []byte(l))
		list = append(list, desc([]byte(l)))
	}
	var err error
	p.manifest, err = json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": imageType, "config": desc(p.blobs[0]), "layers": list})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// request is one of a client's, inside the gate for as long as it lasts, as the server has it.
func (w *world) request(t *testing.T, method, path string, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	leave, err := w.Enter(t.Context())
	if err != nil {
		t.Error(err)
		return httptest.NewRecorder()
	}
	defer leave()
	req := httptest.NewRequest(method, "/v2/"+path, bytes.NewReader(body))
	req.Header.Set("Content-Type", imageType)
	rec := httptest.NewRecorder()
	w.images.Handler().ServeHTTP(rec, req)
	return rec
}

// pushOutside pushes the blobs and then the manifest, and returns the last answer.
func (w *world) pushOutside(t *testing.T, p pushed) int {
	t.Helper()
	for _, b := range p.blobs {
		if rec := w.request(t, http.MethodPost, p.repo+"/blobs/uploads/?digest="+string(imx.DigestBytes(b)), b); rec.Code != http.StatusCreated {
			t.Errorf("a blob: %d %s", rec.Code, rec.Body)
		}
	}
	return w.request(t, http.MethodPut, p.repo+"/manifests/"+p.tag, p.manifest).Code
}

// whole reports what of an image can't be pulled.
func (w *world) whole(t *testing.T, p pushed) {
	t.Helper()
	if rec := w.request(t, http.MethodGet, p.repo+"/manifests/"+p.tag, nil); rec.Code != http.StatusOK || !bytes.Equal(rec.Body.Bytes(), p.manifest) {
		t.Errorf("%s:%s: %d %s", p.repo, p.tag, rec.Code, rec.Body)
	}
	for _, b := range p.blobs {
		if rec := w.request(t, http.MethodGet, p.repo+"/blobs/"+string(imx.DigestBytes(b)), nil); rec.Code != http.StatusOK || !bytes.Equal(rec.Body.Bytes(), b) {
			t.Errorf("a blob of %s:%s: %d %s", p.repo, p.tag, rec.Code, rec.Body)
		}
	}
}

// What was confirmed stays, however many collections came between the requests of a push; what a collection took of a push
// that wasn't complete is refused by name, and the client pushes it again.
func TestAPushThatRacesCollectionsIsWholeOrRefused(t *testing.T) {
	w := newWorld(t)
	collecting := make(chan error, 1)
	go func() {
		for range 25 {
			if _, err := w.Collect(t.Context(), "root", imx.CollectRequest{Grace: grace(0)}, quiet); err != nil {
				collecting <- err
				return
			}
		}
		collecting <- nil
	}()
	var all []pushed
	for i := range 6 {
		all = append(all, outside(t, fmt.Sprint("team/app", i%2), fmt.Sprint("v", i), "shared", fmt.Sprint("layer ", i)))
	}
	var pushing sync.WaitGroup
	for _, p := range all {
		pushing.Go(func() {
			for {
				switch code := w.pushOutside(t, p); code {
				case http.StatusCreated:
					return
				case http.StatusNotFound: // a blob of it was collected: MANIFEST_BLOB_UNKNOWN
				default:
					t.Errorf("%s:%s: %d", p.repo, p.tag, code)
					return
				}
			}
		})
	}
	pushing.Wait()
	if err := <-collecting; err != nil {
		t.Fatal(err)
	}
	if _, err := w.Collect(t.Context(), "root", imx.CollectRequest{Grace: grace(0)}, quiet); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		w.whole(t, p)
	}
}

// Blobs whose manifest hasn't come yet are nobody's; within the grace they stay all the same.
func TestHalfAPushStaysForItsGraceAndGoesAfterIt(t *testing.T) {
	w := newWorld(t)
	p := outside(t, "app", "v1", "layer")
	for _, b := range p.blobs {
		w.request(t, http.MethodPost, "app/blobs/uploads/?digest="+string(imx.DigestBytes(b)), b)
	}
	if _, err := w.Collect(t.Context(), "root", imx.CollectRequest{}, quiet); err != nil {
		t.Fatal(err)
	}
	if rec := w.request(t, http.MethodPut, "app/manifests/v1", p.manifest); rec.Code != http.StatusCreated {
		t.Errorf("within the grace: %d %s", rec.Code, rec.Body)
	}
	other := outside(t, "app", "v2", "another")
	for _, b := range other.blobs {
		w.request(t, http.MethodPost, "app/blobs/uploads/?digest="+string(imx.DigestBytes(b)), b)
	}
	if _, err := w.Collect(t.Context(), "root", imx.CollectRequest{Grace: grace(0)}, quiet); err != nil {
		t.Fatal(err)
	}
	if w.blobs.Has(imx.DigestBytes([]byte("another"))) {
		t.Error("after its grace it is still there")
	}
	if rec := w.request(t, http.MethodPut, "app/manifests/v2", other.manifest); rec.Code != http.StatusNotFound {
		t.Errorf("a manifest without its blobs: %d", rec.Code)
	}
	w.whole(t, p)
}
