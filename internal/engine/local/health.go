package local

import (
	"context"
	"fmt"
	"strings"
	"time"

	"imx"
	"imx/internal/engine"
	"imx/internal/healthcheck"
)

// timeout is how long one question to an instance may take.
func timeout(h imx.Health, p imx.Phase) time.Duration {
	t := time.Duration(h.Timeout)
	if p == imx.Starting && h.Start != nil && h.Start.Timeout > 0 {
		t = time.Duration(h.Start.Timeout)
	}
	if t <= 0 {
		return time.Second
	}
	return t
}

// interval is how long after one question the next one comes, where nothing draws attention to the instance.
func interval(h imx.Health, p imx.Phase) time.Duration {
	every := time.Duration(h.Every)
	if every <= 0 {
		every = time.Second
	}
	switch {
	case p != imx.Starting:
		return every
	case h.Start != nil && h.Start.Every > 0:
		return time.Duration(h.Start.Every)
	case h.Command != nil:
		return min(every, eagerCommand)
	}
	return min(every, eager)
}

const (
	// attentive is how often an instance is checked that something draws attention to, if its own interval is longer.
	attentive = time.Second
	// freshFor is for how long an instance's last change of phase draws attention to it.
	freshFor = 2 * time.Minute
)

// pace is how long after a question to an instance the next one comes: at its interval, or sooner where some questions in a row have
// failed, its phase has changed lately, or its service's traffic is on its way from one release to another.
func pace(h imx.Health, x imx.Instance, fails int, r engine.Route, now time.Time) time.Duration {
	every := interval(h, x.Phase)
	fresh := now.Sub(x.Changed) < freshFor
	moves := len(r.Weights) > 1 || r.Preview != 0
	if x.Phase != imx.Starting && (fails > 0 || fresh || moves) {
		return min(every, attentive)
	}
	return every
}

// next is pace of an instance as it is now.
func (e *Engine) next(in *instance) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := in.record.Instance
	return pace(in.release.Spec.Health, x, in.fails, e.routes[x.Service], time.Now())
}

// check asks an instance whether it can take traffic. A nil error says yes; any other is worded
// for people: "GET /healthz on port 8080: 503 Service Unavailable".
func (e *Engine) check(ctx context.Context, in *instance, x imx.Instance) error {
	spec := in.release.Spec
	h, limit := spec.Health, timeout(spec.Health, x.Phase)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit)) //nolint:err113 // its words are its meaning
	defer cancel()
	if h.Command == nil {
		return healthcheck.Ask(ctx, h, spec.Ports, x.Address)
	}
	if err := e.checkCommand(ctx, in, h.Command.Command); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(h.Command.Command, " "), healthcheck.Plain(ctx, err))
	}
	return nil
}

// untilTold is ctx until an instance is told to stop: whatever it is asked then is given up. It is made once for all checks of an
// instance: a goroutine for each would wake another thread up each time.
func untilTold(ctx context.Context, in *instance) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with ctx
		select {
		case <-in.told:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// checkCommand runs a command beside the instance's first process. When its time is over it is killed, and when it
// is over, whatever it has left running.
func (e *Engine) checkCommand(ctx context.Context, in *instance, args []string) error {
	id := in.record.Instance.ID // never changes
	if err := e.cgroups.clearAside(id); err != nil {
		return err // a server that died may have left something there
	}
	way, err := e.cgroups.openAside(id)
	if err != nil {
		return err
	}
	defer way.close()
	var said tailWriter
	code, err := e.runBeside(ctx, in, besideArgs{args, way, func(crun int) error { return e.cgroups.endAside(id, crun) }}, &said)
	if cleared := e.cgroups.clearAside(id); err == nil {
		err = cleared
	}
	switch {
	case err != nil:
		return err
	case code != 0:
		return fmt.Errorf("it exited with %d%s", code, said.quoted()) //nolint:err113 // its words are its meaning
	}
	return nil
}

// tailWriter keeps the end of what is written.
type tailWriter struct{ kept []byte }

// Write implements io.Writer.
func (w *tailWriter) Write(p []byte) (int, error) {
	const enough = 200
	w.kept = append(w.kept, p...)
	w.kept = append([]byte(nil), w.kept[max(0, len(w.kept)-enough):]...)
	return len(p), nil
}

// quoted is the last line of it, after a colon; nothing where nothing was written.
func (w *tailWriter) quoted() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(w.kept), ""))
	if text == "" {
		return ""
	}
	return ": " + text[strings.LastIndexByte(text, '\n')+1:]
}
