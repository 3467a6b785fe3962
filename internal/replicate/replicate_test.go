package replicate_test

// A registry may break off, refuse, or give out other bytes than it was asked for. These tests let each of that happen between two real
// registries, and hold a copy to being whole or none, and to saying which registry it was.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/blob"
	"imx/internal/registry"
	"imx/internal/replicate"
)

const imageType = "application/vnd.oci.image.manifest.v1+json"

func store(t *testing.T) *registry.Registry {
	t.Helper()
	dir := t.TempDir()
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.New(registry.Config{Dir: filepath.Join(dir, "registry"), Blobs: blobs})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// between serves a registry, by way of something that may spoil what it answers.
func between(t *testing.T, r *registry.Registry, spoil func(http.Handler) http.Handler) replicate.Side {
	t.Helper()
	h := r.Handler()
	if spoil != nil {
		h = spoil(h)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	side, err := replicate.Open(server.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return side
}

func push(t *testing.T, to ociregistry.Interface, name string, v map[string]any, layers ...string) imx.Digest {
	t.Helper()
	repo, tag, _ := strings.Cut(name, ":")
	desc := func(text string) map[string]any {
		d := ociregistry.Descriptor{MediaType: "application/octet-stream", Digest: ociregistry.Digest(imx.DigestBytes([]byte(text))), Size: int64(len(text))}
		if _, err := to.PushBlob(t.Context(), repo, d, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		return map[string]any{"mediaType": d.MediaType, "digest": d.Digest, "size": d.Size}
	}
	m := map[string]any{"schemaVersion": 2, "mediaType": imageType, "config": desc("{}")}
	list := []any{}
	for _, l := range layers {
		list = append(list, desc(l))
	}
	m["layers"] = list
	maps.Copy(m, v)
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.PushManifest(t.Context(), repo, tag, raw, imageType); err != nil {
		t.Fatal(err)
	}
	return imx.DigestBytes(raw)
}

func referrers(t *testing.T, of ociregistry.Interface, repo string, d imx.Digest) int {
	t.Helper()
	n := 0
	for _, err := range of.Referrers(t.Context(), repo, ociregistry.Digest(d), "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func about(d imx.Digest) map[string]any {
	return map[string]any{"artifactType": "application/x.test", "subject": map[string]any{"mediaType": imageType, "digest": d, "size": 1}}
}

func v1() [2]replicate.Place {
	return [2]replicate.Place{{Repository: "app", Tag: "v1"}, {Repository: "copy/app", Tag: "v1"}}
}

func large() string { return strings.Repeat("0123456789abcdef", 1<<16) }

func TestWhoKnowsWhatBelongsToAnImageCopiesThatAlone(t *testing.T) {
	from, to := store(t), store(t)
	d := push(t, from.Interface(), "app", nil, "layer")
	note := push(t, from.Interface(), "app", about(d), "a note")
	push(t, from.Interface(), "app", about(d), "another note")
	c := replicate.Copier{From: between(t, from, nil), To: between(t, to, nil), Alone: true}
	for _, one := range []imx.Digest{d, note} {
		if _, err := c.Copy(t.Context(), replicate.Place{Repository: "app", Digest: one}, replicate.Place{Repository: "app"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := referrers(t, c.To, "app", d); n != 1 {
		t.Errorf("%d manifests refer to it, and not the one that was copied", n)
	}
	raw, err := c.Manifest(t.Context(), "app", note)
	if err != nil || imx.DigestBytes(raw) != note {
		t.Errorf("%s, %v", raw, err)
	}
	const text = "a note"
	desc := ociregistry.Descriptor{Digest: ociregistry.Digest(imx.DigestBytes([]byte(text))), Size: int64(len(text))}
	if b, err := c.Blob(t.Context(), "app", desc); err != nil || string(b) != text {
		t.Errorf("%q, %v", b, err)
	}
	desc.Size++
	if _, err := c.Blob(t.Context(), "app", desc); imx.KindOf(err) != imx.Refused {
		t.Errorf("of another size: %v", err)
	}
}

func TestAnImageIsCopiedWithAllThatRefersToItAndOnce(t *testing.T) {
	from, to := store(t), store(t)
	d := push(t, from.Interface(), "app:v1", nil, "layer", large(), "")
	note := push(t, from.Interface(), "app", about(d), "a note")
	push(t, from.Interface(), "app", about(note), "a note on the note")
	c := replicate.Copier{From: between(t, from, nil), To: between(t, to, nil)}
	p := v1()
	done, err := c.Copy(t.Context(), p[0], p[1])
	if err != nil || done.Digest != d || done.Manifests != 3 || done.Blobs != 6 {
		t.Fatalf("%+v, %v", done, err)
	}
	if referrers(t, c.To, "copy/app", note) != 1 {
		t.Error("what refers to a note wasn't copied")
	}
	again, err := c.Copy(t.Context(), p[0], p[1])
	if err != nil || again.Manifests+again.Blobs != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	push(t, from.Interface(), "app:v2", nil, "other")
	if _, err := c.Copy(t.Context(), replicate.Place{Repository: "app", Tag: "v2"}, p[1]); imx.KindOf(err) != imx.Conflict || imx.AsError(err).Hint == "" {
		t.Errorf("onto another image: %v", err)
	}
	if _, err := c.Copy(t.Context(), replicate.Place{Repository: "app", Tag: "v9"}, p[1]); imx.KindOf(err) != imx.NotFound || !strings.Contains(err.Error(), c.From.Name) {
		t.Errorf("what isn't there: %v", err)
	}
}

// spoiled answers GET requests whose path has a word with other bytes.
func spoiled(word string, change func([]byte) []byte) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, word) {
				h.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			b := change(rec.Body.Bytes())
			for k := range rec.Header() {
				w.Header().Set(k, rec.Header().Get(k))
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			if strings.Contains(word, "manifests") { // it lies well: it says that these are what they are
				w.Header().Set("Docker-Content-Digest", string(imx.DigestBytes(b)))
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(b)
		})
	}
}

func TestARegistryThatServesOtherBytesThanAskedForIsRefusedByName(t *testing.T) {
	flip := func(b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 1; return b }
	for name, c := range map[string]struct {
		word   string
		change func([]byte) []byte
	}{
		"one bit of a layer":     {"/blobs/", flip},
		"bytes too many":         {"/blobs/", func(b []byte) []byte { return append(bytes.Clone(b), 'x') }},
		"bytes too few":          {"/blobs/", func(b []byte) []byte { return b[:len(b)-1] }},
		"another blob":           {"/blobs/", func([]byte) []byte { return []byte("{}") }},
		"one bit of a manifest":  {"/manifests/sha256", func(b []byte) []byte { return bytes.Replace(b, []byte(`"size":5`), []byte(`"size":6`), 1) }},
		"another media type yet": {"/manifests/sha256", func(b []byte) []byte { return append(bytes.Clone(b), ' ') }},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := store(t), store(t)
			d := push(t, from.Interface(), "app:v1", nil, "layer", large())
			c := replicate.Copier{From: between(t, from, spoiled(c.word, c.change)), To: between(t, to, nil)}
			_, err := c.Copy(t.Context(), replicate.Place{Repository: "app", Digest: d}, v1()[1])
			if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "registry "+c.From.Name+" serves other bytes than asked for") {
				t.Errorf("err = %v (%s)", err, imx.KindOf(err))
			}
			for _, ref := range []string{"v1", string(d)} {
				if _, _, err := to.Manifest(t.Context(), "copy/app", ref); imx.KindOf(err) != imx.NotFound {
					t.Errorf("%s can be pulled from the copy: %v", ref, err)
				}
			}
		})
	}
}

// A tag's manifest that has another digest than the registry says is a lie, too.
func TestATagWhoseManifestIsAnotherIsRefused(t *testing.T) {
	from, to := store(t), store(t)
	push(t, from.Interface(), "app:v1", nil, "layer")
	lie := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			for k := range rec.Header() {
				w.Header().Set(k, rec.Header().Get(k))
			}
			w.Header().Set("Docker-Content-Digest", string(imx.DigestBytes([]byte("another"))))
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
		})
	}
	c := replicate.Copier{From: between(t, from, lie), To: between(t, to, nil)}
	if _, err := c.Copy(t.Context(), v1()[0], v1()[1]); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "serves other bytes") {
		t.Errorf("err = %v", err)
	}
}

// cut ends each answer after some bytes; the registry knows how to go on.
func cut(after int, times *int, mu *sync.Mutex) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			mu.Lock()
			ends := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") && *times > 0 && rec.Body.Len() > 2
			if ends {
				*times--
			}
			mu.Unlock()
			for k := range rec.Header() {
				w.Header().Set(k, rec.Header().Get(k))
			}
			w.WriteHeader(rec.Code)
			b := rec.Body.Bytes()
			if ends {
				b = b[:min(after, len(b)-1)]
			}
			_, _ = w.Write(b)
		})
	}
}

func TestACopyThatBreaksOffGoesOnWhereItWas(t *testing.T) {
	from, to := store(t), store(t)
	d := push(t, from.Interface(), "app:v1", nil, large())
	var mu sync.Mutex
	times := 5
	c := replicate.Copier{From: between(t, from, cut(100_000, &times, &mu)), To: between(t, to, nil)}
	if _, err := c.Copy(t.Context(), v1()[0], v1()[1]); err != nil {
		t.Fatal(err)
	}
	if raw, _, err := to.Manifest(t.Context(), "copy/app", "v1"); err != nil || imx.DigestBytes(raw) != d {
		t.Errorf("%v", err)
	}
}

func TestACopyThatGetsNoFurtherSaysSoAndAnotherGoesOn(t *testing.T) {
	from, to := store(t), store(t)
	push(t, from.Interface(), "app:v1", nil, "first", large())
	var mu sync.Mutex
	times := 1 << 20
	c := replicate.Copier{From: between(t, from, cut(0, &times, &mu)), To: between(t, to, nil)}
	if _, err := c.Copy(t.Context(), v1()[0], v1()[1]); imx.KindOf(err) != imx.Unavailable || imx.AsError(err).Hint == "" {
		t.Errorf("err = %v (%s)", err, imx.KindOf(err))
	}
	if _, _, err := to.Manifest(t.Context(), "copy/app", "v1"); imx.KindOf(err) != imx.NotFound {
		t.Errorf("half a copy: %v", err)
	}
	mu.Lock()
	times = 0
	mu.Unlock()
	if _, err := c.Copy(t.Context(), v1()[0], v1()[1]); err != nil {
		t.Error(err)
	}
}

// The law: what is missing is what a copy of it would change; after it nothing is.
func TestNothingIsMissingAfterWhatWasMissingWasCopied(t *testing.T) {
	digest := rapid.Map(rapid.IntRange(0, 3), func(i int) imx.Digest { return imx.DigestBytes([]byte{byte(i)}) })
	listing := rapid.Map(rapid.MapOf(
		rapid.Map(rapid.SampledFrom([]string{"a:v1", "a:v2", "b:plan-x", "b/c:v1"}), func(s string) replicate.Tagged {
			repo, tag, _ := strings.Cut(s, ":")
			return replicate.Tagged{Repository: repo, Tag: tag}
		}),
		rapid.Custom(func(t *rapid.T) replicate.Image {
			return replicate.Image{Digest: digest.Draw(t, "digest"), Referrers: rapid.SliceOfDistinct(digest, func(d imx.Digest) imx.Digest { return d }).Draw(t, "referrers")}
		})), func(m map[replicate.Tagged]replicate.Image) replicate.Listing { return m })
	rapid.Check(t, func(t *rapid.T) {
		here, there := listing.Draw(t, "here"), listing.Draw(t, "there")
		for _, m := range replicate.Missing(here, there) {
			im := here[m]
			there[replicate.Tagged{Repository: m.Repository, Tag: replicate.There(m.Tag, im.Digest)}] = im
		}
		if left := replicate.Missing(here, there); len(left) > 0 {
			t.Fatalf("still missing: %v", left)
		}
		if len(replicate.Missing(nil, there)) > 0 {
			t.Fatal("nothing lacks something")
		}
	})
}

// follower follows one mirror between two registries in memory, whose changes it is told of.
type follower struct {
	*replicate.Follower
	rule    imx.RegistryMirror
	from    ociregistry.Interface
	changed chan struct{}
	broken  error

	mu sync.Mutex
	to ociregistry.Interface
}

// replace puts another registry in the place of the one that is copied to.
func (f *follower) replace(to ociregistry.Interface) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to = to
}

func follow(ctx context.Context, t *testing.T) *follower {
	t.Helper()
	f := &follower{
		rule: imx.RegistryMirror{Name: "backup", Direction: imx.MirrorTo, Repository: "team/*"},
		from: ocimem.New(), to: ocimem.New(), changed: make(chan struct{}),
	}
	f.Follower = replicate.NewFollower(replicate.Config{
		Rules:   func() map[string]imx.RegistryMirror { return map[string]imx.RegistryMirror{"backup": f.rule} },
		Changed: func() <-chan struct{} { return f.changed },
		Open: func(imx.RegistryMirror) (replicate.Side, replicate.Side, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return replicate.Side{Interface: f.from, Name: "here"}, replicate.Side{Interface: f.to, Name: "there"}, f.broken
		},
		Enter: func(context.Context) (func(), error) { return func() {}, nil },
		Now:   time.Now, Every: time.Minute, Rest: time.Second,
	})
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestAMirrorFollowsWhatIsNewAndWhatIsStatedOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := follow(ctx, t)
		defer cancel()
		synctest.Wait()
		d := push(t, f.from, "team/app:v1", nil, "layer")
		built := push(t, f.from, "team/app:plan-x", nil, "built")
		push(t, f.from, "other:v1", nil, "not mirrored")
		time.Sleep(2 * time.Minute)
		if got, err := f.to.ResolveTag(ctx, "team/app", "v1"); err != nil || imx.Digest(got.Digest) != d {
			t.Errorf("v1: %v, %v", got.Digest, err)
		}
		if _, err := f.to.ResolveTag(ctx, "team/app", replicate.There("plan-x", built)); err != nil {
			t.Errorf("a build's tag: %v", err)
		}
		if _, err := f.to.ResolveTag(ctx, "other", "v1"); err == nil {
			t.Error("more was copied than the rule says")
		}
		push(t, f.from, "team/app", about(d), "stated later")
		time.Sleep(2 * time.Minute)
		n := referrers(t, f.to, "team/app", d)
		if s := f.Status()[0]; n != 1 || s.Behind != 0 || s.Copied != 3 || s.Error != nil {
			t.Errorf("%d referrers; %+v", n, s)
		}
	})
}

func TestAMirrorThatCantCopySaysWhyAndGoesOnLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := follow(ctx, t)
		defer cancel()
		synctest.Wait()
		push(t, f.from, "team/app:v1", nil, "layer")
		push(t, f.to, "team/app:v1", nil, "another")
		time.Sleep(2 * time.Minute)
		if s := f.Status()[0]; s.Behind != 1 || s.Error == nil || s.Error.Kind != imx.Conflict {
			t.Errorf("%+v", s)
		}
		f.replace(ocimem.New())
		time.Sleep(2 * time.Minute)
		if s := f.Status()[0]; s.Behind != 0 || s.Error != nil || s.Copied != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestASecretGoesToItsRegistryAlone(t *testing.T) {
	asked := make(chan string, 10)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- "other " + r.Header.Get("Authorization")
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer other.Close()
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- "first " + r.Header.Get("Authorization")
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer first.Close()
	side, err := replicate.Open(first.URL, "name:secret", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := side.GetBlob(t.Context(), "app", ociregistry.Digest(imx.DigestBytes(nil))); err == nil {
		t.Error("it was let in")
	}
	close(asked)
	secret := "Basic bmFtZTpzZWNyZXQ="
	seen := map[string]bool{}
	for line := range asked {
		seen[line] = true
	}
	if !seen["first "+secret] || !seen["other "] || seen["other "+secret] {
		t.Errorf("asked: %v", seen)
	}
	for _, address := range []string{"ftp://x", "http://", "https://host/path", "a b"} {
		if _, err := replicate.Open(address, "", nil); imx.KindOf(err) != imx.Invalid {
			t.Errorf("%q: %v", address, err)
		}
	}
}
