package term

import (
	"time"

	"imx"
)

// window is over how long a rate is taken, at least: a stalled transfer shows within it.
const window = 2 * time.Second

// pace measures how fast a step goes now.
type pace struct {
	since, next mark
}

// mark is how much was done at a time.
type mark struct {
	at   time.Time
	done int64
}

func newPace(done int64, now time.Time) pace {
	m := mark{now, done}
	return pace{m, m}
}

// note takes in how much is done. A step that counts anew begins anew.
func (p *pace) note(done int64, now time.Time) {
	if done < p.next.done {
		*p = newPace(done, now)
	}
	if now.Sub(p.next.at) >= window {
		p.since, p.next = p.next, mark{now, done}
	}
}

// rate returns the bytes in a second, "" before there is anything to say.
func (p *pace) rate(done int64, now time.Time) string {
	p.note(done, now)
	return speed(done-p.since.done, now.Sub(p.since.at))
}

func speed(bytes int64, in time.Duration) string {
	if bytes <= 0 || in < 50*time.Millisecond {
		return ""
	}
	return imx.Size(float64(bytes)/in.Seconds()).String() + "/s"
}

// overall is the rate of a transfer that has ended.
func overall(s *step) string {
	if s.Unit != unitBytes || s.Status != imx.StepDone {
		return ""
	}
	return speed(s.Done, seconds(s.Seconds))
}
