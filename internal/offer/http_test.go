package offer_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/offer"
	"imx/internal/registry"
)

// serve has the world's offers at an address, by the door of its registry, and returns it.
func (w *world) serve(t *testing.T, everybody ...imx.RegistryRight) string {
	t.Helper()
	door := registry.Door{Tokens: func() map[string]imx.RegistryToken { return w.tokens }, Anonymous: everybody, Now: noon}
	desk := offer.Desk{
		Maker: w.Maker, Note: func(p imx.RegistryPull) { w.notes = append(w.notes, p) },
		Visit: func(req *http.Request) (offer.Visitor, error) {
			v, err := door.Visit(req)
			return offer.Visitor{By: v.By, From: v.From, Known: v.Token != "", May: func(repository string) bool { return v.May(imx.Pull, repository) }}, err
		},
	}
	s := httptest.NewServer(desk.Handler())
	t.Cleanup(s.Close)
	return s.URL
}

func TestWhoMayPullAllImagesIsAnsweredAndWrittenDown(t *testing.T) {
	for who, c := range map[string]struct {
		everybody []imx.RegistryRight
		token     []string
		by        imx.Principal
	}{
		"a token": {nil, []string{"*"}, "ci"}, "a token of both": {nil, []string{"web", "team/*"}, "ci"}, "everybody": {[]imx.RegistryRight{imx.Pull}, nil, "anonymous"},
	} {
		w := newWorld(t)
		address, secret := w.serve(t, c.everybody...), ""
		if c.token != nil {
			secret = w.token(t, "ci", c.token...)
		}
		for _, secret := range []string{secret, secret + "\n"} {
			bundle, err := offer.Ask(t.Context(), address+"/", secret, "web", asked)
			if err != nil {
				t.Errorf("%s: %v", who, err)
				continue
			}
			o, err := offer.Verify(bundle, w.exported(), "staging", asked, noon())
			if err != nil || o.Plan != w.plan.Digest() {
				t.Errorf("%s: %+v, %v", who, o, err)
				continue
			}
			last := w.notes[len(w.notes)-1]
			if last.By != c.by || last.From != "127.0.0.1" || last.Repository != "team/db" || last.Digest != o.Images[1].Artifact || last.Refused != "" {
				t.Errorf("%s: written down is %+v", who, last)
			}
		}
	}
}

func TestWhoMayNotIsTurnedAwayAndWrittenDown(t *testing.T) {
	w := newWorld(t)
	address := w.serve(t)
	for what, secret := range map[string]string{
		"without a token": "", "with one of nobody's": "imxr_0000_11", "with one for another image": w.token(t, "web", "web"), "with one for nothing here": w.token(t, "none", "none"),
	} {
		w.notes = nil
		for _, service := range []string{"web", "none", ""} {
			if _, err := offer.Ask(t.Context(), address, secret, service, asked); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "says: ") {
				t.Errorf("%s, asked for %q: err = %v", what, service, err)
			}
		}
		if len(w.notes) != 3 || w.notes[0].Refused == "" || w.notes[0].From != "127.0.0.1" {
			t.Errorf("%s: written down is %+v", what, w.notes)
		}
	}
	if len(w.pushed) != 2 {
		t.Errorf("%d manifests are pushed beside the images", len(w.pushed)-2)
	}
}

func TestWhatTheOtherServerSaysComesThrough(t *testing.T) {
	w := newWorld(t)
	address := w.serve(t, imx.Pull)
	service("db", func(v *imx.Service) { v.Target = 2 })(w)
	_, err := offer.Ask(t.Context(), address, "", "", asked)
	if imx.KindOf(err) != imx.Conflict || !strings.HasSuffix(err.Error(), "says: service db can't be taken over: its release 2 is being rolled out") || imx.AsError(err).Hint == "" {
		t.Errorf("err = %v", err)
	}
	for _, bad := range []string{"", "short", strings.Repeat("x", 129), "0123456789abcdef 0123456789"} {
		if _, err := offer.Ask(t.Context(), address, "", "", bad); imx.KindOf(err) != imx.Invalid {
			t.Errorf("asked with %q: err = %v", bad, err)
		}
		resp, err := http.Get(address + "?asked=" + strings.ReplaceAll(bad, " ", "+"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("asked with %q: %s", bad, resp.Status)
		}
	}
	resp, err := http.Post(address, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a POST: %s", resp.Status)
	}
}

func TestStrangersThatAskTooOftenAreToldToComeAgainAndKeepNobodyElseOut(t *testing.T) {
	w := newWorld(t)
	address, secret := w.serve(t, imx.Pull), w.token(t, "ci", "*")
	for range 100 {
		if _, err := offer.Ask(t.Context(), address, "", "", asked); imx.KindOf(err) == imx.Unavailable {
			if _, err := offer.Ask(t.Context(), address, secret, "", asked); err != nil {
				t.Errorf("who has a token is told %v", err)
			}
			return
		}
	}
	t.Error("a hundred were answered in a row")
}

func TestWhatIsNoOfferIsSaid(t *testing.T) {
	answers := map[string]struct {
		serve http.HandlerFunc
		kind  imx.Kind
		says  string
	}{
		"another server": {http.NotFound, imx.Unavailable, "answers with 404 Not Found, and offers nothing"},
		"too much":       {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.CopyN(w, endless{}, offer.MaxBundle+1) }, imx.Refused, "more than"},
		"an unknown kind": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"kind":"new","message":"x"}`)
		}, imx.Unavailable, "says: x"},
		"a long text": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.CopyN(w, endless{}, 1<<20)
		}, imx.Unavailable, "offers nothing"},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			_, _ = io.WriteString(w, "x")
		}, imx.Unavailable, "broke off"},
		"a way to elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, imx.Unavailable, "302"},
	}
	for what, c := range answers {
		s := httptest.NewServer(c.serve)
		_, err := offer.Ask(t.Context(), s.URL, "secret", "", asked)
		if imx.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: err = %v", what, err)
		}
		s.Close()
		if _, err := offer.Ask(t.Context(), s.URL, "secret", "", asked); imx.KindOf(err) != imx.Unavailable || strings.Contains(err.Error(), asked) {
			t.Errorf("%s, and gone: err = %v", what, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := offer.Ask(ctx, "http://127.0.0.1:1", "", "", asked); imx.KindOf(err) != imx.Unavailable {
		t.Errorf("err = %v", err)
	}
	if _, err := offer.Ask(t.Context(), "http://[::1", "", "", asked); imx.KindOf(err) != imx.Invalid {
		t.Errorf("err = %v", err)
	}
}

// endless is as many bytes as anybody reads.
type endless struct{}

// Read implements io.Reader.
func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
