package term

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"imx"
)

// spare is the part of a line, one in so many, that is free for a running step's message. It doesn't
// depend on the messages themselves, or the columns would jump with each.
const spare = 5

// shape is what a line of a running step has besides its name, its time and its message.
type shape struct {
	bar          int // cells
	amount, unit bool
}

// shapes are in the order of preference: what says least goes first where there is little room.
func shapes() []shape {
	return []shape{
		{bar: 16, amount: true, unit: true},
		{bar: 10, amount: true},
		{bar: 6, amount: true},
		{amount: true},
		{},
	}
}

// layout returns a line for each step, with their parts in columns.
func (b *board) layout(steps []*step, now time.Time, columns int) []string {
	spinner := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	frame := b.ink.Warn(string(spinner[now.UnixMilli()/100%int64(len(spinner))]))
	var table [][]string
	var widths []int
	for _, form := range shapes() {
		table, widths = b.cells(steps, form, now, columns)
		used := 2
		for _, w := range widths {
			if w > 0 {
				used += w + len(gap)
			}
		}
		if used+columns/spare <= columns {
			break
		}
	}
	lines := make([]string, 0, len(steps))
	for i, row := range table {
		parts := []string{}
		for j, cell := range row {
			if widths[j] > 0 {
				parts = append(parts, pad(cell, widths[j]))
			}
		}
		parts = append(parts, b.ink.Dim(joined([]string{steps[i].rate(now), steps[i].Message}, gap)))
		lines = append(lines, Cut(strings.TrimRight(frame+" "+strings.Join(parts, gap), " "), columns))
	}
	return lines
}

// cells returns the parts of each step's line but its message, and the width of each column.
func (b *board) cells(steps []*step, form shape, now time.Time, columns int) ([][]string, []int) {
	var table [][]string
	widths := []int{names(columns), 0, 0, 0, len("14.7 s")}
	for _, s := range steps {
		row := []string{b.ink.Name(s.Step), b.bar(s.Progress, form.bar), percent(s.Progress), "", clock(now.Sub(s.began))}
		if form.amount {
			row[3] = compact(s.Progress, form.unit)
		}
		for j, cell := range row {
			widths[j] = max(widths[j], lipgloss.Width(cell))
		}
		table = append(table, row)
	}
	return table, widths
}

// bar draws how far a step is, "" where its total isn't known.
func (b *board) bar(p imx.Progress, cells int) string {
	if p.Total <= 0 || cells == 0 {
		return ""
	}
	full := int(min(max(p.Done, 0), p.Total) * int64(cells) / p.Total)
	return b.ink.Good(strings.Repeat("━", full)) + b.ink.Dim(strings.Repeat("─", cells-full))
}

// percent is how far a step is, right-aligned.
func percent(p imx.Progress) string {
	if p.Total <= 0 {
		return ""
	}
	return fmt.Sprintf("%3d%%", min(max(p.Done, 0), p.Total)*100/p.Total)
}

// clock is how long a step has run, in few columns: "14.7 s", "1:25", "2:03:59".
func clock(d time.Duration) string {
	s := int(d.Seconds())
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

const unitBytes = "bytes"

// rate is how fast a transfer goes now, "" for any other step.
func (s *step) rate(now time.Time) string {
	if s.Unit != unitBytes {
		return ""
	}
	return s.pace.rate(s.Done, now)
}

// compact is a running step's Amount in few columns, as wide as at its end: "  3/57 packages",
// " 5.0/28.3 MiB".
func compact(p imx.Progress, withUnit bool) string { //nolint:revive // flag-parameter: the width is what decides
	if p.Total <= 0 {
		return Amount(p)
	}
	if p.Unit == unitBytes {
		return compactBytes(p)
	}
	total := Number(p.Total)
	text := fmt.Sprintf("%*s/%s", len(total), Number(min(p.Done, p.Total)), total)
	if withUnit && p.Unit != "" {
		text += " " + p.Unit
	}
	return text
}

// compactBytes writes both sizes in the unit of the total.
func compactBytes(p imx.Progress) string {
	total := imx.Size(p.Total).String()
	number, unit, _ := strings.Cut(total, " ")
	if unit == "B" {
		return fmt.Sprintf("%*d/%s", len(number), p.Done, total)
	}
	scale := int64(1)
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		scale *= 1024
		if next == unit {
			break
		}
	}
	return fmt.Sprintf("%*.1f/%s", len(number), float64(min(p.Done, p.Total))/float64(scale), total)
}
