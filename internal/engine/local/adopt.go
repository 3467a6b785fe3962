package local

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// adopt compares the engine's folder with the machine and puts both right.
func (e *Engine) adopt(ctx context.Context) error {
	records, junk, err := e.store.loadInstances()
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Init.Pid == 0 && r.Instance.Phase != imx.Ended {
			junk = append(junk, r.Instance.ID) // half made: a server died while it started it
			continue
		}
		in, err := e.adoptOne(r)
		if err != nil {
			return err
		}
		e.instances[r.Instance.ID] = in
		if r.Instance.Started.After(e.lastStart()) {
			e.last = r.Instance.Address
		}
	}
	if err := e.removeStrays(ctx, junk); err != nil {
		return err
	}
	for _, in := range e.all() {
		e.settle(ctx, in)
	}
	return e.roots.sweep(ctx, e.inUse)
}

// lastStart is when the instance that has the address e.last was started.
func (e *Engine) lastStart() time.Time {
	for _, in := range e.instances {
		if in.record.Instance.Address == e.last {
			return in.record.Instance.Started
		}
	}
	return time.Time{}
}

func (e *Engine) adoptOne(r record) (*instance, error) {
	in := &instance{record: r, nudge: make(chan struct{}, 1), told: make(chan struct{})}
	if r.Cleared {
		return in, nil
	}
	release, known := e.roots.adopt(r.Instance.Service, r.Instance.Release)
	in.release = release
	if r.Boot != bootID() {
		if r.Instance.Phase != imx.Ended {
			in.record.end(imx.Exit{Code: -1}, time.Now(), "the machine restarted")
		}
		return in, nil
	}
	var err error
	if in.init, err = r.Init.open(); err != nil {
		return nil, err
	}
	if in.monitor, err = r.Monitor.open(); err != nil {
		return nil, err
	}
	if !known && !in.init.gone() {
		// Without its release nobody knows its checks or its rules. It can't be left to itself.
		in.record.Instance.Reason = "its release's record was lost"
		return in, in.init.signal(unix.SIGKILL)
	}
	if r.Instance.Phase == imx.Warm {
		return in, nil // Run freezes it where the server died before it did
	}
	if err := e.cgroups.thaw(r.Instance.ID); err != nil {
		return nil, err // the server may have died before it thawed it
	}
	if r.Instance.Phase == imx.Stopping && !r.draining() {
		return in, in.init.signal(stopSignal(release)) // or before it sent it
	}
	return in, nil
}

// removeStrays removes what belongs to no instance: the given ones' leftovers, and everything in
// the kernel that bears the engine's name.
func (e *Engine) removeStrays(ctx context.Context, junk []string) error {
	ids := append(e.cgroups.list(), junk...)
	for _, dir := range []string{e.cfg.netnsDir(), e.cfg.crunDir()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // never made
		}
		for _, entry := range entries {
			ids = append(ids, entry.Name())
		}
	}
	slices.Sort(ids)
	var errs []error
	for _, id := range slices.Compact(ids) {
		if in := e.instances[id]; in != nil && !in.record.Cleared {
			continue
		}
		errs = append(errs, e.clear(ctx, id), e.cfg.unplumb(record{Instance: imx.Instance{ID: id}}))
		if slices.Contains(junk, id) {
			errs = append(errs, os.RemoveAll(e.store.instance(id)))
		}
	}
	return errors.Join(append(errs, e.removeStrayLinks())...)
}

func (e *Engine) removeStrayLinks() error {
	links, err := e.cfg.links()
	if err != nil {
		return err
	}
	mine := map[string]bool{}
	for _, in := range e.instances {
		if !in.record.Cleared {
			mine[in.record.Link] = true
		}
	}
	var errs []error
	for _, name := range links {
		if !mine[name] {
			errs = append(errs, deleteLink(name))
		}
	}
	return errors.Join(errs...)
}
