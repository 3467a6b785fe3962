package term

import (
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"imx"
)

const (
	nameWidth = 18               // least width of the column of step names, where there is room
	roomy     = 60               // columns from which on there is
	hush      = 3 * time.Second  // in a pipe, a step that ends before says one line, when it ends
	quiet     = 10 * time.Second // in a pipe, a running step says no more than one line per this,
	still     = time.Minute      // and one with nothing new no more than one per this
)

// board is what is known of a task's steps. It decides what lines to show and draws nothing.
type board struct {
	ink   Ink
	steps []*step // running, in order of their beginning
	open  *family // that ended last; others of it may follow
	total total
}

// step is one running step.
type step struct {
	imx.Progress
	began time.Time
	pace  pace
	said  time.Time // when a line about it was last printed in a pipe,
	line  string    // and that line, without the time that it took
}

// take folds a report in. The step is the report's; it is taken off the board when it has ended.
func (b *board) take(p imx.Progress, now time.Time) *step {
	p.Step, p.Message = Clean(p.Step), Clean(p.Message)
	s := b.running(p.Step)
	if s == nil {
		s = &step{began: now, pace: newPace(p.Done, now)}
		b.steps = append(b.steps, s)
	}
	if p.Seconds == 0 {
		p.Seconds = now.Sub(s.began).Seconds()
	}
	s.Progress = p
	s.pace.note(p.Done, now)
	if p.Status != imx.StepRunning {
		b.drop(s)
		b.total.add(p)
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
	b.steps = slices.DeleteFunc(b.steps, func(s *step) bool { return s == gone })
}

// live returns the lines that may still change: one of the family that ended last, and one for each
// running step. They are at most rows, none wider than columns.
func (b *board) live(now time.Time, columns, rows int) []string {
	var lines []string
	if b.open != nil {
		lines = append(lines, b.final(b.open.step(), columns))
	}
	shown, more := b.steps, ""
	if room := rows - len(lines); len(shown) > room {
		more = "  " + b.ink.Dim("and "+Count(int64(len(shown)-room+1), "more step"))
		shown = shown[:max(0, room-1)]
	}
	lines = append(lines, b.layout(shown, now, columns)...)
	if more != "" {
		lines = append(lines, Cut(more, columns))
	}
	return lines
}

// end returns the lines that stay of a step that has ended, and of those that no more can be added
// to: one of a family waits for others.
func (b *board) end(s *step, columns int) []string {
	if b.open.takes(s) {
		b.open.add(s)
		return nil
	}
	lines := b.settle(columns)
	if name := familyOf(s); name != "" {
		b.open = &family{name: name}
		b.open.add(s)
		return lines
	}
	return append(lines, b.final(s, columns))
}

// settle returns the line of the family that waited for others, if one did.
func (b *board) settle(columns int) []string {
	if b.open == nil {
		return nil
	}
	line := b.final(b.open.step(), columns)
	b.open = nil
	return []string{line}
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
	parts := []string{state, Amount(s.Progress), b.took(s), b.ink.Dim(overall(s)), s.Message}
	line := mark + " " + b.ink.Name(pad(s.Step, names(columns))) + gap + joined(parts, gap)
	return Cut(strings.TrimRight(line, " "), columns)
}

// names is the least width of the column of names.
func names(columns int) int {
	if columns < roomy {
		return 0
	}
	return nameWidth
}

// took says how long a step took, where that is worth a word.
func (b *board) took(s *step) string {
	if s.Status == imx.StepCached || s.Seconds < 0.005 {
		return ""
	}
	return b.ink.Dim(Took(seconds(s.Seconds)))
}

// plain returns the line that a pipe gets about a step, "" where there is nothing new enough to say.
func (b *board) plain(s *step, now time.Time) string {
	line := s.Step + ": " + joined([]string{s.Status, s.Message, Amount(s.Progress)}, ", ")
	if s.Status == imx.StepRunning {
		wait := quiet
		if line == s.line {
			wait = still
		}
		if now.Sub(s.began) < hush || !s.said.IsZero() && now.Sub(s.said) < wait {
			return ""
		}
		s.Seconds = now.Sub(s.began).Seconds()
	}
	s.said, s.line = now, line
	return joined([]string{line, b.took(s)}, ", ")
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// pad fills text up with spaces to a width on the screen.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-lipgloss.Width(text)))
}

func joined(parts []string, with string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), with)
}
