package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"imx"
)

// Purge ends every instance of a folder whose server is gone, at once, and removes everything that
// the engine has outside of it, and its records in it. Volumes stay. A folder that never was an
// engine's is no error.
func Purge(ctx context.Context, cfg Config) error {
	if used := (store{dir: cfg.Dir}).network(); used.IsValid() {
		cfg.Network = used
	}
	e, err := takeOver(ctx, cfg)
	if err != nil {
		return err
	}
	for _, in := range e.all() {
		e.mu.Lock()
		id := in.record.Instance.ID
		if in.record.Instance.Phase != imx.Ended {
			in.record.Instance.Phase = imx.Stopping
		}
		e.mu.Unlock()
		err = errors.Join(err, e.clear(ctx, id), e.cfg.unplumb(in.record), e.forget(in))
		in.init.close()
		in.monitor.close()
	}
	err = errors.Join(err, e.removeRoutes())
	for _, k := range e.uses.kept {
		err = errors.Join(err, e.letGoAll(k.Release.Service))
	}
	return errors.Join(err, e.tidy(ctx), ignoreMissing(os.Remove(filepath.Join(cfg.Dir, "network.json"))))
}

func (e *Engine) removeRoutes() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for service := range e.routes {
		errs = append(errs, ignoreMissing(os.Remove(filepath.Clean(e.store.route(service)))))
		delete(e.routes, service)
	}
	return errors.Join(errs...)
}
