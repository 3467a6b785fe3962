// These tests are here because mirrors go away, stall, break off and redirect: each must end in
// time, in one clear message that says what to do, and names no host.

package archive_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"imx"
	"imx/internal/archive"
	"imx/internal/archive/archivetest"
)

func TestAnUnreachableArchiveIsOneClearMessage(t *testing.T) {
	made := archivetest.New(t, hello())
	decl := made.Declare("own")
	for _, mirror := range []string{"http://127.0.0.1:1/debian", "http://mirror.invalid/debian"} {
		decl.Mirror = mirror
		_, err := newFetcher(t).fetch(t, decl)
		wantError(t, err, imx.Unavailable, `archive "own", suite "bookworm": dists/bookworm/InRelease: the mirror`)
		if !strings.Contains(imx.AsError(err).Hint, "imx.lock") {
			t.Errorf("the hint doesn't say that a lock needs no archive: %q", imx.AsError(err).Hint)
		}
		err = newFetcher(t).packages(t, decl, made.Pin("own", "hello"))
		wantError(t, err, imx.Unavailable, "hello_1.0_amd64.deb: the mirror")
	}
}

func TestATransferThatBreaksOffIsTriedAgain(t *testing.T) {
	made := archivetest.New(t, hello())
	var calls atomic.Int64
	decl := made.Serve("own", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, ".deb") || calls.Add(1) > 1 {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("half"))
		})
	})
	f := newFetcher(t)
	if err := f.packages(t, decl, made.Pin("own", "hello")); err != nil || calls.Load() != 2 {
		t.Errorf("after %d tries: %v", calls.Load(), err)
	}
}

func TestATransferThatAlwaysBreaksOffSaysAfterHowManyBytes(t *testing.T) {
	made := archivetest.New(t, hello())
	decl := made.Serve("own", func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("half"))
		})
	})
	_, err := newFetcher(t).fetch(t, decl)
	wantError(t, err, imx.Unavailable, "InRelease: the transfer broke off, after 4 bytes")
}

func TestAMirrorThatFallsSilentIsGivenUp(t *testing.T) {
	made := archivetest.New(t, hello())
	release := make(chan struct{})
	decl := made.Serve("own", func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("-----BEGIN"))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-release:
			}
		})
	})
	t.Cleanup(func() { close(release) })
	f := newFetcher(t)
	archive.SetPace(f.Archive, 50*time.Millisecond, 10)
	_, err := f.fetch(t, decl)
	wantError(t, err, imx.Unavailable, "nothing came for 50ms")
}

func TestAServerErrorIsUnavailableWithItsStatus(t *testing.T) {
	made := archivetest.New(t, hello())
	decl := made.Serve("own", func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
	})
	_, err := newFetcher(t).fetch(t, decl)
	wantError(t, err, imx.Unavailable, "the mirror answers 503 Service Unavailable")
}

// A byte now and then keeps a connection alive, and a build waiting.
func TestAMirrorThatDripsIsGivenUp(t *testing.T) {
	made := archivetest.New(t, hello())
	decl := made.Serve("own", func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("-"))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-tick.C:
				case <-r.Context().Done():
				}
			}
		})
	})
	f := newFetcher(t)
	archive.SetPace(f.Archive, 100*time.Millisecond, 1<<20)
	_, err := f.fetch(t, decl)
	wantError(t, err, imx.Unavailable, "InRelease: only ", " bytes came in 100ms, wanted are 1048576 at least")
	err = f.packages(t, decl, made.Pin("own", "hello"))
	wantError(t, err, imx.Unavailable, "hello_1.0_amd64.deb: only ")
	if f.blobs.Has(made.Pin("own", "hello").Digest) {
		t.Error("it is in the blob store")
	}
}

func TestAnInReleaseWithoutEndIsCutOff(t *testing.T) {
	made := archivetest.New(t, hello())
	decl := made.Serve("own", func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for block := make([]byte, 1<<20); r.Context().Err() == nil; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		})
	})
	_, err := newFetcher(t).fetch(t, decl)
	wantError(t, err, imx.Refused, "InRelease: has more than the 16777216 bytes")
}

func TestRedirectsAreFollowedOverTheWebAndNowhereElse(t *testing.T) {
	made := archivetest.New(t, hello())
	target := made.Serve("own", nil)
	redirect := func(to string) imx.Archive {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, to+r.URL.Path, http.StatusFound)
		}))
		t.Cleanup(server.Close)
		decl := made.Declare("own")
		decl.Mirror = server.URL
		return decl
	}
	if _, err := newFetcher(t).fetch(t, redirect(target.Mirror)); err != nil {
		t.Errorf("to another server: %v", err)
	}
	for _, kind := range []string{"file", "ftp", "gopher", "data"} {
		_, err := newFetcher(t).fetch(t, redirect(kind+"://"+made.Dir))
		wantError(t, err, imx.Refused, `redirects to an address of the kind "`+kind+`"`)
	}
	circle := made.Serve("own", func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
	})
	_, err := newFetcher(t).fetch(t, circle)
	wantError(t, err, imx.Refused, "InRelease: the mirror redirects in a circle")
}

// A mirror's own address can hold a password. Where it redirects to is told nothing of that.
func TestARedirectTakesNoCredentialsAlong(t *testing.T) {
	made := archivetest.New(t, hello())
	var asked atomic.Int64
	target := made.Serve("own", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization"} {
				if v := r.Header.Get(name); v != "" {
					t.Errorf("%s is %q", name, v)
				}
			}
			if strings.Contains(r.Referer(), "secret") {
				t.Errorf("the referer is %q", r.Referer())
			}
			next.ServeHTTP(w, r)
		})
	})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, ok := r.BasicAuth(); !ok || password != "secret" {
			t.Errorf("the mirror itself isn't told the password, but %q", password)
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "secret"})
		http.Redirect(w, r, target.Mirror+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(front.Close)
	decl := made.Declare("own")
	decl.Mirror = strings.Replace(front.URL, "://", "://user:secret@", 1)
	if _, err := newFetcher(t).fetch(t, decl); err != nil || asked.Load() == 0 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

func TestAnEndedContextEndsAFetch(t *testing.T) {
	made := archivetest.New(t, hello())
	decl := made.Serve("own", func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	})
	ctx, cancel := contextEndingAfterRequest(t, &decl)
	defer cancel()
	_, err := newFetcher(t).Fetch(ctx, decl, archivetest.Architecture, nil, quiet)
	if !errors.Is(err, ctx.Err()) || ctx.Err() == nil {
		t.Errorf("err = %v", err)
	}
}
