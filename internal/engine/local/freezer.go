package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// States of a group, as cgroup.freeze has them (Documentation/admin-guide/cgroup-v2.rst).
const (
	running = "0"
	frozen  = "1"
)

// freeze stops all processes of an instance where they are, and with them what a check or a test runs beside them; its
// conmon goes on. It returns when they have stopped, or after a while: one in the middle of a system call that
// can't be interrupted stops at its end.
func (c cgroups) freeze(ctx context.Context, id string) error {
	if err := c.setFreezer(id, frozen); err != nil {
		return err
	}
	const patience = 100 * time.Millisecond
	for pause := 100 * time.Microsecond; pause < patience && !c.isFrozen(id) && ctx.Err() == nil; pause *= 2 {
		time.Sleep(pause)
	}
	return nil
}

// thaw lets an instance's processes go on. One that isn't frozen, or has gone, is left as it is.
func (c cgroups) thaw(id string) error {
	err := c.setFreezer(id, running)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (c cgroups) setFreezer(id, state string) error {
	if err := os.WriteFile(filepath.Join(c.first(id), "cgroup.freeze"), []byte(state), 0o600); err != nil {
		return fmt.Errorf("freezing or thawing %s: %w", id, err)
	}
	return nil
}

// isFrozen reports whether all processes of an instance have stopped, and will stay so.
func (c cgroups) isFrozen(id string) bool {
	state, err := os.ReadFile(filepath.Join(c.first(id), "cgroup.events"))
	return err == nil && strings.Contains(string(state), "frozen "+frozen)
}
