// Package mounts reads what is mounted, and where the control groups' trees are.
package mounts

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Mount is one mounted file system, as far as anybody here needs it.
type Mount struct {
	Point   string   // where it is
	Kind    string   // of file system: "cgroup2"
	Options []string // the file system's own: of a "cgroup", which controllers it has
}

// Table is what is mounted, in the order in which it was.
type Table []Mount

// Read returns what the calling thread sees mounted.
func Read() (Table, error) {
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading what is mounted: %w", err)
	}
	return Parse(string(text)), nil
}

// Parse reads a mountinfo file (proc_pid_mountinfo(5)). Lines that aren't of one are left out.
func Parse(text string) Table {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var t Table
	for line := range strings.Lines(text) {
		left, right, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		before, after := strings.Split(left, " "), strings.Split(right, " ") // other white space stands for itself
		if ok && len(before) >= 6 && len(after) >= 3 {
			t = append(t, Mount{unescape.Replace(before[4]), after[0], strings.Split(after[2], ",")})
		}
	}
	return t
}

// Has reports whether something is mounted at a path.
func (t Table) Has(point string) bool {
	return slices.ContainsFunc(t, func(m Mount) bool { return m.Point == point })
}

// Within returns the points at a folder and below it, those on top first: in this order they can be unmounted.
func (t Table) Within(dir string) []string {
	var points []string
	for _, m := range slices.Backward(t) {
		if m.Point == dir || strings.HasPrefix(m.Point, dir+"/") {
			points = append(points, m.Point)
		}
	}
	return points
}

// Cgroups are the mount points of the control groups' trees.
type Cgroups struct {
	Unified string            // version 2, "" where there is none
	V1      map[string]string // version 1, by controller
}

// Cgroups finds the trees, and of version 1 those of the named controllers.
func (t Table) Cgroups(controllers ...string) Cgroups {
	c := Cgroups{V1: map[string]string{}}
	for _, m := range t {
		switch m.Kind {
		case "cgroup2":
			c.Unified = m.Point
		case "cgroup":
			for _, option := range m.Options {
				if slices.Contains(controllers, option) {
					c.V1[option] = m.Point
				}
			}
		}
	}
	return c
}
