package api

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"sync"

	"imx"
)

// stream runs a long task and answers with its progress as it happens, then with its result. A
// task that fails before its first progress is answered with the error's status alone.
//
// The task never waits for a slow client: it runs in a goroutine of its own, which has ended when
// stream returns, and what the client hasn't taken yet is kept as the newest line of each step.
func stream[T any](r *request, task func(ctx context.Context, report imx.Report) (T, error)) error {
	f := &feed{place: map[string]int{}, more: make(chan struct{}, 1)}
	ended := make(chan outcome[T], 1)
	go func() { ended <- run(r.Context(), task, f.add) }()
	r.w.Header().Set("Content-Type", ndjson)
	for {
		select {
		case <-f.more:
			send[T](r, f)
		case o := <-ended:
			send[T](r, f)
			return finish(r, o)
		}
	}
}

// send writes the progress that waits. That the client has gone is no reason to end the task: its
// context tells it, and it decides.
func send[T any](r *request, f *feed) {
	lines := json.NewEncoder(r.w)
	for _, p := range f.take() {
		r.begin()
		_ = lines.Encode(imx.Update[T]{Progress: &p})
	}
	if r.begun {
		r.flush()
	}
}

// finish writes a task's last line. A panic goes on here, where the server's one recover sees it.
func finish[T any](r *request, o outcome[T]) error {
	last := imx.Update[T]{Result: &o.result}
	switch {
	case o.panicked != nil && !r.begun:
		panic(o.panicked)
	case o.err != nil && !r.begun:
		return o.err
	case o.panicked != nil:
		r.s.panicked(r.Request, o.panicked)
		last = imx.Update[T]{Error: defect()}
	case o.err != nil:
		last = imx.Update[T]{Error: imx.AsError(o.err)}
	}
	r.begin()
	return json.NewEncoder(r.w).Encode(last)
}

// outcome is how a task ended.
type outcome[T any] struct {
	result   T
	err      error
	panicked any // what it panicked with, and where
}

// run runs the task and catches its panic.
func run[T any](ctx context.Context, task func(context.Context, imx.Report) (T, error), report imx.Report) (o outcome[T]) {
	defer func() {
		if p := recover(); p != nil {
			o.panicked = fmt.Sprintf("%v\n%s", p, debug.Stack())
		}
	}()
	o.result, o.err = task(ctx, report)
	return o
}

// feed keeps progress for a client that takes it at its own speed.
type feed struct {
	mu      sync.Mutex
	waiting []imx.Progress
	place   map[string]int // in waiting, by step
	more    chan struct{}
}

// add is an imx.Report. A newer line of a step replaces an older one that still waits.
func (f *feed) add(p imx.Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i, ok := f.place[p.Step]; ok {
		f.waiting[i] = p
	} else {
		f.place[p.Step] = len(f.waiting)
		f.waiting = append(f.waiting, p)
	}
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// take empties the feed.
func (f *feed) take() []imx.Progress {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.waiting
	f.waiting = nil
	clear(f.place)
	return taken
}
