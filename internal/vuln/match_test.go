package vuln_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/deb"
	"imx/internal/vuln"
)

// book makes a book of advisories.
func book(t interface{ Fatal(args ...any) }, all ...vuln.Advisory) *vuln.Book {
	b, _, err := vuln.NewBook(func(string, string) {}, func(s vuln.Sink) (vuln.Summary, error) {
		for _, a := range all {
			if err := s.Take(a); err != nil {
				return vuln.Summary{}, err
			}
		}
		return vuln.Summary{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fixtures are the books of the fixtures.
func fixtures(t *testing.T) []vuln.Feed {
	t.Helper()
	var all []vuln.Feed
	for format, name := range feeds() {
		b, _, err := vuln.NewBook(func(string, string) {}, func(s vuln.Sink) (vuln.Summary, error) {
			return vuln.Parse(format, strings.NewReader(fixture(t, name)), s)
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, vuln.Feed{Name: string(format), Book: b})
	}
	return all
}

func installed(source, version string, binaries ...string) vuln.Package {
	p := vuln.Package{Ecosystem: "Debian:bookworm", Name: source, Version: version}
	for _, b := range binaries {
		p.Binaries = append(p.Binaries, vuln.Binary{Name: b, Version: version})
	}
	return p
}

func ids(all []imx.Vulnerability) string {
	var names []string
	for _, v := range all {
		names = append(names, v.ID)
	}
	return strings.Join(names, " ")
}

// Source names differ from binary names, and several feeds tell of the same.
func TestWhatFeedsSayOfOnePackageIsJoined(t *testing.T) {
	got, err := vuln.Scan([]vuln.Package{installed("openssl", "3.0.9-1", "libssl3", "openssl")}, fixtures(t))
	if err != nil {
		t.Fatal(err)
	}
	if ids(got) != "CVE-2024-6119 CVE-2023-5363 CVE-2025-27587" {
		t.Fatal(ids(got))
	}
	if diff := cmp.Diff(imx.Vulnerability{
		ID: "CVE-2023-5363", Advisories: []string{"DSA-5532-1"}, Urgency: "not yet assigned", Feeds: []string{"dsa", "tracker"},
		Published: time.Date(2023, 10, 24, 0, 0, 0, 0, time.UTC),
		Package: imx.Affected{
			Ecosystem: "Debian:bookworm", Name: "openssl", Version: "3.0.9-1", Binaries: []string{"libssl3", "openssl"}, Fixed: "3.0.11-1~deb12u2",
		},
	}, got[1]); diff != "" {
		t.Error(diff)
	}
	exploited, err := vuln.Scan([]vuln.Package{installed("nghttp2", "1.52.0-1", "libnghttp2-14")}, fixtures(t))
	if err != nil || len(exploited) != 1 || exploited[0].Exploited.Year() != 2023 {
		t.Errorf("%+v, %v", exploited, err)
	}
}

func TestAFeedWithoutAFixYieldsToANewerOneThatKnowsIt(t *testing.T) {
	advisory := func(fixed string) vuln.Advisory {
		return vuln.Advisory{ID: "CVE-2024-0001", Ecosystem: "Debian:bookworm", Package: "a", Ranges: []vuln.Range{{Fixed: fixed}}}
	}
	old, recent := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		open, fixed time.Time
		version     string
		found       int
	}{
		{old, recent, "1.0-1", 1},         // hasn't the fix
		{old, recent, "1.0-1+deb12u1", 0}, // has it
		{recent, old, "1.0-1+deb12u1", 1}, // who says that it is open knows more
	} {
		got, err := vuln.Scan([]vuln.Package{installed("a", c.version)}, []vuln.Feed{
			{Name: "open", Date: c.open, Book: book(t, advisory(""))}, {Name: "fixed", Date: c.fixed, Book: book(t, advisory("1.0-1+deb12u1"))},
		})
		if err != nil || len(got) != c.found {
			t.Errorf("%+v: %s, %v", c, ids(got), err)
		}
	}
}

func TestVersionsAreComparedAsDpkgDoes(t *testing.T) {
	for _, c := range []struct {
		fixed, installed string
		affected         bool
	}{
		{"1:4.1.48-7+deb12u1", "4.9-1", true},               // an epoch outweighs all else
		{"4.1.48-7+deb12u1", "1:4.1.48-7", false},           //
		{"3.0.14-1~deb12u2", "3.0.14-1~deb12u1", true},      // a tilde sorts before the end
		{"3.0.14-1~deb12u2", "3.0.14-1", false},             //
		{"1.0-1", "1.0-1~", true},                           //
		{"3.2.7-1+deb12u1", "3.2.7-1+b1", true},             // a binNMU of what has it
		{"3.2.7-1", "3.2.7-1+b1", false},                    // a binNMU of what is fixed
		{"3.2.7-1+deb12u1", "3.2.7-1+deb12u10", false},      // numbers, not letters
		{"3.2.7-1+deb12u1", "3.2.7-1+deb12u1", false},       //
		{"3.2.7-1+deb12u1", "not a version at all!", false}, // what doesn't parse is in no range
		{"", "3.2.7-1", true},                               // no fix: every version has it
		{"0", "0~", false},                                  // "0" as fixed is told before; nothing is older
	} {
		a := vuln.Advisory{ID: "CVE-2024-0001", Ecosystem: "Debian:bookworm", Package: "a", Ranges: []vuln.Range{{Fixed: c.fixed}}}
		if got := a.Affects(c.installed); got != c.affected && c.fixed != "0" {
			t.Errorf("fixed in %q, installed %q: affected is %v", c.fixed, c.installed, got)
		}
	}
}

func TestOtherReleasesFixesDontCount(t *testing.T) {
	p := installed("tomcat9", "9.0.43-1", "libtomcat9-java")
	if got, err := vuln.Scan([]vuln.Package{p}, fixtures(t)); err != nil || len(got) != 0 {
		t.Errorf("bookworm: %s, %v", ids(got), err)
	}
	p.Ecosystem = "Debian:bullseye"
	if got, err := vuln.Scan([]vuln.Package{p}, fixtures(t)); err != nil || len(got) != 5 {
		t.Errorf("bullseye: %s, %v", ids(got), err)
	}
}

func TestPackagesOfAnImageAreItsSources(t *testing.T) {
	pkg := func(name, version, suite, source, sourceVersion string) imx.InventoryPackage {
		return imx.InventoryPackage{Package: imx.Package{Name: name, Version: version, Suite: suite}, Source: source, SourceVersion: sourceVersion}
	}
	got, notices := vuln.Packages(imx.Inventory{Packages: []imx.InventoryPackage{
		pkg("openssl", "3.0.9-1+b1", "bookworm-security", "openssl", "3.0.9-1"),
		pkg("libssl3", "3.0.9-1+b1", "bookworm", "openssl", "3.0.9-1"),
		pkg("ours", "1.0", "stable", "ours", "1.0"),
		pkg("base-files", "12.4+deb12u5", "", "base-files", "12.4+deb12u5"),
	}})
	want := []vuln.Package{
		{Ecosystem: "Debian:bookworm", Name: "base-files", Version: "12.4+deb12u5", Binaries: []vuln.Binary{{Name: "base-files", Version: "12.4+deb12u5"}}},
		{Ecosystem: "Debian:bookworm", Name: "openssl", Version: "3.0.9-1", Binaries: []vuln.Binary{{Name: "libssl3", Version: "3.0.9-1+b1"}, {Name: "openssl", Version: "3.0.9-1+b1"}}},
		{Ecosystem: "Debian:bookworm", Name: "ours", Version: "1.0", Binaries: []vuln.Binary{{Name: "ours", Version: "1.0"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" || notices != nil {
		t.Error(diff, notices)
	}
	_, notices = vuln.Packages(imx.Inventory{Packages: []imx.InventoryPackage{pkg("ours", "1.0", "stable", "ours", "1.0")}})
	if len(notices) != 1 {
		t.Error("an image of which no release is known must say so")
	}
}

// versions are few, so that they meet.
func versions() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", "1:"}).Draw(t, "epoch") + fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "upstream")) +
			rapid.SampledFrom([]string{"", "-1", "-1~deb12u1", "-1+deb12u1", "-1+deb12u2", "-1+b1"}).Draw(t, "revision")
	})
}

func advisories() *rapid.Generator[vuln.Advisory] {
	return rapid.Custom(func(t *rapid.T) vuln.Advisory {
		a := vuln.Advisory{
			ID:        fmt.Sprintf("CVE-2024-%04d", rapid.IntRange(0, 5).Draw(t, "id")),
			Notice:    rapid.SampledFrom([]string{"", "DSA-1-1", "DSA-2-1"}).Draw(t, "notice"),
			Ecosystem: rapid.SampledFrom([]string{"Debian:bookworm", "Debian:trixie"}).Draw(t, "ecosystem"),
			Package:   rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "package"),
			Urgency:   rapid.SampledFrom([]string{"", "low", "high", "unimportant"}).Draw(t, "urgency"),
			Level:     rapid.SampledFrom([]imx.Level{"", imx.Low, imx.Critical}).Draw(t, "level"),
			Published: time.Unix(int64(rapid.IntRange(0, 3).Draw(t, "published")), 0).UTC(),
			Ranges:    []vuln.Range{{}},
		}
		if rapid.Bool().Draw(t, "aliased") {
			a.Aliases = []string{"GHSA-1"}
		}
		if rapid.IntRange(0, 4).Draw(t, "fixable") > 0 {
			a.Ranges[0].Fixed = versions().Draw(t, "fixed")
		}
		return a
	})
}

func packages() *rapid.Generator[[]vuln.Package] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) vuln.Package {
		p := installed(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "package"), versions().Draw(t, "version"))
		p.Ecosystem = rapid.SampledFrom([]string{"Debian:bookworm", "Debian:trixie"}).Draw(t, "ecosystem")
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y"}), 0, 2, rapid.ID[string]).Draw(t, "binaries") {
			p.Binaries = append(p.Binaries, vuln.Binary{Name: name, Version: p.Version})
		}
		slices.SortFunc(p.Binaries, func(a, b vuln.Binary) int { return strings.Compare(a.Name, b.Name) })
		return p
	}), 0, 6)
}

func scan(t *rapid.T, packages []vuln.Package, feeds ...vuln.Feed) []imx.Vulnerability {
	got, err := vuln.Scan(packages, feeds)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Law: a newer version never gains a vulnerability of an advisory that knows only when it was fixed.
func TestANewerVersionGainsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := vuln.Feed{Name: "f", Date: rapid.SampledFrom([]time.Time{{}, time.Unix(1, 0)}).Draw(t, "date"), Book: book(t, rapid.SliceOf(advisories()).Draw(t, "advisories")...)}
		older, newer := versions().Draw(t, "a version"), versions().Draw(t, "another")
		if deb.Compare(older, newer) > 0 {
			older, newer = newer, older
		}
		had := map[string]bool{}
		for _, v := range scan(t, []vuln.Package{installed("a", older)}, f) {
			had[v.ID] = true
		}
		for _, v := range scan(t, []vuln.Package{installed("a", newer)}, f) {
			if !had[v.ID] {
				t.Fatalf("%s has %s, which %s hasn't", newer, v.ID, older)
			}
		}
	})
}

// Law: what is found hangs on what the feeds say, not on the order of entries, feeds or packages.
func TestTheOrderOfInputsMeansNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, two := rapid.SliceOf(advisories()).Draw(t, "one"), rapid.SliceOf(advisories()).Draw(t, "two")
		ps := packages().Draw(t, "packages")
		f, g := vuln.Feed{Name: "f", Book: book(t, one...)}, vuln.Feed{Name: "g", Book: book(t, two...)}
		want := scan(t, ps, f, g)
		slices.Reverse(one)
		slices.Reverse(ps)
		f.Book = book(t, one...)
		if diff := cmp.Diff(want, scan(t, ps, g, f)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Law: a book finds what a search through all advisories finds.
func TestABookFindsWhatASearchFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOf(advisories()).Draw(t, "advisories")
		b := book(t, all...)
		for _, name := range []string{"a", "b", "c", "d"} {
			var want []vuln.Advisory
			for _, a := range all {
				if a.Ecosystem == "Debian:bookworm" && a.Package == name {
					want = append(want, a)
				}
			}
			got, err := b.About("Debian:bookworm", name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

// Law: the index finds in each image what scanning that image finds; also after it was written down and read again.
func TestTheIndexFindsWhatScanningEachImageFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := vuln.Feed{Name: "f", Date: rapid.SampledFrom([]time.Time{{}, time.Unix(1, 0)}).Draw(t, "date"), Book: book(t, rapid.SliceOf(advisories()).Draw(t, "advisories")...)}
		index := vuln.NewIndex()
		var lines []byte
		images := map[imx.Digest][]vuln.Package{}
		for i := range rapid.IntRange(0, 4).Draw(t, "images") {
			d := imx.DigestBytes([]byte{byte(i)})
			ps := packages().Draw(t, "packages")
			slices.SortFunc(ps, func(a, b vuln.Package) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			images[d] = slices.CompactFunc(ps, func(a, b vuln.Package) bool { return fmt.Sprint(a) == fmt.Sprint(b) })
			more, err := index.Record(d, images[d])
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, more...)
		}
		cut := rapid.IntRange(0, 40).Draw(t, "cut")
		half := append(slices.Clone(lines), lines[:min(len(lines), cut)]...)
		if i := slices.Index(half[len(lines):], '\n'); i >= 0 { // a torn record has no end
			half = half[:len(lines)+i]
		}
		again, whole, err := vuln.ReadIndex(strings.NewReader(string(half)))
		if err != nil || whole != int64(len(lines)) {
			t.Fatalf("read %d of %d bytes: %v", whole, len(lines), err)
		}
		for _, x := range []*vuln.Index{index, again} {
			m, err := x.Match([]vuln.Feed{f})
			if err != nil {
				t.Fatal(err)
			}
			with := map[imx.Digest]bool{}
			for d, ps := range images {
				want := scan(t, ps, f)
				if diff := cmp.Diff(want, m.Image(d)); diff != "" {
					t.Fatal(diff)
				}
				with[d] = slices.ContainsFunc(want, func(v imx.Vulnerability) bool { return v.ID == "CVE-2024-0001" })
			}
			for d, has := range with {
				if slices.Contains(m.With("CVE-2024-0001"), d) != has {
					t.Fatalf("With and Image differ about %s", d.Short())
				}
			}
		}
	})
}

func TestADamagedBookIsNoticed(t *testing.T) {
	var raw strings.Builder
	_, err := vuln.WriteBook(&raw, func(string, string) {}, func(s vuln.Sink) (vuln.Summary, error) {
		return vuln.Summary{}, s.Take(vuln.Advisory{ID: "CVE-2024-0001", Ecosystem: "Debian:bookworm", Package: "a", Ranges: []vuln.Range{{Fixed: "1"}}})
	})
	if err != nil {
		t.Fatal(err)
	}
	whole := raw.String()
	for i := range len(whole) {
		bad := []byte(whole)
		bad[i] ^= 0x20
		b, err := vuln.OpenBook(strings.NewReader(string(bad)), int64(len(bad)))
		if err == nil {
			_, err = b.About("Debian:bookworm", "a")
		}
		if imx.KindOf(err) != imx.Refused {
			t.Fatalf("byte %d of %d changed: %v", i, len(whole), err)
		}
	}
	for n := range len(whole) {
		if _, err := vuln.OpenBook(strings.NewReader(whole[:n]), int64(n)); imx.KindOf(err) != imx.Refused {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(whole), err)
		}
	}
}
