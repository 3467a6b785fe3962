package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// aside is the group of the command that checks an instance: a part of the instance's own, so that it has the
// instance's limits and is frozen with it, and can be ended by itself.
func (c cgroups) aside(id string) string { return filepath.Join(c.first(id), "check") }

// openAside makes the group if it isn't there, and opens it as open does.
func (c cgroups) openAside(id string) (*entrance, error) {
	if err := os.Mkdir(c.aside(id), 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making a cgroup for a check of %s: %w", id, err)
	}
	return c.openAt(id, c.aside(id))
}

// endAside kills what is in the group but for crun, which reaps what it started and ends by itself: without it, that
// would be left to the instance's first process, which may never have heard of such a duty.
func (c cgroups) endAside(id string, crun int) error {
	for until := time.Now().Add(reaping / 2); time.Now().Before(until); time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(c.aside(id), "cgroup.procs"))
		if err != nil {
			return err
		}
		waits := false
		for pid := range strings.FieldsSeq(string(text)) {
			switch n, err := strconv.Atoi(pid); {
			case err != nil:
				return err
			case n == crun:
				waits = true
			default:
				_ = unix.Kill(n, unix.SIGKILL) // it may have ended
			}
		}
		if !waits {
			return nil
		}
	}
	return nil // what is left is killed at the end of the wait
}

// clearAside kills whatever is in the group. It need not be there.
func (c cgroups) clearAside(id string) error {
	err := os.WriteFile(filepath.Join(c.aside(id), "cgroup.kill"), []byte("1"), 0o600)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("ending a check of %s: %w", id, err)
	}
	return nil
}
