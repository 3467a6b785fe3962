package term

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"imx"
)

// redraw is how often live steps are drawn: fast enough for a spinner, slow enough for ssh.
const redraw = 100 * time.Millisecond

// Track runs work and shows the steps that it reports on Err. A terminal sees all running steps
// at once, redrawn in place, and keeps one line of each that has ended; a pipe gets plain lines.
// When Track returns nothing draws any more. The error is work's.
func (t *Terminal) Track(work func(imx.Report) error) error {
	d := &display{out: t.Err, board: board{ink: t.Err.Ink}}
	if t.Err.Size == nil {
		return work(d.say)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		d.run(stop)
	}()
	err := work(d.take)
	close(stop)
	<-stopped
	d.finish()
	return err
}

// display draws a board. The mutex guards all that follows it.
type display struct {
	out Stream

	mu    sync.Mutex
	board board
	ended []string // lines to stay, not yet drawn
	drawn int      // live lines on the screen
}

// say is the Report of a pipe.
func (d *display) say(p imx.Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if line := d.board.plain(d.board.take(p, now), now); line != "" {
		d.write(line + "\n")
	}
}

// take is the Report of a terminal: it only notes, drawing is run's.
func (d *display) take(p imx.Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.board.take(p, time.Now())
	if s.Status != imx.StepRunning {
		d.ended = append(d.ended, d.board.final(s, d.out.Columns()))
	}
}

func (d *display) run(stop <-chan struct{}) {
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			d.draw()
		}
	}
}

// draw replaces the live lines by what has ended since and the live lines of now, in one write.
func (d *display) draw() {
	d.mu.Lock()
	defer d.mu.Unlock()
	columns, rows := d.out.Size()
	live := d.board.live(time.Now(), columns, max(2, rows-2))
	d.replace(append(d.ended, live...))
	d.ended, d.drawn = nil, len(live)
}

// finish leaves stable lines behind, of steps that never ended too.
func (d *display) finish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.board.steps {
		s.Seconds = time.Since(s.began).Seconds()
		d.ended = append(d.ended, d.board.final(s, d.out.Columns()))
	}
	d.replace(d.ended)
	if d.board.width > 0 {
		d.write("\n") // between what was going on and what comes of it
	}
	d.ended, d.drawn, d.board.steps = nil, 0, nil
}

// replace writes lines over the live ones. ECMA-48: CPL goes up to a line's start, ED clears to
// the screen's end.
func (d *display) replace(lines []string) {
	if len(lines) == 0 && d.drawn == 0 {
		return
	}
	var b strings.Builder
	if d.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dF\x1b[J", d.drawn)
	}
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	d.write(b.String())
}

// write gives up silently: progress that can't be shown must not fail the work.
func (d *display) write(s string) { _, _ = io.WriteString(d.out, s) }
