package scan_test

// Nobody has to ask for a scan: what is stated of an image that is released follows the feeds. And nothing is stated
// that is no news, or the log would be full of it.

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/attest"
	"imx/internal/scan"
)

// advisory adds a feed of Debian's lists that has one advisory about the source package.
func (w *world) advisory(feed, source, cve, fixed string) {
	w.t.Helper()
	list := "[" + w.now.AddDate(0, 0, -1).Format("02 Jan 2006") + "] DSA-1-1 " + source + " - security update\n\t{" + cve + "}\n\t[bookworm] - " + source + " " + fixed + "\n"
	if _, err := w.scanner.AddFeed(w.t.Context(), "root", imx.FeedRequest{Name: feed, Source: feed, Anyway: true}, strings.NewReader(list)); err != nil {
		w.t.Fatal(err)
	}
}

// release makes images the releases of a service, the last one current.
func (w *world) release(name string, images ...imx.Digest) {
	service := imx.Service{Name: name, Current: len(images), Target: len(images)}
	for i, d := range images {
		service.Releases = append(service.Releases, imx.Release{Service: name, Number: i + 1, Image: imx.Image{Name: name, Digest: d}})
	}
	w.state.Services[name] = service
}

// stated is what the newest scan of an image says, "" where there is none.
func (w *world) stated(image imx.Digest) string {
	e, ok := w.control.State().Evidence[image][imx.PredicateScan]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s by %s", e.Summary, w.by(e.Statement))
}

// by is who kept a statement.
func (w *world) by(statement imx.Digest) imx.Principal {
	for e, err := range w.control.Events(0) {
		if err != nil {
			w.t.Fatal(err)
		}
		if added, ok := e.Body.(imx.EvidenceAdded); ok && added.Evidence.Statement == statement {
			return e.By
		}
	}
	return ""
}

// scans counts the scans that were kept of an image.
func (w *world) scans(image imx.Digest) (n int) {
	for e, err := range w.control.Events(0) {
		if err != nil {
			w.t.Fatal(err)
		}
		if added, ok := e.Body.(imx.EvidenceAdded); ok && added.Evidence.Image == image && added.Evidence.PredicateType == imx.PredicateScan {
			n++
		}
	}
	return n
}

func (w *world) look() {
	w.t.Helper()
	if err := w.scanner.Look(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func TestAnImageIsScannedWhenItIsBuilt(t *testing.T) {
	w := newWorld(t)
	image := imx.Image{Name: "web", Digest: w.image("web", "libone one 1.0-1")}
	w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-2")
	built := func(by imx.Principal) { w.scanner.Built(t.Context(), by, image, func(imx.Progress) {}) }
	for range 2 {
		built("somebody")
	}
	if got := w.stated(image.Digest); got != "1 vulnerability, 1 with a fix by somebody" || w.scans(image.Digest) != 1 || w.read != 1 {
		t.Errorf("stated %d times, the last: %s; read %d times", w.scans(image.Digest), got, w.read)
	}
	w.now = w.now.Add(time.Minute)
	w.advisory("DLA-list", "one", "CVE-2025-0002", "1.0-3")
	if built("a third"); w.stated(image.Digest) != "2 vulnerabilities, 2 with a fix by a third" {
		t.Errorf("what a newer feed knows isn't asked: %s", w.stated(image.Digest))
	}
	w.now = w.now.Add(scan.Renew)
	if built("another"); !strings.HasSuffix(w.stated(image.Digest), "by another") {
		t.Errorf("an old scan isn't made anew: %s", w.stated(image.Digest))
	}
}

func TestTheFirstImageIsScannedThoughNobodyBroughtAFeed(t *testing.T) {
	w := newWorld(t, deb("bin-one", "one", "1.0-1+deb12u1", "changelog.Debian.gz", "CVE-2025-0001"))
	image := imx.Image{Name: "web", Digest: w.image("web", "bin-one one 1.0-1")}
	w.scanner.Built(t.Context(), "ann", image, func(imx.Progress) {})
	if got := w.stated(image.Digest); got != "1 vulnerability, 1 with a fix by ann" {
		t.Errorf("stated: %q; %s", got, w.log.String())
	}
	w = newWorld(t, deb("bin-one", "one", "1.0-1+deb12u1", "changelog.Debian.gz", "CVE-2025-0001"))
	w.decl.Mirror = "file:///nowhere"
	image = imx.Image{Name: "web", Digest: w.image("web", "bin-one one 1.0-1")}
	w.scanner.Built(t.Context(), "ann", image, func(imx.Progress) {})
	if got := w.stated(image.Digest); got != "" || !strings.Contains(w.log.String(), "image web couldn't be scanned") {
		t.Errorf("where the archive doesn't answer it is stated that %q; %s", got, w.log.String())
	}
}

func TestAnImageWithoutPackagesThatTheArchiveKnowsAsksItForNothing(t *testing.T) {
	w := newWorld(t, deb("bin-one", "one", "1.0-1", "changelog.Debian.gz", "CVE-2025-0001"))
	image := imx.Image{Name: "web", Digest: w.image("web")}
	w.scanner.Built(t.Context(), "ann", image, func(imx.Progress) {})
	feeds, err := w.scanner.Feeds(time.Time{})
	if got := w.stated(image.Digest); got != "" || len(feeds) != 0 || err != nil {
		t.Errorf("stated %q by %v, %v", got, feeds, err)
	}
}

func TestAScanOfACompromisedKeyIsMadeAnewByABuildAndByTheServer(t *testing.T) {
	w := newWorld(t)
	image := imx.Image{Name: "web", Digest: w.image("web", "libone one 1.0-1")}
	w.release("web", image.Digest)
	w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-2")
	for name, again := range map[string]func(){
		"a build":    func() { w.scanner.Built(t.Context(), "root", image, func(imx.Progress) {}) },
		"the server": w.look,
	} {
		again()
		w.now = w.now.Add(time.Second)
		before, last := w.scans(image.Digest), w.control.State().Evidence[image.Digest][imx.PredicateScan]
		end := imx.KeyEndRequest{Key: last.Signer, Compromised: true, Reason: "stolen"}
		if _, err := w.trust.EndKey(t.Context(), "root", end); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			again()
		}
		last = w.control.State().Evidence[image.Digest][imx.PredicateScan]
		if err := w.evidence.Counts(last); err != nil || w.scans(image.Digest) != before+1 {
			t.Errorf("%s: %d scans instead of %d were stated, and for the last: %v", name, w.scans(image.Digest), before+1, err)
		}
	}
}

func TestAScanThatFailsFailsNoBuild(t *testing.T) {
	w := newWorld(t)
	w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-2")
	w.scanner.Built(t.Context(), "root", imx.Image{Name: "web", Digest: imx.DigestBytes(nil)}, func(imx.Progress) {})
	if !strings.Contains(w.log.String(), "the bytes are gone") {
		t.Errorf("the log says %q", w.log.String())
	}
}

func TestAFeedThatChangesIsMatchedWithWhatIsReleased(t *testing.T) {
	w := newWorld(t)
	old, current := w.image("web", "libone one 1.0-1"), w.image("web", "libone one 1.0-2")
	gone, loose := w.image("gone", "libone one 0.9"), w.image("loose", "libone one 0.8")
	w.release("web", old, current)
	w.release("gone", gone)
	service := w.state.Services["gone"]
	service.Destroyed = true
	w.state.Services["gone"] = service

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.scanner.Run(ctx) }()
	w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-2")
	for w.stated(old) == "" || w.stated(current) == "" {
		changed := w.control.Changed()
		if w.stated(old) == "" || w.stated(current) == "" {
			<-changed
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := w.stated(old) + "; " + w.stated(current); got != "1 vulnerability, 1 with a fix by imx; no vulnerability is known by imx" {
		t.Error(got)
	}
	if got := w.stated(gone) + w.stated(loose); got != "" {
		t.Errorf("of what isn't released is stated %s", got)
	}
	read := w.read
	w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-2") // the same again
	w.look()
	w.advisory("DLA-list", "other", "CVE-2025-0002", "3") // of nothing that is there
	w.look()
	if w.scans(old) != 1 || w.scans(current) != 1 {
		t.Errorf("kept %d and %d times, and nothing is new", w.scans(old), w.scans(current))
	}
	w.advisory("DLA-list", "one", "CVE-2025-0003", "1.0-2")
	w.look()
	if got := w.stated(old); w.scans(old) != 2 || w.scans(current) != 1 || !strings.HasPrefix(got, "2 vulnerabilities") {
		t.Errorf("kept %d and %d times, the last: %s", w.scans(old), w.scans(current), got)
	}
	if w.read != read {
		t.Errorf("images were read %d times again", w.read-read)
	}
}

func TestAScanIsRenewedBeforeItIsADayOld(t *testing.T) {
	w := newWorld(t)
	image := w.image("web", "libone one 1.0-1")
	w.release("web", image)
	w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-2")
	w.look()
	for _, c := range []struct {
		later time.Duration
		scans int
	}{{scan.Renew - time.Minute, 1}, {time.Minute, 2}, {time.Minute, 2}, {scan.Renew, 3}} {
		w.now = w.now.Add(c.later)
		w.look()
		if got := w.scans(image); got != c.scans {
			t.Errorf("%s later there are %d scans, not %d", c.later, got, c.scans)
		}
	}
	if r := w.scan(imx.ScanRequest{All: true}); !r.Images[0].Stated.Equal(w.now) {
		t.Errorf("the scan was stated at %s, not %s", r.Images[0].Stated, w.now)
	}
}

func TestAnExcuseIsStatedInTheNextScan(t *testing.T) {
	w := newWorld(t)
	image := w.image("web", "libone one 1.0-1")
	w.release("web", image)
	w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-2")
	w.look()
	w.now = w.now.Add(time.Minute)
	if _, err := w.scanner.Excuse(t.Context(), "root", "web", imx.VEXRequest{IDs: []string{"CVE-2025-0001"}, Justification: "component_not_present"}); err != nil {
		t.Fatal(err)
	}
	w.look()
	if got := w.stated(image); got != "0 vulnerabilities, 1 excused by imx" {
		t.Error(got)
	}
}

func TestTheLogKnowsWhichFeedsStoodWhen(t *testing.T) {
	w := newWorld(t)
	begin := w.now
	standing := func(at time.Time) string {
		feeds, err := w.scanner.Feeds(at)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, f := range feeds {
			all = append(all, fmt.Sprintf("%s %s %d", f.Name, f.Digest.Short(), f.Entries))
		}
		return strings.Join(all, ", ")
	}
	step := func(do func()) time.Time {
		w.now = w.now.Add(time.Hour)
		do()
		return w.now
	}
	first := step(func() { w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-2") })
	one := standing(time.Time{})
	second := step(func() { w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-3") })
	other := standing(time.Time{})
	third := step(func() {
		if err := w.scanner.RemoveFeed("root", "DSA-list"); err != nil {
			t.Fatal(err)
		}
	})
	if one == other || one == "" {
		t.Fatalf("%q and %q", one, other)
	}
	for at, want := range map[time.Time]string{begin: "", first: one, second.Add(-time.Second): one, second: other, third: ""} {
		if got := standing(at); got != want {
			t.Errorf("at %s stood %q, not %q", at, got, want)
		}
	}
	var kinds []string
	for e, err := range w.control.Events(1) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(e.Kind(), "feed-") {
			kinds = append(kinds, e.Kind()+" by "+string(e.By))
		}
	}
	if want := []string{"feed-kept by root", "feed-kept by root", "feed-removed by root"}; !slices.Equal(kinds, want) {
		t.Errorf("%q", kinds)
	}
}

func TestAServerThatStartsTellsTheLogWhatItDoesntKnowOfFeeds(t *testing.T) {
	w := newWorld(t)
	w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-2")
	// As if a server had died after forgetting one feed and keeping another, before it said so.
	if err := w.control.RemoveFeed("root", "DSA-list"); err != nil {
		t.Fatal(err)
	}
	if err := w.control.KeepFeed("root", imx.Feed{Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := w.scanner.Run(ctx); err != nil {
		t.Fatal(err)
	}
	feeds := w.control.State().Feeds
	if _, ok := feeds["DSA-list"]; len(feeds) != 1 || !ok {
		t.Errorf("%+v", feeds)
	}
}

func TestComponentsInFilesThatNoPackageBringsAreScanned(t *testing.T) {
	w := newWorld(t)
	image := w.image("web", "libone one 1.0-1")
	in := w.inside[image]
	in.Paths = []imx.InventoryPath{{Path: "/usr/bin/packaged", Kind: imx.PathFile, Package: "libone"}, {Path: "/app/own", Kind: imx.PathFile}}
	w.inside[image] = in
	w.sbom(image, "pkg:golang/golang.org/x/net@v0.16.0", "/usr/bin/packaged", "/app/own")
	record := fmt.Sprintf(`{"id": "GO-2026-1", "modified": %q, "affected": [{"package": {"ecosystem": "Go", "name": "golang.org/x/net"},
		"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "0.17.0"}]}]}]}`, w.now.Format(time.RFC3339))
	if _, err := w.scanner.AddFeed(t.Context(), "root", imx.FeedRequest{Name: "go"}, strings.NewReader(record)); err != nil {
		t.Fatal(err)
	}
	r := w.scan(imx.ScanRequest{All: true})
	if found(r) != "web: GO-2026-1 0.17.0" || r.Images[0].Components != 1 || !slices.Equal(r.Images[0].Vulnerabilities[0].Package.Files, []string{"/app/own"}) {
		t.Errorf("%s %+v", found(r), r.Images)
	}
}

// sbom states that files of an image hold a component.
func (w *world) sbom(image imx.Digest, purl string, files ...string) {
	w.t.Helper()
	var occurrences []map[string]string
	for _, f := range files {
		occurrences = append(occurrences, map[string]string{"location": f})
	}
	document, err := json.Marshal(map[string]any{"bomFormat": "CycloneDX", "components": []any{
		map[string]any{"purl": purl, "evidence": map[string]any{"occurrences": occurrences}},
	}})
	if err == nil {
		_, err = w.evidence.Add(w.t.Context(), "root", attest.Claim{
			Repository: "web", Image: image, PredicateType: imx.PredicateCycloneDX, Predicate: json.RawMessage(document), Summary: "stated",
		})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}
