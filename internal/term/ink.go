package term

import (
	"strings"
	"unicode"

	"charm.land/lipgloss/v2"
)

// Ink colours words. It uses the terminal's own sixteen colours, which follow the person's theme
// and which every terminal has. The zero Ink leaves text as it is.
type Ink struct {
	on bool
}

// Bold is for headings and for what matters most on a line.
func (k Ink) Bold(s string) string { return k.render(s, lipgloss.NewStyle().Bold(true)) }

// Dim is for what can be skipped while reading.
func (k Ink) Dim(s string) string { return k.render(s, lipgloss.NewStyle().Faint(true)) }

// Good is for health, success and what is added.
func (k Ink) Good(s string) string {
	return k.render(s, lipgloss.NewStyle().Foreground(lipgloss.Green))
}

// Warn is for what is under way, changed or worth a look.
func (k Ink) Warn(s string) string {
	return k.render(s, lipgloss.NewStyle().Foreground(lipgloss.Yellow))
}

// Bad is for failures and what is removed.
func (k Ink) Bad(s string) string {
	return k.render(s, lipgloss.NewStyle().Foreground(lipgloss.Red))
}

// Name is for the names of things.
func (k Ink) Name(s string) string {
	return k.render(s, lipgloss.NewStyle().Foreground(lipgloss.Cyan))
}

func (k Ink) render(s string, style lipgloss.Style) string {
	if !k.on || s == "" {
		return s
	}
	return style.Render(s)
}

// CleanLines returns s without control characters other than line breaks: a text of several lines that came
// from elsewhere, such as the last that a maintainer script wrote. A tab becomes a space.
func CleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		lines[i] = indent + Clean(line)
	}
	return strings.Join(lines, "\n")
}

// Clean returns s on one line and without control characters, so that a reason or a message that
// came from elsewhere can neither move the cursor nor break a table.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, strings.TrimSpace(s))
}
