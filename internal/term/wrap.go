package term

import (
	"regexp"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// Wrap breaks a text's lines between words so that none is wider than so many columns; a word that is wider by itself is broken
// where it has to be. What follows a break begins a bit after where the line began. 0 columns leave the text whole.
func Wrap(text string, columns int) string {
	if columns <= 0 {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, ended := strings.CutSuffix(line, "\n")
		b.WriteString(wrapLine(line, columns))
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func wrapLine(line string, columns int) string {
	const hang = 2
	if lipgloss.Width(line) <= columns {
		return line
	}
	words := strings.TrimLeft(line, " ")
	indent := min(len(line)-len(words), columns/2)
	deep := min(indent+hang, columns/2)
	lines := fold(words, columns-indent, columns-deep)
	return strings.Repeat(" ", indent) + strings.Join(lines, "\n"+strings.Repeat(" ", deep))
}

// fold breaks one line's words into lines, the first of them of first columns at most and the others of rest. Each has the colours
// that its words have in the line, and none runs on into what stands beside it.
func fold(line string, first, rest int) []string {
	f := folding{room: max(first, 1), rest: max(rest, 1)}
	for word := range strings.FieldsSeq(line) {
		f.add(word)
	}
	f.end()
	return f.lines
}

type folding struct {
	room, rest int // columns of the line that is being filled, and of those after it
	lines      []string
	line       strings.Builder
	used       int    // columns of line
	style      string // what switched the colour on that is on
}

func (f *folding) add(word string) {
	width := lipgloss.Width(word)
	if f.used > 0 && f.used+1+width > f.room {
		f.end()
	}
	if f.used > 0 {
		f.line.WriteByte(' ')
		f.used++
	}
	parts := []string{word}
	if width > f.room {
		parts = strings.Split(ansi.Hardwrap(word, min(f.room, f.rest), true), "\n")
	}
	for i, part := range parts {
		if i > 0 {
			f.end()
		}
		f.line.WriteString(part)
		f.used += lipgloss.Width(part)
		f.note(part)
	}
}

// note takes in how a part of a word changes the colour.
func (f *folding) note(part string) {
	for _, set := range regexp.MustCompile(`\x1b\[[0-9;]*m`).FindAllString(part, -1) {
		if f.style = set; set == "\x1b[m" || set == "\x1b[0m" {
			f.style = ""
		}
	}
}

func (f *folding) end() {
	if f.style != "" {
		f.line.WriteString("\x1b[m")
	}
	f.lines = append(f.lines, f.line.String())
	f.line.Reset()
	f.line.WriteString(f.style)
	f.used, f.room = 0, f.rest
}
