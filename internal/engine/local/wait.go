package local

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/engine"
	"imx/internal/network"
)

// Connections to a service that sleeps wait: the kernel tells of each attempt and answers nothing, so that whoever opened it
// tries again by itself, a second later for the first time. The engine keeps the attempt and sends it on once there is an
// instance, which is sooner. Nothing stands between the two ends, and a server that dies loses that second alone.

// mostWaiting bounds the attempts that are kept, of all services; what comes beyond them is left to its next try.
const mostWaiting = 1024

// patience is for how long an attempt is kept: by then whoever made it has tried again several times, or gone.
const patience = 20 * time.Second

// waiting are the attempts that are kept.
type waiting struct {
	mu    sync.Mutex
	kept  map[[2]netip.AddrPort]attempt // by both ends
	more  int                           // attempts that there was no room for, since the last that was logged
	noted time.Time
}

// attempt is one that came for a service, from the instance of that id; "" is from elsewhere.
type attempt struct {
	network.SYN

	service  string
	instance string
	came     time.Time
}

// listen takes in attempts until ctx ends. Without it they wait for their next try.
func (e *Engine) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := e.cfg.Firewall.Listen(ctx, func(s network.SYN) { e.attempted(ctx, s) }); err != nil {
			logFailure(ctx, e.cfg.Log, "attempts to connect to services that sleep aren't heard", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryClear):
		}
	}
}

// attempted takes in one: it is told on if it may be made at all, and sent on at once where there is an instance by now.
func (e *Engine) attempted(ctx context.Context, s network.SYN) {
	e.rules.mu.Lock()
	defer e.rules.mu.Unlock()
	a := attempt{SYN: s, came: time.Now()}
	door, ok := e.rules.applied.Door(s.To)
	if !ok || !e.mayOpen(&a, door) {
		return
	}
	a.service = door.Service
	if len(e.rules.applied.Pool(door.Service).Slots) > 0 {
		e.sendOn(ctx, a)
		return
	}
	e.rules.waiting.keep(ctx, a, e.cfg.Log)
	if e.cfg.Knock != nil {
		from := a.instance
		if from == "" {
			from = s.From.Addr().String()
		}
		e.cfg.Knock(door.Service, from)
	}
}

// mayOpen reports whether an attempt is one that the rules would let through, and notes the instance that made it.
func (e *Engine) mayOpen(a *attempt, door network.Door) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, in := range e.instances {
		if in.record.Cleared || in.record.Instance.Address != a.From.Addr() {
			continue
		}
		a.instance = id
		return connects(in.release.Spec, e.routes[door.Service], door)
	}
	return !e.cfg.Network.Contains(a.From.Addr())
}

// connects reports whether a release's instances may open connections through a door of the route's service.
func connects(from imx.Spec, to engine.Route, door network.Door) bool {
	for _, r := range to.Releases {
		for _, p := range r.Spec.Ports {
			named := func(c imx.PortRef) bool { return c.Service == door.Service && c.Port == p.Name }
			if p.Container == int(door.Inside) && slices.ContainsFunc(from.Connect, named) {
				return true
			}
		}
	}
	return false
}

func (w *waiting) keep(ctx context.Context, a attempt, log *slog.Logger) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := [2]netip.AddrPort{a.From, a.To}
	if w.kept == nil {
		w.kept = map[[2]netip.AddrPort]attempt{}
	}
	if _, again := w.kept[key]; !again && len(w.kept) >= mostWaiting {
		for k, old := range w.kept {
			if a.came.Sub(old.came) > patience {
				delete(w.kept, k)
			}
		}
	}
	if _, again := w.kept[key]; !again && len(w.kept) >= mostWaiting {
		if w.more++; a.came.Sub(w.noted) > time.Minute {
			log.LogAttrs(ctx, slog.LevelWarn, "more connections wait for services that sleep than are kept; they are left to their next try",
				slog.Int("kept", mostWaiting), slog.Int("more", w.more), slog.String("service", a.service))
			w.noted, w.more = a.came, 0
		}
		return
	}
	w.kept[key] = a
}

// take returns the attempts for services that are ready, and keeps them no longer.
func (w *waiting) take(ready func(service string) bool) []attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []attempt
	for key, a := range w.kept {
		if !ready(a.service) {
			continue
		}
		delete(w.kept, key)
		if time.Since(a.came) <= patience {
			list = append(list, a)
		}
	}
	return list
}

// sendWaiting sends the attempts on that wait for what the rules now lead to. The caller holds rules.mu.
func (e *Engine) sendWaiting(ctx context.Context, r network.Ruleset) {
	for _, a := range e.rules.waiting.take(func(service string) bool { return len(r.Pool(service).Slots) > 0 }) {
		e.sendOn(ctx, a)
	}
}

// sendOn makes an attempt anew, in the name of who made it: through the same rules, from where they stand.
func (e *Engine) sendOn(ctx context.Context, a attempt) {
	if a.Packet == nil {
		return
	}
	err := error(nil)
	if a.instance == "" {
		err = e.cfg.Firewall.Resend(a.SYN)
	} else {
		err = e.resendWithin(a)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // it has ended meanwhile
		logFailure(ctx, e.cfg.Log, "a connection that waited could not be sent on; it is left to its next try", err)
	}
}

func (e *Engine) resendWithin(a attempt) error {
	space, err := os.Open(filepath.Join(e.cfg.netnsDir(), a.instance))
	if err != nil {
		return err
	}
	defer space.Close() // nothing is written through it
	onOwnThread(func() {
		if err = unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err == nil {
			err = e.cfg.Firewall.Resend(a.SYN)
		}
	})
	return err
}
