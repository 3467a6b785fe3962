// Package mapped tells which files the processes of an instance have mapped into their memory and which programs they
// run. It only looks: nothing is stopped, traced or read but what Linux tells of a process in /proc. What the files
// mean is its caller's business.
package mapped

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"imx"
	"imx/internal/procs"
)

// Process is one process, and the files that it has mapped.
type Process struct {
	Pid   int
	Name  string // as it calls itself
	Files []File // sorted by path, each once
}

// File is a file that a process has mapped.
type File struct {
	Path string // inside the instance
	// Runs says that some of it may be executed.
	Runs bool
	// Gone says that the path leads to another file than the one that is mapped, or to none: it was deleted, replaced,
	// or lies outside of the instance's root.
	Gone bool
}

// Under returns the processes that live in the same mount namespace as pid, pid's own among them. Those that end
// meanwhile are left out. Errors: NotFound for a process that isn't there; Refused for one in the caller's own mount
// namespace, which is no instance's.
func Under(pid int) ([]Process, error) {
	space, err := procs.Space(strconv.Itoa(pid), mountSpace)
	if err != nil {
		return nil, imx.Errorf(imx.NotFound, "process %d isn't there: %w", pid, err)
	}
	if own, err := procs.Space("self", mountSpace); err != nil || own == space {
		return nil, imx.Errorf(imx.Refused, "process %d is in no instance", pid)
	}
	numbers, err := procs.Together(pid, mountSpace)
	if err != nil {
		return nil, imx.Errorf(imx.NotFound, "process %d isn't there: %w", pid, err)
	}
	var all []Process
	for _, number := range numbers {
		p, err := look(number)
		if err != nil && !ended(err) {
			return nil, err
		}
		if err == nil {
			all = append(all, p)
		}
	}
	return all, nil
}

// mountSpace is the kind of namespace that an instance's processes have in common.
const mountSpace = "mnt"

// ended reports whether a process ended while it was looked at.
func ended(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "no such process")
}

func look(pid int) (Process, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	name, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return Process{}, err
	}
	p := Process{Pid: pid, Name: strings.TrimSpace(string(name))}
	maps, err := os.Open(dir + "/maps")
	if err != nil {
		return Process{}, err
	}
	defer func() { _ = maps.Close() }() // it was only read from
	regions, err := Parse(maps)
	if err != nil {
		return Process{}, err
	}
	found := map[string]File{}
	for _, r := range regions {
		if f, known := found[r.Path]; known && (f.Runs || !r.Runs) {
			continue
		}
		found[r.Path] = File{Path: r.Path, Runs: r.Runs, Gone: r.Deleted || !same(dir, r)}
	}
	program, err := os.Readlink(dir + "/exe")
	if err != nil {
		return Process{}, err
	}
	path, deleted := strings.CutSuffix(program, deletedMark)
	found[path] = File{Path: path, Runs: true, Gone: deleted || found[path].Gone}
	for _, f := range found {
		p.Files = append(p.Files, f)
	}
	slices.SortFunc(p.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return p, nil
}

// same reports whether a region's path leads, inside the instance, to the file that is mapped. Where Linux doesn't let
// that be seen, it is believed.
func same(dir string, r Region) bool {
	if !filepath.IsAbs(r.Path) || strings.HasPrefix(r.Path, "/memfd:") {
		return false
	}
	now, err := os.Stat(dir + "/map_files/" + r.Range)
	if err != nil {
		return true
	}
	there, err := os.Stat(filepath.Join(dir, "root", filepath.Clean(r.Path)))
	return err == nil && os.SameFile(now, there)
}

// deletedMark is what Linux puts behind the path of a file that is gone.
const deletedMark = " (deleted)"

// Region is a line of /proc/PID/maps that a file stands behind.
type Region struct {
	Range   string // "7f0c1000-7f0c2000"
	Path    string
	Runs    bool
	Deleted bool
}

const maxRegions = 1 << 20

// Parse reads /proc/PID/maps (proc_pid_maps(5)) and returns the regions that a file stands behind. Errors: Refused for
// what isn't of that form; r's own.
func Parse(r io.Reader) ([]Region, error) {
	var all []Region
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 || len(fields[1]) != 4 || !strings.Contains(fields[0], "-") {
			return nil, imx.Errorf(imx.Refused, "%.80q is not a line of a process's maps", lines.Text())
		}
		if len(fields) < 6 || fields[4] == "0" || strings.HasPrefix(fields[5], "[") {
			continue // no file
		}
		at := pathStart(lines.Text())
		if at < 0 {
			continue
		}
		path, deleted := strings.CutSuffix(unescape(lines.Text()[at:]), deletedMark)
		if all = append(all, Region{Range: fields[0], Path: path, Runs: fields[1][2] == 'x', Deleted: deleted}); len(all) > maxRegions {
			return nil, imx.Errorf(imx.Refused, "a process has more than %d mapped regions", maxRegions)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading a process's maps: %w", err)
	}
	return all, nil
}

// pathStart returns where the sixth field begins, which may have blanks in it.
func pathStart(line string) int {
	at := 0
	for range 5 {
		end := strings.IndexByte(line[at:], ' ')
		if end < 0 {
			return -1
		}
		at += end
		for at < len(line) && line[at] == ' ' {
			at++
		}
	}
	if at == len(line) {
		return -1
	}
	return at
}

// unescape undoes what Linux does to a newline in a path.
func unescape(path string) string { return strings.ReplaceAll(path, `\012`, "\n") }
