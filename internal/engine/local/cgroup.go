package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"imx"
	"imx/internal/mounts"
)

// The limits of an instance whose release names none.
const (
	defaultCPU    = 1.0
	defaultMemory = imx.Size(256 << 20)
	defaultPids   = 256
)

// cgroups is the machine's layout of control groups. On a machine with version 2 alone, an
// instance's limits are in the one tree. On a hybrid one the controllers are in version 1 trees,
// and the version 2 tree only groups the processes. Either way there is
//
//	<unified>/imx-<ID>/<instance>/         cgroup.kill ends all of it, cgroup.events says when it is empty
//	<unified>/imx-<ID>/<instance>/monitor  conmon and, while it starts, crun
//	<unified>/imx-<ID>/<instance>/init     the instance itself, with its limits
//	<unified>/imx-<ID>/<instance>/init/check  the command that checks it, if there is one, within the same limits
//
// so that a start that the server's death cut short leaves no process that can't be found. The version 2 tree freezes
// an instance on either kind of machine: no controller is needed for that, and SIGKILL ends what is frozen, which
// version 1's freezer would hold back.
type cgroups struct {
	name    string            // imx-<ID>
	unified string            // mount point of version 2
	v1      map[string]string // mount point by controller; empty where version 2 has the controllers
}

// controllers that limits need.
func controllers() []string { return []string{"cpu", "memory", "pids"} }

func findCgroups(id string) (cgroups, error) {
	table, err := mounts.Read()
	if err != nil {
		return cgroups{}, fmt.Errorf("local: %w", err)
	}
	trees := table.Cgroups(controllers()...)
	c := cgroups{name: "imx-" + id, unified: trees.Unified, v1: trees.V1}
	if c.unified == "" {
		return cgroups{}, imx.Errorf(imx.Unavailable, "this machine has no cgroup version 2 tree").
			WithHint("mount one, or boot without systemd.unified_cgroup_hierarchy=0")
	}
	return c, c.complete()
}

// complete checks that there is every controller that limits need.
func (c cgroups) complete() error {
	if len(c.v1) > 0 {
		for _, name := range controllers() {
			if c.v1[name] == "" {
				return noController(name)
			}
		}
		return nil
	}
	have, err := os.ReadFile(filepath.Join(c.unified, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	for _, name := range controllers() {
		if !slices.Contains(strings.Fields(string(have)), name) {
			return noController(name)
		}
	}
	return nil
}

func noController(name string) error {
	return imx.Errorf(imx.Unavailable, "this machine has no cgroup controller %q, so instances can't be limited", name).
		WithHint("boot it without cgroup_disable=%s", name)
}

// mode says which layout is in use, for people.
func (c cgroups) mode() string {
	if len(c.v1) > 0 {
		return "cgroup v1 (hybrid)"
	}
	return "cgroup v2"
}

func (c cgroups) group(id string) string   { return filepath.Join(c.unified, c.name, id) }
func (c cgroups) monitor(id string) string { return filepath.Join(c.group(id), "monitor") }
func (c cgroups) first(id string) string   { return filepath.Join(c.group(id), "init") }

// dirs are all directories of an instance, parents first.
func (c cgroups) dirs(id string) []string {
	dirs := []string{c.group(id), c.monitor(id), c.first(id)}
	for _, name := range controllers() {
		if point, ok := c.v1[name]; ok {
			dirs = append(dirs, filepath.Join(point, c.name, id))
		}
	}
	return dirs
}

// limit is one value in one file of a controller.
type limit struct{ controller, file, value string }

// limits decides what is written for r. Version 1 has other files than version 2.
func (c cgroups) limits(r imx.Resources) []limit {
	r = inForce(r)
	const period = 100_000 // µs, the kernel's own default
	quota := strconv.Itoa(max(1000, int(r.CPU*period)))
	bytes := strconv.FormatInt(int64(r.Memory), 10)
	if len(c.v1) > 0 {
		return []limit{
			{"cpu", "cpu.cfs_quota_us", quota},
			{"memory", "memory.limit_in_bytes", bytes},
			{"memory", "memory.memsw.limit_in_bytes", bytes}, // memory and swap together: no swap
			{"pids", "pids.max", strconv.Itoa(r.Pids)},
		}
	}
	return []limit{
		{"cpu", "cpu.max", quota + " " + strconv.Itoa(period)},
		{"memory", "memory.max", bytes},
		{"memory", "memory.swap.max", "0"},
		{"memory", "memory.oom.group", "1"},
		{"pids", "pids.max", strconv.Itoa(r.Pids)},
	}
}

// optional files are absent where the kernel counts no swap.
func (l limit) optional() bool {
	return strings.Contains(l.file, "swap") || strings.Contains(l.file, "memsw")
}

// make makes an instance's groups with their limits.
func (c cgroups) make(id string, r imx.Resources) error {
	for _, dir := range c.dirs(id) {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("making the cgroups of %s: %w", id, err)
		}
	}
	if len(c.v1) == 0 { // the limits' files appear where the parents hand the controllers down
		for _, dir := range []string{c.unified, filepath.Join(c.unified, c.name), c.group(id)} {
			if err := handDown(dir); err != nil {
				return err
			}
		}
	}
	for _, l := range c.limits(r) {
		err := os.WriteFile(filepath.Join(c.limited(id, l.controller), l.file), []byte(l.value), 0o600)
		if l.optional() {
			err = ignoreMissing(err)
		}
		if err != nil {
			return fmt.Errorf("limiting %s: %w", id, err)
		}
	}
	return nil
}

// limited is the directory in which a controller's files for the instance are.
func (c cgroups) limited(id, controller string) string {
	if point, ok := c.v1[controller]; ok {
		return filepath.Join(point, c.name, id)
	}
	return c.first(id)
}

// entrance is an instance's groups, open for processes to be put in: by descriptor, so that it
// works where the version 2 tree is hidden.
type entrance struct {
	monitor *os.File   // directory
	procs   []*os.File // cgroup.procs of all groups that the first process belongs in
}

// open opens the groups that make made. The caller closes the entrance.
func (c cgroups) open(id string) (*entrance, error) { return c.openAt(id, c.first(id)) }

// openAt is open of another group in the version 2 tree, at or below the instance's own.
func (c cgroups) openAt(id, group string) (*entrance, error) {
	dirs := []string{group}
	for _, name := range controllers() {
		if point, ok := c.v1[name]; ok {
			dirs = append(dirs, filepath.Join(point, c.name, id))
		}
	}
	slices.Sort(dirs)
	monitor, err := os.Open(c.monitor(id))
	if err != nil {
		return nil, fmt.Errorf("limiting %s: %w", id, err)
	}
	way := &entrance{monitor: monitor}
	for _, dir := range slices.Compact(dirs) {
		f, err := os.OpenFile(filepath.Join(dir, "cgroup.procs"), os.O_WRONLY, 0)
		if err != nil {
			way.close()
			return nil, fmt.Errorf("limiting %s: %w", id, err)
		}
		way.procs = append(way.procs, f)
	}
	return way, nil
}

// enter puts the instance's first process into its groups. It must not have started yet.
func (w *entrance) enter(pid int) error {
	for _, f := range w.procs {
		if _, err := f.WriteString(strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("limiting process %d: %w", pid, err)
		}
	}
	return nil
}

func (w *entrance) close() {
	for _, f := range append(w.procs, w.monitor) {
		_ = f.Close() // every write has been answered already
	}
}

// oomKills is how many processes of the instance the memory limit has ended.
func (c cgroups) oomKills(id string) int {
	file := "memory.events"
	if len(c.v1) > 0 {
		file = "memory.oom_control"
	}
	data, err := os.ReadFile(filepath.Join(c.limited(id, "memory"), file))
	if err != nil {
		return 0 // gone: nobody can tell any more
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(text)) // the kernel writes numbers
			return n
		}
	}
	return 0
}

// clear kills whatever is left of an instance, waits until that is gone and removes its groups.
func (c cgroups) clear(ctx context.Context, id string) error {
	err := os.WriteFile(filepath.Join(c.group(id), "cgroup.kill"), []byte("1"), 0o600)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("ending %s: %w", id, err)
	}
	dirs := append(c.dirs(id), c.aside(id))
	slices.Reverse(dirs)
	for _, dir := range dirs {
		if err := removeGroup(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}

// removeGroup removes a group, which is busy while its last process is still ending. SIGKILL is on
// its way; the wait is for the kernel alone.
func removeGroup(ctx context.Context, dir string) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := ignoreMissing(os.Remove(dir))
		if err == nil || pause > 50*time.Millisecond && ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("removing a cgroup: %w", err)
		}
	}
}

// list names the instances that have groups, complete or not.
func (c cgroups) list() []string {
	var ids []string
	for _, root := range c.roots() {
		entries, err := os.ReadDir(root)
		if err != nil {
			continue // never made
		}
		for _, e := range entries {
			if e.IsDir() {
				ids = append(ids, e.Name())
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// roots are the engine's own directories in every tree.
func (c cgroups) roots() []string {
	roots := []string{filepath.Join(c.unified, c.name)}
	for _, point := range c.v1 {
		roots = append(roots, filepath.Join(point, c.name))
	}
	return roots
}

// remove takes the engine's own, by now empty, directories away.
func (c cgroups) remove() error {
	var errs []error
	for _, root := range c.roots() {
		errs = append(errs, ignoreMissing(os.Remove(root)))
	}
	return errors.Join(errs...)
}

func handDown(dir string) error {
	err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+strings.Join(controllers(), " +")), 0o600)
	if err != nil {
		return fmt.Errorf("local: handing cgroup controllers down: %w", err)
	}
	return nil
}
