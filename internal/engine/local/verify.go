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

// verifier is what the goroutine of Run has that reads the roots of kept releases.
type verifier struct {
	look chan struct{}            // wakes it
	read map[imx.Digest]time.Time // when an image's root was last read and found to be sound; many releases may have it
}

func newVerifier() verifier { return verifier{make(chan struct{}, 1), map[imx.Digest]time.Time{}} }

func (v verifier) wake() {
	select {
	case v.look <- struct{}{}:
	default: // it will look anyway
	}
}

// verifyKept sees to it that the roots of kept releases are mounted, and reads them: each when it comes to be kept,
// and again every Config.Verify. It goes on until ctx ends.
func (e *Engine) verifyKept(ctx context.Context) {
	for ctx.Err() == nil {
		key, wait := e.nextToVerify(time.Now())
		if wait <= 0 {
			e.verifyOne(ctx, key)
			continue
		}
		select {
		case <-ctx.Done():
		case <-e.uses.verifier.look:
		case <-time.After(wait):
		}
	}
}

// nextToVerify returns the key of the kept release that was looked at the longest ago, or never, and how long that may wait.
func (e *Engine) nextToVerify(now time.Time) (string, time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.uses.kept) == 0 {
		return "", e.cfg.Verify
	}
	keys := slices.Sorted(maps.Keys(e.uses.kept))
	first := slices.MinFunc(keys, func(a, b string) int { return e.uses.kept[a].looked.Compare(e.uses.kept[b].looked) })
	return first, e.uses.kept[first].looked.Add(e.cfg.Verify).Sub(now)
}

// verifyOne looks whether a kept release's root is mounted, and all of it what its digest says.
func (e *Engine) verifyOne(ctx context.Context, key string) {
	e.mu.Lock()
	k := e.uses.kept[key]
	if k == nil {
		e.mu.Unlock()
		return // let go
	}
	release := k.Release
	e.mu.Unlock()
	read, err := e.rootSound(ctx, release)
	if ctx.Err() != nil {
		return
	}
	fault := ""
	if err != nil {
		fault = imx.AsError(err).Message
	}
	e.mu.Lock()
	k.looked = time.Now()
	if e.uses.kept[key] != k {
		e.mu.Unlock()
		return
	}
	before := k.Fault
	if k.Fault = fault; fault == "" {
		k.Verified = read.UTC()
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

// rootSound mounts a release's root if it isn't mounted, and reads all of it, slowly. It returns when it was read: what
// was read for another release just now isn't read again.
func (e *Engine) rootSound(ctx context.Context, r imx.Release) (time.Time, error) {
	if err := e.mountKept(ctx, r); err != nil {
		return time.Time{}, err
	}
	read := e.uses.verifier.read
	if last := read[r.Image.Root]; time.Since(last) < e.cfg.Verify/2 {
		return last, nil
	}
	delete(read, r.Image.Root)
	// What is mounted, and not what Config.Roots would make in its place: that comes when it is mounted again.
	file := e.roots.fileOf(releaseKey(r.Service, r.Number))
	err := e.roots.checker.Again(file, r.Image.Root, func(path string, to io.Writer) error { return readSlowly(ctx, path, to) })
	if err == nil {
		read[r.Image.Root] = time.Now()
	}
	return read[r.Image.Root], err
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
	k := e.uses.kept[releaseKey(r.Service, r.Number)]
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
