package takeover_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/policy"
	"imx/internal/takeover"
)

func TestWhatRunsInTheEnvironmentBeforeIsReleasedHereBitForBit(t *testing.T) {
	w := newWorld(t)
	dry, err := w.Take(t.Context(), "bob", imx.TakeoverRequest{DryRun: true}, func(imx.Progress) {})
	if err != nil || len(dry.Plan.Changes) == 0 || len(dry.Releases) != 0 || len(w.here.control.State().Services) != 0 {
		t.Fatalf("a dry run: %+v, %v", dry, err)
	}
	result, err := w.take(t)
	if err != nil || len(result.Releases) != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	offered, r := w.offer.Images[0], result.Releases[0]
	if r.Image != offered.Image || r.Plan != w.offer.Plan || r.Request != w.offer.Request || r.Origin == nil || r.Origin.Environment != staging ||
		!r.Origin.Since.Equal(w.offer.Since()) {
		t.Errorf("released %+v", r)
	}
	if w.here.built != 0 || w.here.tested != 0 {
		t.Errorf("%d images were built, %d runs of tests", w.here.built, w.here.tested)
	}
	for _, d := range []imx.Digest{r.Image.Digest, r.Image.Inventory, r.Image.Plan, r.Plan, r.Request, r.Origin.Bundle, offered.Artifact} {
		if _, err := w.here.blobs.ReadAll(d, 1<<20); err != nil {
			t.Errorf("%s isn't kept: %v", d, err)
		}
	}
	for _, e := range offered.Evidence {
		got := w.here.control.State().Evidence[r.Image.Digest][e.PredicateType]
		if got.Signer != e.Signer || got.Bundle != e.Bundle || !got.There.Equal(e.Made) || w.here.evidence.Check(got) != nil {
			t.Errorf("of %s there is %+v, %v", e.PredicateType, got, w.here.evidence.Check(got))
		}
	}
	again, err := w.Take(t.Context(), "bob", imx.TakeoverRequest{DryRun: true}, func(imx.Progress) {})
	if err != nil || len(again.Plan.Changes) != 0 {
		t.Errorf("once more there is something to change: %+v, %v", again.Plan.Changes, err)
	}
}

func TestWhatWasTakenOverOutlivesACollection(t *testing.T) {
	w := newWorld(t)
	result, err := w.take(t)
	if err != nil {
		t.Fatal(err)
	}
	none := imx.Duration(0)
	if _, err := w.here.Collect(t.Context(), "root", imx.CollectRequest{Grace: &none}, func(imx.Progress) {}); err != nil {
		t.Fatal(err)
	}
	r := result.Releases[0]
	for _, d := range []imx.Digest{r.Image.Digest, r.Image.Inventory, r.Image.Plan, r.Plan, r.Request, r.Origin.Bundle} {
		if !w.here.blobs.Has(d) {
			t.Errorf("%s was collected", d)
		}
	}
}

// changed answers as a registry does, with other bytes where a path has a word.
func changed(word string, change func(b []byte) []byte) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			b := rec.Body.Bytes()
			if strings.Contains(r.URL.Path, word) && r.Method == http.MethodGet && rec.Code == http.StatusOK {
				b = change(bytes.Clone(b))
			}
			for k := range rec.Header() {
				rw.Header().Set(k, rec.Header().Get(k))
			}
			rw.WriteHeader(rec.Code)
			_, _ = rw.Write(b)
		})
	}
}

func flip(b []byte) []byte { b[len(b)/2] ^= 1; return b }

func TestNothingIsReleasedOfWhatIsntAsTheOfferSays(t *testing.T) {
	other := imx.DigestBytes([]byte("other"))
	for what, c := range map[string]struct {
		spoil func(t *testing.T, w *world)
		kind  imx.Kind
		says  string
	}{
		"a bit of a blob flips on the way": {func(_ *testing.T, w *world) { w.front = changed("/blobs/", flip) }, imx.Refused, "serves other bytes than asked for"},
		"a bit of a layer flips on the way": {func(_ *testing.T, w *world) {
			layer := layers(w)[0]
			w.front = changed(string(layer), flip)
		}, imx.Refused, "serves other bytes than asked for"},
		"a bit of a manifest flips on the way": {func(_ *testing.T, w *world) { w.front = changed("/manifests/", flip) }, imx.Refused, "serves other bytes than asked for"},
		"an artifact with another plan": {
			func(t *testing.T, w *world) { w.artifact(t, imx.MediaPlan, []byte("{}")) }, imx.Refused,
			"as " + imx.MediaPlan + ", and the offer says",
		},
		"an artifact with another request": {
			func(t *testing.T, w *world) { w.artifact(t, imx.MediaRequest, []byte("{}")) }, imx.Refused,
			"as " + imx.MediaRequest + ", and the offer says",
		},
		"an artifact with another inventory": {
			func(t *testing.T, w *world) { w.artifact(t, imx.MediaInventory, []byte("{}")) }, imx.Refused,
			"as " + imx.MediaInventory + ", and the offer says",
		},
		"a request of another template":   {func(t *testing.T, w *world) { w.describeOtherwise(t) }, imx.Refused, "the plan of staging isn't one of the template that comes with it"},
		"an artifact with something more": {func(t *testing.T, w *world) { w.artifact(t, "text/plain", []byte("hi")) }, imx.Refused, "too much"},
		"an artifact that isn't there":    {func(_ *testing.T, w *world) { w.offer.Images[0].Artifact = other }, imx.NotFound, other.Short()},
		"an image in place of an artifact": {
			func(_ *testing.T, w *world) { w.offer.Images[0].Artifact = w.offer.Images[0].Image.Digest }, imx.Refused,
			"isn't the artifact that has the plan of the image web",
		},
		"an image of another size": {func(_ *testing.T, w *world) { w.offer.Images[0].Image.Size++ }, imx.Refused, "and its manifest says"},
		"an image of another plan": {func(_ *testing.T, w *world) { w.offer.Images[0].Image.Plan = other }, imx.Refused, "in the plan web of"},
		"an image with another root": {
			func(_ *testing.T, w *world) { w.offer.Images[0].Image.Root = other }, imx.Refused,
			"the root of image web is",
		},
		"an answer to another question": {
			func(_ *testing.T, w *world) { w.spoil = func(o *imx.Offer) { o.Asked = strings.Repeat("x", 32) } }, imx.Refused,
			"it answers another question",
		},
		"another environment":                 {func(_ *testing.T, w *world) { w.offer.Environment = "dev" }, imx.Refused, "it says that it comes from"},
		"another service's image":             {func(_ *testing.T, w *world) { w.offer.Services[0].Image = other }, imx.Refused, "has an image that isn't one of its images"},
		"a service that isn't it":             {func(_ *testing.T, w *world) { w.offer.Services[0].Service = "db" }, imx.Conflict, "service web isn't of the plan that staging offers"},
		"no image":                            {func(_ *testing.T, w *world) { w.offer.Images = nil }, imx.Refused, "it has 1 services and 0 images"},
		"a key that nobody knows":             {func(t *testing.T, w *world) { w.there.key(t, imx.RoleReleaser) }, imx.Refused, "signed with a key that isn't known here"},
		"a key of another role":               {func(_ *testing.T, w *world) { w.signer = imx.RoleBuilder }, imx.Refused, "signed with the wrong role"},
		"a statement that isn't of the image": {func(_ *testing.T, w *world) { w.offer.Images[0].Evidence[0].Image = other }, imx.Refused, "isn't about it, or isn't in order"},
		"a statement of other bytes":          {func(_ *testing.T, w *world) { w.offer.Images[0].Evidence[0].Bundle = other }, imx.Refused, "doesn't have the bytes that the offer names"},
		"a provenance that a stranger signed": {func(t *testing.T, w *world) {
			w.there.key(t, imx.RoleBuilder)
			w.restate(t, imx.PredicateProvenance)
		}, imx.Refused, "it is signed with an unknown key"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			c.spoil(t, w)
			_, err := w.take(t)
			if imx.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) || imx.AsError(err).Hint == "" {
				t.Errorf("%v (hint %q)", err, imx.AsError(err).Hint)
			}
			if s := w.here.control.State(); len(s.Services) != 0 || s.Apply != nil {
				t.Errorf("services %v, open apply %v", s.Services, s.Apply)
			}
		})
	}
}

// layers are the digests of the offered image's layers.
func layers(w *world) []imx.Digest {
	raw, err := w.there.blobs.ReadAll(w.offer.Images[0].Image.Digest, 1<<20)
	if err != nil {
		panic(err)
	}
	var all []imx.Digest
	for _, part := range strings.Split(string(raw), `"digest":"`)[2:] { // the first is the configuration's
		all = append(all, imx.Digest(part[:strings.Index(part, `"`)]))
	}
	return all
}

// restate has staging state something of the offered image once more.
func (w *world) restate(t *testing.T, kind string) {
	t.Helper()
	im := &w.offer.Images[0]
	for i, e := range im.Evidence {
		if e.PredicateType == kind {
			im.Evidence[i] = w.there.states(t, im.Image, kind)
		}
	}
}

// artifact gives the offered image an artifact with one document changed.
func (w *world) artifact(t *testing.T, mediaType string, b []byte) {
	t.Helper()
	im := w.offer.Images[0].Image
	documents := map[string][]byte{}
	for kind, d := range map[string]imx.Digest{imx.MediaPlan: w.offer.Plan, imx.MediaInventory: im.Inventory, imx.MediaRequest: w.offer.Request} {
		raw, err := w.there.blobs.ReadAll(d, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		documents[kind] = raw
	}
	documents[mediaType] = b
	w.offer.Images[0].Artifact = w.there.artifact(t, im, documents)
}

// describeOtherwise has staging say that the plan was made of a template that bounds the service otherwise.
func (w *world) describeOtherwise(t *testing.T) {
	t.Helper()
	raw, err := w.there.blobs.ReadAll(w.offer.Request, 1<<20)
	var req imx.PlanRequest
	if err == nil {
		err = json.Unmarshal(raw, &req)
	}
	if err != nil {
		t.Fatal(err)
	}
	req.Template.Services[0].Resources.Pids = 7
	if raw, err = json.Marshal(req); err != nil {
		t.Fatal(err)
	}
	w.offer.Request = imx.DigestBytes(raw)
	im := w.offer.Images[0].Image
	documents := map[string][]byte{imx.MediaRequest: raw}
	for kind, d := range map[string]imx.Digest{imx.MediaPlan: w.offer.Plan, imx.MediaInventory: im.Inventory} {
		if documents[kind], err = w.there.blobs.ReadAll(d, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	w.offer.Images[0].Artifact = w.there.artifact(t, im, documents)
}

func TestWhatWasCutOffGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t)
	whole := w.front
	for cut := 1; ; cut++ {
		n := 0
		w.front = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if n++; n > cut {
					rw.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				h.ServeHTTP(rw, r)
			})
		}
		_, err := w.take(t)
		if err == nil {
			break
		}
		s := w.here.control.State()
		if len(s.Services) != 0 || len(s.Images) != 0 || len(s.Evidence) != 0 || s.Apply != nil || cut > 1000 {
			t.Fatalf("after %d answers: services %v, images %v, evidence %v, open apply %v", cut, s.Services, s.Images, s.Evidence, s.Apply)
		}
	}
	w.front = whole
	if got := w.here.control.State().Services["web"].Releases; len(got) != 1 || got[0].Image != w.offer.Images[0].Image {
		t.Errorf("released %+v", got)
	}
}

func TestAnImageThatIsHereIsntBroughtAgain(t *testing.T) {
	w := newWorld(t)
	if _, err := w.take(t); err != nil {
		t.Fatal(err)
	}
	if err := w.here.control.Destroy("bob", false, "web"); err != nil {
		t.Fatal(err)
	}
	if err := w.here.control.Record("imx", imx.Removed{Service: "web"}); err != nil {
		t.Fatal(err)
	}
	asked := ""
	w.front = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			for _, l := range layers(w) {
				if strings.Contains(r.URL.Path, string(l)) {
					asked += r.URL.Path
				}
			}
			h.ServeHTTP(rw, r)
		})
	}
	if _, err := w.take(t); err != nil || asked != "" {
		t.Errorf("%v; asked for %s", err, asked)
	}
}

func TestTestsThatAStrangerStatesAreRunHere(t *testing.T) {
	w := newWorld(t)
	w.there.key(t, imx.RoleTester)
	w.restate(t, imx.PredicateTest)
	if _, err := w.take(t); err != nil || w.here.tested != 1 {
		t.Errorf("%d runs of tests, %v", w.here.tested, err)
	}
}

func TestWhatIsStatedHereStays(t *testing.T) {
	w := newWorld(t)
	if _, err := w.take(t); err != nil {
		t.Fatal(err)
	}
	im := w.offer.Images[0].Image
	own := w.here.states(t, im, imx.PredicateProvenance)
	if _, err := w.take(t); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(own, w.here.control.State().Evidence[im.Digest][imx.PredicateProvenance]); diff != "" {
		t.Error(diff)
	}
}

func TestAnotherPlanThanWasShownIsAConflict(t *testing.T) {
	w := newWorld(t)
	_, err := w.Take(t.Context(), "bob", imx.TakeoverRequest{Plan: imx.DigestBytes([]byte("shown"))}, func(imx.Progress) {})
	if imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "by now, and not") {
		t.Errorf("%v", err)
	}
	_, err = w.Take(t.Context(), "bob", imx.TakeoverRequest{Base: imx.DigestBytes([]byte("elsewhere"))}, func(imx.Progress) {})
	if imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "what runs has changed") {
		t.Errorf("%v", err)
	}
}

func TestEachQuestionIsNew(t *testing.T) {
	w := newWorld(t)
	asked := map[string]bool{}
	for range 3 {
		if _, err := w.Take(t.Context(), "bob", imx.TakeoverRequest{DryRun: true}, func(imx.Progress) {}); err != nil {
			t.Fatal(err)
		}
		asked[w.nonce] = true
	}
	if len(asked) != 3 {
		t.Errorf("it asked %d questions: %v", len(asked), asked)
	}
}

func TestTheUpstreamIsTheOneThatIsNamedOrThePolicysOrTheOnlyOne(t *testing.T) {
	known := func(names ...string) map[string]imx.Upstream {
		all := map[string]imx.Upstream{}
		for _, n := range names {
			all[n] = imx.Upstream{Environment: n, Since: time.Time{}}
		}
		return all
	}
	after := policy.Default("production")
	after.Settings.After = staging
	for i, c := range []struct {
		known      map[string]imx.Upstream
		policy     imx.Policy
		from, want string
		kind       imx.Kind
		hint       string
	}{
		{known(), policy.Default("production"), "", "", imx.NotFound, "imx key export"},
		{known("dev"), policy.Default("production"), "", "dev", "", ""},
		{known("dev", staging), policy.Default("production"), "", "", imx.Invalid, "known are dev, staging"},
		{known("dev", staging), after, "", staging, "", ""},
		{known("dev", staging), after, "dev", "dev", "", ""},
		{known("dev"), after, "", "", imx.NotFound, "known are dev"},
		{known("dev"), after, "test", "", imx.NotFound, "known are dev"},
	} {
		s := &imx.State{Upstreams: c.known, Policies: map[string]imx.Policy{"production": c.policy}}
		got, err := takeover.Upstream(s, c.from, "production")
		if got.Environment != c.want || err != nil && (imx.KindOf(err) != c.kind || !strings.Contains(imx.AsError(err).Hint, c.hint)) || (err == nil) != (c.want != "") {
			t.Errorf("%d: %s, %v", i, fmt.Sprint(got.Environment), err)
		}
	}
}
