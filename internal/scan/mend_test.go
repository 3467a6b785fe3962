package scan_test

// What goes wrong beside a scan: two who state something at once, a statement that was changed, a mirror that lacks a
// package, an archive that doesn't answer, and a feed's server that has nothing new, nothing at all, or too little.

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"imx"
	"imx/internal/archive/archivetest"
	"imx/internal/vuln"
)

func TestStatementsOfSeveralAtOnceAreAllKept(t *testing.T) {
	w := newWorld(t)
	w.image("web", "libone one 1.0-1")
	const many = 8
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			req := imx.VEXRequest{IDs: []string{fmt.Sprintf("CVE-2025-%04d", i)}, Justification: "component_not_present"}
			if _, err := w.scanner.Excuse(t.Context(), "root", "web", req); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	raw, err := w.scanner.Excuse(t.Context(), "root", "web", imx.VEXRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var doc vuln.VEX
	if err := json.Unmarshal(raw, &doc); err != nil || len(doc.Statements) != many || doc.Version != many {
		t.Errorf("version %d has %d statements: %v", doc.Version, len(doc.Statements), err)
	}
}

func TestOnlyWhatCanBeAVulnerabilityIsExcused(t *testing.T) {
	w := newWorld(t)
	w.image("web", "libone one 1.0-1")
	req := imx.VEXRequest{IDs: []string{"CVE-2025-0001", "x y"}, Justification: "component_not_present"}
	if _, err := w.scanner.Excuse(t.Context(), "root", "web", req); imx.KindOf(err) != imx.Invalid {
		t.Error(err)
	}
	for _, id := range []string{"cve-2025-0001", "CVE-2025-0001"} {
		req.IDs = []string{id}
		raw, err := w.scanner.Excuse(t.Context(), "root", "web", req)
		if err != nil || strings.Count(string(raw), `"not_affected"`) != 1 || !strings.Contains(string(raw), `"CVE-2025-0001"`) {
			t.Errorf("%s, %v", raw, err)
		}
	}
}

// damage changes the statement of a type that is evidence about an image.
func (w *world) damage(image imx.Digest, predicate string) {
	w.t.Helper()
	name := w.blobs.Path(w.control.State().Evidence[image][predicate].Bundle)
	if err := os.Chmod(name, 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(`{"predicate": {}}`), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func TestADamagedStatementExcusesNothingAndEndsNoScan(t *testing.T) {
	w := newWorld(t)
	bad, good := w.image("web", "libone one 1.0-1"), w.image("app", "libone one 1.0-0")
	w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-2")
	excuse := func(image string) error {
		_, err := w.scanner.Excuse(t.Context(), "root", image, imx.VEXRequest{IDs: []string{"CVE-2025-0001"}, Justification: "component_not_present"})
		return err
	}
	for _, image := range []string{"web", "app"} {
		if err := excuse(image); err != nil {
			t.Fatal(err)
		}
	}
	w.damage(bad, imx.PredicateVEX)
	excused := func() string {
		var says []string
		for _, one := range w.scan(imx.ScanRequest{All: true}).Images {
			says = append(says, fmt.Sprintf("%s %v %d", one.Name, one.Vulnerabilities[0].Excused != nil, len(one.Notices)))
		}
		return strings.Join(says, ", ")
	}
	if got := excused(); got != "web false 1, app true 0" {
		t.Errorf("of %s and %s: %s", bad.Short(), good.Short(), got)
	}
	if _, err := w.scanner.Excuse(t.Context(), "root", "web", imx.VEXRequest{}); imx.KindOf(err) != imx.Refused || !strings.Contains(imx.AsError(err).Hint, "state it again") {
		t.Error(err)
	}
	if err := excuse("web"); err != nil {
		t.Error(err)
	}
	if got := excused(); got != "web true 0, app true 0" {
		t.Error(got)
	}
}

func TestAMirrorThatLacksAPackageHidesNoFix(t *testing.T) {
	w := newWorld(t,
		deb("bin-one", "one", "1.0-2", "changelog.Debian.gz", "CVE-2025-0001"),
		deb("bin-two", "two", "1.0-2", "changelog.Debian.gz", "CVE-2025-0002"),
	)
	w.image("web", "bin-one one 1.0-1", "bin-two two 1.0-1")
	const want = "web: CVE-2025-0002 1.0-2\nweb: CVE-2025-0001 1.0-2"
	if got := found(w.scan(imx.ScanRequest{All: true})); got != want {
		t.Fatalf("found %q", got)
	}
	w.now = w.now.Add(2 * time.Hour)
	w.archive.Packages = []archivetest.Package{
		deb("bin-one", "one", "1.0-3", "changelog.Debian.gz", "CVE-2025-0003"),
		deb("bin-two", "two", "1.0-3", "changelog.Debian.gz", "CVE-2025-0002"),
	}
	w.archive.Publish()
	w.lost = map[string]error{"bin-one_1.0-3_amd64": imx.Errorf(imx.NotFound, "no mirror has it")}
	r := w.scan(imx.ScanRequest{All: true})
	if got := found(r); got != want {
		t.Errorf("found %q", got)
	}
	if !strings.Contains(strings.Join(r.Notices, "\n"), "changelogs of newer packages couldn't be looked at") || len(r.Gaps) != 1 {
		t.Errorf("notices %q, gaps %q", r.Notices, r.Gaps)
	}
	w.now, w.lost = w.now.Add(2*time.Hour), nil
	if r := w.scan(imx.ScanRequest{All: true}); !strings.Contains(found(r), "CVE-2025-0003 1.0-3") || len(r.Gaps) > 0 {
		t.Errorf("found %q, gaps %q", found(r), r.Gaps)
	}
}

func TestAnArchiveThatDoesntAnswerIsntAskedAgainAtOnce(t *testing.T) {
	w := newWorld(t)
	w.image("web", "bin-one one 1.0-1")
	w.broken = imx.Errorf(imx.Unavailable, "nobody answers")
	for _, c := range []struct {
		later time.Duration
		asked int
	}{{0, 1}, {time.Minute, 1}, {10 * time.Minute, 2}} {
		w.now = w.now.Add(c.later)
		if r := w.scan(imx.ScanRequest{All: true}); w.asked != c.asked || len(r.Gaps) != 1 || len(r.Notices) != 1 {
			t.Errorf("%s later: asked %d times, gaps %q, notices %q", c.later, w.asked, r.Gaps, r.Notices)
		}
	}
	if _, err := w.scanner.Refresh(t.Context(), "root", imx.RefreshRequest{}, func(imx.Progress) {}); imx.KindOf(err) != imx.Unavailable || w.asked != 3 {
		t.Errorf("asked %d times, %v", w.asked, err)
	}
}

func TestWhoWaitsForChangelogsCanGiveUp(t *testing.T) {
	w := newWorld(t)
	w.image("web", "bin-one one 1.0-1")
	w.hold = make(chan struct{})
	ended := make(chan error)
	go func() {
		_, err := w.scanner.Scan(t.Context(), "root", imx.ScanRequest{All: true}, func(imx.Progress) {})
		ended <- err
	}()
	w.hold <- struct{}{} // the first is at it
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.scanner.Scan(ctx, "root", imx.ScanRequest{All: true}, func(imx.Progress) {}); err == nil {
		t.Error("it didn't give up")
	}
	close(w.hold)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestProcessesAreThoseOfTheMomentAfterWhatTakesLong(t *testing.T) {
	w := newWorld(t)
	image := w.image("web", "bin-one one 1.0-1")
	w.state.Instances["web-1-a"] = imx.Instance{ID: "web-1-a", Image: image, Phase: imx.Healthy}
	w.scan(imx.ScanRequest{Subject: "web"})
	if got := strings.Join(w.order, " "); got != "index pids" {
		t.Errorf("order: %s", got)
	}
	w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-2") // with it begins the log
	w.now, w.order = w.now.Add(time.Minute), nil
	w.scan(imx.ScanRequest{Subject: "web", At: w.now.Add(-time.Second)})
	if len(w.order) != 0 {
		t.Errorf("of a moment that is past: %s", w.order)
	}
}

// mirror serves a DSA list.
type mirror struct {
	mu            sync.Mutex
	text          string
	status        int // that it answers with in place of the list
	asked, brings int
}

// ServeHTTP implements http.Handler.
func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	tag := `"` + imx.DigestBytes([]byte(m.text)).Short() + `"`
	switch w.Header().Set("ETag", tag); {
	case m.status != 0:
		w.WriteHeader(m.status)
	case r.Header.Get("If-None-Match") == tag:
		w.WriteHeader(http.StatusNotModified)
	default:
		m.brings++
		_, _ = w.Write([]byte(m.text))
	}
}

// advisories are n of them about packages of the name.
func (w *world) advisories(n int, source string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[%s] DSA-%d-1 %s - security update\n\t{CVE-2025-%04d}\n\t[bookworm] - %s 1.0-2\n",
			w.now.AddDate(0, 0, -1).Format("02 Jan 2006"), i+1, source, i+1, source)
	}
	return b.String()
}

func TestTheServerFetchesFeedsOfURLsAnew(t *testing.T) {
	w := newWorld(t)
	image := w.image("web", "libone one 1.0-1")
	w.release("web", image)
	m := &mirror{text: w.advisories(20, "other")}
	server := httptest.NewServer(m)
	defer server.Close()
	for name, once := range map[string]bool{"kept": false, "still": true} {
		if _, err := w.scanner.Refresh(t.Context(), "root", imx.RefreshRequest{URL: server.URL, Name: name, Once: once}, func(imx.Progress) {}); err != nil {
			t.Fatal(err)
		}
	}
	step := func(what string, later time.Duration, asked, brings int) {
		t.Helper()
		w.now = w.now.Add(later)
		w.scanner.FetchDue(t.Context())
		if m.asked != asked || m.brings != brings {
			t.Errorf("%s: asked %d times, not %d; brought %d times, not %d", what, m.asked, asked, m.brings, brings)
		}
	}
	step("at once", 0, 2, 2)
	step("after a while", 59*time.Minute, 2, 2)
	step("after an hour, with nothing new", time.Minute, 3, 2)
	m.text += w.advisories(1, "one")
	step("after an hour, with news", time.Hour, 4, 3)
	w.look()
	if got := w.stated(image); got != "1 vulnerability, 1 with a fix by imx" {
		t.Errorf("stated: %s", got)
	}
	m.text = w.advisories(3, "one")
	step("a list that was cut", time.Hour, 5, 4)
	if feeds, err := w.scanner.Feeds(time.Time{}); err != nil || feeds[0].Entries != 21 || feeds[1].Entries != 20 || !feeds[1].Once {
		t.Errorf("%+v, %v", feeds, err)
	}
	if !strings.Contains(w.log.String(), "it has 3 entries, the one it would replace has 21") {
		t.Errorf("the log says %s", w.log.String())
	}
	m.status = http.StatusServiceUnavailable
	asked := 5
	for i, later := range []int{1, 1, 1, 1, 1, 1, 1} { // twice as long each time
		if i == 1 || i == 5 {
			asked++
		}
		step(fmt.Sprintf("%d hours after a failure", i+1), time.Duration(later)*time.Hour, asked, 4)
	}
	m.status, m.text = 0, w.advisories(22, "one")
	for range 8 {
		w.now = w.now.Add(time.Hour)
		w.scanner.FetchDue(t.Context())
	}
	if m.brings != 5 {
		t.Errorf("brought %d times when it was there again", m.brings)
	}
	if _, err := w.scanner.Refresh(t.Context(), "root", imx.RefreshRequest{Name: "still"}, func(imx.Progress) {}); err != nil || m.brings != 6 {
		t.Errorf("asked for by hand: brought %d times, %v", m.brings, err)
	}
	if feeds, err := w.scanner.Feeds(time.Time{}); err != nil || !feeds[1].Once {
		t.Errorf("what is fetched once only is so no more: %+v, %v", feeds, err)
	}
}

func TestImxsOwnFeedHasItsNameForItself(t *testing.T) {
	w := newWorld(t)
	_, err := w.scanner.Refresh(t.Context(), "root", imx.RefreshRequest{URL: "http://127.0.0.1:1/changelogs.json"}, func(imx.Progress) {})
	if imx.KindOf(err) != imx.Invalid {
		t.Error(err)
	}
}
