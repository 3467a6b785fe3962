// Package control decides what may happen and writes it down: it is the only writer of events.
//
// It knows nothing of builds, engines or sockets. Callers bring what they did or want done, control
// checks it against the state of this moment, appends the event and folds it in, all under one lock,
// so that two callers can't both be right about the same state.
package control

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/netip"
	"sync"
	"time"

	"imx"
	"imx/internal/state"
)

// Log is where events are written down: an eventlog.Log.
type Log interface {
	// Append adds records, all of them or none, and returns the index of the first.
	Append(records ...[]byte) (int64, error)
	// Read yields the records from one index up to, not including, another.
	Read(from, to int64) iter.Seq2[[]byte, error]
	// Size is how many records there are.
	Size() int64
	// Wait returns nil once there are more than size records.
	Wait(ctx context.Context, size int64) error
}

// Config is what a Control needs.
type Config struct {
	Log     Log
	Now     func() time.Time
	NewID   func() string // ids of applies; one that the state knows is asked for again
	Network netip.Prefix  // services get their stable addresses from its lower half
	Version string
	Cut     int64 // bytes that the log's recovery cut off, for the first event of this run
}

// Control holds the state and the log that it is the fold of. Its methods may be called from
// several goroutines at once.
type Control struct {
	cfg Config

	mu      sync.Mutex
	state   *imx.State    // replaced, never changed: who asked for it holds the same
	changed chan struct{} // closed and replaced when the state has changed
}

// Open folds the log and writes down that a server started. An apply that a dead server left
// open is undone: it had released nothing yet.
func Open(cfg Config) (*Control, error) {
	c := &Control{cfg: cfg, state: state.New(), changed: make(chan struct{})}
	for e, err := range Events(cfg.Log, 0) {
		if err != nil {
			return nil, err
		}
		if err := state.Fold(c.state, e); err != nil {
			return nil, err
		}
	}
	if err := c.Record(imx.Server, imx.ServerStarted{Version: cfg.Version, Cut: cfg.Cut}); err != nil {
		return nil, err
	}
	if a := c.State().Apply; a != nil {
		stopped := imx.Errorf(imx.Unavailable, "the server stopped before apply %s released anything", a.Apply).
			WithHint("apply again: what was built is kept")
		if err := c.Record(imx.Server, imx.ApplyFailed{Apply: a.Apply, Error: stopped}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Events reads the log from an index on, decoded. An event that can't be decoded ends it with an error.
func Events(log Log, from int64) iter.Seq2[imx.Event, error] {
	return func(yield func(imx.Event, error) bool) {
		for record, err := range log.Read(from, log.Size()) {
			var e imx.Event
			if err == nil {
				err = json.Unmarshal(record, &e)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Events reads the log from an index on to its present end.
func (c *Control) Events(from int64) iter.Seq2[imx.Event, error] { return Events(c.cfg.Log, from) }

// State returns the state as it is now. It never changes, and the caller changes nothing in it: others read the same one.
func (c *Control) State() *imx.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// At returns the state as it was at a time: the fold of all events up to and including it.
func (c *Control) At(t time.Time) (*imx.State, error) {
	past := state.New()
	for e, err := range Events(c.cfg.Log, 0) {
		if err != nil {
			return nil, err
		}
		if e.Time.After(t) {
			break
		}
		if err := state.Fold(past, e); err != nil {
			return nil, err
		}
	}
	if past.Next == 0 {
		return nil, imx.Errorf(imx.NotFound, "nothing is known of %s: the log begins later", t.Format(time.RFC3339))
	}
	return past, nil
}

// Changed returns a channel that is closed at the next change of the state. Take it before
// reading the state, or a change in between is missed.
func (c *Control) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Follow yields the events from an index on and waits for more until ctx ends.
func (c *Control) Follow(ctx context.Context, from int64) iter.Seq2[imx.Event, error] {
	return func(yield func(imx.Event, error) bool) {
		for next := from; ctx.Err() == nil; {
			for e, err := range Events(c.cfg.Log, next) {
				if !yield(e, err) || err != nil {
					return
				}
				next = e.Index + 1
			}
			if c.cfg.Log.Wait(ctx, next) != nil {
				return
			}
		}
	}
}

// Record appends events that need no decision: what was seen, built or moved. Either all of
// them are on the log and in the state when it returns, or none is.
func (c *Control) Record(by imx.Principal, bodies ...imx.Body) error {
	_, err := decide(c, by, func(*imx.State) (struct{}, []imx.Body, error) { return struct{}{}, bodies, nil })
	return err
}

// decide runs a decision on the state of this moment and writes down what it decided. The
// decision must not change the state that it is shown.
func decide[T any](c *Control, by imx.Principal, choose func(s *imx.State) (T, []imx.Body, error)) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	result, bodies, err := choose(c.state)
	if err != nil || len(bodies) == 0 {
		return result, err
	}
	return result, c.append(by, bodies)
}

func (c *Control) append(by imx.Principal, bodies []imx.Body) error {
	now := c.now(c.state)
	events, records := make([]imx.Event, len(bodies)), make([][]byte, len(bodies))
	for i, body := range bodies {
		events[i] = imx.Event{Index: c.state.Next + int64(i), Time: now, By: by, Body: body}
		record, err := json.Marshal(events[i])
		if err != nil {
			return fmt.Errorf("control: %w", err)
		}
		records[i] = record
	}
	next, err := state.After(c.state, events...) // first: an event that doesn't fit must not be on the log for good
	if err != nil {
		return err
	}
	if _, err := c.cfg.Log.Append(records...); err != nil {
		return err
	}
	c.state = next
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// now is the time, but never before the log's last: a clock that jumped back must not turn the log's order around.
func (c *Control) now(s *imx.State) time.Time {
	if now := c.cfg.Now().UTC(); now.After(s.Time) {
		return now
	}
	return s.Time
}

// service returns a service that isn't destroyed, or an error of kind NotFound.
func service(s *imx.State, name string) (imx.Service, error) {
	if v, ok := s.Services[name]; ok && !v.Destroyed {
		return v, nil
	}
	err := imx.Errorf(imx.NotFound, "there is no service %q", name)
	if names := running(s); names != "" {
		return imx.Service{}, err.WithHint("services here: %s", names)
	}
	return imx.Service{}, err.WithHint("no service runs here yet: imx apply DIR")
}
