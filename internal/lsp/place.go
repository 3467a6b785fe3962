package lsp

import (
	"strings"
	"unicode/utf8"

	"github.com/apparentlymart/go-textseg/v15/textseg"

	"imx"
)

// Position is a place in a text as the protocol counts: lines from 0, and in the line UTF-16 units from 0.
type Position struct {
	Line      int `json:"line"`
	Character int `json:"character"`
}

// Range is a part of a text as the protocol counts.
type Range struct {
	Start Position `json:"start"`
	End   Position `json:"end"`
}

// units is how many UTF-16 units a character takes.
func units(r rune) int {
	if r > 0xffff {
		return 2
	}
	return 1
}

// lineAt returns where a line begins and ends, in bytes and without what ends it; beyond the last line, the text's end.
func lineAt(text string, line int) (from, to int) {
	for ; line > 0; line-- {
		i := strings.IndexByte(text[from:], '\n')
		if i < 0 {
			return len(text), len(text)
		}
		from += i + 1
	}
	to = len(text)
	if i := strings.IndexByte(text[from:], '\n'); i >= 0 {
		to = from + i
	}
	if to > from && text[to-1] == '\r' {
		to--
	}
	return from, to
}

// Offset returns the byte that a position means. One that is outside of its line means the line's nearest end, and
// one in the middle of a character its beginning.
func Offset(text string, p Position) int {
	if p.Line < 0 {
		return 0
	}
	from, to := lineAt(text, p.Line)
	left := p.Character
	for from < to {
		r, size := utf8.DecodeRuneInString(text[from:to])
		if left -= units(r); left < 0 {
			return from
		}
		from += size
	}
	return from
}

// PositionOf returns the position of a byte.
func PositionOf(text string, offset int) Position {
	offset = max(0, min(offset, len(text)))
	before := text[:offset]
	start := strings.LastIndexByte(before, '\n') + 1
	p := Position{Line: strings.Count(before, "\n")}
	for _, r := range before[start:] {
		p.Character += units(r)
	}
	return p
}

// RangeOf returns the range of a span.
func RangeOf(text string, s Span) Range {
	return Range{PositionOf(text, s.From), PositionOf(text, max(s.From, s.To))}
}

// RangeInLine returns what imx.Pos means in the line that it points into: it counts what a person sees as one character.
// A position without a line means the text's beginning.
func RangeInLine(line string, at imx.Pos) Range {
	from := columns(line, at.Column-1)
	span := RangeOf(line, Span{from, max(from, columns(line, at.End-1))})
	n := max(0, at.Line-1)
	return Range{Position{n, span.Start.Character}, Position{n, span.End.Character}}
}

// columns returns how many bytes the first n characters of a line take.
func columns(line string, n int) int {
	b, taken := []byte(line), 0
	for ; n > 0 && len(b) > 0; n-- {
		size, _, err := textseg.ScanGraphemeClusters(b, true)
		if err != nil || size == 0 {
			break
		}
		b, taken = b[size:], taken+size
	}
	return taken
}
