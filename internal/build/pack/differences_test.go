// In what two trees differ, path by path.

package pack_test

import (
	"bytes"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/build/pack"
	"imx/internal/erofs"
)

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
	got, err := pack.Differences(first, second)
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
		got, err := pack.Differences(map[string]erofs.Entry{"f": entry(0o644, string(a))}, map[string]erofs.Entry{"f": entry(0o644, string(b))})
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
