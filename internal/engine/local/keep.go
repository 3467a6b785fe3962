package local

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"time"

	"imx"
	"imx/internal/engine"
)

// warmLook is how often it is looked whether a warm instance is still frozen.
const warmLook = 2 * time.Second

// keeping is a release that is kept for the way back, as its file has it. Engine.mu guards it.
type keeping struct {
	Release  imx.Release `json:"release"`
	Verified time.Time   `json:"verified,omitzero"` // when its root's bytes were last found to be those of its image
	Fault    string      `json:"fault,omitempty"`   // why it is no way back
	looked   time.Time   // when this server last looked
}

func (k *keeping) seen() imx.Kept {
	return imx.Kept{Service: k.Release.Service, Release: k.Release.Number, Verified: k.Verified, Fault: k.Fault}
}

// Keep implements engine.Engine.
func (e *Engine) Keep(ctx context.Context, r imx.Release, n int) error {
	lock := e.serviceLock(r.Service)
	lock.Lock()
	defer lock.Unlock()
	if before := e.routeOf(r.Service); before != nil && before.LeadsTo(r.Number) {
		return engine.StillRouted(r)
	}
	if err := e.noteKept(r); err != nil {
		return err
	}
	if r.Spec.Exclusive() || r.Spec.How().Warm != imx.WarmFrozen {
		n = 0
	}
	return e.stopAll(ctx, "no longer wanted", e.chooseWarm(ctx, r, n)...)
}

// chooseWarm makes the oldest of a release's instances that can be warm those that will be, as many as n, and returns
// the others.
func (e *Engine) chooseWarm(ctx context.Context, r imx.Release, n int) (others []string) {
	candidates := append(e.inPhase(r, runs), e.inPhase(r, isWarm)...) // the best come last
	for _, id := range slices.Backward(candidates) {
		if n > 0 && e.toFreeze(ctx, id) {
			n--
			continue
		}
		others = append(others, id)
	}
	return others
}

// toFreeze notes that an instance is to be warm. It reports whether it will be, or is.
func (e *Engine) toFreeze(ctx context.Context, id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	in := e.instances[id]
	if in == nil || in.record.Instance.Phase != imx.Healthy {
		return in != nil && in.record.Instance.Phase == imx.Warm
	}
	if !in.record.Freezing {
		in.record.Freezing = true
		e.keep(ctx, in.record)
		in.wake()
	}
	return true
}

// keepRunning lets instances go on that were to be warm.
func (e *Engine) keepRunning(ctx context.Context, ids []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		if in := e.instances[id]; in != nil && in.record.Freezing {
			in.record.Freezing = false
			e.keep(ctx, in.record)
		}
	}
}

// freezeWhenIdle freezes an instance that is to be warm once it has finished its connections, or has had its time for
// that, and returns when to look again. One that isn't healthy any more is told to stop instead.
func (e *Engine) freezeWhenIdle(ctx context.Context, in *instance) time.Duration {
	e.mu.Lock()
	r := in.record
	e.mu.Unlock()
	if !r.Freezing {
		return 0
	}
	if r.Instance.Phase != imx.Healthy {
		if err := e.stopAll(ctx, "no longer wanted", r.Instance.ID); err != nil {
			logFailure(ctx, e.cfg.Log, "an instance could not be told to stop", err)
		}
		return 0
	}
	now := time.Now()
	until := now.Add(drainLook) // the rules that take its traffic away aren't in force yet
	if !r.Lost.IsZero() {
		until = r.Lost.Add(time.Duration(in.release.Spec.Drain))
	}
	if wait := e.drainFor(r, until, now); wait > 0 {
		return wait
	}
	e.becomeWarm(ctx, in, r.Lost)
	return warmLook
}

// becomeWarm freezes an instance, unless it was told something else meanwhile, or has traffic again since lost. Its
// record comes first: a server that dies in between leaves one that the next freezes.
func (e *Engine) becomeWarm(ctx context.Context, in *instance, lost time.Time) {
	e.mu.Lock()
	if !in.record.Freezing || in.record.Instance.Phase != imx.Healthy || !in.record.Lost.Equal(lost) {
		e.mu.Unlock()
		return
	}
	in.record.Freezing = false
	in.record.move(imx.Warm, "", time.Now())
	e.keep(ctx, in.record)
	e.mu.Unlock()
	e.refresh(ctx)
	e.poke()
	if err := e.stayWarm(ctx, in); err != nil {
		logFailure(ctx, e.cfg.Log, "an instance could not be frozen", err)
	}
	// A count from before may lack a connection that was just being made when the rules took the traffic away.
	if counts := e.flows.since(time.Now()); counts != nil && counts[in.record.Instance.Address] == 0 { // never changes
		return
	}
	if err := e.resetFlows(in); err != nil {
		logFailure(ctx, e.cfg.Log, "connections to a frozen instance could not be reset", err)
	}
}

// stayWarm freezes a warm instance that isn't frozen.
func (e *Engine) stayWarm(ctx context.Context, in *instance) error {
	in.freezing.Lock() // against a thaw that comes between the look and the write
	defer in.freezing.Unlock()
	e.mu.Lock()
	id, warm := in.record.Instance.ID, in.record.Instance.Phase == imx.Warm
	e.mu.Unlock()
	if !warm || e.cgroups.isFrozen(id) {
		return nil
	}
	return e.cgroups.freeze(ctx, id)
}

// tendWarm looks after a warm instance and returns when to come again.
func (e *Engine) tendWarm(ctx context.Context, in *instance) time.Duration {
	id := in.record.Instance.ID // never changes
	if !e.cgroups.isFrozen(id) && !in.init.gone() {
		e.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a warm instance wasn't frozen; it is now", slog.String("instance", id))
		if err := e.stayWarm(ctx, in); err != nil {
			logFailure(ctx, e.cfg.Log, "an instance could not be frozen", err)
		}
	}
	return warmLook
}

// thawSome makes up to n warm instances of a release start, and returns how many there were.
func (e *Engine) thawSome(ctx context.Context, r imx.Release, n int) (int, error) {
	warm := e.inPhase(r, isWarm)
	slices.Reverse(warm) // the oldest first
	warm = warm[:min(n, len(warm))]
	if len(warm) == 0 {
		return 0, nil
	}
	var errs []error
	for _, id := range warm {
		errs = append(errs, e.thawOne(ctx, id))
	}
	e.poke()
	return len(warm), errors.Join(errs...)
}

// thawOne makes a warm instance one that starts: it is checked at once.
func (e *Engine) thawOne(ctx context.Context, id string) error {
	e.mu.Lock()
	in := e.instances[id]
	if in == nil || in.record.Instance.Phase != imx.Warm {
		e.mu.Unlock()
		return nil // it has just ended
	}
	in.fails = 0
	in.record.move(imx.Starting, "", time.Now())
	e.keep(ctx, in.record)
	e.mu.Unlock()
	defer in.wake()
	return e.unfreeze(in)
}

// unfreeze lets the processes of an instance go on that isn't warm any more.
func (e *Engine) unfreeze(in *instance) error {
	in.freezing.Lock()
	defer in.freezing.Unlock()
	return e.cgroups.thaw(in.record.Instance.ID) // never changes
}

// noteKept notes that a release is kept, if it isn't yet. Run then sees to its root.
func (e *Engine) noteKept(r imx.Release) error {
	key := releaseKey(r.Service, r.Number)
	e.mu.Lock()
	_, known := e.uses.kept[key]
	e.mu.Unlock()
	if known {
		return nil
	}
	k := &keeping{Release: r}
	if err := e.store.put(e.store.kept(key), k); err != nil {
		return err
	}
	e.mu.Lock()
	e.uses.kept[key] = k
	e.mu.Unlock()
	e.uses.verifier.wake()
	return nil
}

// letGo keeps a release no longer.
func (e *Engine) letGo(ctx context.Context, r imx.Release) error {
	key := releaseKey(r.Service, r.Number)
	e.mu.Lock()
	_, known := e.uses.kept[key]
	delete(e.uses.kept, key)
	e.mu.Unlock()
	if !known {
		return nil
	}
	e.poke()
	e.tidyUp(ctx)
	return ignoreMissing(os.Remove(e.store.kept(key)))
}

// letGoAll keeps no release of a service.
func (e *Engine) letGoAll(service string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for key, k := range e.uses.kept {
		if k.Release.Service == service {
			delete(e.uses.kept, key)
			errs = append(errs, ignoreMissing(os.Remove(e.store.kept(key))))
		}
	}
	return errors.Join(errs...)
}
