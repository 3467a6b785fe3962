package local

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Traces lists what the engine of a folder has outside of it, each as a person would look for it:
// folders below /run, mounts, cgroups, links, and routes into its range. The rules are its Firewall's.
// An engine with nothing to run has none of them.
func Traces(cfg Config) ([]string, error) {
	if used := (store{dir: cfg.Dir}).network(); used.IsValid() {
		cfg.Network = used
	}
	var found []string
	for _, pattern := range []string{
		cfg.runDir() + "*", "/run/imx-shared/" + cfg.ID, "/sys/fs/cgroup/imx-" + cfg.ID, "/sys/fs/cgroup/*/imx-" + cfg.ID,
		"/sys/class/net/" + cfg.linkPrefix() + "*",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w", pattern, err)
		}
		found = append(found, paths...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading the mounts: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, cfg.runDir()) || strings.Contains(line, cfg.Dir+"/") {
			found = append(found, "mount "+strings.TrimSpace(line))
		}
	}
	used, err := usedRanges()
	if err != nil {
		return nil, err
	}
	for _, p := range used {
		if cfg.Network.IsValid() && overlaps(cfg.Network, []netip.Prefix{p}) {
			found = append(found, "route to "+p.String())
		}
	}
	return found, nil
}
