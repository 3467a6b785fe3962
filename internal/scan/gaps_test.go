package scan_test

import (
	"strings"
	"testing"
	"time"

	"imx"
)

func TestAnImageWhoseBytesAreGoneIsAGap(t *testing.T) {
	w := newWorld(t)
	delete(w.inside, w.image("web", "bin-one one 1.0-1"))
	w.image("app", "bin-one one 1.0-1")
	r := w.scan(imx.ScanRequest{All: true})
	if len(r.Images) != 1 || r.Searched != 1 || len(r.Gaps) != 1 || !strings.Contains(r.Gaps[0], "can't be scanned: the bytes are gone") {
		t.Errorf("%+v %q", r.Images, r.Gaps)
	}
	for req, kind := range map[string]imx.Kind{"web": imx.NotFound, "app": ""} {
		if _, err := w.scanner.Scan(t.Context(), "root", imx.ScanRequest{Subject: req}, func(imx.Progress) {}); imx.KindOf(err) != kind {
			t.Errorf("%s: %v", req, err)
		}
	}
}

func TestWhatNoFeedCanTellIsAGap(t *testing.T) {
	old := "[01 Jan 2024] DSA-1-1 one - security update\n\t{CVE-2024-0001}\n\t[bookworm] - one 1.0-2\n"
	fresh := strings.Replace(old, "01 Jan 2024", time.Now().UTC().Format("02 Jan 2006"), 1)
	for name, c := range map[string]struct {
		feed   string
		broken error
		gaps   string
	}{
		"no feed at all":                    {"", imx.Errorf(imx.Unavailable, "away"), "there is no feed"},
		"an archive that is away, old list": {old, imx.Errorf(imx.Unavailable, "away"), "no feed of advisories is younger than a week"},
		"an archive that is away, new list": {fresh, imx.Errorf(imx.Unavailable, "away"), ""},
		"an archive that is there":          {"", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.broken = c.broken
			image := w.image("web", "libone one 1.0-2")
			if c.feed != "" {
				if _, err := w.scanner.AddFeed(t.Context(), "root", imx.FeedRequest{Name: "DSA-list"}, strings.NewReader(c.feed)); err != nil {
					t.Fatal(err)
				}
			}
			gaps := strings.Join(w.scan(imx.ScanRequest{All: true}).Gaps, "\n")
			if (c.gaps == "") != (gaps == "") || !strings.Contains(gaps, c.gaps) {
				t.Errorf("gaps: %q", gaps)
			}
			_, err := w.scanner.Scan(t.Context(), "root", imx.ScanRequest{All: true, Keep: true}, func(imx.Progress) {})
			if none := c.feed == "" && c.broken != nil; none != (imx.KindOf(err) == imx.Unavailable) {
				t.Errorf("keeping it: %v", err)
			}
			if got := w.stated(image); strings.Contains(got, "incomplete") != (c.feed == old) {
				t.Errorf("stated: %s", got)
			}
		})
	}
}

func TestPackagesOfAnUnknownReleaseAreAGap(t *testing.T) {
	w := newWorld(t)
	image := w.image("web", "libone one 1.0-2")
	w.inside[image].Packages[0].Suite = "stable"
	w.advisory("DSA-list", "one", "CVE-2025-0001", "1.0-3")
	r := w.scan(imx.ScanRequest{Subject: "web", Keep: true})
	if len(r.Images[0].Gaps) != 1 || !strings.Contains(r.Images[0].Gaps[0], "of 1 packages the release of Debian isn't known") {
		t.Errorf("%q", r.Images[0].Gaps)
	}
	if got := w.stated(image); got != "no vulnerability is known, incomplete by root" {
		t.Errorf("stated: %s", got)
	}
	if r := w.scan(imx.ScanRequest{ID: "CVE-2025-0001"}); len(r.Images) != 0 || len(r.Gaps) != 1 || !strings.HasPrefix(r.Gaps[0], "image web@") {
		t.Errorf("%+v %q", r.Images, r.Gaps)
	}
}
