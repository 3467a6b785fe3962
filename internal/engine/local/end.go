package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// keptEnded is how many ended instances of a service are kept with their logs.
const keptEnded = 10

// settle records the end of an instance that has ended and takes away what it leaves. It reports
// whether nothing of it is left. While another goroutine is at it, it does nothing.
func (e *Engine) settle(ctx context.Context, in *instance) bool {
	if !in.settling.TryLock() {
		return false
	}
	defer in.settling.Unlock()
	return e.settleLocked(ctx, in)
}

// settleNow is settle for those who can't go on before it: it waits for the other goroutine.
func (e *Engine) settleNow(ctx context.Context, in *instance) bool {
	in.settling.Lock()
	defer in.settling.Unlock()
	return e.settleLocked(ctx, in)
}

func (e *Engine) settleLocked(ctx context.Context, in *instance) bool {
	e.mu.Lock()
	r, starting := in.record, in.starting
	e.mu.Unlock()
	switch {
	case r.Cleared:
		return true
	case starting:
		return false
	case r.Instance.Phase != imx.Ended && !e.recordEnd(ctx, in):
		return false
	}
	if err := e.removeLeftovers(ctx, in); err != nil {
		if ctx.Err() == nil {
			logFailure(ctx, e.cfg.Log, "what an instance left could not be removed yet", err)
		}
		return false
	}
	return true
}

// recordEnd looks whether the instance's processes have ended, and if so, writes down how.
func (e *Engine) recordEnd(ctx context.Context, in *instance) bool {
	monitorGone := in.monitor.gone() // asked before the exit code is read: conmon writes that first
	if !in.init.gone() {
		if !monitorGone {
			return false
		}
		// Nobody takes its output or its exit code any more: it is replaced.
		if err := in.init.signal(unix.SIGKILL); err != nil {
			logFailure(ctx, e.cfg.Log, "an instance could not be ended", err)
		}
		return false // until it has gone
	}
	e.mu.Lock()
	id := in.record.Instance.ID
	e.mu.Unlock()
	code, known := e.exitCode(id)
	if !known {
		if !monitorGone {
			return false // conmon is about to write it
		}
		code = -1
	}
	ate := e.cgroups.oomKills(id) > 0
	exit := imx.Exit{Code: code, OOM: ate && code == killed}
	e.mu.Lock()
	defer e.mu.Unlock()
	reason := endReason(exit, in.release)
	if ate && !exit.OOM {
		reason += fmt.Sprintf(", after its memory limit of %s had ended one of its processes", memoryOf(in.release))
	}
	in.record.end(exit, time.Now(), reason)
	if in.init != nil && !known {
		in.record.Instance.Reason = cmp.Or(in.record.Instance.Reason, "its monitor (conmon) died")
	}
	e.keep(ctx, in.record)
	return true
}

// end makes it the record of an ended instance. A wanted end keeps the reason for which it was
// stopped.
func (r *record) end(exit imx.Exit, now time.Time, reason string) {
	if exit.Wanted = r.Instance.Phase == imx.Stopping; exit.Wanted {
		reason = r.Instance.Reason
	}
	r.move(imx.Ended, reason, now)
	r.Instance.Ended, r.Instance.Exit, r.Instance.Flows, r.Instance.Pid = now.UTC(), &exit, 0, 0
}

// endReason says for people how an instance ended that nobody had stopped.
func endReason(exit imx.Exit, r imx.Release) string {
	switch {
	case exit.OOM:
		return fmt.Sprintf("its memory limit of %s ended it: have it need less, or raise memory in the service's resources", memoryOf(r))
	case exit.Code > 128:
		signal := unix.Signal(exit.Code - 128)
		return fmt.Sprintf("its process was ended by %s", cmp.Or(unix.SignalName(signal), "signal "+strconv.Itoa(int(signal))))
	case exit.Code < 0:
		return "its process ended, and its monitor (conmon) with it"
	}
	return fmt.Sprintf("its process ended by itself with code %d", exit.Code)
}

// memoryOf is the limit of memory of a release's instances.
func memoryOf(r imx.Release) imx.Size { return inForce(r.Spec.Resources).Memory }

// removeLeftovers removes all that an ended instance has besides its record and its log.
func (e *Engine) removeLeftovers(ctx context.Context, in *instance) error {
	e.mu.Lock()
	r := in.record
	e.mu.Unlock()
	if err := errors.Join(e.clear(ctx, r.Instance.ID), e.cfg.unplumb(r)); err != nil {
		return err
	}
	e.mu.Lock()
	in.record.Cleared = true
	e.keep(ctx, in.record)
	e.mu.Unlock()
	in.init.close()
	in.monitor.close()
	e.refresh(ctx)
	err := e.prune(r.Instance.Service)
	if !r.Instance.Exit.Wanted { // what was open when it died was reset
		err = errors.Join(err, forgetFlows(r.Instance.Address, nil))
	}
	e.poke()
	return err
}

// prune forgets all but the newest ended instances of a service.
func (e *Engine) prune(service string) error {
	e.mu.Lock()
	var ended []*instance
	for _, in := range e.instances {
		if in.record.Cleared && in.record.Instance.Service == service {
			ended = append(ended, in)
		}
	}
	slices.SortFunc(ended, func(a, b *instance) int {
		return cmp.Or(b.record.Instance.Ended.Compare(a.record.Instance.Ended), strings.Compare(a.record.Instance.ID, b.record.Instance.ID))
	})
	e.mu.Unlock()
	var errs []error
	for _, in := range ended[min(len(ended), keptEnded):] {
		errs = append(errs, e.forget(in))
	}
	return errors.Join(errs...)
}

// forget removes an ended instance's record and log.
func (e *Engine) forget(in *instance) error {
	id := in.record.Instance.ID // never changes
	if err := os.RemoveAll(e.store.instance(id)); err != nil {
		return fmt.Errorf("forgetting %s: %w", id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.instances, id)
	return nil
}

// vanish takes away what the engine has on the machine outside its folder, once it has no instance
// and no route. The caller holds gate.
func (e *Engine) vanish(ctx context.Context) error {
	return errors.Join(e.withdraw(ctx), e.cgroups.remove(), e.cfg.removeRun())
}

// removeRun unmounts and removes the engine's folder in /run.
func (c Config) removeRun() error {
	mounts, err := mountsBelow(c.runDir())
	if err != nil {
		return err
	}
	for _, point := range mounts {
		if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmounting %s: %w", point, err)
		}
	}
	// What would still be mounted here must not be emptied: only empty directories go, and the empty file below crun.
	for _, dir := range []string{"mnt/images", "mnt/layers", "mnt/roots", "mnt/programs/crun", "mnt/programs", "mnt", "netns", "crun", ""} {
		if err := ignoreMissing(os.Remove(filepath.Join(c.runDir(), dir))); err != nil {
			return fmt.Errorf("removing %s: %w", c.runDir(), err)
		}
	}
	return nil
}

func removeVolumes(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing volumes: %w", err)
	}
	return nil
}
