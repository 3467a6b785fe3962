package source_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"imx"
)

const secret = "0123456789abcdef0123456789abcdef"

func sum(key, body string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

func TestACallOfAWebhookOnlyWakesAndOnlyWithTheRightSignature(t *testing.T) {
	w := newWorld(t)
	w.push(template("hi"))
	w.add(func(r *imx.SourceRequest) { r.Secret = secret })
	w.look()
	hooks := w.Hooks()
	const body = `{"ref":"refs/heads/main","after":"../../etc/passwd"}`
	calls := []struct {
		what, path, header, value string
		code                      int
	}{
		{"no signature", "/hooks/shop", "X-Other", "x", 401},
		{"another secret", "/hooks/shop", "X-Hub-Signature-256", sum("x"+secret, body), 401},
		{"another body", "/hooks/shop", "X-Hub-Signature-256", sum(secret, body+" "), 401},
		{"a signature that is none", "/hooks/shop", "X-Hub-Signature-256", "sha256=zz", 401},
		{"SHA-1", "/hooks/shop", "X-Hub-Signature", sum(secret, body), 401},
		{"another token", "/hooks/shop", "X-Gitlab-Token", "x", 401},
		{"no such source", "/hooks/other", "X-Hub-Signature-256", sum(secret, body), 401},
		{"no such source, signed with nothing", "/hooks/other", "X-Hub-Signature-256", sum("", body), 401},
		{"the right signature", "/hooks/shop", "X-Hub-Signature-256", sum(secret, body), 202},
		{"the same again", "/hooks/shop", "X-Hub-Signature-256", sum(secret, body), 202},
		{"the right token", "/hooks/shop", "X-Gitlab-Token", secret, 202},
	}
	for _, c := range calls {
		r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(body))
		r.Header.Set(c.header, c.value)
		answer := httptest.NewRecorder()
		hooks.ServeHTTP(answer, r)
		if answer.Code != c.code {
			t.Errorf("%s: %d", c.what, answer.Code)
		}
		if woken := w.Woken("shop"); woken != (c.code == 202) && woken {
			t.Errorf("%s woke", c.what)
		}
	}
	if v := w.shop(); v.Refused != 6 || !w.Woken("shop") {
		t.Errorf("%d calls were refused, woken %v", v.Refused, w.Woken("shop"))
	}
	if len(w.asked) != 1 {
		t.Error("a call did more than to wake")
	}
	r := httptest.NewRecorder()
	hooks.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/hooks/shop", nil))
	if r.Code != http.StatusMethodNotAllowed {
		t.Errorf("a GET: %d", r.Code)
	}
	limited := 0
	for range 40 {
		answer := httptest.NewRecorder()
		hooks.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/hooks/shop", nil))
		if answer.Code == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited == 0 {
		t.Error("however many calls there are, each is looked at")
	}
}

func TestABodyWithoutEndIsntReadToItsEnd(t *testing.T) {
	w := newWorld(t)
	w.add(func(r *imx.SourceRequest) { r.Secret = secret })
	body := &endless{}
	r := httptest.NewRequest(http.MethodPost, "/hooks/shop", body)
	r.Header.Set("X-Hub-Signature-256", sum(secret, ""))
	answer := httptest.NewRecorder()
	w.Hooks().ServeHTTP(answer, r)
	if answer.Code != http.StatusUnauthorized || body.read > 26<<20 {
		t.Errorf("%d after %d bytes", answer.Code, body.read)
	}
}

type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) { e.read += len(p); return len(p), nil }
