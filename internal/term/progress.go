package term

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"charm.land/lipgloss/v2"

	"imx"
)

const (
	redraw = 100 * time.Millisecond // how often live steps are drawn: fast enough for a spinner, slow enough for ssh
	speak  = time.Second            // how often a pipe is looked after: a step may run long and report nothing
)

// Track runs work and shows the steps that it reports on Err. A terminal sees all running steps
// at once, redrawn in place, and keeps one line of each that has ended, or of several that differ in
// their last word alone. A pipe gets plain lines: one of each step that has ended, and one every few
// seconds of each that runs. When Track returns nothing writes any more. The error is work's.
func (t *Terminal) Track(work func(imx.Report) error) error {
	d := &display{out: t.Err, board: board{ink: t.Err.Ink}, began: time.Now()}
	report, every, show := d.take, redraw, d.draw
	if t.Err.Size == nil {
		report, every, show = d.say, speak, d.remind
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		run(stop, every, show)
	}()
	err := work(report)
	close(stop)
	<-stopped
	d.finish()
	return err
}

// run calls show regularly until stop is closed.
func run(stop <-chan struct{}, every time.Duration, show func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			show()
		}
	}
}

// display draws a board. The mutex guards all that follows it.
type display struct {
	out   Stream
	began time.Time

	mu    sync.Mutex
	board board
	ended []string // lines to stay, not yet drawn
	drawn []int    // widths of the live lines on the screen
	wrote bool     // something was drawn
}

// say is the Report of a pipe.
func (d *display) say(p imx.Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.sayStep(d.board.take(p, now), now)
}

// remind tells a pipe of steps that have run for long.
func (d *display) remind() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for _, s := range d.board.steps {
		d.sayStep(s, now)
	}
}

func (d *display) sayStep(s *step, now time.Time) {
	if line := d.board.plain(s, now); line != "" {
		d.write(line + "\n")
	}
}

// take is the Report of a terminal: it only notes, drawing is draw's.
func (d *display) take(p imx.Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.board.take(p, time.Now())
	if s.Status != imx.StepRunning {
		d.ended = append(d.ended, d.board.end(s, d.out.Columns())...)
	}
}

// draw replaces the live lines by what has ended since and the live lines of now, in one write.
func (d *display) draw() {
	d.mu.Lock()
	defer d.mu.Unlock()
	columns, rows := d.out.Size()
	d.replace(d.ended, d.board.live(time.Now(), columns, max(2, rows-2)))
	d.ended = nil
}

// finish leaves stable lines behind, of steps that never ended too, and what they all came to.
func (d *display) finish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	sum := d.board.total.text(time.Since(d.began))
	if d.out.Size == nil {
		if sum != "" {
			d.write("total: " + sum + "\n")
		}
		return
	}
	columns := d.out.Columns()
	lines := append(d.ended, d.board.settle(columns)...)
	for _, s := range d.board.steps {
		s.Seconds = time.Since(s.began).Seconds()
		lines = append(lines, d.board.final(s, columns))
	}
	if sum != "" {
		lines = append(lines, Cut("  "+d.board.ink.Bold(pad("total", names(columns)))+gap+sum, columns))
	}
	d.replace(lines, nil)
	if d.wrote {
		d.write("\n") // between what was going on and what comes of it
	}
	d.ended, d.board.steps = nil, nil
}

// replace writes lines over the live ones: some to stay, and new live ones. ECMA-48: CPL goes up to
// a line's start, EL clears the rest of a line, ED the rest of the screen. Each line is cleared as it
// is overwritten, so that nothing flickers.
func (d *display) replace(stay, live []string) {
	if len(stay)+len(live)+len(d.drawn) == 0 {
		return
	}
	d.wrote = true
	var b strings.Builder
	if up := d.height(); up > 0 {
		fmt.Fprintf(&b, "\x1b[%dF", up)
	}
	for _, line := range slices.Concat(stay, live) {
		b.WriteString("\x1b[K" + line + "\n")
	}
	if len(d.drawn) > 0 {
		b.WriteString("\x1b[J")
	}
	d.drawn = d.drawn[:0]
	for _, line := range live {
		d.drawn = append(d.drawn, lipgloss.Width(line))
	}
	d.write(b.String())
}

// height is how many rows the live lines take: a terminal that became narrower has broken them.
func (d *display) height() int {
	columns := max(1, d.out.Columns())
	rows := 0
	for _, width := range d.drawn {
		rows += max(1, (width+columns-1)/columns)
	}
	return rows
}

// write gives up silently: progress that can't be shown must not fail the work.
func (d *display) write(s string) { _, _ = io.WriteString(d.out, s) }
