package term

import "time"

// Live is a block of lines on a terminal that is drawn anew in place.
type Live struct{ d display }

// NewLive returns an empty block below what a terminal shows by now. The stream must have a Size.
func NewLive(out Stream) *Live { return &Live{display{out: out, began: time.Now()}} }

// Draw replaces the block by lines that stay above it from now on, and the lines of a new block. Lines that are wider than the
// terminal are cut, and of those of the block as many are shown as there are rows.
func (l *Live) Draw(stay, block []string) {
	columns, rows := l.d.out.Size()
	for _, lines := range [][]string{stay, block} {
		for i, line := range lines {
			lines[i] = Cut(line, columns)
		}
	}
	l.d.replace(stay, block[:min(len(block), max(1, rows-1))])
}
