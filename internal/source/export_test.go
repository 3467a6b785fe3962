package source

import (
	"context"
	"time"

	"imx"
)

// Due is due with its memory as two maps.
func Due(sources map[string]imx.GitSource, last map[string]time.Time, woken map[string]bool, now time.Time) ([]string, time.Duration) {
	return due(sources, looks{last, woken}, now)
}

// Look looks at a source once, as Run does when it is due.
func (f *Follower) Look(ctx context.Context, name string) error { return f.look(ctx, name, quiet) }

// Settle releases what is admitted and writes back what became of commits, as Run does after each change.
func (f *Follower) Settle(ctx context.Context) {
	s := f.cfg.Control.State()
	f.releaseReady(ctx, s)
	f.noteAll(ctx, f.cfg.Control.State())
}

// Woken reports whether a source is to be looked at right away.
func (f *Follower) Woken(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.looks.woken[name]
}

// Forget forgets which statuses were written back, as a new process does.
func (f *Follower) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.noted)
}
