package term

import (
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// gap stands between two columns of a table.
const gap = "  "

// leastWrapped is how narrow a column gets that wraps, if it isn't anyway, before another one is left out.
const leastWrapped = 16

// Table is rows under a heading, each column as wide as its widest cell. Cells may be coloured
// and hold no newline. Columns are named by their heading.
type Table struct {
	Head []string
	Rows [][]string
	// Wraps are the columns whose text goes on in a further line where the terminal is too narrow; without a Head it is the last.
	Wraps []string
	// Drops are the columns that are left out where that isn't enough, the one that matters least first.
	Drops []string
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Text returns the table's lines. A column that is empty in every row is left out. Where columns
// is above 0, no line is wider: columns wrap and are left out as the table says, and what still is too wide is cut.
func (t *Table) Text(ink Ink, columns int) string {
	head := make([]string, len(t.Head))
	for i, h := range t.Head {
		head[i] = ink.Dim(h)
	}
	widths := t.fit(columns)
	var b strings.Builder
	if len(head) > 0 {
		b.WriteString(tableLine(head, widths, columns))
	}
	for _, row := range t.Rows {
		for _, line := range foldRow(row, widths) {
			b.WriteString(tableLine(line, widths, columns))
		}
	}
	return b.String()
}

// fit returns each column's width in so many columns, 0 for one that isn't shown.
func (t *Table) fit(columns int) []int {
	widths := t.widths()
	if columns <= 0 {
		return widths
	}
	drops := t.Drops
	for {
		fitted := t.squeeze(widths, columns)
		if len(drops) == 0 || sum(fitted) <= columns {
			return fitted
		}
		if i := slices.Index(t.Head, drops[0]); i >= 0 && i < len(widths) {
			widths[i] = 0
		}
		drops = drops[1:]
	}
}

// squeeze makes the columns that wrap narrower, the widest first, until the table fits or they are as narrow as they get.
func (t *Table) squeeze(widths []int, columns int) []int {
	widths = slices.Clone(widths)
	for over := sum(widths) - columns; over > 0; over-- {
		widest := -1
		for i, w := range widths {
			if t.wraps(i, len(widths)) && w > leastWrapped && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return widths
}

// sum is how many columns the whole table takes.
func sum(widths []int) int {
	all := -len(gap)
	for _, w := range widths {
		if w > 0 {
			all += w + len(gap)
		}
	}
	return all
}

func (t *Table) wraps(column, columns int) bool {
	if len(t.Head) == 0 {
		return column == columns-1
	}
	return column < len(t.Head) && slices.Contains(t.Wraps, t.Head[column])
}

// foldRow returns the lines that a row takes.
func foldRow(row []string, widths []int) [][]string {
	lines := [][]string{make([]string, len(widths))}
	for i, cell := range row {
		if i >= len(widths) || widths[i] == 0 {
			continue
		}
		parts := []string{cell}
		if lipgloss.Width(cell) > widths[i] {
			parts = fold(cell, widths[i], widths[i])
		}
		for n, part := range parts {
			if n == len(lines) {
				lines = append(lines, make([]string, len(widths)))
			}
			lines[n][i] = part
		}
	}
	return lines
}

// widths returns each column's width, 0 for one without content.
func (t *Table) widths() []int {
	var widths []int
	for _, row := range t.Rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], lipgloss.Width(cell))
		}
	}
	for i := range widths {
		if widths[i] > 0 && i < len(t.Head) {
			widths[i] = max(widths[i], lipgloss.Width(t.Head[i]))
		}
	}
	return widths
}

func tableLine(cells []string, widths []int, columns int) string {
	var b strings.Builder
	for i, width := range widths {
		if width == 0 {
			continue
		}
		cell := ""
		if i < len(cells) {
			cell = cells[i]
		}
		b.WriteString(cell)
		b.WriteString(strings.Repeat(" ", max(0, width-lipgloss.Width(cell))))
		b.WriteString(gap)
	}
	return Cut(strings.TrimRight(b.String(), " "), columns) + "\n"
}

// Cut shortens a line to so many columns, ending it with "…"; 0 columns leave it whole.
func Cut(line string, columns int) string {
	if columns <= 0 {
		return line
	}
	return ansi.Truncate(line, columns, "…")
}
