package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"imx"
	"imx/internal/leak"
)

// Bounds of looking for secrets in large files, which is done a piece at a time.
const (
	maxLarge = 32 << 20 // of all of a folder's together
	pieceOf  = 1 << 20
	// overlap is how much of a piece is looked at again with the next: more than the longest pattern reaches from its
	// keyword.
	overlap = 64 << 10
)

// large is a file beside a template that is too large to be held against rules. Its size and time tell whether it
// changed: it isn't read for that.
type large struct {
	Name     string
	Size     int64
	Modified time.Time
}

// large looks for secrets in the large files beside a template, but for those that the template takes in: their
// texts are at hand.
func (e *examiner) large(ctx context.Context, files *recorder, near beside) ([]imx.Finding, imx.Diagnostics, error) {
	var all []imx.Finding
	var notices imx.Diagnostics
	left := int64(maxLarge)
	for _, l := range near.large {
		if _, ok := files.texts[l.Name]; ok {
			continue
		}
		found, read, err := e.pieces(ctx, files.fsys, l.Name, left)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		all, left = append(all, found...), left-read
		switch {
		case err != nil:
			notices = append(notices, unread(l.Name, "this file wasn't looked through for secrets: "+err.Error()))
		case left == 0 && read < l.Size:
			notices = append(notices, unread(l.Name, fmt.Sprintf(
				"of this file the first %s of %s were looked through for secrets, of all large files %s", imx.Size(read), imx.Size(l.Size), imx.Size(maxLarge))))
		}
	}
	return all, notices, nil
}

func unread(name, why string) imx.Diagnostic {
	return imx.Diagnostic{
		Severity: imx.SeverityNotice, At: imx.Pos{File: name, Line: 1}, Summary: why, Hint: "keep what isn't the template's in another folder",
	}
}

// pieces looks for secrets in at most limit bytes of a file, and returns how many it has read. A file that is no text
// isn't read to its end: it is a keystore or nothing.
func (e *examiner) pieces(ctx context.Context, fsys fs.FS, name string, limit int64) ([]imx.Finding, int64, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close() // read-only
	p := pieces{from: io.LimitReader(f, limit)}
	var all []imx.Finding
	for first := true; ctx.Err() == nil; first = false {
		more, err := p.next()
		if err != nil {
			return nil, 0, err
		}
		if first && !leak.IsText(p.text) {
			return e.secrets().Folder(leak.Folder{Texts: map[string][]byte{name: p.text}}), 0, nil
		}
		for _, found := range e.secrets().Read(name, p.text).Findings() {
			if found.At.Line == 1 && p.inLine {
				found.At.Column, found.At.End, found.Source = 0, 0, ""
			}
			found.At.Line += p.before
			if !slices.ContainsFunc(all, func(a imx.Finding) bool { return a.Rule == found.Rule && a.At.Line == found.At.Line }) {
				all = append(all, found)
			}
		}
		if !more {
			break
		}
	}
	slices.SortStableFunc(all, func(a, b imx.Finding) int { return cmp.Compare(a.At.Line, b.At.Line) })
	return all, p.read, ctx.Err()
}

// pieces are the pieces of a text that are looked at one after the other, cut between lines where there are any. Each
// begins with the end of the one before.
type pieces struct {
	from   io.Reader
	text   []byte // the piece at hand
	rest   []byte // what was read behind it
	before int    // lines that end before it
	inLine bool   // it begins in the middle of a line
	read   int64
}

// next goes to the next piece, and reports whether there may be more.
func (p *pieces) next() (more bool, err error) {
	keep := p.text[max(0, len(p.text)-overlap):]
	inLine := len(keep) < len(p.text) || p.inLine
	if i := bytes.IndexByte(keep, '\n'); inLine && i >= 0 {
		keep, inLine = keep[i+1:], false
	}
	p.before += bytes.Count(p.text[:len(p.text)-len(keep)], []byte("\n"))
	fresh := make([]byte, pieceOf)
	n, err := io.ReadFull(p.from, fresh)
	p.read += int64(n)
	more = err == nil
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	p.text, p.inLine = slices.Concat(keep, p.rest, fresh[:n]), inLine
	p.rest = nil
	if i := bytes.LastIndexByte(p.text, '\n'); more && i > len(keep) {
		p.text, p.rest = p.text[:i+1], p.text[i+1:]
	}
	return more, nil
}
