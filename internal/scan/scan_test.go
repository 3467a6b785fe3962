package scan_test

// The parts are real: an archive of .debs with changelogs, a store of feeds, an index of images. Only what images the
// server has, and what ran when, is told by the tests.

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/archive"
	"imx/internal/archive/archivetest"
	"imx/internal/attest"
	"imx/internal/blob"
	"imx/internal/control"
	"imx/internal/eventlog"
	"imx/internal/evidence"
	"imx/internal/feed"
	"imx/internal/keyring"
	"imx/internal/scan"
	"imx/internal/trust"
	"imx/internal/vuln"
)

// world is a server in small.
type world struct {
	t        *testing.T
	now      time.Time
	archive  *archivetest.Archive
	decl     imx.Archive   // of the archive, in place of the host's
	others   []imx.Archive // that templates declared
	images   []imx.ImageView
	inside   map[imx.Digest]imx.Inventory
	state    *imx.State // what the log doesn't tell it of
	control  *control.Control
	blobs    *blob.Store
	evidence *attest.Attester
	trust    *trust.Registrar
	read     int              // how often an image was looked into
	brought  []string         // .debs that were opened
	broken   error            // what reaching the archive ends with
	lost     map[string]error // what opening a .deb ends with
	asked    int              // how often the archive was reached
	hold     chan struct{}    // what reaching it waits for, where there is any
	order    []string         // in which the archive and the processes were asked
	log      bytes.Buffer
	scanner  *scan.Scanner
}

func newWorld(t *testing.T, packages ...archivetest.Package) *world {
	t.Helper()
	w := &world{
		t: t, now: time.Now().UTC(), archive: archivetest.New(t, packages...), inside: map[imx.Digest]imx.Inventory{},
		state: &imx.State{Services: map[string]imx.Service{}, Instances: map[string]imx.Instance{}},
	}
	blobs, err := blob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w.blobs = blobs
	log, _, err := eventlog.Open(eventlog.Config{Dir: t.TempDir(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	w.control, err = control.Open(control.Config{Log: log, Now: w.clock, NewID: func() string { return "1" }, Network: netip.MustParsePrefix("10.0.0.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	debs, err := archive.New(archive.Config{Dir: t.TempDir(), Blobs: blobs, Keyring: w.keyring()})
	if err != nil {
		t.Fatal(err)
	}
	w.decl = imx.Archive{Name: imx.HostArchive, Mirror: "file://" + w.archive.Dir, Suites: []string{"bookworm"}, Keyring: w.archive.Keyring()}
	dir := filepath.Join(t.TempDir(), "feeds")
	feeds, err := feed.Open(dir, w.clock)
	if err != nil {
		t.Fatal(err)
	}
	known, err := feed.OpenImages(dir)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.OpenFiles(filepath.Join(dir, "keys"), filepath.Join(dir, "identity"))
	if err != nil {
		t.Fatal(err)
	}
	who, err := trust.Open(trust.Config{Control: w.control, Store: keys, Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	w.trust = who
	w.evidence = attest.New(attest.Config{
		Control: w.control, Images: w, Now: w.clock,
		Enter: func(context.Context) (func(), error) { return func() {}, nil }, // nothing is collected here
		Store: evidence.New(evidence.Config{
			Blobs: blobs, Sign: who.Sign, Keys: who.Known,
			Refer: func(_ context.Context, _ string, manifest []byte) error {
				_, _, err := blobs.Put(bytes.NewReader(manifest), "")
				return err
			},
		}),
	})
	w.scanner = scan.New(scan.Config{
		Feeds: feeds, Known: known, Client: feed.NewClient(), Version: "1.0", Now: w.clock, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
		Evidence: w.evidence,
		Server: scan.Server{
			State: func(at time.Time) (*imx.State, error) {
				if !at.IsZero() {
					return w.control.At(at)
				}
				s := *w.control.State() // which is everybody's
				s.Services, s.Instances = w.state.Services, w.state.Instances
				return &s, nil
			},
			Images: func(context.Context, time.Time) ([]imx.ImageView, error) { return w.images, nil },
			Image:  w.Image, KeepFeed: w.control.KeepFeed, RemoveFeed: w.control.RemoveFeed,
			Pids: func(context.Context) (map[string]int, error) {
				w.order = append(w.order, "pids")
				return nil, nil
			},
		},
		Archives: func() ([]imx.Archive, error) { return w.others, nil },
		Index: func(ctx context.Context, decl imx.Archive, report imx.Report) (archive.Snapshot, error) {
			w.asked++
			w.order = append(w.order, "index")
			if w.hold != nil {
				<-w.hold
				<-w.hold
			}
			if w.broken != nil {
				return archive.Snapshot{}, w.broken
			}
			return debs.Fetch(ctx, w.declared(decl), archivetest.Architecture, nil, report)
		},
		Package: func(ctx context.Context, decl imx.Archive, p imx.Package, report imx.Report) (io.ReadCloser, error) {
			w.brought = append(w.brought, p.Ref())
			if err := w.lost[p.Ref()]; err != nil {
				return nil, err
			}
			if err := debs.Packages(ctx, func(string) (imx.Archive, bool) { return w.declared(decl), true }, []imx.Package{p}, report); err != nil {
				return nil, err
			}
			return blobs.Reader(p.Digest)
		},
	})
	t.Cleanup(w.scanner.Close)
	return w
}

// declared is an archive's declaration; that of the host's is the test's.
func (w *world) declared(decl imx.Archive) imx.Archive {
	if decl.Name == imx.HostArchive {
		return w.decl
	}
	return decl
}

// keyring puts the archive's key where Debian's are.
func (w *world) keyring() string {
	file := filepath.Join(w.t.TempDir(), "debian.pgp")
	if err := os.WriteFile(file, w.archive.Keyring(), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return file
}

func (w *world) clock() time.Time { return w.now }

// Image implements attest.Images.
func (w *world) Image(_ context.Context, wanted string) (imx.ImageDetail, error) {
	w.read++
	in, ok := w.inside[imx.Digest(wanted)]
	if !ok {
		return imx.ImageDetail{}, imx.Errorf(imx.NotFound, "the bytes are gone")
	}
	return imx.ImageDetail{ImageView: imx.ImageView{Image: imx.Image{Name: "image", Digest: imx.Digest(wanted)}}, Inventory: in}, nil
}

// Layers implements attest.Images.
func (w *world) Layers(context.Context, []imx.ImageLayer) iter.Seq2[io.Reader, error] {
	return func(func(io.Reader, error) bool) {}
}

// Find implements attest.Images.
func (w *world) Find(context.Context, string) (imx.ImageView, error) {
	return imx.ImageView{}, imx.Errorf(imx.NotFound, "nobody asks")
}

// image adds an image with packages: "binary source version".
func (w *world) image(name string, packages ...string) imx.Digest {
	d, _, err := w.blobs.Put(strings.NewReader(`{"mediaType": "`+name+strings.Join(packages, ",")+`"}`), "")
	if err != nil {
		w.t.Fatal(err)
	}
	var in imx.Inventory
	for _, text := range packages {
		f := strings.Fields(text)
		in.Version = imx.InventoryVersion
		in.Packages = append(in.Packages, imx.InventoryPackage{
			Package: imx.Package{Name: f[0], Version: f[2], Suite: "bookworm"}, Source: f[1], SourceVersion: f[2],
		})
	}
	w.inside[d] = in
	w.images = append(w.images, imx.ImageView{Image: imx.Image{Name: name, Digest: d}})
	return d
}

func (w *world) scan(req imx.ScanRequest) imx.ScanResult {
	w.t.Helper()
	r, err := w.scanner.Scan(w.t.Context(), "root", req, func(imx.Progress) {})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// found lists "image: CVE fixed" of every finding.
func found(r imx.ScanResult) string {
	var lines []string
	for _, one := range r.Images {
		for _, v := range one.Vulnerabilities {
			lines = append(lines, fmt.Sprintf("%s: %s %s", one.Name, v.ID, v.Package.Fixed))
		}
	}
	return strings.Join(lines, "\n")
}

// deb is a package with the changelog of its source.
func deb(name, source, version, file string, fixes ...string) archivetest.Package {
	p := archivetest.Package{Name: name, Version: version, Fields: map[string]string{"Source": source}}
	if file == "" {
		return p
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = fmt.Fprintf(z, "%s (%s) bookworm-security; urgency=high\n\n  * Fix %s\n\n -- A <a@example.org>  Mon, 17 Feb 2025 20:40:29 +0100\n\n%s (1.0-1) bookworm; urgency=low\n\n  * Fix CVE-2001-0001\n\n -- A <a@example.org>  Mon, 17 Feb 2020 20:40:29 +0100\n",
		source, version, strings.Join(fixes, ", "), source)
	_ = z.Close() // into memory
	p.Files = []archivetest.File{{Path: "/usr/share/doc/" + name + "/" + file, Content: b.String()}}
	return p
}

func TestNewerPackagesChangelogsSayWhatAnImageLacks(t *testing.T) {
	pointer := archivetest.Package{
		Name: "libtwo", Version: "1.0-2", Fields: map[string]string{"Source": "two"},
		Files: []archivetest.File{{Path: "/usr/share/doc/libtwo", Link: "two-common"}},
	}
	w := newWorld(t,
		deb("bin-one", "one", "1.0-1+deb12u1", "changelog.Debian.gz", "CVE-2025-0001", "CVE-2025-0002"),
		pointer, deb("two-common", "two", "1.0-2", "changelog.Debian.gz", "CVE-2025-0003"),
		deb("bin-native", "native", "2", "changelog.gz", "CVE-2025-0004"),
		deb("bin-bare", "bare", "1.0-2", ""),
		deb("bin-other", "another-source", "9.0-1", "changelog.Debian.gz", "CVE-2025-0005"),
		deb("bin-same", "same", "1.0-1", "changelog.Debian.gz", "CVE-2025-0006"),
	)
	w.image("web", "bin-one one 1.0-1", "libtwo two 1.0-1", "bin-native native 1.5", "bin-bare bare 1.0-1", "bin-other other 1.0-1", "bin-same same 1.0-1")
	w.image("new", "bin-one one 1.0-1+deb12u1")
	const want = "web: CVE-2025-0004 2\nweb: CVE-2025-0003 1.0-2\nweb: CVE-2025-0002 1.0-1+deb12u1\nweb: CVE-2025-0001 1.0-1+deb12u1"
	if got := found(w.scan(imx.ScanRequest{All: true})); got != want {
		t.Errorf("found\n%s\nwant\n%s", got, want)
	}
	first := len(w.brought)
	if got := found(w.scan(imx.ScanRequest{All: true})); got != want || len(w.brought) != first {
		t.Errorf("the second scan brought %q and found\n%s", w.brought[first:], got)
	}
	w.now = w.now.Add(2 * time.Hour)
	w.image("more", "bin-one one 1.0-1", "bin-same same 0.9")
	if got := found(w.scan(imx.ScanRequest{All: true})); !strings.Contains(got, "more: CVE-2025-0006 1.0-1") {
		t.Errorf("a new image's packages aren't looked at: %s", got)
	}
	if again := strings.Join(w.brought[first:], " "); strings.Contains(again, "bin-one_") || !strings.Contains(again, "bin-same_") {
		t.Errorf("brought again: %s", again)
	}
}

func TestASuiteThatIsNamedByItsPlaceIsThatOfItsCodename(t *testing.T) {
	w := newWorld(t, deb("bin-one", "one", "1.0-2", "changelog.Debian.gz", "CVE-2025-0001"))
	w.archive.Suite, w.archive.Fields = "stable", map[string]string{"Codename": "bookworm"}
	w.archive.Publish()
	w.decl.Suites = []string{"stable"}
	image := w.image("web", "bin-one one 1.0-1")
	w.inside[image].Packages[0].Archive, w.inside[image].Packages[0].Suite = imx.HostArchive, "stable"
	// As planning did.
	if err := w.control.Record("root", imx.SuiteSeen{Suite: imx.LockedSuite{Archive: imx.HostArchive, Suite: "stable"}, Codename: "bookworm"}); err != nil {
		t.Fatal(err)
	}
	if got := found(w.scan(imx.ScanRequest{All: true})); got != "web: CVE-2025-0001 1.0-2" {
		t.Errorf("found %q", got)
	}
}

func TestArchivesOfTemplatesAreAskedWhereTheyHaveSecurityUpdates(t *testing.T) {
	w := newWorld(t)
	other := archivetest.New(t, deb("bin-one", "one", "1.0-2", "changelog.Debian.gz", "CVE-2025-0001"))
	other.Suite, other.Keys = "bookworm-security", w.archive.Keys
	other.Publish()
	vendor := archivetest.New(t, deb("bin-two", "two", "1.0-2", "changelog.Debian.gz", "CVE-2025-0002"))
	w.others = []imx.Archive{
		{Name: "away", Mirror: "file:///nowhere", Suites: []string{"trixie-security"}},
		{Name: "debian", Mirror: "file://" + other.Dir, Suites: []string{"bookworm-security"}},
		{Name: "plain", Mirror: "file://" + other.Dir, Suites: []string{"bookworm"}},
		{Name: "snapshot", Mirror: "file://" + other.Dir, Suites: []string{"bookworm-security"}, Expired: true},
		{Name: "vendor", Mirror: "file://" + vendor.Dir, Suites: []string{"bookworm"}, Keyring: vendor.Keyring()},
	}
	w.image("web", "bin-one one 1.0-1", "bin-two two 1.0-1")
	r := w.scan(imx.ScanRequest{All: true})
	if got := found(r); got != "web: CVE-2025-0001 1.0-2" {
		t.Errorf("found %q", got)
	}
	skipped := strings.Join(r.Feeds[0].Skips, "\n")
	for _, want := range []string{"archive away: ", "archive plain: it has no security suite", "archive snapshot: it stays as it was", "archive vendor: others than Debian sign it"} {
		if !strings.Contains(skipped, want) {
			t.Errorf("skipped:\n%s\nwithout %q", skipped, want)
		}
	}
	if strings.Contains(skipped, "archive debian") || r.Feeds[0].Skipped != 4 {
		t.Errorf("skipped %d:\n%s", r.Feeds[0].Skipped, skipped)
	}
}

func TestAnArchiveThatDoesntAnswerHindersNoScan(t *testing.T) {
	w := newWorld(t, deb("bin-one", "one", "1.0-2", "changelog.Debian.gz", "CVE-2025-0001"))
	w.image("web", "bin-one one 1.0-1")
	before := found(w.scan(imx.ScanRequest{All: true}))
	w.now, w.broken = w.now.Add(2*time.Hour), imx.Errorf(imx.Unavailable, "nobody answers")
	r := w.scan(imx.ScanRequest{All: true})
	if found(r) != before || before == "" || !strings.Contains(strings.Join(r.Notices, "\n"), "nobody answers") {
		t.Errorf("found %q, then %q with %q", before, found(r), r.Notices)
	}
}

func TestANewFeedIsMatchedWithoutReadingAnImageAgain(t *testing.T) {
	w := newWorld(t)
	image := w.image("web", "libone one 1.0-1")
	if r := w.scan(imx.ScanRequest{All: true}); found(r) != "" {
		t.Error(found(r))
	}
	delete(w.inside, image) // whoever reads it now fails
	list := "[" + w.now.AddDate(0, 0, -1).Format("02 Jan 2006") + "] DSA-1-1 one - security update\n\t{CVE-2025-0001}\n\t[bookworm] - one 1.0-2\n"
	if _, err := w.scanner.AddFeed(t.Context(), "root", imx.FeedRequest{Name: "DSA-list"}, strings.NewReader(list)); err != nil {
		t.Fatal(err)
	}
	if r := w.scan(imx.ScanRequest{All: true}); found(r) != "web: CVE-2025-0001 1.0-2" {
		t.Error(found(r), r.Notices)
	}
}

func TestWhoHasAVulnerabilityIsNamed(t *testing.T) {
	w := newWorld(t, deb("bin-one", "one", "1.0-2", "changelog.Debian.gz", "CVE-2025-0001"))
	bad, good := w.image("web", "bin-one one 1.0-1"), w.image("web", "bin-one one 1.0-2")
	w.state.Services["web"] = imx.Service{Name: "web", Current: 2, Target: 2, Releases: []imx.Release{
		{Number: 1, Image: imx.Image{Digest: bad}, Source: imx.Source{Folder: "shop"}}, {Number: 2, Image: imx.Image{Digest: good}},
	}}
	w.state.Instances["web-1-a"] = imx.Instance{ID: "web-1-a", Image: bad, Phase: imx.Healthy}
	w.state.Instances["web-1-b"] = imx.Instance{ID: "web-1-b", Image: bad, Phase: imx.Ended}
	w.state.Instances["web-2-a"] = imx.Instance{ID: "web-2-a", Image: good, Phase: imx.Healthy}
	r := w.scan(imx.ScanRequest{ID: "CVE-2025-0001"})
	if len(r.Images) != 1 {
		t.Fatalf("%+v", r.Images)
	}
	one := r.Images[0]
	if one.Image != bad || fmt.Sprint(one.Releases) != "[web-1]" || len(one.Instances) != 1 || one.Instances[0].Instance != "web-1-a" {
		t.Errorf("%+v", one)
	}
	if one.Patch != "imx plan --update shop && imx apply shop" {
		t.Errorf("patch: %s", one.Patch)
	}
	if r := w.scan(imx.ScanRequest{Subject: "web-2-a"}); len(r.Images) != 1 || r.Images[0].Image != good || r.Images[0].Patch != "" {
		t.Errorf("an instance stands for its image: %+v", r.Images)
	}
	if r := w.scan(imx.ScanRequest{ID: "CVE-2025-9999"}); len(r.Images) != 0 {
		t.Errorf("%+v", r.Images)
	}
}

func TestAVulnerabilityIsAskedForByAnyWayOfWritingItsName(t *testing.T) {
	w := newWorld(t)
	w.image("web", "libone one 1.0-1")
	w.image("app", "libone one 1.0-2")
	w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-2")
	for _, id := range []string{"CVE-2025-0001", "cve-2025-0001", "dsa-1-1"} {
		if r := w.scan(imx.ScanRequest{ID: id}); found(r) != "web: CVE-2025-0001 1.0-2" || len(r.Gaps) > 0 {
			t.Errorf("%s: %q, gaps %q", id, found(r), r.Gaps)
		}
	}
	for _, id := range []string{"foo", "CVE-1", "CVE-2025-1 ", "-", "a b-c"} {
		if _, err := w.scanner.Scan(t.Context(), "root", imx.ScanRequest{ID: id}, func(imx.Progress) {}); imx.KindOf(err) != imx.Invalid {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestThatNoImageHasAVulnerabilityIsNewsOnlyWhereAFeedKnowsIt(t *testing.T) {
	w := newWorld(t)
	w.image("web", "libone one 1.0-1")
	w.advisory("DSA-list", "other", "CVE-2025-0001", "1.0-2")
	if r := w.scan(imx.ScanRequest{ID: "CVE-2025-0001"}); len(r.Gaps) > 0 || r.Searched != 1 {
		t.Errorf("searched %d, gaps %q", r.Searched, r.Gaps)
	}
	if r := w.scan(imx.ScanRequest{ID: "cve-2025-0002"}); len(r.Gaps) != 1 || r.Gaps[0] != "no feed knows CVE-2025-0002" {
		t.Errorf("gaps %q", r.Gaps)
	}
}

func TestAMomentThatIsYetToComeIsRefused(t *testing.T) {
	w := newWorld(t)
	_, err := w.scanner.Scan(t.Context(), "root", imx.ScanRequest{At: w.now.Add(time.Hour)}, func(imx.Progress) {})
	if imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), "is yet to come") {
		t.Error(err)
	}
}

func TestADocumentCountsForOneScan(t *testing.T) {
	w := newWorld(t, deb("bin-one", "one", "1.0-2", "changelog.Debian.gz", "CVE-2025-0001"))
	w.image("web", "bin-one one 1.0-1")
	const doc = `{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "a", "timestamp": "2026-01-01T00:00:00Z", "version": 1,
	 "statements": [{"vulnerability": {"name": "CVE-2025-0001"}, "products": [{"@id": "pkg:oci/web"}], "status": "not_affected", "impact_statement": "no"}]}`
	r := w.scan(imx.ScanRequest{Subject: "web", VEX: []json.RawMessage{json.RawMessage(doc)}})
	if e := r.Images[0].Vulnerabilities[0].Excused; e == nil || e.Because != "no" || e.From != "this scan" || r.Images[0].Patch != "" {
		t.Errorf("%+v", e)
	}
	if r := w.scan(imx.ScanRequest{Subject: "web"}); r.Images[0].Vulnerabilities[0].Excused != nil {
		t.Error("it is still excused")
	}
	for _, req := range []imx.ScanRequest{
		{VEX: []json.RawMessage{json.RawMessage("{}")}}, {VEX: []json.RawMessage{json.RawMessage(doc)}, Keep: true}, // or it would count for more
	} {
		if _, err := w.scanner.Scan(t.Context(), "root", req, func(imx.Progress) {}); imx.KindOf(err) != imx.Invalid {
			t.Error(err)
		}
	}
}

func TestRefreshingSaysWhatCantBeFetched(t *testing.T) {
	w := newWorld(t)
	if _, err := w.scanner.AddFeed(t.Context(), "root", imx.FeedRequest{Name: "kev", Source: "kev.json"}, strings.NewReader(
		`{"dateReleased": "2026-01-01T00:00:00Z", "count": 1, "vulnerabilities": [{"cveID": "CVE-2025-0001", "dateAdded": "2026-01-01"}]}`)); err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]imx.Kind{"kev": imx.Conflict, "none": imx.NotFound, "": "", vuln.Changelogs: ""} {
		if _, err := w.scanner.Refresh(t.Context(), "root", imx.RefreshRequest{Name: name}, func(imx.Progress) {}); imx.KindOf(err) != kind {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := w.scanner.Refresh(t.Context(), "root", imx.RefreshRequest{URL: "file:///etc/passwd"}, func(imx.Progress) {}); imx.KindOf(err) != imx.Invalid {
		t.Error(err)
	}
}
