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
	archive.SetIdle(f.Archive, 50*time.Millisecond)
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
	_, err := newFetcher(t).fetch(t, redirect("file://"+made.Dir))
	wantSomeHint(t, err, imx.Refused, `redirects to an address of the kind "file"`)
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
