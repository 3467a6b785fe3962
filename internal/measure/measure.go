// Package measure counts how the releases of a service answer while one takes the place of the other, and for as long after that as it may be
// gone back from: it reads their instances' own metrics, and opens connections through the service's address. It doesn't judge what it counted, and
// keeps nothing: a server that starts anew counts anew, and what it can't know it says is too little.
package measure

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"imx"
)

// Config is what a Counter looks at, and whom it tells.
type Config struct {
	State   func() *imx.State      // of this moment; it isn't changed
	Changed func() <-chan struct{} // is closed when State has changed
	Counted func()                 // called after counts have changed; must not block
	Now     func() time.Time
}

// Counter counts for all services of one server.
type Counter struct {
	cfg    Config
	opened time.Time
	mu     sync.Mutex
	books  map[string]*book // by service
	asking map[string]bool  // by service: a probe is under way
}

// How often instances are read, and services probed.
const (
	Every      = 5 * time.Second
	ProbeEvery = 500 * time.Millisecond
)

// settle is how long a change is let stand before the state is looked at: they come in numbers.
const settle = 50 * time.Millisecond

// AtOnce is how many instances are read at once, and how many services probed.
const AtOnce = 16

// New returns a Counter. It starts nothing.
func New(cfg Config) *Counter {
	return &Counter{cfg: cfg, opened: cfg.Now(), books: map[string]*book{}, asking: map[string]bool{}}
}

// Run counts until ctx ends: at once when a rollout comes to a step, and then from time to time.
func (c *Counter) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.read(ctx) })
	group.Go(func() error { return c.probe(ctx) })
	return group.Wait()
}

// Counted is what was counted of a service's releases since the step that it is at, or since it finished; nil if nothing was.
func (c *Counter) Counted(v imx.Service) map[int]imx.Counted {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.books[v.Name]
	if b == nil {
		return nil
	}
	if j, ok := jobOf(v, c.cfg.Now()); !ok || !j.is(b.job) {
		return nil // it is at another step by now
	}
	return b.counted()
}

// read reads the instances of all that is due.
func (c *Counter) read(ctx context.Context) error {
	next := c.cfg.Now()
	for {
		changed := c.cfg.Changed()
		now := c.cfg.Now()
		jobs := due(c.cfg.State(), now)
		if c.turn(jobs) || !now.Before(next) {
			next = now.Add(Every)
			c.round(ctx, jobs)
		}
		wait := max(time.Millisecond, next.Sub(c.cfg.Now()))
		if len(jobs) == 0 {
			wait = 0
		}
		if !sleep(ctx, changed, wait) || !sleep(ctx, nil, settle) {
			return nil
		}
	}
}

// turn opens the books of jobs that are new, closes those of jobs that are over, and reports whether there is a new one.
func (c *Counter) turn(jobs []job) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.books {
		if !slices.ContainsFunc(jobs, func(j job) bool { return j.service == name }) {
			delete(c.books, name)
		}
	}
	news := false
	for _, j := range jobs {
		switch b := c.books[j.service]; {
		case b == nil:
			c.books[j.service] = newBook(j, c.opened)
		case !b.job.is(j):
			b.turn(j, c.opened)
		default:
			b.job = j
			continue
		}
		news = true
	}
	return news
}

// round reads all instances once.
func (c *Counter) round(ctx context.Context, jobs []job) {
	readings := make([][]reading, len(jobs))
	var group errgroup.Group
	group.SetLimit(AtOnce)
	for i, j := range jobs {
		if j.rule == nil {
			continue
		}
		selectors, wrong := parseRule(*j.rule)
		readings[i] = make([]reading, len(j.instances))
		for k, in := range j.instances {
			readings[i][k] = reading{instance: in, err: wrong}
			if wrong != nil {
				continue
			}
			group.Go(func() error {
				r := &readings[i][k]
				r.sample, r.err = scrape(ctx, page{*j.rule, selectors}, j.releases[in.Release], in)
				return nil
			})
		}
	}
	_ = group.Wait() // none of them fails: what is wrong is told with what was counted
	if ctx.Err() != nil || len(jobs) == 0 {
		return
	}
	c.mu.Lock()
	for i, j := range jobs {
		if b := c.books[j.service]; b != nil && b.job.is(j) {
			b.add(j, readings[i], c.cfg.Now())
		}
	}
	c.mu.Unlock()
	c.cfg.Counted()
}

// sleep waits for a change, and no longer than d; a d of 0 waits for a change alone. It returns false when ctx has ended.
func sleep(ctx context.Context, changed <-chan struct{}, d time.Duration) bool {
	var timer <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-changed:
	case <-timer:
	}
	return true
}
