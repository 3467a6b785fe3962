package local

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// verifyShare is what of a core the reading of kept roots may take: one part in so many.
const verifyShare = 100

// verifier is what wakes the goroutine of Run that reads the roots of kept releases.
type verifier struct{ look chan struct{} }

func (v verifier) wake() {
	select {
	case v.look <- struct{}{}:
	default: // it will look anyway
	}
}

// verifyKept sees to it that the roots of kept releases are mounted, and reads them: each when it comes to be kept,
// and again every Config.Verify. It goes on until ctx ends.
func (e *Engine) verifyKept(ctx context.Context) {
	tick := time.NewTicker(e.cfg.Verify)
	defer tick.Stop()
	for all := true; ; {
		for _, key := range e.unverified(all) {
			e.verifyOne(ctx, key)
		}
		select {
		case <-ctx.Done():
			return
		case <-e.verifier.look:
			all = false
		case <-tick.C:
			all = true
		}
	}
}

// unverified returns the keys of the releases that are kept, all or those that never were looked at.
func (e *Engine) unverified(all bool) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	keys := slices.Sorted(maps.Keys(e.kept))
	return slices.DeleteFunc(keys, func(key string) bool { return !all && (!e.kept[key].Verified.IsZero() || e.kept[key].Fault != "") })
}

// verifyOne looks whether a kept release's root is mounted, and all of it what its digest says.
func (e *Engine) verifyOne(ctx context.Context, key string) {
	e.mu.Lock()
	k := e.kept[key]
	if k == nil {
		e.mu.Unlock()
		return // let go
	}
	release := k.Release
	e.mu.Unlock()
	err := e.rootSound(ctx, release)
	if ctx.Err() != nil {
		return
	}
	fault := ""
	if err != nil {
		fault = imx.AsError(err).Message
	}
	e.mu.Lock()
	if e.kept[key] != k {
		e.mu.Unlock()
		return
	}
	before := k.Fault
	if k.Fault = fault; fault == "" {
		k.Verified = time.Now().UTC()
	}
	err = e.store.put(e.store.kept(key), k)
	e.mu.Unlock()
	if err != nil {
		logFailure(ctx, e.cfg.Log, "what was found of a kept release could not be written", err)
	}
	e.poke()
	if fault == "" || fault == before {
		return
	}
	e.cfg.Log.LogAttrs(ctx, slog.LevelError, "a kept release is no way back any more", slog.String("release", key), slog.String("fault", fault))
	if err := e.stopAll(ctx, fault, e.inPhase(release, isWarm)...); err != nil {
		logFailure(ctx, e.cfg.Log, "an instance could not be told to stop", err)
	}
	e.tidyUp(ctx) // its root is unmounted; before it is mounted again, it is looked at
}

// rootSound mounts a release's root if it isn't mounted, and reads all of it, slowly.
func (e *Engine) rootSound(ctx context.Context, r imx.Release) error {
	if err := e.mountKept(ctx, r); err != nil {
		return err
	}
	file, err := e.cfg.Roots(ctx, r.Image.Digest)
	if err != nil {
		return err
	}
	return e.roots.checker.Again(file, r.Image.Root, func(path string, to io.Writer) error { return readSlowly(ctx, path, to) })
}

func (e *Engine) mountKept(ctx context.Context, r imx.Release) error {
	e.gate.RLock()
	defer e.gate.RUnlock()
	if err := e.roots.forgetLost(releaseKey(r.Service, r.Number)); err != nil {
		return err
	}
	_, err := e.roots.prepare(ctx, r)
	return err
}

// soundAgain looks at the root of a release anew that was found to be changed when it was kept, before anything of it
// runs: some of it may still be mounted.
func (e *Engine) soundAgain(r imx.Release) error {
	e.mu.Lock()
	k := e.kept[releaseKey(r.Service, r.Number)]
	faulty := k != nil && k.Fault != ""
	e.mu.Unlock()
	if !faulty {
		return nil
	}
	return e.roots.check(r)
}

// readSlowly reads a file from the disk, not from memory, and takes one part in verifyShare of a core for it at most.
func readSlowly(ctx context.Context, path string, to io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // read-only
	const chunk = 1 << 20
	for at := int64(0); ; at += chunk {
		spent, n, err := copyChunk(f, to, chunk)
		// What was read isn't needed again before it is read anew; instances have it by another way (see roots).
		_ = unix.Fadvise(int(f.Fd()), at, chunk, unix.FADV_DONTNEED)
		if n < chunk || err != nil {
			return ignoreEnd(err)
		}
		select {
		case <-time.After(spent * (verifyShare - 1)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// copyChunk returns how much of the processor it took to copy how many bytes.
func copyChunk(f io.Reader, to io.Writer, size int64) (time.Duration, int64, error) {
	runtime.LockOSThread() // its own time is looked at
	defer runtime.UnlockOSThread()
	before := threadTime()
	n, err := io.CopyN(to, f, size)
	return threadTime() - before, n, err
}

func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
