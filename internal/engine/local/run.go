package local

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

const (
	// rulesCheck is how often Run looks whether the rules, and what else instances need of the
	// machine's network, are still in force, and tries again to bring them there.
	rulesCheck = time.Second
	// logCheck is how often the sizes of logs are looked at.
	logCheck = 5 * time.Second
	// eager is how often an instance is checked that isn't healthy yet, if its own interval is
	// longer: the start of a release waits for it.
	eager = 200 * time.Millisecond
	// eagerCommand is eager of a check by a command, which costs as much as a start.
	eagerCommand = time.Second
	// eagerSleeper is eager of an instance of a service that sleeps when nobody connects: somebody waits for it.
	eagerSleeper = 20 * time.Millisecond
	// retryClear is how long to wait before trying again to remove what an ended instance left.
	retryClear = time.Second
)

// Run implements engine.Engine.
func (e *Engine) Run(ctx context.Context, changed func()) error {
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer e.dropPorts()
	watchers.Go(func() { e.verifyKept(ctx) })
	watchers.Go(func() { e.listen(ctx) })
	e.tidyUp(ctx)
	e.holdPorts(ctx)
	e.refresh(ctx)
	logs, rules := time.NewTicker(logCheck), time.NewTicker(rulesCheck)
	defer logs.Stop()
	defer rules.Stop()
	for {
		for _, in := range e.unwatched() {
			watchers.Go(func() { e.watch(ctx, in) })
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.wake:
			e.refresh(ctx)
			changed()
		case <-rules.C:
			e.keepHost(ctx)
			e.keepRules(ctx)
		case <-logs.C:
			e.rotateLogs(ctx)
			e.refresh(ctx) // whatever has changed and told nobody
		}
	}
}

// unwatched returns the instances that no goroutine watches yet, and marks them as watched.
func (e *Engine) unwatched() []*instance {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []*instance
	for _, in := range e.instances {
		if !in.watched && !in.starting && !in.record.Cleared {
			in.watched = true
			list = append(list, in)
		}
	}
	return list
}

// watch looks after one instance until nothing of it is left or ctx ends.
func (e *Engine) watch(ctx context.Context, in *instance) {
	defer func() {
		e.mu.Lock()
		in.watched = false
		e.mu.Unlock()
	}()
	life, end := context.WithCancel(ctx)
	defer end()
	var waits sync.WaitGroup
	for _, h := range []*handle{in.init, in.monitor} {
		waits.Go(func() {
			h.wait(life)
			end()
		})
	}
	e.tendWhile(life, in)
	waits.Wait()
	if in.init.gone() {
		in.monitor.wait(ctx) // conmon writes the exit code, then ends
	} else if !e.settle(ctx, in) {
		in.init.wait(ctx) // without its conmon it was killed
	}
	for ctx.Err() == nil && !e.settle(ctx, in) {
		select {
		case <-time.After(retryClear):
		case <-in.nudge:
		case <-ctx.Done():
			return
		}
	}
	e.tidyUp(ctx)
}

// tidyUp is tidy for those whom nobody listens to.
func (e *Engine) tidyUp(ctx context.Context) {
	if err := e.tidy(ctx); err != nil && ctx.Err() == nil {
		logFailure(ctx, e.cfg.Log, "what nothing needs any more could not be removed yet", err)
	}
}

// tendWhile checks the instance, or ends it at its time, as long as it lives.
func (e *Engine) tendWhile(life context.Context, in *instance) {
	asking, end := untilTold(life, in)
	defer end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-life.Done():
			return
		case <-in.nudge:
		case <-timer.C:
		}
		if life.Err() != nil {
			return
		}
		timer.Reset(e.tend(life, asking, in))
	}
}

// tend does what is due for an instance and returns when to come again. It is asked for its health as long as asking lasts.
func (e *Engine) tend(life, asking context.Context, in *instance) time.Duration {
	e.mu.Lock()
	r := in.record
	e.mu.Unlock()
	switch {
	case r.Instance.Phase == imx.Warm:
		return e.tendWarm(life, in)
	case runs(r.Instance.Phase):
		err := e.check(asking, in, r.Instance)
		if life.Err() == nil {
			e.judge(life, in, err)
		}
		next := e.next(in)
		if r.Instance.Phase == imx.Starting && in.release.Spec.Sleeps() && in.release.Spec.Health.Command == nil {
			next = min(next, eagerSleeper)
		}
		next = together(time.Now(), next)
		if soon := e.freezeWhenIdle(life, in); soon > 0 {
			next = min(next, soon)
		}
		return next
	case r.draining():
		if wait := e.drainFor(r, r.Drain, time.Now()); wait > 0 {
			return wait
		}
		if err := e.signalStop(life, in); err != nil {
			logFailure(life, e.cfg.Log, "an instance could not be told to stop", err)
		}
		return time.Duration(in.release.Spec.Grace)
	case time.Until(r.Kill) > 0:
		return time.Until(r.Kill)
	}
	if err := in.init.signal(unix.SIGKILL); err != nil {
		logFailure(life, e.cfg.Log, "an instance could not be ended", err)
	}
	return retryClear
}

// together moves what comes after a while to the nearest of the moments at which what comes after as long is done for all instances: a
// processor that wakes up for several checks costs less than one that wakes up for each. It is a twentieth of the while at most.
func together(now time.Time, after time.Duration) time.Duration {
	if after < time.Second { // somebody waits for it
		return after
	}
	due := now.Add(after)
	return after + due.Round(after/10).Sub(due)
}

// judge takes the result of a check into account.
func (e *Engine) judge(ctx context.Context, in *instance, failure error) {
	e.mu.Lock()
	before := in.record.Instance
	if failure == nil {
		in.fails = 0
	} else {
		in.fails++
	}
	after := verdict(before, in.fails, in.release.Spec.Health, failure)
	if after.Phase != before.Phase {
		after.Changed = time.Now().UTC()
	}
	if after.Phase == imx.Healthy && after.Ready.IsZero() {
		after.Ready = time.Now().UTC()
	}
	changed := runs(before.Phase) && after != before
	if changed {
		in.record.Instance = after
		e.keep(ctx, in.record)
	}
	e.mu.Unlock()
	if !changed {
		return
	}
	if after.Phase != before.Phase {
		e.refresh(ctx)
	}
	e.poke()
}

// verdict decides what an instance is after fails failed checks in a row, of which failure is the
// last: one pass makes it healthy, Failures in a row make it unhealthy.
func verdict(x imx.Instance, fails int, h imx.Health, failure error) imx.Instance {
	switch {
	case failure == nil:
		x.Phase, x.Reason = imx.Healthy, ""
	case x.Phase == imx.Healthy && fails < max(1, h.Failures):
		// Not yet.
	default:
		x.Reason = failure.Error()
		if x.Phase == imx.Healthy {
			x.Phase = imx.Unhealthy
		}
	}
	return x
}

func logFailure(ctx context.Context, log *slog.Logger, what string, err error) {
	log.LogAttrs(ctx, slog.LevelWarn, what, slog.Any("error", err)) //nolint:sloglint // what is a constant at every call
}
