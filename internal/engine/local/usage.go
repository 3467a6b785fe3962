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
	specs := map[string]imx.Spec{}
	for id, in := range e.instances {
		x := in.record.Instance
		if (len(services) == 0 || slices.Contains(services, x.Service)) && !in.record.Cleared && !in.starting && x.Phase != imx.Ended {
			specs[id] = in.release.Spec
		}
	}
	e.mu.Unlock()
	load := imx.Load{Time: time.Now(), Usage: map[string]imx.Usage{}, Arrivals: map[string]int64{}}
	for id, spec := range specs {
		u, ok := e.cgroups.usageFor(id, spec.Scale)
		if len(services) == 0 {
			u, ok = e.cgroups.usage(id)
		}
		if ok {
			u.Limits = inForce(spec.Resources)
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
	pids := c.limited(id, "pids")
	events, _ := readFields(filepath.Join(pids, "pids.events"))
	u := imx.Usage{
		CPU: imx.Duration(spent["usage_usec"] * int64(time.Microsecond)), Pids: int(readNumber(filepath.Join(pids, "pids.current"))),
		Killed: c.oomKills(id), Denied: int(events["max"]),
	}
	u.Memory = c.memory(id)
	u.Throttled = imx.Duration(cpu["throttled_usec"] * int64(time.Microsecond))
	if len(c.v1) > 0 {
		u.Throttled = imx.Duration(cpu["throttled_time"]) // ns
	}
	return u, true
}

// usageFor is usage of what a scale block asks for alone, which takes a part of the time: it is read every few seconds.
func (c cgroups) usageFor(id string, asked *imx.Scaling) (imx.Usage, bool) {
	u, ok := imx.Usage{}, true
	if asked == nil || asked.CPU > 0 {
		var spent map[string]int64
		spent, ok = readFields(filepath.Join(c.first(id), "cpu.stat"))
		u.CPU = imx.Duration(spent["usage_usec"] * int64(time.Microsecond))
	}
	if asked == nil || asked.Memory > 0 {
		u.Memory = c.memory(id)
	}
	return u, ok
}

// memory is what an instance uses of it, without what the kernel can give back at once.
func (c cgroups) memory(id string) imx.Size {
	dir, used, idle := c.limited(id, "memory"), "memory.current", "inactive_file"
	if len(c.v1) > 0 {
		used, idle = "memory.usage_in_bytes", "total_inactive_file"
	}
	stat, _ := readFields(filepath.Join(dir, "memory.stat"))
	return imx.Size(max(0, readNumber(filepath.Join(dir, used))-stat[idle]))
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
