package measure

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"imx"
)

// sums are increases of counters.
type sums [kinds]float64

func (s sums) plus(o sums) sums {
	for k := range s {
		s[k] += o[k]
	}
	return s
}

// meter follows one instance's counters. What they came to stays counted when it has ended.
type meter struct {
	release int
	last    sample
	read    bool   // ever
	fresh   bool   // since the begin of the book
	fault   string // why it couldn't be read when it was last tried
	window  sums   // since the begin of the book
	life    sums   // since the instance began
}

// note adds a reading. What an instance answered before it was first read counts if it began since from. A counter that is smaller than
// it was has begun anew.
func (m *meter) note(r reading, from time.Time) {
	s, whole := r.sample, !r.instance.Started.Before(from)
	for k := range s {
		if m.last[k] == nil {
			m.last[k] = map[string]float64{}
		}
		for name, is := range s[k] {
			more := is
			if was := m.last[k][name]; was <= is {
				more -= was
			}
			m.life[k] += more
			if m.read || whole {
				m.window[k] += more
			}
		}
		maps.Copy(m.last[k], s[k])
	}
	m.read, m.fresh, m.fault = true, true, ""
}

// book is what was counted of one service.
type book struct {
	job    job
	from   time.Time // counted since: the job's Since, or when it could first be counted
	meters map[string]*meter
	begun  bool        // both releases could be read
	probes imx.Counted // those fields of it
}

func newBook(j job, opened time.Time) *book {
	b := &book{meters: map[string]*meter{}}
	b.turn(j, opened)
	return b
}

// turn begins anew for another step, or another release. The instances' counters are known from before.
func (b *book) turn(j job, opened time.Time) {
	b.job, b.from = j, j.since
	if opened.After(b.from) { // what was before, this server didn't see
		b.from = opened
	}
	maps.DeleteFunc(b.meters, func(_ string, m *meter) bool { return m.release != j.fresh && m.release != j.old })
	for _, m := range b.meters {
		m.window, m.fresh = sums{}, false
	}
	b.begun, b.probes = false, imx.Counted{}
}

// reading is what came of reading an instance.
type reading struct {
	instance imx.Instance
	sample   sample
	err      error
}

// add takes in one round's readings. Until both releases could be read in a step, nothing is counted of either: they are compared
// over the same time.
func (b *book) add(j job, round []reading, now time.Time) {
	b.job = j
	for _, id := range j.ended {
		if m := b.meters[id]; m != nil {
			m.last, m.fault, m.fresh = sample{}, "", false // it won't be read again
		}
	}
	for _, r := range round {
		m := b.meters[r.instance.ID]
		if m == nil {
			m = &meter{release: r.instance.Release}
			b.meters[r.instance.ID] = m
		}
		if r.err != nil {
			m.fault = r.instance.ID + ": " + r.err.Error()
			continue
		}
		m.note(r, b.from)
	}
	b.begun = b.begun || j.over || b.readable(j.fresh) && b.readable(j.old)
	if !b.begun {
		b.from = now
		for _, m := range b.meters {
			m.window = sums{}
		}
	}
}

// readable reports whether a release was read since the book began, or has no instance that could be.
func (b *book) readable(release int) bool {
	is := func(in imx.Instance) bool { return in.Release == release }
	if !slices.ContainsFunc(b.job.instances, is) {
		return true
	}
	for _, m := range b.meters {
		if m.release == release && m.fresh {
			return true
		}
	}
	return false
}

// missing is why nothing can be read of a release; "" if something can be, or nothing is to be.
func (b *book) missing(release int) string {
	fault, none := "", ""
	for _, in := range b.job.instances {
		m := b.meters[in.ID]
		if in.Release != release || m == nil {
			continue
		}
		switch {
		case m.fault != "":
			fault = cmp.Or(fault, m.fault)
		case len(m.last[requests]) == 0:
			none = "none of its series is " + b.job.rule.Requests
		default:
			return ""
		}
	}
	return cmp.Or(fault, none)
}

// counted is what the book came to.
func (b *book) counted() map[int]imx.Counted {
	all := map[int]imx.Counted{}
	for id, total := range b.totals() {
		c := imx.Counted{Requests: total[requests], Errors: total[failures], Seconds: total[seconds], Timed: total[timed]}
		if id == b.job.fresh || !b.job.over {
			c.Missing = b.missing(id)
		}
		all[id] = c
	}
	if p := b.probes; p.Probed > 0 {
		c := all[b.job.fresh]
		c.Probed, c.Missed, c.Miss = p.Probed, p.Missed, p.Miss
		all[b.job.fresh] = c
	}
	return all
}

// totals are the sums of both releases, of what comes after a rollout those of the old one's whole life.
func (b *book) totals() map[int]sums {
	all := map[int]sums{}
	for _, m := range b.meters {
		if b.job.over && m.release == b.job.old {
			all[m.release] = all[m.release].plus(m.life)
		} else {
			all[m.release] = all[m.release].plus(m.window)
		}
	}
	return all
}
