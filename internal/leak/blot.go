package leak

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/apparentlymart/go-textseg/v15/textseg"

	"imx"
)

// blot is what stands for each character of a secret.
const blot = "*"

// Text is a text with its secrets.
type Text struct {
	name    string
	text    []byte
	secrets []Secret
	lines   []int    // where each begins
	shown   []string // the lines, blotted
}

// Read looks for the secrets of a text, which is named as a path.
func (s *Scanner) Read(name string, text []byte) Text {
	t := Text{name: name, text: text, secrets: s.Find(name, text), lines: []int{0}}
	for i, c := range text {
		if c == '\n' {
			t.lines = append(t.lines, i+1)
		}
	}
	for i := range t.secrets {
		t.secrets[i].End = t.rest(t.secrets[i])
	}
	t.shown = strings.Split(string(t.Blotted()), "\n")
	return t
}

// rest is where the run of characters ends that a secret's last belongs to: a pattern may stop before the secret does.
func (t Text) rest(s Secret) int {
	end := s.End
	for end < len(t.text) && end > s.Begin && !strings.ContainsRune(" \t\r\n\"'`;,<>", rune(t.text[end-1])) && !strings.ContainsRune(" \t\r\n\"'`;,<>", rune(t.text[end])) {
		end++
	}
	return end
}

// Findings are the secrets as findings, each at its first line.
func (t Text) Findings() []imx.Finding {
	var all []imx.Finding
	for _, s := range t.secrets {
		at := t.pos(s)
		all = append(all, imx.Finding{
			Rule: s.Rule.ID, Level: s.Rule.Level, At: at, Source: t.Line(at.Line),
			Message: t.name + " has what looks like a secret: " + strings.TrimPrefix(s.Rule.ID, prefix),
		})
	}
	return all
}

// pos is where a secret stands, as far as it is on its first line.
func (t Text) pos(s Secret) imx.Pos {
	n, found := slices.BinarySearch(t.lines, s.Begin)
	if found {
		n++
	}
	begin := t.lines[n-1]
	end := min(s.End, lineEnd(t.text, s.Begin))
	column := characters(t.text[begin:s.Begin]) + 1
	return imx.Pos{File: t.name, Line: n, Column: column, End: max(column+1, column+utf8.RuneCount(t.text[s.Begin:end]))}
}

// Line returns a line, counted from 1, with its secrets blotted out; "" for one that nobody would read, or that there isn't.
func (t Text) Line(n int) string {
	if n < 1 || n > len(t.shown) || len(t.shown[n-1]) > imx.MaxSource {
		return ""
	}
	return strings.TrimRight(t.shown[n-1], "\r")
}

// Blotted is the text with a star for each character of a secret. It has as many lines, and its lines as many characters.
func (t Text) Blotted() []byte {
	var b []byte
	last := 0
	for _, s := range t.secrets {
		if s.Begin < last {
			s.Begin = last
		}
		b = append(b, t.text[last:s.Begin]...)
		for _, c := range string(t.text[s.Begin:max(s.Begin, s.End)]) {
			if c == '\n' || c == '\r' {
				b = append(b, byte(c))
			} else {
				b = append(b, blot...)
			}
		}
		last = max(last, s.End)
	}
	return append(b, t.text[last:]...)
}

func characters(b []byte) int {
	n, err := textseg.TokenCount(b, textseg.ScanGraphemeClusters)
	if err != nil {
		return len(b)
	}
	return n
}
