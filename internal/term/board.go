package term

import (
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"imx"
)

const (
	nameWidth = 26               // least width of the column of step names
	barWidth  = 16               // cells of a bar
	quiet     = 10 * time.Second // in a pipe, a running step says no more than one line per this
)

// board is what is known of a task's steps. It decides what lines to show and draws nothing.
type board struct {
	ink   Ink
	steps []*step // running, in order of their beginning
	width int     // of the longest name so far
}

// step is one running step.
type step struct {
	imx.Progress
	began time.Time
	said  time.Time // when a line about it was last printed in a pipe
}

// take folds a report in. The step is the report's; it is taken off the board when it has ended.
func (b *board) take(p imx.Progress, now time.Time) *step {
	p.Step, p.Message = Clean(p.Step), Clean(p.Message)
	b.width = max(b.width, lipgloss.Width(p.Step))
	s := b.running(p.Step)
	if s == nil {
		s = &step{began: now}
		b.steps = append(b.steps, s)
	}
	if p.Seconds == 0 {
		p.Seconds = now.Sub(s.began).Seconds()
	}
	s.Progress = p
	if p.Status != imx.StepRunning {
		b.drop(s)
	}
	return s
}

func (b *board) running(name string) *step {
	for _, s := range b.steps {
		if s.Step == name {
			return s
		}
	}
	return nil
}

func (b *board) drop(gone *step) {
	kept := b.steps[:0]
	for _, s := range b.steps {
		if s != gone {
			kept = append(kept, s)
		}
	}
	b.steps = kept
}

// live returns a line for each running step, at most rows of them, none wider than columns.
func (b *board) live(now time.Time, columns, rows int) []string {
	spinner := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	frame := string(spinner[now.UnixMilli()/100%int64(len(spinner))])
	var lines []string
	for i, s := range b.steps {
		if i >= rows-1 && len(b.steps) > rows {
			more := Count(int64(len(b.steps)-i), "more step")
			lines = append(lines, Cut("  "+b.ink.Dim("and "+more), columns))
			break
		}
		parts := []string{s.Message, b.bar(s.Progress), Amount(s.Progress), b.ink.Dim(Took(now.Sub(s.began)))}
		lines = append(lines, Cut(b.line(b.ink.Warn(frame), s.Step, parts), columns))
	}
	return lines
}

// final returns the line that stays of a step that has ended.
func (b *board) final(s *step, columns int) string {
	mark, state := b.ink.Good("✓"), ""
	switch s.Status {
	case imx.StepCached:
		state = b.ink.Dim("cached")
	case imx.StepFailed:
		mark, state = b.ink.Bad("✗"), b.ink.Bad("failed")
	case imx.StepRunning:
		mark, state = b.ink.Dim("-"), b.ink.Dim("not finished")
	}
	parts := []string{state, s.Message, Amount(s.Progress), b.took(s)}
	return Cut(b.line(mark, s.Step, parts), columns)
}

// took says how long a step took, where that is worth a word.
func (b *board) took(s *step) string {
	if s.Status == imx.StepCached || s.Seconds < 0.005 {
		return ""
	}
	return b.ink.Dim(Took(seconds(s.Seconds)))
}

func (b *board) line(mark, name string, parts []string) string {
	pad := max(nameWidth, b.width) - lipgloss.Width(name)
	line := mark + " " + b.ink.Name(name) + strings.Repeat(" ", max(0, pad)) + gap + joined(parts, "  ")
	return strings.TrimRight(line, " ")
}

// bar draws how far a step is, "" where its total isn't known.
func (b *board) bar(p imx.Progress) string {
	if p.Total <= 0 {
		return ""
	}
	full := int(min(max(p.Done, 0), p.Total) * barWidth / p.Total)
	return b.ink.Good(strings.Repeat("━", full)) + b.ink.Dim(strings.Repeat("─", barWidth-full))
}

// plain returns the line that a pipe gets about a step after a report, "" where there is nothing
// new enough to say.
func (b *board) plain(s *step, now time.Time) string {
	fresh := s.said.IsZero()
	if s.Status == imx.StepRunning && !fresh && now.Sub(s.said) < quiet {
		return ""
	}
	s.said = now
	parts := []string{s.Status, s.Message, Amount(s.Progress)}
	if !fresh || s.Status == imx.StepDone || s.Status == imx.StepFailed {
		parts = append(parts, b.took(s))
	}
	return s.Step + ": " + joined(parts, ", ")
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func joined(parts []string, with string) string {
	var full []string
	for _, p := range parts {
		if p != "" {
			full = append(full, p)
		}
	}
	return strings.Join(full, with)
}
