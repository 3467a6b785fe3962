package vuln_test

// Feeds are read out of real excerpts (testdata/README.md): what each kind of entry means, and which are left out.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/vuln"
)

// reading is what a parser made of a feed.
type reading struct {
	all     []vuln.Advisory
	skipped []string
	sum     vuln.Summary
	err     error
}

func read(format imx.FeedFormat, r io.Reader) reading {
	var got reading
	got.sum, got.err = vuln.Parse(format, r, vuln.Sink{
		Take: func(a vuln.Advisory) error { got.all = append(got.all, a); return nil },
		Skip: func(entry, why string) { got.skipped = append(got.skipped, entry+": "+why) },
	})
	return got
}

func fixture(tb testing.TB, name string) string {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// about returns "ID package version-range" of each advisory for one ecosystem.
func (r reading) about(ecosystem string) []string {
	var lines []string
	for _, a := range r.all {
		if a.Ecosystem == ecosystem {
			line := a.ID + " " + a.Package
			for _, v := range a.Ranges {
				line += " [" + v.Introduced + "," + v.Fixed + ")"
			}
			lines = append(lines, line)
		}
	}
	return lines
}

func TestDebiansAdvisoryListsNameFixesByRelease(t *testing.T) {
	got := read(imx.FormatDSA, strings.NewReader(fixture(t, "DSA-list")))
	if got.err != nil {
		t.Fatal(got.err)
	}
	if diff := cmp.Diff([]string{
		"CVE-2024-12084 rsync [,3.2.7-1+deb12u1)", "CVE-2024-12085 rsync [,3.2.7-1+deb12u1)", "CVE-2024-12086 rsync [,3.2.7-1+deb12u1)",
		"CVE-2024-12087 rsync [,3.2.7-1+deb12u1)", "CVE-2024-12088 rsync [,3.2.7-1+deb12u1)", "CVE-2024-12747 rsync [,3.2.7-1+deb12u1)",
		"CVE-2024-6119 openssl [,3.0.14-1~deb12u2)",
	}, got.about("Debian:bookworm")[:7]); diff != "" {
		t.Error(diff)
	}
	if got := got.about("Debian:lenny"); !cmp.Equal(got, []string{
		"CVE-2009-2409 gnutls26 [,2.4.2-6+lenny2)", "CVE-2009-2730 gnutls26 [,2.4.2-6+lenny2)",
	}) {
		t.Errorf("<not-affected> lines must say nothing, and one advisory may fix two packages: %q", got)
	}
	if got := got.about("Debian:jessie"); !cmp.Equal(got, []string{"DSA-3699-1 virtualbox [,)"}) {
		t.Errorf("<end-of-life> leaves every version affected: %q", got)
	}
	first := got.all[0]
	if first.Notice != "DSA-5843-1" || !first.Published.Equal(time.Date(2025, 1, 14, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("the first advisory is %+v; a regression update without CVEs is no vulnerability", first)
	}
	if want := time.Date(2025, 1, 16, 0, 0, 0, 0, time.UTC); !got.sum.Date.Equal(want) {
		t.Errorf("the list is of %s, not %s", got.sum.Date, want)
	}
}

func TestOneAdvisoryMayFixOneSuiteOnly(t *testing.T) {
	got := read(imx.FormatDSA, strings.NewReader(fixture(t, "DSA-list")))
	var releases []string
	for _, a := range got.all {
		if a.Package == "tomcat9" && a.ID == "CVE-2023-44487" {
			releases = append(releases, a.Ecosystem)
		}
	}
	if !cmp.Equal(releases, []string{"Debian:bullseye"}) {
		t.Errorf("tomcat9 is fixed in %q", releases)
	}
}

func TestTheTrackersJSONTellsOpenAndFixedOnes(t *testing.T) {
	got := read(imx.FormatTracker, strings.NewReader(fixture(t, "tracker.json")))
	if got.err != nil {
		t.Fatal(got.err)
	}
	if diff := cmp.Diff([]string{
		"CVE-2023-5363 openssl [,3.0.11-1~deb12u2)", "CVE-2025-27587 openssl [,)",
		"CVE-2024-12084 rsync [,3.2.7-1+deb12u1)", "TEMP-0000000-AAAAAA rsync [,)",
	}, got.about("Debian:bookworm")); diff != "" {
		t.Error(diff)
	}
	if got := got.about("Debian:bullseye"); got != nil {
		t.Errorf("fixed_version 0 says that it never was affected: %q", got)
	}
	if !cmp.Equal(got.skipped, []string{`CVE-2025-27587 openssl: whether "trixie" is affected isn't known`}) {
		t.Errorf("skipped: %q", got.skipped)
	}
	if got.all[1].Level != imx.Low || got.all[2].Level != imx.High {
		t.Errorf("levels: %q, %q", got.all[1].Level, got.all[2].Level)
	}
}

func TestOSVRecordsOfDebianNameTheirCVE(t *testing.T) {
	got := read(imx.FormatOSV, strings.NewReader(fixture(t, "osv.json")))
	if got.err != nil {
		t.Fatal(got.err)
	}
	curl := got.all[1]
	if diff := cmp.Diff(vuln.Advisory{
		ID: "CVE-2023-28322", Aliases: []string{"DEBIAN-CVE-2023-28322"}, Ecosystem: "Debian:bookworm", Package: "curl",
		Ranges: []vuln.Range{{Introduced: "0", Fixed: "7.88.1-10"}}, Urgency: "not yet assigned", Level: imx.Low,
		Published: time.Date(2023, 5, 26, 21, 15, 16, 153e6, time.UTC),
	}, curl); diff != "" {
		t.Error(diff)
	}
	notices := map[string]bool{}
	for _, a := range got.all {
		notices[a.Notice] = true
	}
	if !notices["DLA-3449-1"] {
		t.Errorf("a record about several CVEs is the notice of each: %v", notices)
	}
}

func TestOSVRecordsOfLanguagesAreCompared(t *testing.T) {
	const records = `
{"id": "GO-2024-0001", "aliases": ["CVE-2024-0001", "GHSA-aaaa"], "modified": "2024-01-02T00:00:00Z", "affected": [
  {"package": {"ecosystem": "Go", "name": "golang.org/x/net"}, "ranges": [{"type": "SEMVER", "events": [
    {"introduced": "0"}, {"fixed": "0.17.0"}, {"introduced": "0.20.0-rc.1"}, {"fixed": "0.20.1"}]}]}]}
{"id": "PYSEC-2024-1", "modified": "2024-01-02T00:00:00Z", "affected": [
  {"package": {"ecosystem": "PyPI", "name": "Flask_Login"}, "versions": ["0.6.0", "0.6.1"],
   "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "0.6.2"}]}]}]}
{"id": "GHSA-bbbb", "modified": "2024-01-02T00:00:00Z", "affected": [
  {"package": {"ecosystem": "Maven", "name": "org.example:thing"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]},
  {"package": {"ecosystem": "Packagist", "name": "a/b"}, "versions": ["1.0"]}]}`
	got := read(imx.FormatOSV, strings.NewReader(records))
	if got.err != nil {
		t.Fatal(got.err)
	}
	for version, want := range map[string]bool{
		"v0.16.9": true, "0.17.0": false, "v0.19.0": false, "v0.20.0": true, "v0.20.1": false, "v0.0.0-20200101000000-abcdefabcdef": true, "no version": false,
	} {
		if got.all[0].Affects(version) != want {
			t.Errorf("golang.org/x/net %s: affected is %v", version, !want)
		}
	}
	if a := got.all[1]; a.Package != "flask-login" || !a.Affects("0.6.2rc1") || !a.Affects("0.6.1") || a.Affects("0.6.2") {
		t.Errorf("Python's versions have ranges: %+v", a)
	}
	if len(got.all) != 3 || len(got.skipped) != 1 {
		t.Errorf("took %d, skipped %q", len(got.all), got.skipped)
	}
}

func TestRangesOfLanguagesAreThoseOfTheirVersions(t *testing.T) {
	const record = `{"id": "GHSA-1", "modified": "2024-01-02T00:00:00Z", "affected": [{"package": {"ecosystem": %q, "name": "x"}%s}]}`
	ranges := func(events string) string { return `, "ranges": [{"type": "ECOSYSTEM", "events": [` + events + `]}]` }
	for _, c := range []struct{ ecosystem, says, has, hasnt string }{
		{"Maven", ranges(`{"introduced": "2.0-beta9"}, {"fixed": "2.3.1"}, {"introduced": "2.4"}, {"fixed": "2.12.2"}`), "2.0-beta9 2.0-rc1 2.0 2.3 2.4 2.12.1", "2.0-beta8 2.0-alpha1 2.3.1 2.3.2 2.12.2 2.17.1"},
		{"Maven", ranges(`{"introduced": "0"}, {"last_affected": "1.0.Final"}`), "0.1 1.0-rc1 1.0.0", "1.0.1 1.0-sp"},
		{"Maven", ranges(`{"fixed": "1.5"}, {"introduced": "0"}`), "1.4.9", "1.5"}, // the order in a record means nothing
		{"Maven", ranges(`{"fixed": "3.5"}, {"introduced": "3"}, {"fixed": "1.5"}, {"introduced": "1"}`), "1 1.4 3.4", "0.9 1.5 2 3.5"},
		{"PyPI", ranges(`{"introduced": "1.0a1"}, {"fixed": "1!0.5"}`), "1.0a1 1.0 2024.1 1!0.4", "1.0.dev1 1!0.5 1!1.0 nonsense"},
		{"PyPI", ranges(`{"introduced": "0"}, {"last_affected": "2.0"}`), "0.dev0 2.0.0 2.0rc1", "2.0.post1 2.1"},
		{"PyPI", `, "versions": ["1.0", "2004d"]`, "1.0 1.0.0 v1.0 2004d", "1.0.1 2004"},
		{"npm", ranges(`{"introduced": "4.0.0"}, {"last_affected": "4.17.20"}`), "4.0.0 4.17.20", "4.0.0-rc.1 4.17.21"},
		{"crates.io", ranges(`{"introduced": "0.0.0-0"}, {"fixed": "0.7.1"}`), "0.1.0 0.7.1-alpha", "0.7.1"},
		{"Go", ranges(`{"introduced": "0"}, {"fixed": "1.21.0-rc.3"}`), "1.20.14 1.21.0-rc.2", "1.21.0 1.21.0-rc.3"},
	} {
		got := read(imx.FormatOSV, strings.NewReader(fmt.Sprintf(record, c.ecosystem, c.says)))
		if got.err != nil || len(got.all) != 1 {
			t.Errorf("%s %s: %v, %q", c.ecosystem, c.says, got.err, got.skipped)
			continue
		}
		for v := range strings.FieldsSeq(c.has) {
			if !got.all[0].Affects(v) {
				t.Errorf("%s %s isn't affected by %s", c.ecosystem, v, c.says)
			}
		}
		for v := range strings.FieldsSeq(c.hasnt) {
			if got.all[0].Affects(v) {
				t.Errorf("%s %s is affected by %s", c.ecosystem, v, c.says)
			}
		}
	}
}

func TestAWithdrawnAdvisorySaysNothing(t *testing.T) {
	text := strings.Replace(fixture(t, "osv.json"), `"modified"`, `"withdrawn": "2026-02-01T00:00:00Z", "modified"`, 1)
	got := read(imx.FormatOSV, strings.NewReader(text))
	for _, a := range got.all {
		if a.ID == "CVE-2023-28322" {
			t.Errorf("it is still there: %+v", a)
		}
	}
	if len(got.skipped) == 0 || got.skipped[0] != "DEBIAN-CVE-2023-28322: it was withdrawn on 2026-02-01" {
		t.Errorf("skipped: %q", got.skipped)
	}
}

func TestTheCatalogueTellsSinceWhenSomethingIsExploited(t *testing.T) {
	got := read(imx.FormatKEV, strings.NewReader(fixture(t, "kev.json")))
	if got.err != nil || len(got.all) != 3 {
		t.Fatal(len(got.all), got.err)
	}
	for _, a := range got.all {
		if a.ID == "CVE-2021-44228" && !a.Exploited.Equal(time.Date(2021, 12, 10, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%+v", a)
		}
	}
	short := strings.Replace(fixture(t, "kev.json"), `"count": 3`, `"count": 4`, 1)
	if got := read(imx.FormatKEV, strings.NewReader(short)); imx.KindOf(got.err) != imx.Refused {
		t.Errorf("a catalogue that lacks an entry: %v", got.err)
	}
}

func TestAVersionThatDoesntParseIsSkippedWithItsName(t *testing.T) {
	const list = "[16 Jan 2025] DSA-1-1 rsync - security update\n\t{CVE-2024-12084}\n\t[bookworm] - rsync 3.2.7_1\n\t[bullseye] - rsync 3.2.3-4+deb11u3\n"
	got := read(imx.FormatDSA, strings.NewReader(list))
	if got.err != nil || len(got.all) != 1 || !cmp.Equal(got.skipped, []string{`CVE-2024-12084 rsync: its version "3.2.7_1" doesn't parse`}) {
		t.Errorf("took %v, skipped %q: %v", got.all, got.skipped, got.err)
	}
}

// feeds are the fixtures by their formats.
func feeds() map[imx.FeedFormat]string {
	return map[imx.FeedFormat]string{
		imx.FormatDSA: "DSA-list", imx.FormatTracker: "tracker.json", imx.FormatOSV: "osv.json", imx.FormatKEV: "kev.json",
	}
}

func TestAFeedsFormatIsFoundOut(t *testing.T) {
	all := feeds()
	all[imx.FormatOpenVEX] = "openvex.json"
	for want, name := range all {
		if got, err := vuln.Detect([]byte(fixture(t, name))); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, text := range []string{"", "hello", "{}", "[]", `{"a": 1}`, `{"a": {"b": {}}}`, "\x00\x01", "[a] DSA"} {
		if got, err := vuln.Detect([]byte(text)); imx.KindOf(err) != imx.Refused {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// Wherever it is cut: a JSON feed, at any byte; a list, anywhere but between two entries, which only the feed that it
// replaces can tell (internal/feed).
func TestAFeedThatIsCutIsRefused(t *testing.T) {
	for format, name := range feeds() {
		whole := strings.TrimRight(fixture(t, name), "\n")
		if format == imx.FormatDSA {
			whole = whole[:strings.LastIndex(whole, "[25 Oct 2016]")]
		}
		step := max(1, len(whole)/500)
		for n := 1; n < len(whole); n += step {
			part := whole[:n]
			if format == imx.FormatDSA && (strings.HasSuffix(part, "\n") && !strings.HasSuffix(part, "}\n")) {
				continue
			}
			if got := read(format, strings.NewReader(part)); imx.KindOf(got.err) != imx.Refused {
				t.Fatalf("%s, cut after %d of %d bytes: %v", name, n, len(whole), got.err)
			}
		}
	}
}

func TestAReadersOwnFailurePassesThrough(t *testing.T) {
	broken := errors.New("the cable was pulled")
	for format, name := range feeds() {
		text := fixture(t, name)
		r := io.MultiReader(strings.NewReader(text[:len(text)/2]), iotest.ErrReader(broken))
		if got := read(format, r); !errors.Is(got.err, broken) {
			t.Errorf("%s: %v", name, got.err)
		}
	}
}

func TestWhatIsNoFeedIsRefused(t *testing.T) {
	for format, texts := range map[imx.FeedFormat][]string{
		imx.FormatDSA: {
			"", "hello\n", "[16 Jan 2025] hello\n", "[yesterday] DSA-1-1 a - b\n", "\t[bookworm] - a 1\n",
			"[16 Jan 2025] DSA-1-1 a - b\n\t[bookworm] a\n", "[16 Jan 2025] DSA-1-1 a - b\n\twhat\n", "[16 Jan 2025] DSA-1-1 a - b\n\t{CVE-1\n",
			"[16 Jan 2025] DSA-1-1 " + strings.Repeat("a", 2<<20) + "\n",
		},
		imx.FormatTracker: {"", "[]", "{}", `{"a": []}`, `{"a": {"CVE-2024-0001": {}}}`, `{"a": {"b": {"releases": {"x": {"status": "who knows"}}}}}`, `{"a":{}} {}`},
		imx.FormatOSV:     {"", "[]", `{"id": ""}`, `[{"id": 1}]`, "]", `{"id": "A", "published": "yesterday"}`, `[{"id": "A"}`},
		imx.FormatKEV:     {"", "{}", `{"vulnerabilities": []}`, `{"vulnerabilities": [{"cveID": "CVE-1", "dateAdded": "x"}]}`, `{"dateReleased": "x"}`},
	} {
		for _, text := range texts {
			if got := read(format, strings.NewReader(text)); imx.KindOf(got.err) != imx.Refused {
				t.Errorf("%s: %.60q: %v", format, text, got.err)
			}
		}
	}
}

func TestOneEntryWithoutAnEndDoesntFillTheMemory(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(`[{"id": "A", "details": "`), &repeat{text: "long ", left: 1 << 30})
	if got := read(imx.FormatOSV, endless); imx.KindOf(got.err) != imx.Refused || !strings.Contains(got.err.Error(), "16.0 MiB") {
		t.Error(got.err)
	}
}

// repeat is a text over and over.
type repeat struct {
	text string
	at   int
	left int
}

// Read implements io.Reader.
func (r *repeat) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	for i := range p {
		p[i] = r.text[r.at%len(r.text)]
		r.at++
	}
	r.left -= len(p)
	return len(p), nil
}
