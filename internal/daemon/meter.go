package daemon

import (
	"context"
	"sync"
	"time"

	"imx"
	"imx/internal/engine/local"
)

// meter tells what instances use just now, to whoever asks. Rates are of the time between two looks.
type meter struct {
	engine *local.Engine

	mu     sync.Mutex
	before imx.Load
	now    imx.Load
}

const (
	// meterFresh is for how long a look serves: many may ask at once.
	meterFresh = time.Second
	// meterStale is when the last look is too long ago for rates, and two are taken that are meterPause apart.
	meterStale = 10 * time.Second
	meterPause = 200 * time.Millisecond
)

// usage is what each instance uses, by id.
func (m *meter) usage(ctx context.Context) (map[string]imx.Usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.now.Time) > meterStale {
		first, err := m.engine.Load(ctx)
		if err != nil {
			return nil, err
		}
		m.now = first
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(meterPause):
		}
	}
	if time.Since(m.now.Time) > meterFresh || m.before.Time.Before(m.now.Time.Add(-meterStale)) {
		next, err := m.engine.Load(ctx)
		if err != nil {
			return nil, err
		}
		m.before, m.now = m.now, next
	}
	usage := make(map[string]imx.Usage, len(m.now.Usage))
	for id, u := range m.now.Usage {
		usage[id] = rated(m.before.Usage[id], u, m.now.Time.Sub(m.before.Time))
	}
	return usage, nil
}

// rated adds to what an instance uses how that changed over a time. Of one that wasn't there before nothing is known.
func rated(was, is imx.Usage, passed time.Duration) imx.Usage {
	if was.Limits == (imx.Resources{}) || passed <= 0 || is.CPU < was.CPU {
		return is
	}
	is.Cores = time.Duration(is.CPU-was.CPU).Seconds() / passed.Seconds()
	const held = 100 // a hundredth of the time is worth a word
	is.Held = time.Duration(is.Throttled-was.Throttled) > passed/held
	return is
}
