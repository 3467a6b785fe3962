package feed_test

// A feed is kept whole or not at all, and what can't be right doesn't take the place of what was.

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/feed"
	"imx/internal/raced"
	"imx/internal/vuln"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, dir string) *feed.Store {
	t.Helper()
	s, err := feed.Open(dir, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// list is a DSA list of n advisories, the newest of a day.
func list(n int, day time.Time) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[%s] DSA-%d-1 rsync - security update\n\t{CVE-2024-%05d}\n\t[bookworm] - rsync 3.2.7-1+deb12u%d\n",
			day.Format("02 Jan 2006"), n-i, i, i+1)
	}
	return b.String()
}

func put(t *testing.T, s *feed.Store, text string) (imx.Feed, error) {
	t.Helper()
	return s.Put(t.Context(), imx.FeedRequest{Name: "DSA-list", Source: "DSA-list"}, strings.NewReader(text))
}

// state is what a feed's name stands for.
func state(t *testing.T, s *feed.Store) string {
	t.Helper()
	set, err := s.OpenAll()
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var b strings.Builder
	for i, f := range set.About {
		found, err := set.Books[i].Book.About("Debian:bookworm", "rsync")
		fmt.Fprintln(&b, f.Name, f.Format, f.Entries, f.Date.Format(time.DateOnly), f.Stale, len(found), err)
	}
	return b.String()
}

func TestAFeedIsKeptWithItsAgeAndDigest(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	text := list(20, now.AddDate(0, 0, -3))
	f, err := put(t, s, text)
	if err != nil {
		t.Fatal(err)
	}
	if f.Digest != imx.DigestBytes([]byte(text)) || f.Entries != 20 || f.Stale || !f.Added.Equal(now) || f.Source != "DSA-list" {
		t.Errorf("%+v", f)
	}
	const want = "DSA-list dsa 20 2026-11-19 false 20 <nil>\n"
	if got := state(t, s); got != want {
		t.Errorf("%s", got)
	}
	if got := state(t, open(t, dir)); got != want {
		t.Errorf("after a restart: %s", got)
	}
	now = now.AddDate(0, 0, 8)
	defer func() { now = now.AddDate(0, 0, -8) }()
	if got := state(t, s); !strings.Contains(got, " true ") {
		t.Errorf("a feed of eleven days ago isn't stale: %s", got)
	}
}

func TestAFeedThatCantBeRightLeavesTheOldOne(t *testing.T) {
	day := now.AddDate(0, 0, -3)
	whole := list(100, day)
	for name, c := range map[string]struct {
		text string
		says string
	}{
		"cut within an entry":      {whole[:len(whole)/2+7], "line"},
		"cut between two entries":  {list(50, day), "it has 50 entries, the one it would replace has 100"},
		"cut after its first byte": {whole[:1], "isn't written as any feed"},
		"empty":                    {"", "isn't written as any feed"},
		"from the future":          {list(100, now.AddDate(0, 0, 3)), "dated 2026-11-25, which is yet to come"},
		"older":                    {list(100, day.AddDate(0, 0, -1)), "older than the one it would replace"},
		"something else":           {`{"catalogVersion": "1", "count": 1, "vulnerabilities": [{"cveID": "CVE-2024-0001", "dateAdded": "2026-11-20"}]}`, `written as "kev"`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			if _, err := put(t, s, whole); err != nil {
				t.Fatal(err)
			}
			before := state(t, s)
			_, err := put(t, s, c.text)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "feed DSA-list isn't taken: ") {
				t.Errorf("%v", err)
			}
			if after := state(t, s); after != before {
				t.Errorf("before:\n%safter:\n%s", before, after)
			}
			left, err := os.ReadDir(filepath.Join(dir, "bodies"))
			if err != nil || len(left) != 1 {
				t.Errorf("files are left over: %v, %v", left, err)
			}
		})
	}
}

func TestASmallerFeedIsTakenWhereSomebodyInsists(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := put(t, s, list(100, now)); err != nil {
		t.Fatal(err)
	}
	f, err := s.Put(t.Context(), imx.FeedRequest{Name: "DSA-list", Anyway: true}, strings.NewReader(list(10, now.AddDate(0, 0, -9))))
	if err != nil || f.Entries != 10 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestATransferThatBreaksOffLeavesTheOldOne(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := put(t, s, list(100, now)); err != nil {
		t.Fatal(err)
	}
	before := state(t, s)
	broken := io.MultiReader(strings.NewReader(list(99, now)), iotest.ErrReader(errors.New("the cable was pulled")))
	if _, err := s.Put(t.Context(), imx.FeedRequest{Name: "DSA-list"}, broken); imx.KindOf(err) != imx.Unavailable {
		t.Error(err)
	}
	if after := state(t, s); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

func TestPackedFeedsAreUnpacked(t *testing.T) {
	const record = `{"id": "CVE-2024-000%d", "modified": "2026-11-20T00:00:00Z", "affected": [{"package": {"ecosystem": "Debian:12", "name": "rsync"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]}`
	var zipped, gzipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	for i := range 3 {
		w, err := z.Create(fmt.Sprintf("CVE-2024-000%d.json", i))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(w, record, i)
	}
	if _, err := z.Create("README.md"); err != nil {
		t.Fatal(err)
	}
	g := gzip.NewWriter(&gzipped)
	_, _ = io.WriteString(g, list(5, now))
	if err := errors.Join(z.Close(), g.Close()); err != nil {
		t.Fatal(err)
	}
	s := open(t, t.TempDir())
	for _, c := range []struct {
		name    string
		raw     []byte
		entries int64
	}{{"osv", zipped.Bytes(), 3}, {"dsa", gzipped.Bytes(), 5}} {
		f, err := s.Put(t.Context(), imx.FeedRequest{Name: c.name}, bytes.NewReader(c.raw))
		if err != nil || f.Entries != c.entries || f.Digest != imx.DigestBytes(c.raw) {
			t.Errorf("%s: %+v, %v", c.name, f, err)
		}
		for n := 5; n < len(c.raw); n += 7 {
			if _, err := s.Put(t.Context(), imx.FeedRequest{Name: c.name}, bytes.NewReader(c.raw[:n])); imx.KindOf(err) != imx.Refused {
				t.Fatalf("%s cut after %d of %d bytes: %v", c.name, n, len(c.raw), err)
			}
		}
	}
}

func TestAFullDiskLeavesTheOldFeed(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := put(t, s, list(10, now)); err != nil {
		t.Fatal(err)
	}
	before := state(t, s)
	if err := os.Rename(filepath.Join(dir, "bodies"), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	if _, err := put(t, s, list(11, now)); err == nil {
		t.Error("it was kept nowhere")
	}
	if err := os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, "bodies")); err != nil {
		t.Fatal(err)
	}
	if after := state(t, s); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

func TestWhatADeadProcessLeftGoes(t *testing.T) {
	dir := t.TempDir()
	if _, err := put(t, open(t, dir), list(10, now)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bodies/.new-1", ".new-2"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir)
	if got := state(t, s); !strings.HasPrefix(got, "DSA-list dsa 10 ") {
		t.Error(got)
	}
	for _, name := range []string{"bodies/.new-1", ".new-2"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestADamagedFeedIsNamed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := put(t, s, list(10, now)); err != nil {
		t.Fatal(err)
	}
	bodies, err := filepath.Glob(filepath.Join(dir, "bodies", ".new-*"))
	if err != nil || len(bodies) != 1 {
		t.Fatal(bodies, err)
	}
	if err := os.Truncate(bodies[0], 100); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenAll(); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "feed DSA-list") {
		t.Error(err)
	}
}

func TestRemoveForgetsAFeed(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := put(t, s, list(10, now)); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("DLA-list"); imx.KindOf(err) != imx.NotFound || !strings.Contains(imx.AsError(err).Hint, "DSA-list") {
		t.Error(err)
	}
	if err := s.Remove("DSA-list"); err != nil {
		t.Error(err)
	}
	if got := state(t, s); got != "" {
		t.Error(got)
	}
}

func TestNamesThatLeadElsewhereAreRefused(t *testing.T) {
	s := open(t, t.TempDir())
	for _, name := range []string{"", "../x", "a/b", ".hidden", "-a", "a b", strings.Repeat("a", 65)} {
		if _, err := s.Put(t.Context(), imx.FeedRequest{Name: name}, strings.NewReader(list(1, now))); imx.KindOf(err) != imx.Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// endless is a DSA list of many entries, made as it is read.
type endless struct {
	left int
	text strings.Reader
}

// Read implements io.Reader.
func (e *endless) Read(p []byte) (int, error) {
	if e.text.Len() == 0 {
		if e.left == 0 {
			return 0, io.EOF
		}
		n := min(e.left, 1000)
		var b strings.Builder
		fmt.Fprintf(&b, "[20 Nov 2026] DSA-%d-1 p%d - security update\n\t{CVE-2024-0001}\n", e.left, e.left%5000)
		for i := range n {
			fmt.Fprintf(&b, "\t[bookworm] - p%d 1.%d\n", (e.left+i)%5000, e.left)
		}
		e.left -= n
		e.text.Reset(b.String())
	}
	return e.text.Read(p)
}

func TestTenMillionEntriesFitIntoMemory(t *testing.T) {
	entries := raced.Times(10_000_000, 500_000)
	s := open(t, t.TempDir())
	peak := make(chan uint64)
	done := make(chan struct{})
	go func() {
		var most uint64
		for {
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(50 * time.Millisecond): // samples; nothing waits for it
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
			}
		}
	}()
	f, err := s.Put(t.Context(), imx.FeedRequest{Name: "big"}, &endless{left: entries})
	close(done)
	if most := <-peak; most > 256<<20 {
		t.Errorf("it took %s of memory", imx.Size(most))
	}
	if err != nil || f.Entries != int64(entries) {
		t.Fatalf("%+v, %v", f, err)
	}
	set, err := s.OpenAll()
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	found, err := set.Books[0].Book.About("Debian:bookworm", "p7")
	if err != nil || len(found) != entries/5000 {
		t.Errorf("%d entries about one package: %v", len(found), err)
	}
}

func TestFeedsAreFetchedFromTheAddressThatSomebodyNamed(t *testing.T) {
	text := list(10, now)
	mux := http.NewServeMux()
	mux.HandleFunc("/DSA-list", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		_, _ = io.WriteString(w, text[:strings.LastIndex(text, "[22 Nov")]) // whole entries
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	server := httptest.NewServer(mux)
	defer server.Close()
	s := open(t, t.TempDir())
	for path, kind := range map[string]imx.Kind{"/DSA-list": "", "/cut": imx.Unavailable, "/away": imx.Unavailable, "/busy": imx.Unavailable, "/none": imx.NotFound} {
		name, err := feed.URLName(server.URL + path)
		if err == nil {
			_, err = s.Fetch(t.Context(), feed.NewClient(), imx.FeedRequest{Name: name, Source: server.URL + path})
		}
		if imx.KindOf(err) != kind {
			t.Errorf("%s: %v", path, err)
		}
	}
	if got := state(t, s); !strings.HasPrefix(got, "DSA-list dsa 10 ") || strings.Count(got, "\n") != 1 {
		t.Error(got)
	}
	for _, address := range []string{"file:///etc/passwd", "ftp://a/b", "DSA-list", "http://"} {
		if _, err := feed.URLName(address); imx.KindOf(err) != imx.Invalid {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestStatementsAreKeptAsTheyCame(t *testing.T) {
	s := open(t, t.TempDir())
	const doc = `{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "a", "timestamp": "2026-01-01T00:00:00Z", "version": 1,
	 "statements": [{"vulnerability": {"name": "CVE-2024-0001"}, "products": [{"@id": "pkg:oci/web"}], "status": "not_affected", "impact_statement": "no"}]}`
	f, err := s.Put(t.Context(), imx.FeedRequest{Name: "ours"}, strings.NewReader(doc))
	if err != nil || f.Entries != 1 || f.Format != imx.FormatOpenVEX {
		t.Fatalf("%+v, %v", f, err)
	}
	set, err := s.OpenAll()
	if err != nil || len(set.Pleas) != 1 || set.About[0].Stale {
		t.Fatalf("%+v, %v", set, err)
	}
	set.Close()
}

func TestWhatImagesHaveOutlivesACrash(t *testing.T) {
	dir := t.TempDir()
	image := imx.DigestBytes([]byte("a"))
	want := []vuln.Package{{Ecosystem: "Debian:bookworm", Name: "rsync", Version: "3.2.7-1", Binaries: []vuln.Binary{{Name: "rsync", Version: "3.2.7-1"}}}}
	remember := func(image imx.Digest) (asked bool) {
		m, err := feed.OpenImages(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := m.Ensure(image, func() ([]vuln.Package, error) { asked = true; return want, nil }); err != nil {
			t.Fatal(err)
		}
		_ = m.Use(func(x *vuln.Index) error {
			if diff := cmp.Diff(want, x.Packages(image)); diff != "" {
				t.Error(diff)
			}
			return nil
		})
		return asked
	}
	if !remember(image) || remember(image) {
		t.Error("an image is read once")
	}
	file := filepath.Join(dir, "packages")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(whole, `{"package":{"ecosystem":"Debian:x"}}`+"\n"+`{"ima`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if remember(image) {
		t.Error("a half record at the end lost those before it")
	}
	if !remember(imx.DigestBytes([]byte("b"))) || remember(imx.DigestBytes([]byte("b"))) || remember(image) {
		t.Error("what was added after a half record isn't read again")
	}
	if err := os.WriteFile(file, []byte("rubbish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !remember(image) {
		t.Error("a damaged index isn't made anew")
	}
}

func TestWhatIsKnownOfImagesThatAreGoneGoesToo(t *testing.T) {
	dir := t.TempDir()
	m, err := feed.OpenImages(dir)
	if err != nil {
		t.Fatal(err)
	}
	named := func(name string) vuln.Package {
		return vuln.Package{Ecosystem: "Debian:bookworm", Name: name, Version: "1", Binaries: []vuln.Binary{{Name: name, Version: "1"}}}
	}
	of := map[imx.Digest][]vuln.Package{
		imx.DigestBytes([]byte("a")): {named("both"), named("only-a")},
		imx.DigestBytes([]byte("b")): {named("both"), named("only-b")},
		imx.DigestBytes([]byte("c")): {named("only-c")},
	}
	add := func(names ...string) {
		for _, name := range names {
			d := imx.DigestBytes([]byte(name))
			if err := m.Ensure(d, func() ([]vuln.Package, error) { return of[d], nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	has := func(images, packages int, names ...string) {
		t.Helper()
		_ = m.Use(func(x *vuln.Index) error {
			if i, p := x.Size(); i != images || p != packages {
				t.Errorf("%d images, %d packages; want %d and %d", i, p, images, packages)
			}
			for _, name := range names {
				d := imx.DigestBytes([]byte(name))
				if diff := cmp.Diff(of[d], x.Packages(d)); diff != "" {
					t.Error(diff)
				}
			}
			return nil
		})
	}
	add("a", "b")
	has(2, 3, "a", "b")
	if err := m.Keep(func(d imx.Digest) bool { return d == imx.DigestBytes([]byte("b")) }); err != nil {
		t.Fatal(err)
	}
	has(1, 2, "b")
	add("c")
	has(2, 3, "b", "c")
	if raw, err := os.ReadFile(filepath.Join(dir, "packages")); err != nil || strings.Contains(string(raw), "only-a") {
		t.Errorf("%v: what is gone is still on the disk: %s", err, raw)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if m, err = feed.OpenImages(dir); err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	has(2, 3, "b", "c")
}
