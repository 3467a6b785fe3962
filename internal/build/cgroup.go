package build

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/mounts"
)

// cgroups are where the machine has the controllers that bound a sandbox: version 1 trees, one for each,
// or the one tree of version 2.
type cgroups struct {
	mine   string            // what the names of groups of the builder's folder begin with
	prefix string            // and those of this process
	v1     map[string]string // mount point by controller
	v2     string            // mount point, if the controllers are there
}

// groupPrefix is what the groups of all builders of the machine begin with.
const groupPrefix = "imx-build-"

// findCgroups looks for the controllers. Without them, rlimits and time bound a sandbox.
func findCgroups(builder string) (cgroups, error) {
	id := sha256.Sum256([]byte(builder))
	mine := groupPrefix + hex.EncodeToString(id[:4]) + "-"
	table, err := mounts.Read()
	if err != nil {
		return cgroups{}, err
	}
	trees := table.Cgroups("memory", "pids")
	c := cgroups{mine: mine, prefix: mine + strconv.Itoa(os.Getpid()) + "-", v1: trees.V1, v2: trees.Unified}
	if len(c.v1) < 2 && c.v2 != "" && !handsDown(c.v2) {
		c.v2 = ""
	}
	return c, nil
}

// handsDown reports whether groups below the root of a version 2 tree can have the controllers.
func handsDown(root string) bool {
	control := filepath.Join(root, "cgroup.subtree_control")
	_ = os.WriteFile(control, []byte("+memory +pids"), 0o600) // what is said below counts
	have, err := os.ReadFile(control)
	words := strings.Fields(string(have))
	return err == nil && slices.Contains(words, "memory") && slices.Contains(words, "pids")
}

// cage is the groups of one sandbox. Without groups it bounds the memory of each process by itself.
type cage struct {
	bounds bounds
	dirs   []string
	counts []count
}

// count is a number in a group's file that grows when a limit was met.
type count struct {
	file, key string
	limit     string // what the limit is, for people
}

// bounds are what the processes of a sandbox may use together.
type bounds struct {
	memory    imx.Size
	processes int
}

// cage makes groups for a sandbox. Where the machine lets no groups be made, the cage has none.
func (c cgroups) cage(name string, b bounds) *cage {
	memory, processes := strconv.FormatInt(int64(b.memory), 10), strconv.Itoa(b.processes)
	files := [][3]string{{"memory", "memory.limit_in_bytes", memory}, {"memory", "memory.memsw.limit_in_bytes", memory}, {"pids", "pids.max", processes}}
	dir := func(controller string) string { return filepath.Join(c.v1[controller], c.prefix+name) }
	g := &cage{bounds: b}
	switch {
	case len(c.v1) == 2:
		g.dirs = slices.Compact([]string{dir("memory"), dir("pids")})
		g.counts = []count{{dir("memory") + "/memory.oom_control", "oom_kill", b.memory.String() + " of memory"}}
	case c.v2 != "":
		files = [][3]string{{"", "memory.max", memory}, {"", "memory.swap.max", "0"}, {"", "memory.oom.group", "1"}, {"", "pids.max", processes}}
		dir = func(string) string { return filepath.Join(c.v2, c.prefix+name) }
		g.dirs = []string{dir("")}
		g.counts = []count{{dir("") + "/memory.events", "oom_kill", b.memory.String() + " of memory"}}
	default:
		return g
	}
	g.counts = append(g.counts, count{dir("pids") + "/pids.events", "max", processes + " processes"})
	if err := g.make(files, dir); err != nil {
		g.remove()
		return &cage{bounds: b}
	}
	return g
}

func (g *cage) make(files [][3]string, dir func(string) string) error {
	for _, d := range g.dirs {
		if err := os.Mkdir(d, 0o750); err != nil {
			return err
		}
	}
	for _, f := range files {
		err := os.WriteFile(filepath.Join(dir(f[0]), f[1]), []byte(f[2]), 0o600)
		swap := strings.Contains(f[1], "sw") // not counted by every kernel
		if err != nil && (!swap || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// whole reports whether the cage bounds all that is in it together.
func (g *cage) whole() bool { return len(g.dirs) > 0 }

// enter puts a process, which has no children yet, into the cage.
func (g *cage) enter(pid int) error {
	if !g.whole() {
		limit := unix.Rlimit{Cur: uint64(g.bounds.memory), Max: uint64(g.bounds.memory)} //nolint:gosec // not negative
		return unix.Prlimit(pid, unix.RLIMIT_DATA, &limit, nil)
	}
	for _, d := range g.dirs {
		if err := os.WriteFile(filepath.Join(d, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// met says which limit was met, "" if none.
func (g *cage) met() string {
	for _, c := range g.counts {
		text, _ := os.ReadFile(c.file) // an absent one says nothing
		for line := range strings.Lines(string(text)) {
			if n, ok := strings.CutPrefix(line, c.key+" "); ok && strings.TrimSpace(n) != "0" {
				return c.limit
			}
		}
	}
	return ""
}

// remove kills what is left in the cage and removes it.
func (g *cage) remove() {
	deadline := time.Now().Add(5 * time.Second)
	for _, d := range g.dirs {
		removeGroup(d, deadline)
	}
}

// removeGroup removes a group as soon as the last of its processes is gone. New tries again where the
// kernel takes longer than the deadline.
func removeGroup(dir string, deadline time.Time) {
	for {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) || time.Now().After(deadline) {
			return
		}
		text, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs")) // an unreadable one has none to kill
		killed := false
		for line := range strings.Lines(string(text)) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 1 {
				killed = kill(pid, deadline) || killed
			}
		}
		if !killed {
			// The last process is off the group's list a moment before the kernel lets go of the group. Only version 2 tells
			// of that, in cgroup.events; trying again works with both.
			_, _ = unix.Poll(nil, 1)
		}
	}
}

// kill ends a process and waits for its end, at most until the deadline; false for one that is gone already. The kernel
// tells of the end whoever's child the process is, in groups of both versions.
func kill(pid int, deadline time.Time) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)                               // nothing is written through it
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it may have ended meanwhile
	left := max(0, time.Until(deadline))
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())) //nolint:gosec // a descriptor is small
	return err == nil
}

// sweep removes the groups that dead builders left: of the same folder with what still runs in them, of
// others, which may never be opened again, where nothing does.
func (c cgroups) sweep() {
	roots := []string{c.v2}
	for _, root := range c.v1 {
		roots = append(roots, root)
	}
	for _, root := range roots {
		left, err := filepath.Glob(filepath.Join(root, groupPrefix+"*"))
		if root == "" || err != nil {
			continue
		}
		for _, dir := range left {
			switch {
			case strings.HasPrefix(filepath.Base(dir), c.mine):
				(&cage{dirs: []string{dir}}).remove()
			case !builderLives(filepath.Base(dir)):
				_ = os.Remove(dir) // the kernel removes none that has processes
			}
		}
	}
}

// builderLives reports whether the process that made a group, whose number is the second part of its name,
// is there.
func builderLives(group string) bool {
	parts := strings.Split(strings.TrimPrefix(group, groupPrefix), "-")
	if len(parts) < 3 {
		return false
	}
	pid, err := strconv.Atoi(parts[1])
	return err == nil && pid > 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}
