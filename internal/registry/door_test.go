package registry_test

// Who may do what at the registry's address. Each test plays a client that knows what the specifications of the field say, no more.

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"imx"
	"imx/internal/grant"
	"imx/internal/registry"
)

// givesOut is a door that everybody may pull through.
func givesOut() registry.Door {
	return registry.Door{
		Tokens:    func() map[string]imx.RegistryToken { return nil },
		Anonymous: []imx.RegistryRight{imx.Pull},
		Now:       time.Now,
	}
}

// guarded is a registry behind a door, with its tokens.
type guarded struct {
	*world
	door   registry.Door
	tokens map[string]imx.RegistryToken
}

func newGuarded(t *testing.T, anonymous ...imx.RegistryRight) *guarded {
	t.Helper()
	g := &guarded{world: newWorld(t), tokens: map[string]imx.RegistryToken{}}
	audit, err := registry.OpenAudit(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := audit.Close(); err != nil {
			t.Error(err)
		}
	})
	g.door = registry.Door{Tokens: func() map[string]imx.RegistryToken { return g.tokens }, Anonymous: anonymous, Audit: audit, Now: time.Now}
	g.h = g.Behind(g.door)
	return g
}

// token makes a token and returns its secret.
func (g *guarded) token(t *testing.T, owner imx.Principal, right imx.RegistryRight, repositories ...string) string {
	t.Helper()
	made, err := grant.Make(imx.TokenRequest{
		Owner: owner, Rights: []imx.RegistryRight{right}, Repositories: repositories, Lasts: imx.Duration(time.Hour),
	}, fmt.Sprintf("%08d", len(g.tokens)), time.Now(), []byte(fmt.Sprintf("%020d", len(g.tokens))))
	if err != nil {
		t.Fatal(err)
	}
	g.tokens[made.ID] = made.RegistryToken
	return made.Secret
}

// as makes requests with a token.
func (g *guarded) as(secret string) *guarded {
	h := g.Behind(g.door)
	w := *g.world
	w.h = http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		req.Header.Set("Authorization", "Bearer "+secret)
		h.ServeHTTP(rw, req)
	})
	return &guarded{world: &w, door: g.door, tokens: g.tokens}
}

func TestATokenOpensItsRepositoriesForItsRightsAlone(t *testing.T) {
	g := newGuarded(t)
	a := makeImage(t, "layer")
	pusher, puller := g.as(g.token(t, "ci", imx.Push, "team/*")), g.as(g.token(t, "ops", imx.Pull, "team/app"))
	want(t, pusher.push("team/app", "v1", a), http.StatusCreated)
	want(t, pusher.push("team/other", "v1", a), http.StatusCreated)
	want(t, pusher.push("elsewhere", "v1", a), http.StatusForbidden, "DENIED", "the token of ci may not push", `\"elsewhere\"`)
	want(t, pusher.push("frozen/set", "v1", a), http.StatusForbidden, "DENIED")
	if err := puller.whole("team/app", "v1", a); err != nil {
		t.Error(err)
	}
	want(t, puller.push("team/app", "v2", a), http.StatusForbidden, "may not push")
	want(t, puller.do(http.MethodGet, "/v2/team/other/manifests/v1", nil), http.StatusForbidden, "may not pull")
	want(t, puller.do(http.MethodGet, "/v2/_catalog", nil), http.StatusOK, `["team/app"]`)
	// A blob isn't had by way of a repository that one may push to.
	d := string(imx.DigestBytes(a.blobs[1]))
	stranger := g.as(g.token(t, "guest", imx.Push, "guest"))
	want(t, stranger.do(http.MethodPost, "/v2/guest/blobs/uploads/?mount="+d+"&from=team/app", nil), http.StatusAccepted)
	want(t, stranger.do(http.MethodGet, "/v2/guest/blobs/"+d, nil), http.StatusNotFound)
	want(t, g.do(http.MethodGet, "/v2/team/app/manifests/v1", nil), http.StatusUnauthorized, "UNAUTHORIZED", "imx registry token create")
}

func TestAnUploadIsGoneOnWithByWhoBeganIt(t *testing.T) {
	g := newGuarded(t)
	one, other := g.as(g.token(t, "one", imx.Push, "*")), g.as(g.token(t, "other", imx.Push, "*"))
	location := one.do(http.MethodPost, "/v2/app/blobs/uploads/", nil).Header().Get("Location")
	want(t, other.do(http.MethodPatch, location, []byte("x")), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	want(t, one.do(http.MethodPatch, location, []byte("x")), http.StatusAccepted)
}

func TestAClientIsToldHowToLogIn(t *testing.T) {
	g := newGuarded(t, imx.Pull)
	want(t, g.do(http.MethodGet, "/v2/", nil), http.StatusOK) // nobody has a token: there is nothing to log in for
	secret := g.token(t, "ci", imx.Push, "*")
	rec := g.do(http.MethodGet, "/v2/", nil)
	want(t, rec, http.StatusUnauthorized)
	if got := rec.Header().Get("WWW-Authenticate"); got != `Bearer realm="http://example.com/v2/token",service="imx"` {
		t.Errorf("challenge: %s", got)
	}
	rec = g.do(http.MethodPut, "/v2/app/manifests/v1", nil)
	want(t, rec, http.StatusUnauthorized)
	if got := rec.Header().Get("WWW-Authenticate"); !strings.HasSuffix(got, `,scope="repository:app:pull,push"`) {
		t.Errorf("challenge: %s", got)
	}
	var told struct {
		Token string `json:"token"`
	}
	for user, want := range map[string]string{"": "anonymous", "anybody:" + secret: secret} {
		req := httptest.NewRequest(http.MethodGet, "/v2/token?service=imx&scope=repository:app:pull", nil)
		if login, password, ok := strings.Cut(user, ":"); ok {
			req.SetBasicAuth(login, password)
		}
		rec := httptest.NewRecorder()
		g.h.ServeHTTP(rec, req)
		if err := json.Unmarshal(rec.Body.Bytes(), &told); err != nil || told.Token != want {
			t.Errorf("token for %q: %s", user, rec.Body)
		}
	}
	want(t, g.as("anonymous").do(http.MethodGet, "/v2/", nil), http.StatusOK)
	want(t, g.as(secret).do(http.MethodGet, "/v2/", nil), http.StatusOK)
	want(t, g.as("guessed").do(http.MethodGet, "/v2/", nil), http.StatusUnauthorized, "isn't right")
	want(t, g.as("guessed").do(http.MethodGet, "/v2/app/manifests/v1", nil), http.StatusUnauthorized, "isn't right")
}

func TestATokenThatIsOverOpensNothing(t *testing.T) {
	g := newGuarded(t)
	secret := g.token(t, "ci", imx.Push, "*")
	a := makeImage(t, "layer")
	want(t, g.as(secret).push("app", "v1", a), http.StatusCreated)
	for id, token := range g.tokens {
		token.Revoked = time.Now()
		g.tokens[id] = token
	}
	want(t, g.as(secret).do(http.MethodGet, "/v2/app/manifests/v1", nil), http.StatusUnauthorized, "of ci was revoked on")
	want(t, g.as(secret[:len(secret)-1]).do(http.MethodGet, "/v2/app/manifests/v1", nil), http.StatusUnauthorized, "isn't right")
	for id, token := range g.tokens {
		token.Revoked, token.Ends = time.Time{}, time.Now().Add(-time.Second)
		g.tokens[id] = token
	}
	want(t, g.as(secret).push("app", "v2", a), http.StatusUnauthorized, "of ci ended on")
}

func TestRealClientsLogInWithATokenAsPassword(t *testing.T) {
	g := newGuarded(t, imx.Pull)
	server := httptest.NewServer(g.h)
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	secret := g.token(t, "ci", imx.Push, "team/*")
	ref, err := name.ParseReference(host + "/team/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(2000, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err == nil || !strings.Contains(err.Error(), "UNAUTHORIZED") {
		t.Errorf("a push without a token: %v", err)
	}
	if err := remote.Write(ref, img, remote.WithAuth(&authn.Basic{Username: "ci", Password: secret})); err != nil {
		t.Errorf("go-containerregistry: %v", err)
	}
	if _, err := remote.Image(ref); err != nil {
		t.Errorf("pulling without a token: %v", err)
	}
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skopeo isn't installed: make deps")
	}
	skopeo := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), "skopeo", append([]string{"--insecure-policy"}, args...)...).CombinedOutput()
		return fmt.Sprintf("%v\n%s", err, out)
	}
	from, to := "docker://"+host+"/team/app:v1", "docker://"+host+"/team/copy:v1"
	tls := []string{"--src-tls-verify=false", "--dest-tls-verify=false", "--src-no-creds"}
	if out := skopeo(append([]string{"copy", "--dest-creds", "ci:" + secret, from, to}, tls...)...); !strings.HasPrefix(out, "<nil>") {
		t.Errorf("skopeo: %s", out)
	}
	if out := skopeo(append([]string{"copy", "--dest-creds", "ci:wrong", from, to + "2"}, tls...)...); strings.HasPrefix(out, "<nil>") {
		t.Errorf("skopeo with a wrong password: %s", out)
	}
	if out := skopeo("inspect", "--tls-verify=false", "--no-creds", to); !strings.HasPrefix(out, "<nil>") {
		t.Errorf("skopeo without one: %s", out)
	}
}

func TestEveryPullPushAndRefusalIsOnTheTrail(t *testing.T) {
	g := newGuarded(t)
	secret := g.token(t, "ci", imx.Push, "team/*")
	a := makeImage(t, "layer")
	ci := g.as(secret)
	want(t, ci.push("team/app", "v1", a), http.StatusCreated)
	for range 3 {
		want(t, ci.do(http.MethodGet, "/v2/team/app/manifests/v1", nil), http.StatusOK)
	}
	want(t, ci.do(http.MethodGet, "/v2/team/app/manifests/none", nil), http.StatusNotFound)
	want(t, ci.do(http.MethodGet, "/v2/other/manifests/v1", nil), http.StatusForbidden)
	want(t, g.do(http.MethodGet, "/v2/team/app/manifests/v1", nil), http.StatusUnauthorized)
	lines, err := g.door.Audit.Read(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lines {
		got = append(got, fmt.Sprintf("%s %s %s:%s %s push=%t more=%d %s", l.By, l.From, l.Repository, l.Tag, l.Digest.Short(), l.Push, l.Count, l.Refused))
	}
	short := imx.Digest(a.digest()).Short()
	for i, want := range []string{
		"ci 192.0.2.1 team/app:v1 " + short + " push=true more=0 ",
		"ci 192.0.2.1 team/app:v1 " + short + " push=false more=0 ",
		"ci 192.0.2.1 team/app:v1 " + short + " push=false more=2 ", // of the time of the first
		"ci 192.0.2.1 other:  push=false more=0 the token of ci may not pull",
		"anonymous 192.0.2.1 team/app:  push=false more=0 to pull in repository",
	} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Errorf("line %d of %q isn't %q", i, got, want)
		}
	}
}

// Rights are asked for in the repository that the request then changes, whatever its path looks like.
func FuzzNoPathLeadsAroundTheDoor(f *testing.F) {
	for _, p := range []string{
		"/v2/open/manifests/v1", "/v2/shut/manifests/v1", "/v2/open/blobs/x/manifests/v1", "/v2/shut/manifests/x/blobs/uploads/", "/v2/open/blobs/uploads/../../../shut/manifests/v1",
		"/v2/shut/blobs/uploads", "/v2//shut/manifests/v1", "/v2/open/manifests//v1", "/v2/shut/manifests/v1/", "/v2/open/tags/list/../../shut/manifests/v1",
	} {
		f.Add(p, true)
		f.Add(p, false)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, path string, put bool) {
		w := &world{tb: t, dir: dir}
		w.restart()
		g := &guarded{world: w, tokens: map[string]imx.RegistryToken{}}
		g.door = registry.Door{Tokens: func() map[string]imx.RegistryToken { return g.tokens }, Now: time.Now}
		open := g.as(g.token(t, "guest", imx.Push, "open"))
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
		req.URL.Path = path
		if put {
			a := makeImage(t)
			for _, b := range a.blobs {
				want(t, open.pushBlob("open", b), http.StatusCreated)
			}
			req = httptest.NewRequestWithContext(context.Background(), http.MethodPut, "/", strings.NewReader(string(a.raw)))
			req.URL.Path = path
			req.Header.Set("Content-Type", a.kind)
		}
		open.h.ServeHTTP(httptest.NewRecorder(), req)
		entries, err := os.ReadDir(dir + "/registry/repositories")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "open" {
				t.Errorf("%q made repository %s", path, e.Name())
			}
		}
	})
}
