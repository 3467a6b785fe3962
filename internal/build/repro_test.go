// Building twice: what differs is found by path, and of real packages nothing does.

package build_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/build"
	"imx/internal/erofs"
)

func TestBuildingTwiceFindsThePathsThatDiffer(t *testing.T) {
	w, b := host(t)
	random := pkg{Name: "random", Scripts: map[string]string{"postinst": `#!/bin/sh -e
mkdir /etc/random
head -c 4096 /dev/urandom >/etc/random/bytes
printf 'first\nsecond %s\nthird\n' "$(od -An -N8 -tx8 /dev/urandom)" >/etc/random/text
echo same >/etc/random/same
touch /etc/random/$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
`}}
	p := w.own(t, imx.ImageSpec{Generated: []string{"/etc/random/**"}}, random, pkg{Name: "calm"})
	r, err := b.CheckRepro(t.Context(), p, w.fetch, log(t))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range r.Differences {
		switch {
		case d.What == imx.AspectMissing && (d.First == "missing") != (d.Second == "missing"):
			found = append(found, "missing")
		case d.Line > 0 && strings.HasPrefix(d.First, "second ") && strings.HasPrefix(d.Second, "second ") && d.First != d.Second:
			found = append(found, fmt.Sprintf("%s line %d", d.Path, d.Line))
		default:
			found = append(found, fmt.Sprintf("%s %s", d.Path, d.What))
		}
	}
	// The names of the two random files decide about where they stand among the others.
	if d := cmp.Diff([]string{"/etc/random/bytes content", "/etc/random/text line 2", "missing", "missing"}, slices.Sorted(slices.Values(found))); d != "" || r.Same() || r.More != 0 {
		t.Errorf("%+v\n%s", r, d)
	}
	nothingLeft(t, "no process")
}

func TestRealPackagesGiveTheSameBytesTwice(t *testing.T) {
	w, b := host(t)
	for name, image := range realImages() {
		image.spec.Name = name
		image.spec.Files = []imx.File{w.file(t, "/srv/page", "page of "+name, "", 0)}
		r, err := b.CheckRepro(t.Context(), w.planned(t, image.spec), w.fetch, quiet)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Same() || len(r.Differences) > 0 {
			t.Errorf("image.%s: %+v", name, r)
		}
	}
	entries, err := os.ReadDir(filepath.Join(shared.dir, "build", "tmp"))
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestAFailingSecondBuildIsAnError(t *testing.T) {
	w, b := host(t)
	once := script("once", "mkdir /etc/once")
	p := w.own(t, imx.ImageSpec{}, once)
	run(t, b, p)
	if err := w.blobs.Delete(p.Ship[0].Digest); err != nil { // the second build needs it again
		t.Fatal(err)
	}
	_, err := b.CheckRepro(t.Context(), p, func(context.Context, []imx.Package, imx.Report) error {
		return imx.Errorf(imx.Unavailable, "the mirror is down")
	}, quiet)
	if imx.KindOf(err) != imx.Unavailable || err.Error() != "building image.own: the mirror is down" {
		t.Error(err)
	}
}

func entry(mode fs.FileMode, text string) erofs.Entry {
	return erofs.Entry{Mode: mode, Size: int64(len(text)), Time: epoch, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}}
}

func TestEachAspectOfAPathIsCompared(t *testing.T) {
	link := erofs.Entry{Mode: fs.ModeSymlink | 0o777, Link: "here", Time: epoch}
	there := link
	there.Link = "there"
	later := entry(0o644, "x")
	later.Time = epoch.Add(time.Hour)
	theirs := entry(0o755, "x")
	theirs.UID, theirs.Xattrs = 33, map[string]string{"security.capability": "\x01"}
	first := map[string]erofs.Entry{
		"same": entry(0o644, "same"), "gone": entry(0o644, ""), "kind": link, "link": link, "time": entry(0o644, "x"),
		"text": entry(0o644, "a\nb\nc\n"), "short": entry(0o644, "a\n"), "bytes": entry(0o644, "abc\x00def"), "several": entry(0o644, "y"),
		"dir": {Mode: fs.ModeDir | 0o755, Time: epoch},
	}
	second := map[string]erofs.Entry{
		"same": entry(0o644, "same"), "new": {Mode: fs.ModeDir | 0o755}, "kind": entry(0o644, ""), "link": there, "time": later,
		"text": entry(0o644, "a\nB\nc\n"), "short": entry(0o644, "a\nmore\n"), "bytes": entry(0o644, "abc\x00deF"), "several": theirs,
		"dir": {Mode: fs.ModeDir | fs.ModeSticky | 0o777, Time: epoch},
	}
	got, err := build.Differences(first, second)
	want := []imx.PathDifference{
		{Path: "/bytes", What: imx.AspectContent, Offset: 6, First: "7 bytes", Second: "7 bytes"},
		{Path: "/dir", What: imx.AspectMode, First: "0755", Second: "1777"},
		{Path: "/gone", What: imx.AspectMissing, First: "a file", Second: "missing"},
		{Path: "/kind", What: imx.AspectKind, First: "a symbolic link", Second: "a file"},
		{Path: "/link", What: imx.AspectTarget, First: "here", Second: "there"},
		{Path: "/new", What: imx.AspectMissing, First: "missing", Second: "a directory"},
		{Path: "/several", What: imx.AspectContent, Line: 1, First: "y", Second: "x"},
		{Path: "/several", What: imx.AspectMode, First: "0644", Second: "0755"},
		{Path: "/several", What: imx.AspectOwner, First: "0:0", Second: "33:0"},
		{Path: "/several", What: imx.AspectCapabilities, Second: "01"},
		{Path: "/short", What: imx.AspectContent, Line: 2, Offset: 2, Second: "more"},
		{Path: "/text", What: imx.AspectContent, Line: 2, Offset: 2, First: "b", Second: "B"},
		{Path: "/time", What: imx.AspectTime, First: "2025-03-01T12:00:00Z", Second: "2025-03-01T13:00:00Z"},
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
}

func TestContentsDifferWhereTheirFirstBytesDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOf(rapid.SampledFrom([]byte("ab\n\x00\xc3\xa4"))).Draw(t, "a")
		b := rapid.SliceOf(rapid.SampledFrom([]byte("ab\n\x00\xc3\xa4"))).Draw(t, "b")
		got, err := build.Differences(map[string]erofs.Entry{"f": entry(0o644, string(a))}, map[string]erofs.Entry{"f": entry(0o644, string(b))})
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(a, b) {
			if len(got) > 0 {
				t.Fatal(got)
			}
			return
		}
		n := 0
		for n < min(len(a), len(b)) && a[n] == b[n] {
			n++
		}
		if len(got) != 1 || got[0].Offset != int64(n) || got[0].Line > 0 && got[0].Line != 1+bytes.Count(a[:n], []byte("\n")) {
			t.Fatalf("%+v, the first that differs is %d", got, n)
		}
	})
}
