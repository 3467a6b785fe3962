// Which limits are written where: the test's machine has only one of the two layouts.

package local_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/engine/local"
)

func TestLimitsGoWhereTheMachinesLayoutHasThem(t *testing.T) {
	asked := imx.Resources{CPU: 0.5, Memory: 64 << 20, Pids: 64}
	const group = "/v2/imx-x/web-1-abcde/init/"
	v2 := []string{
		group + "cpu.max 50000 100000",
		group + "memory.max 67108864",
		group + "memory.swap.max 0",
		group + "memory.oom.group 1",
		group + "pids.max 64",
	}
	if diff := cmp.Diff(v2, local.Limits(asked, nil)); diff != "" {
		t.Errorf("version 2 (-want +got):\n%s", diff)
	}
	mounts := map[string]string{"cpu": "/v1/cpu,cpuacct", "memory": "/v1/memory", "pids": "/v1/pids"}
	v1 := []string{
		"/v1/cpu,cpuacct/imx-x/web-1-abcde/cpu.cfs_quota_us 50000",
		"/v1/memory/imx-x/web-1-abcde/memory.limit_in_bytes 67108864",
		"/v1/memory/imx-x/web-1-abcde/memory.memsw.limit_in_bytes 67108864",
		"/v1/pids/imx-x/web-1-abcde/pids.max 64",
	}
	if diff := cmp.Diff(v1, local.Limits(asked, mounts)); diff != "" {
		t.Errorf("version 1 (-want +got):\n%s", diff)
	}
}

func TestNoResourcesMeansTheDefaultsAndNeverNoLimit(t *testing.T) {
	want := []string{"cpu.max 100000 100000", "memory.max 268435456", "memory.swap.max 0", "memory.oom.group 1", "pids.max 256"}
	got := local.Limits(imx.Resources{}, nil)
	for i := range want {
		want[i] = "/v2/imx-x/web-1-abcde/init/" + want[i]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
