package keeper

import (
	"fmt"
	"log/slog"
	"time"

	"imx"
)

// The next process begins at once after one that ended, and after a pause that grows where it ended within a minute again.
const (
	steady     = time.Minute
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// ends are the ends of processes that nobody wanted, since the keeper began.
type ends struct {
	last  imx.IngressProcessEnd
	quick int // in a row that were there for less than a minute
	kills int // by the memory limit, before the present process
}

// add notes that a process ended that began at a time, and how many the memory limit has ended by now.
func (e *ends) add(now, began time.Time, kills int, memory imx.Size) {
	e.last = imx.IngressProcessEnd{Time: now.UTC(), Reason: "it ended by itself, or somebody ended it", Count: e.last.Count + 1}
	if kills > e.kills {
		e.last.Reason = fmt.Sprintf("its memory limit of %v ended it", memory)
	}
	if e.quick++; now.Sub(began) >= steady {
		e.quick = 1
	}
}

// pause is how long it is still to wait before the next process begins.
func (e *ends) pause(now time.Time) time.Duration {
	if e.quick < 2 {
		return 0
	}
	whole := lastPause
	if shift := e.quick - 2; shift < 5 {
		whole = firstPause << shift
	}
	return max(0, e.last.Time.Add(whole).Sub(now))
}

// Mode says what is to be known of the front for `imx status`: that it ended within the last hour.
func (k *Keeper) Mode() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.ends.last
	if last.Count == 0 || time.Since(last.Time) > time.Hour {
		return nil
	}
	return []string{fmt.Sprintf("the ingress' process ended at %s: %s", last.Time.Format(time.TimeOnly), last.Reason)}
}

// kills is how many processes of the place the memory limit has ended, as far as its group knows.
func (p Place) kills() int {
	g, err := p.group()
	if err != nil {
		return 0
	}
	return g.oomKills()
}

// ended notes that the front is gone.
func (k *Keeper) ended(f *running) slog.Attr {
	kills := k.cfg.Place.kills()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ends.add(time.Now(), f.began, kills, k.cfg.Place.memory())
	return slog.String("reason", k.ends.last.Reason)
}
