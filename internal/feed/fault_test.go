package feed_test

// What the disk and the network can do to a feed.

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"imx"
	"imx/internal/disk"
	"imx/internal/feed"
)

func TestAFeedWhoseLastStepFailedIsWholeAllTheSame(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := put(t, s, list(10, now)); err != nil {
		t.Fatal(err)
	}
	s.Disturb(func(path string, b []byte, perm fs.FileMode) error {
		return errors.Join(disk.WriteWhole(path, b, perm), errors.New("the last sync failed"))
	}, disk.SyncDir)
	if _, err := put(t, s, list(11, now)); err == nil {
		t.Error("it is confirmed")
	}
	const want = "DSA-list dsa 11 2026-11-22 false 11 <nil>\n"
	if got := state(t, s) + state(t, open(t, dir)); got != want+want {
		t.Errorf("%s", got)
	}
}

func TestWhatAFeedIsNamedByIsOnTheDiskBefore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var order []string
	s.Disturb(func(path string, b []byte, perm fs.FileMode) error {
		order = append(order, filepath.Base(path))
		return disk.WriteWhole(path, b, perm)
	}, func(dir string) error {
		order = append(order, filepath.Base(dir))
		return disk.SyncDir(dir)
	})
	if _, err := put(t, s, list(10, now)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "bodies DSA-list.json" {
		t.Errorf("order: %s", got)
	}
	s.Disturb(disk.WriteWhole, func(string) error { return errors.New("no sync") })
	if _, err := put(t, s, list(11, now)); err == nil {
		t.Error("a body that may be gone tomorrow was named")
	}
	if got := state(t, s); got != "DSA-list dsa 10 2026-11-22 false 10 <nil>\n" {
		t.Errorf("%s", got)
	}
}

func TestAListBesideRemovalsIsWhole(t *testing.T) {
	s := open(t, t.TempDir())
	var all sync.WaitGroup
	all.Go(func() {
		for range 50 {
			if _, err := put(t, s, list(1, now)); err != nil {
				t.Error(err)
			}
			if err := s.Remove("DSA-list"); err != nil {
				t.Error(err)
			}
		}
	})
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	for {
		if _, err := s.List(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
			return
		default:
		}
	}
}

func TestAFeedMayBeginWithAByteOrderMark(t *testing.T) {
	s := open(t, t.TempDir())
	text := "\uFEFF" + list(3, now)
	if f, err := put(t, s, text); err != nil || f.Entries != 3 || f.Digest != imx.DigestBytes([]byte(text)) {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestAnEntryThatFillsTheBeginningIsCalledTooLarge(t *testing.T) {
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	w, err := z.Create("bomb.json")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, `{"id": "CVE-2024-0001", "details": "`+strings.Repeat("a", 32<<20)+`", "affected": []}`)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, t.TempDir())
	for format, says := range map[imx.FeedFormat]string{"": "its first entry is too large", imx.FormatOSV: "16.0 MiB"} {
		_, err := s.Put(t.Context(), imx.FeedRequest{Name: "bomb", Format: format}, bytes.NewReader(zipped.Bytes()))
		if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", format, err)
		}
	}
}

func TestTheNameOfImxsOwnFeedIsTaken(t *testing.T) {
	s := open(t, t.TempDir())
	_, err := s.Put(t.Context(), imx.FeedRequest{Name: "changelogs"}, strings.NewReader(list(1, now)))
	if imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), "makes by itself") {
		t.Error(err)
	}
}

func TestOnlyATransferThatBringsNothingIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		network, reader time.Duration // how long each takes for a read
		given           bool
	}{
		"a slow reader":        {0, 10 * feed.Stall, false}, // as where a zip is read when all of it came
		"a slow network":       {feed.Stall - time.Second, 0, false},
		"a network that hangs": {feed.Stall + time.Second, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				left := 3
				r := feed.Stalling(reads(func(p []byte) (int, error) {
					time.Sleep(c.network) // of the bubble's clock
					if left--; left < 0 {
						return 0, io.EOF
					}
					return copy(p, "x"), nil
				}), cancel)
				for err := error(nil); err == nil; {
					_, err = r.Read(make([]byte, 8))
					time.Sleep(c.reader)
				}
				if given := ctx.Err() != nil; given != c.given {
					t.Errorf("given up: %v, because %v", given, context.Cause(ctx))
				}
			})
		})
	}
}

// reads makes a reader of a function.
type reads func([]byte) (int, error)

// Read implements io.Reader.
func (f reads) Read(p []byte) (int, error) { return f(p) }

// carrier answers requests without a network.
type carrier func(*http.Request) *http.Response

// RoundTrip implements http.RoundTripper.
func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) { return c(r), nil }

func TestAZipThatComesSlowlyIsTaken(t *testing.T) {
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	w, err := z.Create("a.json")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprint(w, `{"id": "CVE-2024-0001", "modified": "2026-11-20T00:00:00Z", "affected": [{"package": {"ecosystem": "Debian:12", "name": "rsync"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]}`)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		rest := bytes.NewReader(zipped.Bytes())
		client := &http.Client{Transport: carrier(func(r *http.Request) *http.Response {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r, Body: io.NopCloser(reads(func(p []byte) (int, error) {
				time.Sleep(feed.Stall - time.Second)
				if err := r.Context().Err(); err != nil {
					return 0, err
				}
				return rest.Read(p[:min(len(p), 50)])
			}))}
		})}
		f, err := open(t, dir).Fetch(t.Context(), client, imx.FeedRequest{Name: "osv", Source: "http://mirror.example/all.zip"})
		if err != nil || f.Entries != 1 {
			t.Errorf("%+v, %v", f, err)
		}
	})
}

func TestAFeedIsBroughtAgainOnlyWhereItChanged(t *testing.T) {
	text, sent := list(10, now), 0
	mux := http.NewServeMux()
	mux.HandleFunc("/etag", func(w http.ResponseWriter, r *http.Request) {
		tag := `"` + imx.DigestBytes([]byte(text)).Short() + `"`
		if w.Header().Set("ETag", tag); r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		sent++
		_, _ = io.WriteString(w, text)
	})
	mux.HandleFunc("/dated", func(w http.ResponseWriter, r *http.Request) {
		sent++
		http.ServeContent(w, r, "", now.AddDate(0, 0, -len(text)%7), strings.NewReader(text))
	})
	mux.HandleFunc("/odd", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	server := httptest.NewServer(mux)
	defer server.Close()
	s := open(t, t.TempDir())
	req := func(path string) imx.FeedRequest { return imx.FeedRequest{Name: "list", Source: server.URL + path} }
	if _, _, err := s.Refetch(t.Context(), feed.NewClient(), req("/etag")); imx.KindOf(err) != imx.NotFound {
		t.Error(err)
	}
	first, err := s.Fetch(t.Context(), feed.NewClient(), req("/etag"))
	if err != nil {
		t.Fatal(err)
	}
	step := func(path string, wantCame bool, wantSent int) {
		t.Helper()
		f, came, err := s.Refetch(t.Context(), feed.NewClient(), req(path))
		if err != nil || came != wantCame || sent != wantSent || f.Digest != imx.DigestBytes([]byte(text)) {
			t.Errorf("%s: came %v, sent %d times, %+v, %v", path, came, sent, f, err)
		}
	}
	step("/etag", false, 1)
	step("/etag", false, 1)
	text = list(11, now)
	step("/etag", true, 2)
	step("/etag", false, 2)
	step("/dated", true, 3) // another address: what the first said of its feed says nothing here
	if f, came, err := s.Refetch(t.Context(), feed.NewClient(), req("/dated")); came || err != nil || f.Entries != 11 {
		t.Errorf("came %v: %+v, %v", came, f, err)
	}
	if _, err := s.Fetch(t.Context(), feed.NewClient(), imx.FeedRequest{Name: "other", Source: server.URL + "/odd"}); imx.KindOf(err) != imx.Unavailable {
		t.Error(err)
	}
	if first.Entries != 10 {
		t.Errorf("%+v", first)
	}
}
