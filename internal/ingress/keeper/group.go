package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/mounts"
)

// What all processes of a place may have together: two, while one takes over from another.
const (
	mostMemory = imx.Size(2 << 30)
	mostTasks  = 1024 // threads
)

// group is the control group of a place's processes: one in the version 2 tree and, where version 1 has the controllers, one in each of
// these trees.
type group struct {
	unified string
	v1      map[string]string // by controller; empty where version 2 has them
}

func controllers() []string { return []string{"memory", "pids"} }

// group finds the place's control group. It may not be there.
func (p Place) group() (group, error) {
	table, err := mounts.Read()
	if err != nil {
		return group{}, err
	}
	trees := table.Cgroups(controllers()...)
	if trees.Unified == "" {
		return group{}, imx.Errorf(imx.Unavailable, "this machine has no cgroup version 2 tree")
	}
	name := "imx-" + p.ID + ".ingress"
	g := group{unified: filepath.Join(trees.Unified, name), v1: map[string]string{}}
	for _, controller := range controllers() {
		if len(trees.V1) > 0 && trees.V1[controller] == "" {
			return group{}, imx.Errorf(imx.Unavailable, "this machine has no cgroup controller %q beside its others, so the ingress' process can't be limited", controller)
		}
	}
	for controller, point := range trees.V1 {
		g.v1[controller] = filepath.Join(point, name)
	}
	return g, nil
}

// dirs are the group's directories, that in the version 2 tree first.
func (g group) dirs() []string {
	dirs := []string{g.unified}
	for _, controller := range controllers() {
		if dir, ok := g.v1[controller]; ok {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// make makes the group with its limits.
func (g group) make(memory imx.Size) error {
	for _, dir := range g.dirs() {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("making the cgroup of the ingress' process: %w", err)
		}
	}
	bytes := strconv.FormatInt(int64(memory), 10)
	tasks := strconv.Itoa(mostTasks)
	files := []struct{ path, value string }{
		{filepath.Join(g.v1["memory"], "memory.limit_in_bytes"), bytes},
		{filepath.Join(g.v1["memory"], "memory.memsw.limit_in_bytes"), bytes}, // with swap: it can't be below the other
		{filepath.Join(g.v1["pids"], "pids.max"), tasks},
	}
	if len(g.v1) == 0 {
		// The limits' files appear where the parent hands the controllers down.
		handed := filepath.Join(filepath.Dir(g.unified), "cgroup.subtree_control")
		if err := os.WriteFile(handed, []byte("+"+strings.Join(controllers(), " +")), 0o600); err != nil {
			return fmt.Errorf("handing cgroup controllers down: %w", err)
		}
		files = []struct{ path, value string }{
			{filepath.Join(g.unified, "memory.max"), bytes}, {filepath.Join(g.unified, "memory.swap.max"), "0"}, {filepath.Join(g.unified, "pids.max"), tasks},
		}
	}
	for _, f := range files {
		err := os.WriteFile(f.path, []byte(f.value), 0o600)
		absent := strings.Contains(filepath.Base(f.path), "sw") && errors.Is(err, fs.ErrNotExist) // where the kernel counts none
		full := errors.Is(err, unix.EBUSY)                                                        // a process that is about to end has more
		if err != nil && !absent && !full {
			return fmt.Errorf("limiting the ingress' process: %w", err)
		}
	}
	return nil
}

// enter puts a process under the limits of version 1; it began in the version 2 tree.
func (g group) enter(pid int) error {
	for _, dir := range g.v1 {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600); err != nil {
			return fmt.Errorf("limiting the ingress' process: %w", err)
		}
	}
	return nil
}

// oomKills is how many processes the memory limit has ended, since the group was made.
func (g group) oomKills() int {
	path := filepath.Join(g.unified, "memory.events")
	if dir, ok := g.v1["memory"]; ok {
		path = filepath.Join(dir, "memory.oom_control")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return 0 // gone: nobody can tell
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(text)) // the kernel writes numbers
			return n
		}
	}
	return 0
}

// tidy removes the group of processes that have ended. While one finishes what it has, the kernel keeps it.
func (g group) tidy() error {
	var errs []error
	for _, dir := range g.dirs() {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// kill ends all processes of the group and removes it.
func (g group) kill(ctx context.Context) error {
	err := os.WriteFile(filepath.Join(g.unified, "cgroup.kill"), []byte("1"), 0o600)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("ending the ingress' process: %w", err)
	}
	for {
		if err = g.tidy(); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ending the ingress' process: %w", err)
		case <-time.After(10 * time.Millisecond): // SIGKILL is on its way: the wait is for the kernel
		}
	}
}
