// The table of mounts is text that folders' names go into: whatever these are, each point reads as it is.

package mounts_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx/internal/mounts"
)

//nolint:dupword // the kernel writes kind and source of a mount side by side
const hybrid = `25 1 0:23 / /sys/fs/cgroup ro,nosuid shared:1 - tmpfs tmpfs rw,mode=755
26 25 0:24 / /sys/fs/cgroup/unified rw,nosuid shared:2 - cgroup2 cgroup rw,nsdelegate
27 25 0:25 / /sys/fs/cgroup/cpu,cpuacct rw shared:3 - cgroup cgroup rw,cpu,cpuacct
28 25 0:26 / /sys/fs/cgroup/memory rw shared:4 - cgroup cgroup rw,memory
29 1 0:27 / /srv/a\040folder rw - ext4 /dev/vda rw
30 29 0:28 / /srv/a\040folder/below rw - tmpfs tmpfs rw
no line of such a file
`

func TestTheTreesOfControlGroupsAreFound(t *testing.T) {
	table := mounts.Parse(hybrid)
	want := mounts.Cgroups{
		Unified: "/sys/fs/cgroup/unified",
		V1:      map[string]string{"cpu": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/memory"},
	}
	if diff := cmp.Diff(want, table.Cgroups("cpu", "memory", "pids")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsWithinAFolderComesInTheOrderToUnmount(t *testing.T) {
	table := mounts.Parse(hybrid)
	if diff := cmp.Diff([]string{"/srv/a folder/below", "/srv/a folder"}, table.Within("/srv")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !table.Has("/srv/a folder") || table.Has("/srv") {
		t.Error("a point that is there isn't found, or one that isn't there is")
	}
}

func TestEveryPointReadsAsItIs(t *testing.T) {
	escape := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`)
	rapid.Check(t, func(t *rapid.T) {
		point := "/" + rapid.StringOf(rapid.SampledFrom([]rune("a0/\\ \t\n\r\u00a0-é"))).Draw(t, "point")
		table := mounts.Parse("1 2 0:3 / " + escape.Replace(point) + " rw - tmpfs none rw,size=1\n")
		if diff := cmp.Diff(mounts.Table{{Point: point, Kind: "tmpfs", Options: []string{"rw", "size=1"}}}, table); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func TestTheMachinesOwnTableHasProc(t *testing.T) {
	table, err := mounts.Read()
	if err != nil {
		t.Fatal(err)
	}
	if !table.Has("/proc") {
		t.Errorf("nothing is mounted at /proc: %v", table)
	}
}
