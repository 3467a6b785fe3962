// These tests exist because the rules change under traffic and beside other programs that change
// theirs: no connection may fail by it, nothing unchanged may be touched, and what somebody else
// broke must be seen and mended.

package nft_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/network"
	"imx/internal/network/nft"
)

func TestRoutesSwapUnderLoadWithoutAFailedConnection(t *testing.T) {
	l := shop(t)
	ctx, cancel := context.WithCancel(t.Context())
	var good, bad atomic.Int64
	var first sync.Once
	var group sync.WaitGroup
	worker := func(ns netns.NsHandle, to string) {
		runtime.LockOSThread() // never unlocked: the thread is no use to others
		if err := netns.Set(ns); err != nil {
			bad.Add(1)
			return
		}
		for ctx.Err() == nil {
			if _, err := call(context.WithoutCancel(ctx), to, 20*time.Second); err != nil {
				bad.Add(1)
				first.Do(func() { t.Errorf("%s: %v", to, err) })
			} else {
				good.Add(1)
			}
		}
	}
	second := l.world.Instances[2]
	second.ID, second.Address, second.Interface = "app2", address(5), ""
	l.instance(second)
	l.boxes["app2"].listen(8000, "app2")
	for range 2 {
		group.Go(func() { worker(l.boxes["out"].ns, "192.0.2.1:80") })
		group.Go(func() { worker(l.boxes["web1"].ns, "10.99.0.2:8000") })
		group.Go(func() { worker(l.host, "127.0.0.1:80") })
	}
	for swap := range 200 {
		l.world.Services[0].Weights = imx.Weights{1 + swap%2: 1}
		l.world.Services[1].Weights = imx.Weights{1: 1}
		l.world.Instances[2].Ready = swap%3 > 0
		l.world.Instances[len(l.world.Instances)-1].Ready = swap%3 < 2
		l.apply()
		for was := good.Load(); good.Load() < was+5 && bad.Load() == 0; {
			runtime.Gosched() // some connections see each state
		}
	}
	cancel()
	group.Wait()
	if bad.Load() > 0 || good.Load() < 1000 {
		t.Errorf("%d connections were made, %d failed", good.Load(), bad.Load())
	}
}

func TestUnchangedRulesAreNotWrittenAgain(t *testing.T) {
	l := shop(t)
	handles := func() []string {
		var lines []string
		for line := range strings.Lines(l.list("--handle", "--terse")) {
			if strings.Contains(line, "handle") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return lines
	}
	before := handles()
	l.world.Services[0].Weights = imx.Weights{1: 3, 2: 1}
	l.world.Instances[2].Ready = false
	l.apply()
	if diff := cmp.Diff(before, handles()); diff != "" {
		t.Errorf("weights and readiness changed rules (-before +after):\n%s", diff)
	}
	l.world.Services = append(l.world.Services, network.ServiceNet{
		Name: "mail", Address: address(200), Ports: []imx.Port{{Name: "smtp", Container: 2525, Publish: 25}}, Weights: imx.Weights{1: 1},
	})
	l.apply()
	l.world.Services = l.world.Services[:3]
	l.apply()
	if diff := cmp.Diff(before, handles()); diff != "" {
		t.Errorf("a service that came and went left or took rules (-before +after):\n%s", diff)
	}
	must(t, l.table.Check(t.Context()))
}

func TestTwoTablesOfOneRulesetAreTheSameHoweverReached(t *testing.T) {
	l := shop(t)
	stateless := func() string { return l.list("--stateless") }
	start := stateless()
	for _, change := range []func(){
		func() { l.world.Services[0].Weights = nil },
		func() { l.world.Services[1].Ports = l.world.Services[1].Ports[:1] },
		func() { l.world.Services[0].Ports[0].Publish = 81 },
		func() { l.world.Services[0].Ports[0].Container = 8081 },
		func() { l.world.Instances = l.world.Instances[:3] },
		func() { l.world.Services = l.world.Services[1:] },
		func() { l.world.Network = netip.MustParsePrefix("10.99.0.0/17") },
	} {
		change()
		l.apply()
		stepped := sorted(stateless())
		fresh, err := nft.New(tableName) // knows nothing: writes everything
		must(t, err)
		must(t, fresh.Apply(t.Context(), network.Compute(l.world)))
		if diff := cmp.Diff(sorted(stateless()), stepped); diff != "" {
			t.Errorf("by steps the table became (-anew +stepped):\n%s", diff)
		}
	}
	if stateless() == start {
		t.Error("the changes changed nothing")
	}
}

// sorted orders the table's parts: the kernel lists chains and sets as they came.
func sorted(text string) map[string]bool {
	parts := map[string]bool{}
	for part := range strings.SplitSeq(text, "\n\n") {
		parts[strings.Trim(part, "{} \n\t")] = true
	}
	return parts
}

func TestForeignChangesAreFoundAndMended(t *testing.T) {
	l := shop(t)
	for says, script := range map[string]string{
		"the table deleted":         "delete table inet imx-test",
		"all flushed":               "flush ruleset",
		"a rule inserted":           "insert rule inet imx-test cross accept",
		"a chain's rules flushed":   "flush chain inet imx-test sent",
		"a permission added":        "add element inet imx-test allowed { 10.99.1.1 . 10.99.1.4 . 5432 }",
		"a door removed":            "delete element inet imx-test published { 80 }",
		"a door led elsewhere":      "delete element inet imx-test published { 80 }; add element inet imx-test published { 80 : goto refuse }",
		"a slot given to another":   "delete element inet imx-test slots.app { 0 }; add element inet imx-test slots.app { 0 : 10.99.1.1 }",
		"the table put to sleep":    "add table inet imx-test { flags dormant; }",
		"a chain's policy changed":  "add chain inet imx-test cross { policy drop; }",
		"a set of another's added":  "add set inet imx-test guests { type ipv4_addr; }",
		"a base chain hooked first": "add chain inet imx-test first { type filter hook forward priority -1; }; add rule inet imx-test first accept",
	} {
		must(t, l.table.Check(t.Context()))
		l.nft(script)
		if err := l.table.Check(t.Context()); imx.KindOf(err) != imx.Conflict {
			t.Errorf("%s: Check gave %v", says, err)
		}
		l.apply()
		must(t, l.table.Check(t.Context()))
		l.nft(script)
		l.apply() // without having been told by Check
		if err := l.table.Check(t.Context()); err != nil {
			t.Errorf("%s: Apply left it so: %v", says, err)
		}
	}
	if got := l.boxes["web1"].outcome("10.99.0.2:8000", "an answer"); got != "app1" {
		t.Errorf("after all that, a declared connection gave %s", got)
	}
}

func TestOtherTablesStayAsTheyAre(t *testing.T) {
	l := shop(t)
	l.nft("table inet other { chain c { type filter hook forward priority 1; ct state invalid drop; }; }")
	before := l.list("--handle", "--terse")
	l.apply()
	must(t, l.table.Check(t.Context()))
	if diff := cmp.Diff(before, l.list("--handle", "--terse")); diff != "" {
		t.Errorf("another's table made ours be written anew:\n%s", diff)
	}
	must(t, l.table.Remove(t.Context()))
	must(t, l.table.Remove(t.Context())) // there is none any more
	tables, err := exec.Command("nft", "list", "tables").Output()
	must(t, err)
	if string(tables) != "table inet other\n" {
		t.Errorf("after Remove there are: %s", tables)
	}
	if err := l.table.Check(t.Context()); imx.KindOf(err) != imx.Conflict {
		t.Errorf("without a table Check gave %v", err)
	}
}

func TestFailedApplyLeavesTheRulesAsTheyWere(t *testing.T) {
	l := shop(t)
	before := l.list()
	powers := dropRight(t, unix.CAP_NET_ADMIN)
	l.world.Services[0].Weights = imx.Weights{2: 1}
	wanted := network.Compute(l.world)
	err := l.table.Apply(t.Context(), wanted)
	powers()
	if imx.KindOf(err) != imx.Refused || !strings.Contains(imx.AsError(err).Hint, "CAP_NET_ADMIN") {
		t.Errorf("without the right, Apply gave %v (%s)", err, imx.AsError(err).Hint)
	}
	wanted.Doors = append(wanted.Doors, network.Door{Service: "nobody", Port: 1, Inside: 1})
	if err := l.table.Apply(t.Context(), wanted); imx.KindOf(err) != imx.Invalid {
		t.Errorf("a door without a pool gave %v", err)
	}
	if diff := cmp.Diff(before, l.list()); diff != "" {
		t.Errorf("the rules changed:\n%s", diff)
	}
	l.apply()
	if got := l.boxes["out"].outcome("192.0.2.1:80", "an answer"); got != "web2" {
		t.Errorf("the next Apply led to %s", got)
	}
}

// dropRight takes a capability from the test's thread and returns a function that gives it back.
func dropRight(t *testing.T, right int) func() {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var now [2]unix.CapUserData
	must(t, unix.Capget(&header, &now[0]))
	less := now
	less[right/32].Effective &^= 1 << (right % 32)
	must(t, unix.Capset(&header, &less[0]))
	return func() { must(t, unix.Capset(&header, &now[0])) }
}

func TestLargeRulesetGoesIntoOneTransaction(t *testing.T) {
	l := newLab(t)
	everyone := make([]imx.PortRef, 0, 40)
	for s := range 40 {
		name := fmt.Sprintf("s%d", s)
		everyone = append(everyone, imx.PortRef{Service: name, Port: "p"})
		l.world.Services = append(l.world.Services, network.ServiceNet{
			Name: name, Address: address(s), Ports: []imx.Port{{Name: "p", Container: 80}}, Weights: imx.Weights{1: 1},
		})
	}
	for i := range 200 {
		l.world.Instances = append(l.world.Instances, network.Endpoint{
			ID: fmt.Sprintf("i%d", i), Service: fmt.Sprintf("s%d", i%40), Release: 1, Ready: true,
			Address: netip.AddrFrom4([4]byte{10, 99, 2, byte(i)}), Interface: fmt.Sprintf("v%d", i), Connect: everyone,
		})
	}
	l.apply()
	must(t, l.table.Check(t.Context()))
}

func TestNamesThatTheKernelCannotTakeAreRefused(t *testing.T) {
	for _, name := range []string{"", "9", "a b", "x\x00", strings.Repeat("a", 65)} {
		if _, err := nft.New(name); imx.KindOf(err) != imx.Invalid {
			t.Errorf("New(%q) gave %v", name, err)
		}
	}
	table, err := nft.New("imx-unused")
	must(t, err)
	bad := network.Ruleset{Network: network.World{}.Network, Pools: []network.Pool{{Service: "a b"}}}
	if err := table.Apply(t.Context(), bad); imx.KindOf(err) != imx.Invalid {
		t.Errorf("a service with a space gave %v", err)
	}
}

// BenchmarkSwap moves all of a service's traffic from one release to the other.
func BenchmarkSwap(b *testing.B) {
	b.Run("netlink", func(b *testing.B) {
		l := shop(b)
		var rules [2]network.Ruleset
		for i := range rules {
			l.world.Services[0].Weights = imx.Weights{1 + i: 1}
			rules[i] = network.Compute(l.world)
		}
		before := cpu(b)
		for i := 0; b.Loop(); i++ {
			must(b, l.table.Apply(b.Context(), rules[i%2]))
		}
		b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/swap")
	})
	b.Run("nft-program", func(b *testing.B) {
		_ = shop(b)
		var files [2]string
		for i := range files {
			files[i] = fmt.Sprintf("%s/swap%d", b.TempDir(), i)
			script := "flush map inet imx-test slots.web\n"
			for slot := range network.Slots {
				script += fmt.Sprintf("add element inet imx-test slots.web { %d : 10.99.1.%d }\n", slot, i+1)
			}
			must(b, os.WriteFile(files[i], []byte(script), 0o600))
		}
		for i := 0; b.Loop(); i++ {
			must(b, exec.Command("nft", "-f", files[i%2]).Run())
		}
	})
}

// cpu is the time that this process has used.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u unix.Rusage
	must(tb, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
