package term

import (
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// gap stands between two columns of a table.
const gap = "  "

// Table is rows under a heading, each column as wide as its widest cell. Cells may be coloured
// and hold no newline.
type Table struct {
	Head []string
	Rows [][]string
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Text returns the table's lines. A column that is empty in every row is left out. Where columns
// is above 0, lines are cut to it.
func (t *Table) Text(ink Ink, columns int) string {
	head := make([]string, len(t.Head))
	for i, h := range t.Head {
		head[i] = ink.Dim(h)
	}
	widths := t.widths()
	var b strings.Builder
	if len(head) > 0 {
		b.WriteString(tableLine(head, widths, columns))
	}
	for _, row := range t.Rows {
		b.WriteString(tableLine(row, widths, columns))
	}
	return b.String()
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
		b.WriteString(strings.Repeat(" ", width-lipgloss.Width(cell)))
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
