// Package procs tells which processes live together, by what Linux shows in /proc.
package procs

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Together returns the numbers, sorted, of the processes that are in the same namespace of a kind ("pid", "mnt") as one of
// them, which is among them. Those that end meanwhile are left out. The error is the system's, where that one isn't there.
func Together(pid int, kind string) ([]int, error) {
	space, err := Space(strconv.Itoa(pid), kind)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []int
	for _, e := range entries {
		number, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if its, err := Space(e.Name(), kind); err == nil && its == space {
			all = append(all, number)
		}
	}
	slices.Sort(all)
	return all, nil
}

// Space names the namespace of a kind that a process, or "self", is in.
func Space(pid, kind string) (string, error) {
	return os.Readlink(filepath.Join("/proc", pid, "ns", kind))
}
