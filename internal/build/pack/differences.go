package pack

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"imx"
	"imx/internal/build/tree"
	"imx/internal/erofs"
)

// Differences returns in what two trees differ, sorted by path; the most telling aspect of a path is first.
func Differences(first, second map[string]erofs.Entry) ([]imx.PathDifference, error) {
	all := maps.Clone(first)
	maps.Copy(all, second)
	var list []imx.PathDifference
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a, inFirst := first[name]
		b, inSecond := second[name]
		var found []imx.PathDifference
		switch {
		case !inSecond:
			found = []imx.PathDifference{{What: imx.AspectMissing, First: tree.Kind(a.Mode), Second: "missing"}}
		case !inFirst:
			found = []imx.PathDifference{{What: imx.AspectMissing, First: "missing", Second: tree.Kind(b.Mode)}}
		case a.Mode.Type() != b.Mode.Type():
			found = []imx.PathDifference{{What: imx.AspectKind, First: tree.Kind(a.Mode), Second: tree.Kind(b.Mode)}}
		default:
			var err error
			if found, err = aspects(a, b); err != nil {
				return nil, fmt.Errorf("comparing /%s: %w", name, err)
			}
		}
		for _, d := range found {
			d.Path = "/" + name
			list = append(list, d)
		}
	}
	return list, nil
}

// aspects compares two entries of one path and kind.
func aspects(a, b erofs.Entry) ([]imx.PathDifference, error) {
	list, err := contentDifference(a, b)
	if err != nil {
		return nil, err
	}
	for _, v := range []struct {
		what          imx.PathAspect
		first, second string
	}{
		{imx.AspectTarget, a.Link, b.Link},
		{imx.AspectMode, imx.Mode(tree.Octal(a.Mode)).String(), imx.Mode(tree.Octal(b.Mode)).String()}, //nolint:gosec // at most 07777
		{imx.AspectOwner, fmt.Sprintf("%d:%d", a.UID, a.GID), fmt.Sprintf("%d:%d", b.UID, b.GID)},
		{imx.AspectTime, stampOf(a), stampOf(b)},
		{imx.AspectCapabilities, hex.EncodeToString([]byte(a.Xattrs[tree.CapsXattr])), hex.EncodeToString([]byte(b.Xattrs[tree.CapsXattr]))},
	} {
		if v.first != v.second {
			list = append(list, imx.PathDifference{What: v.what, First: v.first, Second: v.second})
		}
	}
	return list, nil
}

func stampOf(e erofs.Entry) string { return e.Time.UTC().Format(time.RFC3339) }

// contentDifference returns where two files' contents differ first, as a list of one; none if they don't.
func contentDifference(a, b erofs.Entry) ([]imx.PathDifference, error) {
	if !a.Mode.IsRegular() {
		return nil, nil
	}
	var at divergence
	err := reading(a, b, func(a, b *bufio.Reader) error {
		var err error
		at, err = diverge(a, b)
		return err
	})
	if err != nil || at.same {
		return nil, err
	}
	d := imx.PathDifference{What: imx.AspectContent, Offset: at.offset}
	err = reading(a, b, func(a, b *bufio.Reader) error {
		d.First, err = lineAt(a, at.line)
		if err != nil {
			return err
		}
		d.Second, err = lineAt(b, at.line)
		return err
	})
	if at.binary || !utf8.ValidString(d.First) || !utf8.ValidString(d.Second) {
		d.First, d.Second = fmt.Sprintf("%d bytes", a.Size), fmt.Sprintf("%d bytes", b.Size)
		return []imx.PathDifference{d}, err
	}
	d.Line = at.number
	return []imx.PathDifference{d}, err
}

// reading opens two files.
func reading(a, b erofs.Entry, f func(a, b *bufio.Reader) error) error {
	var open [2]io.ReadCloser
	for i, e := range []erofs.Entry{a, b} {
		open[i] = io.NopCloser(bytes.NewReader(nil))
		if e.Size > 0 {
			var err error
			if open[i], err = e.Open(); err != nil {
				return err
			}
		}
		defer open[i].Close()
	}
	return f(bufio.NewReader(open[0]), bufio.NewReader(open[1]))
}

// divergence is where two contents differ first.
type divergence struct {
	same   bool
	offset int64
	line   int64 // offset of the beginning of the line
	number int   // of the line, from 1
	binary bool  // there is a NUL byte up to there
}

func diverge(a, b io.ByteReader) (divergence, error) {
	at := divergence{number: 1}
	for {
		x, errX := a.ReadByte()
		y, errY := b.ReadByte()
		endX, endY := errors.Is(errX, io.EOF), errors.Is(errY, io.EOF)
		if err := cmp.Or(failure(errX), failure(errY)); err != nil {
			return at, err
		}
		at.binary = at.binary || !endX && x == 0 || !endY && y == 0
		if endX && endY {
			at.same = true
			return at, nil
		}
		if endX || endY || x != y {
			return at, nil
		}
		at.offset++
		if x == '\n' {
			at.line = at.offset
			at.number++
		}
	}
}

// failure is an error that isn't the end.
func failure(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// maxLine is how much of a line is shown, in bytes.
const maxLine = 200

// lineAt returns the line that begins at an offset, as much of it as is shown.
func lineAt(r *bufio.Reader, offset int64) (string, error) {
	if _, err := io.CopyN(io.Discard, r, offset); err != nil {
		return "", failure(err)
	}
	start, err := io.ReadAll(io.LimitReader(r, maxLine))
	line, _, _ := strings.Cut(string(start), "\n")
	for line != "" && !utf8.ValidString(line) && len(start) == maxLine && !utf8.FullRuneInString(line[len(line)-1:]) {
		line = line[:len(line)-1] // a character that the limit cut
	}
	return line, err
}
