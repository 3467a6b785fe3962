package registry_test

// Who may push can't fill what isn't theirs: not with bytes, not with bytes that are still coming, and not with names.

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"imx"
	"imx/internal/registry"
)

func TestAQuotaIsExhaustedAndSaysSo(t *testing.T) {
	quotas := map[string]imx.RegistryQuota{}
	w := newWorldWith(t, func(c *registry.Config) {
		c.Quotas = func() map[string]imx.RegistryQuota { return quotas }
	})
	g := &guarded{world: w, tokens: map[string]imx.RegistryToken{}}
	g.door = registry.Door{Tokens: func() map[string]imx.RegistryToken { return g.tokens }, Now: time.Now}
	ci, other := g.as(g.token(t, "ci", imx.Push, "*")), g.as(g.token(t, "other", imx.Push, "*"))
	first, large := makeImage(t, "first"), makeImage(t, strings.Repeat("x", 5000))
	want(t, ci.push("team/app", "v1", first), http.StatusCreated) // before there was a quota, and counted all the same
	quotas["team/*"] = imx.RegistryQuota{Repositories: "team/*", Bytes: 2000, Manifests: 2}
	want(t, ci.push("team/app", "v2", large), http.StatusForbidden, "DENIED", "the quota of team/* has no room", "quota list")
	want(t, ci.do(http.MethodPost, "/v2/team/app/blobs/uploads/?digest="+string(imx.DigestBytes(large.blobs[1])), large.blobs[1]), http.StatusForbidden)
	want(t, ci.push("team/app", "again", first), http.StatusCreated) // takes no more room
	want(t, other.push("team/b", "v1", makeImage(t, "second")), http.StatusCreated)
	want(t, other.push("team/b", "v2", makeImage(t, "third")), http.StatusForbidden, "2 of 2 manifests")
	want(t, other.push("free", "v1", large), http.StatusCreated)
	used, err := g.Used()
	if err != nil || used["team/*"].UsedManifests != 2 || used["team/*"].UsedBytes == 0 {
		t.Errorf("used: %+v, %v", used, err)
	}
	clear(quotas)
	want(t, ci.push("team/app", "v2", large), http.StatusCreated)
	quotas["owner ci"] = imx.RegistryQuota{Owner: "ci", Manifests: 2}
	want(t, ci.push("any", "v1", makeImage(t, "more")), http.StatusForbidden, "the quota of owner ci")
	want(t, other.push("any", "v1", makeImage(t, "more")), http.StatusCreated)
	if _, err := g.Put(t.Context(), "team/app", "plan-x", first.raw, image); err != nil {
		t.Errorf("the builder's own: %v", err)
	}
}

func TestPushesThatRaceForTheLastRoomDontPassAQuota(t *testing.T) {
	quota := imx.RegistryQuota{Repositories: "*", Manifests: 3, Bytes: 1 << 20}
	w := newWorldWith(t, func(c *registry.Config) {
		c.Quotas = func() map[string]imx.RegistryQuota { return map[string]imx.RegistryQuota{"*": quota} }
	})
	g := &guarded{world: w, tokens: map[string]imx.RegistryToken{}}
	g.door = registry.Door{Tokens: func() map[string]imx.RegistryToken { return g.tokens }, Now: time.Now}
	ci := g.as(g.token(t, "ci", imx.Push, "*"))
	var mu sync.Mutex
	codes := map[int]int{}
	var wg sync.WaitGroup
	for i := range 12 {
		a := makeImage(t, fmt.Sprint("layer ", i))
		wg.Go(func() {
			code := ci.push(fmt.Sprint("app", i%4), fmt.Sprint("v", i), a).Code
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
		})
	}
	wg.Wait()
	if diff := maps.Equal(codes, map[int]int{http.StatusCreated: 3, http.StatusForbidden: 9}); !diff {
		t.Errorf("answers: %v", codes)
	}
	used, err := g.Used()
	if err != nil || used["*"].UsedManifests != 3 {
		t.Errorf("%+v, %v", used, err)
	}
}

// bounded is a registry with quotas behind a door, of which it tells how many pushes it wrote down.
func bounded(t *testing.T, quotas ...imx.RegistryQuota) (*guarded, *int) {
	t.Helper()
	all, events := map[string]imx.RegistryQuota{}, 0
	for _, q := range quotas {
		all[q.Scope()] = q
	}
	w := newWorldWith(t, func(c *registry.Config) {
		c.Quotas = func() map[string]imx.RegistryQuota { return all }
		c.Pushed = func(context.Context, imx.ManifestPushed) error {
			events++
			return nil
		}
	})
	g := &guarded{world: w, tokens: map[string]imx.RegistryToken{}}
	g.door = registry.Door{Tokens: func() map[string]imx.RegistryToken { return g.tokens }, Anonymous: []imx.RegistryRight{imx.Pull, imx.Push}, Now: time.Now}
	return g, &events
}

// use is how much of a quota is used.
func (g *guarded) use(t *testing.T, scope string) imx.RegistryUse {
	t.Helper()
	all, err := g.Used()
	if err != nil {
		t.Fatal(err)
	}
	return all[scope]
}

func TestTagsCountForAQuotaAndOneTooManyIsNoEvent(t *testing.T) {
	g, events := bounded(t, imx.RegistryQuota{Repositories: "team/*", Tags: 2}, imx.RegistryQuota{Owner: "ci", Tags: 3})
	ci, other := g.as(g.token(t, "ci", imx.Push, "*")), g.as(g.token(t, "other", imx.Push, "*"))
	a := makeImage(t, "layer")
	for _, tag := range []string{"v1", "v2", "v1"} { // the third is there already
		want(t, ci.push("team/app", tag, a), http.StatusCreated)
	}
	want(t, ci.push("team/app", "v3", a), http.StatusForbidden, "DENIED", "2 of 2 tags are used, and it needs one more", "the quota of team/*")
	want(t, other.push("team/b", "v1", a), http.StatusForbidden, "the quota of team/*")
	want(t, ci.push("team/app", a.digest(), a), http.StatusCreated) // by digest there is no tag
	want(t, ci.push("free", "v1", a), http.StatusCreated)
	want(t, ci.push("free", "v2", a), http.StatusForbidden, "the quota of owner ci")
	want(t, other.push("free", "v2", a), http.StatusCreated)
	if *events != 4 {
		t.Errorf("%d events", *events)
	}
	before := g.use(t, "owner ci")
	g.restart() // the owner of a tag is on the disk
	if after := g.use(t, "owner ci"); before.UsedTags != 3 || after != before {
		t.Errorf("used: %+v; after a restart: %+v", before, after)
	}
}

func TestWithoutAQuotaAnOwnerBringsABoundedNumberOfNames(t *testing.T) {
	g, _ := bounded(t)
	registry.LimitNames(g.Registry, 2, 3, 5)
	ci, other := g.as(g.token(t, "ci", imx.Push, "*")), g.as(g.token(t, "other", imx.Push, "*"))
	a, b := makeImage(t, "a"), makeImage(t, "b")
	for i := range 3 {
		want(t, ci.push("app", fmt.Sprint("v", i), a), http.StatusCreated)
	}
	want(t, ci.push("app", "v3", a), http.StatusForbidden, "DENIED", "ci brought 3 tags already, and no quota allows more", "quota set")
	want(t, ci.push("app", b.digest(), b), http.StatusCreated)
	c := makeImage(t, "c")
	want(t, ci.push("app", c.digest(), c), http.StatusForbidden, "2 manifests already")
	want(t, ci.pushBlob("app", []byte("fifth")), http.StatusCreated) // the images have a config of the same bytes
	want(t, ci.pushBlob("app", []byte("sixth")), http.StatusForbidden, "blobs already")
	want(t, other.push("other", "v1", a), http.StatusCreated)
	for i := range 3 {
		want(t, g.as("anonymous").push("open", fmt.Sprint("v", i), a), http.StatusCreated)
	}
	want(t, g.as("anonymous").push("open", "v3", a), http.StatusForbidden, "those without a token, and the server itself, brought 3 tags")
	for i := range 5 {
		if _, err := g.Put(t.Context(), "app", fmt.Sprint("plan-", i), a.raw, image); err != nil {
			t.Errorf("the builder's own: %v", err)
		}
	}
}

func TestAQuotaOfTagsTakesThePlaceOfTheBoundThatThereIsWithoutOne(t *testing.T) {
	g, _ := bounded(t, imx.RegistryQuota{Repositories: "many", Tags: 5})
	registry.LimitNames(g.Registry, 10, 1, 10)
	ci, a := g.as(g.token(t, "ci", imx.Push, "*")), makeImage(t, "a")
	for i := range 5 {
		want(t, ci.push("many", fmt.Sprint("v", i), a), http.StatusCreated)
	}
	want(t, ci.push("many", "v5", a), http.StatusForbidden, "the quota of many")
	want(t, ci.push("app", "v1", a), http.StatusForbidden, "5 tags already")
}

// ways are those to push a blob; each returns the request that brings the bytes.
func (g *guarded) ways(t *testing.T, server string) map[string]func(repo string, body io.Reader, size int64, digest string) *http.Request {
	t.Helper()
	request := func(method, path string, body io.Reader, size int64) *http.Request {
		req, err := http.NewRequestWithContext(t.Context(), method, server+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = size
		return req
	}
	begin := func(repo string) string {
		return g.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/", nil).Header().Get("Location")
	}
	return map[string]func(string, io.Reader, int64, string) *http.Request{
		"one request of a known length": func(repo string, body io.Reader, size int64, digest string) *http.Request {
			return request(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+digest, body, size)
		},
		"one request of an unknown length": func(repo string, body io.Reader, _ int64, digest string) *http.Request {
			return request(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+digest, body, -1)
		},
		"a second request of a known length": func(repo string, body io.Reader, size int64, digest string) *http.Request {
			return request(http.MethodPut, begin(repo)+"?digest="+digest, body, size)
		},
		"a second request of an unknown length": func(repo string, body io.Reader, _ int64, digest string) *http.Request {
			return request(http.MethodPut, begin(repo)+"?digest="+digest, body, -1)
		},
	}
}

func TestUploadsAtOnceDontPassAQuotaTogether(t *testing.T) {
	const size, fit, uploads = 200_000, 3, 8 // a body that is shorter than what a server reads before it refuses it
	quotas := []imx.RegistryQuota{{Repositories: "team/*", Bytes: fit*size + size/2}, {Owner: "ci", Bytes: fit*size + size/2}}
	for _, quota := range quotas {
		for _, way := range []string{
			"one request of a known length", "one request of an unknown length", "a second request of a known length", "a second request of an unknown length",
		} {
			t.Run(quota.Scope()+", "+way, func(t *testing.T) {
				g, _ := bounded(t, quota)
				ci := g.as(g.token(t, "ci", imx.Push, "*"))
				server := httptest.NewServer(ci.h)
				defer server.Close()
				var together sync.WaitGroup // of all that have sent all but their last byte
				together.Add(uploads)
				var mu sync.Mutex
				codes := map[int]int{}
				var wg sync.WaitGroup
				for i := range uploads {
					blob := bytes.Repeat([]byte{byte('a' + i)}, size)
					here := &gate{wait: &together}
					body := io.MultiReader(bytes.NewReader(blob[:size-1]), here, bytes.NewReader(blob[size-1:]))
					req := ci.ways(t, server.URL)[way](fmt.Sprint("team/app", i%2), body, size, string(imx.DigestBytes(blob)))
					wg.Go(func() {
						code := send(t, req)
						here.arrive() // also who was refused before
						mu.Lock()
						defer mu.Unlock()
						codes[code]++
					})
				}
				wg.Wait()
				if codes[http.StatusCreated] > fit || codes[http.StatusCreated]+codes[http.StatusForbidden] != uploads {
					t.Errorf("answers: %v", codes)
				}
				u := g.use(t, quota.Scope())
				if u.UsedBytes != imx.Size(codes[http.StatusCreated]*size) || u.UnderWay != 0 {
					t.Errorf("used: %+v, answers: %v", u, codes)
				}
				for i := codes[http.StatusCreated]; i < fit; i++ { // what was given back has room for others
					want(t, ci.pushBlob("team/app0", bytes.Repeat([]byte{byte('A' + i)}, size)), http.StatusCreated)
				}
				if left := g.files("registry/uploads", "blobs/tmp"); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
			})
		}
	}
}

// gate is the place in a body where its sender waits for the others.
type gate struct {
	wait *sync.WaitGroup
	once sync.Once
}

func (g *gate) arrive() { g.once.Do(g.wait.Done) }

// Read implements io.Reader.
func (g *gate) Read([]byte) (int, error) {
	g.arrive()
	g.wait.Wait()
	return 0, io.EOF
}

// send makes a request and returns the status of its answer.
func send(t *testing.T, req *http.Request) int {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestTheRoomOfAnUploadIsGivenBackHoweverItEnds(t *testing.T) {
	const most = 1000
	begin := func(w *guarded) string {
		return w.do(http.MethodPost, "/v2/app/blobs/uploads/", nil).Header().Get("Location")
	}
	blob := bytes.Repeat([]byte("x"), 900)
	digest := "?digest=" + string(imx.DigestBytes(blob))
	brokenOff := func(method, path string) *http.Request {
		req := httptest.NewRequest(method, path, io.MultiReader(bytes.NewReader(blob[:100]), brokenReader{}))
		req.ContentLength = 900
		return req
	}
	for name, end := range map[string]struct {
		do   func(w *guarded)
		left imx.Size
	}{
		"other bytes than its digest": {do: func(w *guarded) {
			want(t, w.do(http.MethodPut, begin(w)+"?digest="+string(imx.DigestBytes(nil)), blob), http.StatusBadRequest)
		}},
		"one request that breaks off": {do: func(w *guarded) {
			w.h.ServeHTTP(httptest.NewRecorder(), brokenOff(http.MethodPost, "/v2/app/blobs/uploads/"+digest))
		}},
		"a piece that breaks off: what came stays": {left: 100, do: func(w *guarded) {
			w.h.ServeHTTP(httptest.NewRecorder(), brokenOff(http.MethodPatch, begin(w)))
		}},
		"a piece that there is no room for": {do: func(w *guarded) {
			location := begin(w)
			want(t, w.do(http.MethodPatch, location, blob), http.StatusAccepted)
			want(t, w.do(http.MethodPatch, location, blob, "Content-Range", "900-1799"), http.StatusForbidden, "the 900 B of uploads that are under way")
			want(t, w.do(http.MethodGet, location, nil), http.StatusNotFound)
		}},
		"pieces that become a blob": {do: func(w *guarded) {
			location := begin(w)
			want(t, w.do(http.MethodPatch, location, blob), http.StatusAccepted)
			if got := w.use(t, "*").UnderWay; got != 900 {
				t.Errorf("under way: %d", got)
			}
			want(t, w.do(http.MethodPut, location+digest, nil), http.StatusCreated)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g, _ := bounded(t, imx.RegistryQuota{Repositories: "*", Bytes: most})
			ci := g.as(g.token(t, "ci", imx.Push, "*"))
			end.do(ci)
			if got := g.use(t, "*").UnderWay; got != end.left {
				t.Errorf("under way: %d, want %d", got, end.left)
			}
			if g.use(t, "*").UsedBytes == 0 {
				want(t, ci.pushBlob("app", blob), http.StatusCreated)
			}
		})
	}
}

// brokenReader is a client that is gone.
type brokenReader struct{}

// Read implements io.Reader.
func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestTheRoomOfAnUploadThatExpiresIsGivenBack(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		quota := imx.RegistryQuota{Repositories: "*", Bytes: 1000}
		w := &world{tb: t, dir: dir, change: func(c *registry.Config) {
			c.Quotas = func() map[string]imx.RegistryQuota { return map[string]imx.RegistryQuota{"*": quota} }
		}}
		w.restart()
		g := &guarded{world: w, tokens: map[string]imx.RegistryToken{}}
		g.door = registry.Door{Tokens: func() map[string]imx.RegistryToken { return g.tokens }, Anonymous: []imx.RegistryRight{imx.Push}, Now: time.Now}
		g.h = g.Behind(g.door)
		location := g.do(http.MethodPost, "/v2/app/blobs/uploads/", nil).Header().Get("Location")
		want(t, g.do(http.MethodPatch, location, []byte(strings.Repeat("x", 900))), http.StatusAccepted)
		want(t, g.pushBlob("app", []byte(strings.Repeat("y", 200))), http.StatusForbidden)
		time.Sleep(61 * time.Minute)
		if got := g.use(t, "*").UnderWay; got != 0 {
			t.Errorf("under way: %d", got)
		}
		want(t, g.pushBlob("app", []byte(strings.Repeat("y", 200))), http.StatusCreated)
	})
}
