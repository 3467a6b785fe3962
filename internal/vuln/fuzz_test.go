package vuln_test

import (
	"bytes"
	"strings"
	"testing"

	"imx"
	"imx/internal/vuln"
)

// fuzzFeed feeds a parser bytes: it must neither panic nor hand on what no matcher could use, and refuse as Refused.
func fuzzFeed(f *testing.F, format imx.FeedFormat) {
	f.Helper()
	f.Add(fixture(f, feeds()[format]))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		got := read(format, strings.NewReader(text))
		if got.err != nil && imx.KindOf(got.err) != imx.Refused {
			t.Fatalf("%s: %v", imx.KindOf(got.err), got.err)
		}
		for _, a := range got.all {
			if a.ID == "" || a.Package == "" && a.Exploited.IsZero() {
				t.Fatalf("took %+v", a)
			}
			b := book(t, a)
			again, err := b.About(a.Ecosystem, a.Package)
			if err != nil || a.Package != "" && (len(again) != 1 || again[0].ID != a.ID || len(again[0].Ranges) != len(a.Ranges)) {
				t.Fatalf("%+v came back as %+v: %v", a, again, err)
			}
		}
	})
}

func FuzzDSA(f *testing.F)     { fuzzFeed(f, imx.FormatDSA) }
func FuzzTracker(f *testing.F) { fuzzFeed(f, imx.FormatTracker) }
func FuzzOSV(f *testing.F)     { fuzzFeed(f, imx.FormatOSV) }
func FuzzKEV(f *testing.F)     { fuzzFeed(f, imx.FormatKEV) }

func FuzzVEX(f *testing.F) {
	f.Add(fixture(f, "openvex.json"))
	f.Fuzz(func(t *testing.T, text string) {
		d, err := vuln.ParseVEX(strings.NewReader(text))
		if err != nil && imx.KindOf(err) != imx.Refused {
			t.Fatal(err)
		}
		all := []imx.Vulnerability{vulnerability("CVE-2023-5363", "openssl", "3.0.9-1")}
		vuln.Excuse(all, "web", imageDigest, []vuln.Plea{{VEX: d}})
	})
}

func FuzzChangelog(f *testing.F) {
	f.Add(fixture(f, "changelog.txt"))
	f.Fuzz(func(t *testing.T, text string) {
		changes, err := vuln.ParseChangelog(strings.NewReader(text), "nginx")
		if err != nil && imx.KindOf(err) != imx.Refused {
			t.Fatal(err)
		}
		for _, c := range changes {
			for _, id := range c.Fixes {
				if !vuln.IsCVE(id) {
					t.Fatalf("%q is no CVE", id)
				}
			}
		}
	})
}

func FuzzBook(f *testing.F) {
	var b bytes.Buffer
	_, _ = vuln.WriteBook(&b, func(string, string) {}, func(s vuln.Sink) (vuln.Summary, error) {
		return vuln.Summary{}, s.Take(vuln.Advisory{ID: "CVE-2024-0001", Ecosystem: "Debian:bookworm", Package: "a"})
	})
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		book, err := vuln.OpenBook(bytes.NewReader(raw), int64(len(raw)))
		if err == nil {
			_, err = book.About("Debian:bookworm", "a")
		}
		if err != nil && imx.KindOf(err) != imx.Refused {
			t.Fatal(err)
		}
	})
}

func FuzzIndex(f *testing.F) {
	lines, _ := vuln.NewIndex().Record(imageDigest, []vuln.Package{installed("a", "1", "b")})
	f.Add(lines)
	f.Fuzz(func(t *testing.T, raw []byte) {
		x, whole, err := vuln.ReadIndex(bytes.NewReader(raw))
		if err != nil && imx.KindOf(err) != imx.Refused {
			t.Fatal(err)
		}
		if err == nil {
			_ = x.Packages(imageDigest)
			if whole > int64(len(raw)) {
				t.Fatal(whole)
			}
		}
	})
}

func FuzzDetect(f *testing.F) {
	f.Add([]byte(`{"id": {"CVE-2024-0001": 1}}`))
	f.Fuzz(func(_ *testing.T, head []byte) { _, _ = vuln.Detect(head) })
}

func FuzzComponents(f *testing.F) {
	f.Add(sbomOfLanguages)
	f.Fuzz(func(t *testing.T, text string) {
		all, err := vuln.Components([]byte(text), packaged)
		if err != nil && imx.KindOf(err) != imx.Refused {
			t.Errorf("%v", err)
		}
		for _, p := range all {
			if p.Ecosystem == "" || p.Name == "" || p.Version == "" || len(p.Files) == 0 {
				t.Errorf("%+v", p)
			}
		}
	})
}
