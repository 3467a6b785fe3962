// That nothing is left where nothing is needed: after the last instance, after a purge, after many
// ends.

package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imx"
	"imx/internal/engine"
	"imx/internal/engine/local"
	"imx/internal/network/nft"
)

func TestOnlyTheNewestEndedInstancesAreKept(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Spec.Environment["CRASH"] = "3"
	var last string
	for n := 1; n <= 12; n++ {
		e.scale(t, r, 1)
		m.compare(t, e)
		await(t, "newest instance has ended", func() bool {
			ended := e.until(t, r, min(n, 10), imx.Ended)
			newest := slices.MaxFunc(ended, func(a, b imx.Instance) int { return a.Started.Compare(b.Started) })
			before := last
			last = newest.ID
			return last != before
		})
	}
	if got := names(t, filepath.Join(m.cfg.Dir, "instances")); len(got) != 10 || !slices.Contains(got, last) {
		t.Errorf("kept %v, want 10 with %s among them", got, last)
	}
	if log := m.log(t, e, last); !strings.HasPrefix(log, "hello") {
		t.Errorf("its log: %q", log)
	}
}

func TestThePurgeOfALivingServersFolderLeavesNoTrace(t *testing.T) {
	m := newMachine(t)
	forwards := read(t, "/proc/sys/net/ipv4/ip_forward")
	r := m.release("web", 1)
	r.Spec.Volumes = []imx.Volume{{Name: "state", Path: "/srv/state"}}
	e := m.running(t)
	e.healthy(t, r, 2)
	if err := e.Route(t.Context(), engine.Route{Service: "web", Releases: []imx.Release{r}, Weights: imx.Weights{1: 1}}); err != nil {
		t.Fatal(err)
	}
	e.stop()
	purged := m.cfg
	purged.Network, purged.Roots, purged.Files, purged.Log = local.Config{}.Network, nil, nil, nil
	if err := local.Purge(t.Context(), purged); err != nil {
		t.Fatal(err)
	}
	m.noTrace(t)
	if now := read(t, "/proc/sys/net/ipv4/ip_forward"); len(names(t, "/run/imx-shared")) == 0 && now != forwards {
		t.Errorf("the machine's forwarding went from %s to %s", forwards, now)
	}
	if got := names(t, filepath.Join(m.cfg.Dir, "volumes", "web")); !slices.Equal(got, []string{"state"}) {
		t.Errorf("the volumes after the purge: %v", got)
	}
	if err := local.Purge(t.Context(), purged); err != nil {
		t.Errorf("the second purge: %v", err)
	}
}

func TestTheLastInstanceAndRouteLeaveNoTrace(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	e.healthy(t, r, 2)
	if err := e.Route(t.Context(), engine.Route{Service: "web", Releases: []imx.Release{r}, Weights: imx.Weights{1: 1}}); err != nil {
		t.Fatal(err)
	}
	e.scale(t, r, 0)
	e.until(t, r, 2, imx.Ended)
	if err := e.Remove(t.Context(), "web", engine.DeleteVolumes); err != nil {
		t.Fatal(err)
	}
	m.noTrace(t)
}

// noTrace checks that the engine has nothing in the kernel and nothing in /run.
func (m *machine) noTrace(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{
		"/run/imx-" + m.cfg.ID + "*", "/run/imx-shared/" + m.cfg.ID, "/sys/fs/cgroup/*/imx-" + m.cfg.ID,
		"/sys/class/net/imx-" + m.cfg.ID + "-*", m.cfg.Dir + "/instances/*", m.cfg.Dir + "/releases/*", m.cfg.Dir + "/routes/*",
	} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	for what, where := range map[string]string{"mounts": "/proc/thread-self/mountinfo", "routes": "/proc/net/route"} {
		if strings.Contains(read(t, where), "imx-"+m.cfg.ID) {
			t.Errorf("there are %s left: %s", what, read(t, where))
		}
	}
	b := m.cfg.Network.Addr().As4() // /proc/net/route writes addresses in the machine's byte order
	if strings.Contains(read(t, "/proc/net/route"), fmt.Sprintf("%02X%02X%02X%02X", b[3], b[2], b[1], b[0])) {
		t.Errorf("the route of %s is left", m.cfg.Network)
	}
	if left := run(t, "ip rule show to "+half(m.cfg.Network)); left != "" {
		t.Errorf("the rule of the way to services is left: %s", left)
	}
	table, err := nft.New(m.table)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Check(t.Context()); imx.KindOf(err) != imx.Conflict {
		t.Errorf("the table: %v", err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
