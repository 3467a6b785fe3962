// These tests are here because a mirror and the network before it are trusted with nothing: whatever
// is wrong with what they bring must be refused, in words that name the file and both values.

package archive_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/archive"
	"imx/internal/archive/archivetest"
	"imx/internal/blob"
)

func quiet(imx.Progress) {}

// fetcher is an archive.Archive with folders of its own.
type fetcher struct {
	*archive.Archive
	blobs *blob.Store
	dir   string
}

func newFetcher(t *testing.T, change ...func(*archive.Config)) fetcher {
	t.Helper()
	dir := t.TempDir()
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := archive.Config{Dir: filepath.Join(dir, "archive"), Blobs: blobs, AptDir: filepath.Join(dir, "apt")}
	for _, f := range change {
		f(&cfg)
	}
	a, err := archive.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return fetcher{Archive: a, blobs: blobs, dir: dir}
}

func (f fetcher) fetch(t *testing.T, decl imx.Archive, known ...imx.LockedSuite) (archive.Snapshot, error) {
	t.Helper()
	return f.Fetch(t.Context(), decl, archivetest.Architecture, known, quiet)
}

func (f fetcher) packages(t *testing.T, decl imx.Archive, pkgs ...imx.Package) error {
	t.Helper()
	find := func(name string) (imx.Archive, bool) { return decl, name == decl.Name }
	return f.Packages(t.Context(), find, pkgs, quiet)
}

// wantError checks an error's kind, that it has a hint, and what its message says and doesn't say.
func wantError(t *testing.T, err error, kind imx.Kind, parts ...string) {
	t.Helper()
	if imx.KindOf(err) != kind {
		t.Fatalf("err = %v (%s), want kind %s", err, imx.KindOf(err), kind)
	}
	e := imx.AsError(err)
	for _, part := range parts {
		if !strings.Contains(e.Message, part) {
			t.Errorf("message %q doesn't have %q", e.Message, part)
		}
	}
	for _, secret := range []string{"127.0.0.1", "localhost", "://", ".invalid"} {
		if strings.Contains(e.Message+e.Hint, secret) {
			t.Errorf("message %q names the mirror", e.Message)
		}
	}
	if e.Hint == "" {
		t.Errorf("message %q has no hint", e.Message)
	}
}

func hello() archivetest.Package {
	return archivetest.Package{Name: "hello", Depends: "base", Files: []archivetest.File{{Path: "/usr/bin/hello", Content: "hi", Mode: 0o755}}}
}

func base() archivetest.Package { return archivetest.Package{Name: "base", Essential: true} }

func TestASignedArchiveIsReadOverHTTPAndFromFiles(t *testing.T) {
	made := archivetest.New(t, hello(), base())
	date := made.Date.Add(-time.Minute) // Publish moved it on
	for name, decl := range map[string]imx.Archive{"file": made.Declare("own"), "http": made.Serve("own", nil)} {
		f := newFetcher(t)
		snapshot, err := f.fetch(t, decl)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, ok := snapshot.Index.Newest("hello", archivetest.Architecture)
		if !ok || got.Relations.Depends != "base" {
			t.Fatalf("%s: hello = %+v, %t", name, got, ok)
		}
		if diff := cmp.Diff(made.Pin("own", "hello"), got.Package); diff != "" {
			t.Errorf("%s: pin (-want +got):\n%s", name, diff)
		}
		if len(snapshot.Suites) != 1 || !snapshot.Suites[0].Date.Equal(date) || snapshot.Suites[0].InRelease == "" {
			t.Errorf("%s: suites = %+v", name, snapshot.Suites)
		}
		if err := f.packages(t, decl, got.Package); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !f.blobs.Has(got.Digest) {
			t.Errorf("%s: the package isn't in the blob store", name)
		}
	}
}

func TestPackagesThatAreHereNeedNoArchive(t *testing.T) {
	made := archivetest.New(t, hello())
	f := newFetcher(t)
	if err := f.packages(t, made.Declare("own"), made.Pin("own", "hello")); err != nil {
		t.Fatal(err)
	}
	gone := imx.Archive{Name: "own", Mirror: "http://127.0.0.1:1", Suites: []string{"bookworm"}, Keyring: made.Keyring()}
	if err := f.packages(t, gone, made.Pin("own", "hello")); err != nil {
		t.Errorf("err = %v", err)
	}
}

func TestAnUnchangedSuiteIsNotDownloadedAgain(t *testing.T) {
	made := archivetest.New(t, hello())
	var mu sync.Mutex
	var asked []string
	decl := made.Serve("own", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			mu.Lock()
			asked = append(asked, http.StatusText(rec.Code)+" "+r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
			mu.Unlock()
			maps.Copy(w.Header(), rec.Header())
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
		})
	})
	f := newFetcher(t)
	for range 2 {
		if _, err := f.fetch(t, decl); err != nil {
			t.Fatal(err)
		}
	}
	if len(asked) != 3 || asked[2] != "Not Modified InRelease" {
		t.Errorf("asked for %q, want InRelease, its list, and InRelease not modified", asked)
	}

	t.Run("a newer one is, and the old list goes", func(t *testing.T) {
		made.Packages = append(made.Packages, base())
		made.Publish()
		made.Change("dists/bookworm/InRelease", func(b []byte) []byte { return b })
		later := time.Now().Add(time.Minute)
		if err := os.Chtimes(filepath.Join(made.Dir, "dists/bookworm/InRelease"), later, later); err != nil {
			t.Fatal(err)
		}
		snapshot, err := f.fetch(t, decl)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := snapshot.Index.Newest("base", archivetest.Architecture); !ok {
			t.Error("the new package isn't there")
		}
		lists, err := filepath.Glob(filepath.Join(f.dir, "archive", "lists", "*"))
		if err != nil || len(lists) != 1 {
			t.Errorf("%d lists are kept (%v), want the new one alone", len(lists), err)
		}
	})

	t.Run("a damaged cache is mended", func(t *testing.T) {
		kept, _ := filepath.Glob(filepath.Join(f.dir, "archive", "lists", "*"))
		more, _ := filepath.Glob(filepath.Join(f.dir, "archive", "releases", "*"))
		if len(kept) != 1 || len(more) != 1 {
			t.Fatalf("the cache has %q and %q", kept, more)
		}
		for _, file := range append(kept, more...) {
			st, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			_ = os.Remove(file)
			if err := os.WriteFile(file, []byte("damage"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, st.ModTime(), st.ModTime()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.fetch(t, decl); err != nil {
			t.Error(err)
		}
	})
}

// Two suites can have the same list, and two people can plan at once, with nothing in the cache yet.
func TestListsThatAreTheSameAreBroughtAtOnce(t *testing.T) {
	made, second := archivetest.New(t, hello()), archivetest.New(t, hello())
	second.Suite, second.Keys = "bookworm-security", made.Keys
	second.Publish()
	files := map[string]string{"sources.list": "deb MAIN bookworm main\ndeb file://" + second.Dir + " bookworm-security main\n"}
	for range 10 {
		f := hostFetcher(t, made, files)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				snapshot, err := f.fetch(t, host())
				if err != nil {
					t.Error(err)
				} else if len(snapshot.Suites) != 2 || snapshot.Index.Len() != 1 {
					t.Errorf("suites = %+v, %d packages", snapshot.Suites, snapshot.Index.Len())
				}
			})
		}
		wg.Wait()
	}
}

// The one that waits for the other's transfer doesn't fail because the other is called off.
func TestAFetchThatIsCalledOffTakesNoOtherWithIt(t *testing.T) {
	made := archivetest.New(t, hello())
	begun, calledOff := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	decl := made.Serve("own", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/by-hash/") && first.CompareAndSwap(false, true) {
				close(begun)
				<-calledOff
			}
			next.ServeHTTP(w, r)
		})
	})
	f := newFetcher(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() {
		_, err := f.Fetch(ctx, decl, archivetest.Architecture, nil, quiet)
		ended <- err
	}()
	<-begun
	other := make(chan error, 1)
	waiting := make(chan struct{})
	go func() {
		_, err := f.Fetch(t.Context(), decl, archivetest.Architecture, nil, func(p imx.Progress) {
			if p.Status == imx.StepCached || p.Status == imx.StepDone { // its InRelease is here, its list is next
				select {
				case <-waiting:
				default:
					close(waiting)
				}
			}
		})
		other <- err
	}()
	<-waiting
	cancel()
	close(calledOff)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that was called off: %v", err)
	}
	if err := <-other; err != nil {
		t.Errorf("the other one: %v", err)
	}
}

func TestListsAreReadByNameWhereTheMirrorHasNoHashes(t *testing.T) {
	made := archivetest.New(t, hello())
	made.Change("dists/*/main/*/by-hash/SHA256/*", func([]byte) []byte { return nil })
	if _, err := newFetcher(t).fetch(t, made.Declare("own")); err != nil {
		t.Error(err)
	}
}

func TestDeclarationsThatMakeNoSenseAreInvalid(t *testing.T) {
	made := archivetest.New(t, hello())
	for name, change := range map[string]func(*imx.Archive){
		"no suites":       func(a *imx.Archive) { a.Suites = nil },
		"a strange URL":   func(a *imx.Archive) { a.Mirror = "ftp://example.org" },
		"no key":          func(a *imx.Archive) { a.Keyring = []byte("not a key") },
		"a suite outside": func(a *imx.Archive) { a.Suites = []string{"../other"} },
		"a component too": func(a *imx.Archive) { a.Components = []string{"/main"} },
	} {
		decl := made.Declare("own")
		change(&decl)
		_, err := newFetcher(t).fetch(t, decl)
		if imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), `archive "own"`) {
			t.Errorf("%s: err = %v, want Invalid", name, err)
		}
	}
}

func TestProgressAddsUpToTheWhole(t *testing.T) {
	made := archivetest.New(t, hello(), base())
	pins := []imx.Package{made.Pin("own", "hello"), made.Pin("own", "base"), made.Pin("own", "base")}
	var mu sync.Mutex
	var all []imx.Progress
	f := newFetcher(t)
	decl := made.Declare("own")
	err := f.Packages(t.Context(), func(string) (imx.Archive, bool) { return decl, true }, pins, func(p imx.Progress) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, p)
	})
	if err != nil {
		t.Fatal(err)
	}
	last := all[len(all)-1]
	if last.Status != imx.StepDone || last.Done != pins[0].Size+pins[1].Size || last.Total != last.Done {
		t.Errorf("last = %+v", last)
	}
	if !slices.ContainsFunc(all, func(p imx.Progress) bool { return p.Message == "hello" && p.Status == imx.StepRunning }) {
		t.Errorf("no progress names hello: %+v", all)
	}
}

// Most of the time that a large list takes is its reading, after its bytes have come.
func TestTheReadingOfAListTellsHowFarItIs(t *testing.T) {
	many := make([]archivetest.Package, 10)
	for i := range many {
		many[i].Name = fmt.Sprintf("package%d", i)
	}
	debs := archivetest.New(t, many...)
	var mu sync.Mutex
	var last, reports int64
	_, err := newFetcher(t).Fetch(t.Context(), debs.Declare("own"), archivetest.Architecture, nil, func(p imx.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if !strings.HasPrefix(p.Message, "reading ") {
			return
		}
		if p.Done < last || p.Done > p.Total || p.Status != imx.StepRunning {
			t.Errorf("after %d: %+v", last, p)
		}
		last, reports = p.Done, reports+1
	})
	if err != nil || last == 0 || reports > 60 {
		t.Errorf("%d reports, the last of %d bytes, %v", reports, last, err)
	}
}
