package source

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"imx"
)

// HookPath is where webhooks are called, with a source's name behind it.
const HookPath = "/hooks/"

const (
	maxPayload = 25 << 20         // what GitHub sends at most
	hookRate   = 5                // calls a second that are looked at, of all sources together,
	hookBurst  = 20               // and so many at once
	hookTime   = 30 * time.Second // by when a call's body is there
)

// Hooks returns the handler of webhooks. A call whose signature is right has the source looked at soon, and does nothing else:
// what it says is not believed, so that one that is repeated, or made up by who knows the secret, does no harm.
func (f *Follower) Hooks() http.Handler {
	limit, under := rate.NewLimiter(hookRate, hookBurst), make(chan struct{}, hookBurst)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, HookPath)
		switch {
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "webhooks are posted", http.StatusMethodNotAllowed)
		case !limit.Allow() || !begin(w, under):
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many calls", http.StatusTooManyRequests)
		default:
			f.called(w, r, name)
			<-under
		}
	})
}

// called answers a call by its signature.
func (f *Follower) called(w http.ResponseWriter, r *http.Request, name string) {
	if !f.signed(r, name) {
		f.count(name)
		http.Error(w, "the signature is wrong, or there is no such source with a webhook", http.StatusUnauthorized)
		return
	}
	f.wake(name)
	w.WriteHeader(http.StatusAccepted)
}

// begin lets so many calls be read at once as under holds, each for a while; the caller takes one out again.
func begin(w http.ResponseWriter, under chan<- struct{}) bool {
	select {
	case under <- struct{}{}:
		// A recorder in place of a connection has no deadline.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(hookTime))
		return true
	default:
		return false
	}
}

// signed reports whether a call is signed with a source's secret: X-Hub-Signature-256 over its body, as GitHub, Gitea and Forgejo
// send it, or the secret itself in X-Gitlab-Token. One for a source that isn't there takes as long as any other.
func (f *Follower) signed(r *http.Request, name string) bool {
	secret, err := f.secret(name)
	there := err == nil
	if token := r.Header.Get("X-Gitlab-Token"); token != "" {
		a, b := sha256.Sum256([]byte(token)), sha256.Sum256(secret)
		return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && there
	}
	sent, err := hex.DecodeString(strings.TrimPrefix(r.Header.Get("X-Hub-Signature-256"), "sha256="))
	if err != nil || len(sent) != sha256.Size {
		return false
	}
	sum := hmac.New(sha256.New, secret)
	n, err := io.Copy(sum, io.LimitReader(r.Body, maxPayload+1))
	return err == nil && n <= maxPayload && hmac.Equal(sum.Sum(nil), sent) && there
}

// secret reads a source's secret, and only that which the log knows of. Errors: NotFound.
func (f *Follower) secret(name string) ([]byte, error) {
	src, ok := f.cfg.Control.State().Sources[name]
	if !ok || src.Hook == "" {
		return nil, imx.Errorf(imx.NotFound, "the source %q has no webhook", name)
	}
	secret, err := readSecret(f.secretFile(name))
	if err == nil && imx.DigestBytes(secret) != src.Hook {
		err = imx.Errorf(imx.Refused, "the secret of the source %q isn't the one that it was given", name)
	}
	return secret, err
}
