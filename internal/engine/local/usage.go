package local

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"imx"
)

// Load implements engine.Engine.
func (e *Engine) Load(ctx context.Context, services ...string) (imx.Load, error) {
	arrivals, err := e.cfg.Firewall.Arrivals(ctx)
	if err != nil {
		return imx.Load{}, err
	}
	e.mu.Lock()
	limits := map[string]imx.Resources{}
	for id, in := range e.instances {
		x := in.record.Instance
		if (len(services) == 0 || slices.Contains(services, x.Service)) && !in.record.Cleared && !in.starting && x.Phase != imx.Ended {
			limits[id] = inForce(in.release.Spec.Resources)
		}
	}
	e.mu.Unlock()
	load := imx.Load{Time: time.Now(), Usage: map[string]imx.Usage{}, Arrivals: map[string]int64{}}
	for id, limit := range limits {
		if u, ok := e.cgroups.usage(id); ok {
			u.Limits = limit
			load.Usage[id] = u
		}
	}
	for service, n := range arrivals {
		if len(services) == 0 || slices.Contains(services, service) {
			load.Arrivals[service] = n
		}
	}
	return load, nil
}

// inForce are an instance's limits, with imx's where the release names none.
func inForce(r imx.Resources) imx.Resources {
	return imx.Resources{CPU: cmp.Or(r.CPU, defaultCPU), Memory: cmp.Or(r.Memory, defaultMemory), Pids: cmp.Or(r.Pids, defaultPids)}
}

// usage reads what an instance uses, or returns false if it has gone. The version 2 tree counts processor time on either kind of
// machine; the limits' own files are where the controllers are.
func (c cgroups) usage(id string) (imx.Usage, bool) {
	spent, ok := readFields(filepath.Join(c.first(id), "cpu.stat"))
	if !ok {
		return imx.Usage{}, false
	}
	cpu, _ := readFields(filepath.Join(c.limited(id, "cpu"), "cpu.stat"))
	memory := c.limited(id, "memory")
	stat, _ := readFields(filepath.Join(memory, "memory.stat"))
	pids := c.limited(id, "pids")
	events, _ := readFields(filepath.Join(pids, "pids.events"))
	u := imx.Usage{
		CPU: imx.Duration(spent["usage_usec"] * int64(time.Microsecond)), Pids: int(readNumber(filepath.Join(pids, "pids.current"))),
		Killed: c.oomKills(id), Denied: int(events["max"]),
	}
	if len(c.v1) > 0 {
		u.Throttled = imx.Duration(cpu["throttled_time"]) // ns
		u.Memory = imx.Size(max(0, readNumber(filepath.Join(memory, "memory.usage_in_bytes"))-stat["total_inactive_file"]))
		return u, true
	}
	u.Throttled = imx.Duration(cpu["throttled_usec"] * int64(time.Microsecond))
	u.Memory = imx.Size(max(0, readNumber(filepath.Join(memory, "memory.current"))-stat["inactive_file"]))
	return u, true
}

// readFields reads a control group's file of names and numbers, one a line.
func readFields(path string) (map[string]int64, bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	fields := map[string]int64{}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			fields[name] = n
		}
	}
	return fields, true
}

// readNumber is the number in a control group's file, 0 where there is none.
func readNumber(path string) int64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64) // "max" is no number
	return n
}
