package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imx"
)

const (
	// drainSettle is how long after an instance lost its traffic its connections aren't counted yet:
	// those that were being opened at that moment aren't established.
	drainSettle = 300 * time.Millisecond
	// drainLook is how often the connections of an instance that drains are counted.
	drainLook = 500 * time.Millisecond
)

// Stop implements engine.Runner.
func (e *Engine) Stop(ctx context.Context, id, reason string) error {
	return e.stopAll(ctx, reason, id)
}

// stopAll takes the traffic of instances away, in one change of the rules, and sees to it that
// those that need not drain get their stop signal. Run sends it to the others.
func (e *Engine) stopAll(ctx context.Context, reason string, ids ...string) error {
	var errs []error
	var told []*instance
	for _, id := range ids {
		in, err := e.tellToStop(ctx, id, reason)
		errs = append(errs, err)
		if in != nil {
			told = append(told, in)
		}
	}
	if len(told) > 0 {
		e.refresh(ctx) // no new connections from now on
		e.poke()
	}
	for _, in := range told {
		e.mu.Lock()
		id, signal := in.record.Instance.ID, !in.starting && !in.record.Kill.IsZero() // who starts it sends the signal
		e.mu.Unlock()
		if signal {
			if err := errors.Join(e.unfreeze(in), in.init.signal(stopSignal(in.release))); err != nil {
				errs = append(errs, fmt.Errorf("stopping %s: %w", id, err))
			}
		}
		in.wake()
	}
	return errors.Join(errs...)
}

// tellToStop makes an instance one that is stopping. It returns nil for one that was so already.
func (e *Engine) tellToStop(ctx context.Context, id, reason string) (*instance, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	in := e.instances[id]
	if in == nil {
		return nil, unknown(id)
	}
	if !runs(in.record.Instance.Phase) && !isWarm(in.record.Instance.Phase) {
		return nil, nil
	}
	in.record.Freezing = false
	now := time.Now()
	in.record.Drain = in.record.drainUntil(in.release.Spec, now)
	if !in.record.Drain.After(now) {
		in.record.Kill = now.Add(time.Duration(in.release.Spec.Grace))
	}
	in.record.move(imx.Stopping, reason, now)
	close(in.told)
	e.keep(ctx, in.record)
	return in, nil
}

// drainUntil is until when an instance that is told to stop now may finish its connections.
func (r *record) drainUntil(spec imx.Spec, now time.Time) time.Time {
	drain := time.Duration(spec.Drain)
	switch {
	case r.Instance.Ready.IsZero(), r.Instance.Phase == imx.Warm:
		return now // it never had any traffic, or lost it long ago
	case r.Instance.Phase == imx.Unhealthy || spec.Exclusive(): // nothing can take a volume's place before it is gone
		drain = min(drain, drainSettle)
	}
	if r.Lost.IsZero() {
		return now.Add(drain)
	}
	return r.Lost.Add(drain)
}

// draining reports whether the instance is stopping and has not got its stop signal yet.
func (r *record) draining() bool { return r.Instance.Phase == imx.Stopping && r.Kill.IsZero() }

// drainFor returns when to look again whether an instance that may do so until then has finished its connections,
// 0 when it has, or has had its time.
func (e *Engine) drainFor(r record, until, now time.Time) time.Duration {
	left := until.Sub(now)
	if left <= 0 {
		return 0
	}
	if r.Lost.IsZero() { // the rules that take its traffic away aren't in force yet
		return min(left, drainLook)
	}
	settled := r.Lost.Add(drainSettle)
	if now.Before(settled) {
		return min(left, settled.Sub(now))
	}
	since := now.Add(-drainLook)
	if since.Before(settled) {
		since = settled
	}
	switch counts := e.flows.since(since); {
	case counts == nil:
		return left // nobody knows: all of its time
	case counts[r.Instance.Address] == 0:
		return 0
	}
	return min(left, drainLook)
}

// signalStop sends the stop signal to an instance that has drained.
func (e *Engine) signalStop(ctx context.Context, in *instance) error {
	e.mu.Lock()
	in.record.Kill = time.Now().Add(time.Duration(in.release.Spec.Grace))
	e.keep(ctx, in.record) // first: a server that adopts the instance sends the signal again
	e.mu.Unlock()
	e.poke()
	return in.init.signal(stopSignal(in.release))
}
