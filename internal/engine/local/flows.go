package local

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// flowCount counts the established connections to each instance. The kernel walks its whole table
// of connections for that, 10 ms and more however few there are, so a count serves for a while.
// An old count is never too low for an instance that has lost its traffic: forget is called after
// every change of the rules, and from then on its connections only get fewer.
type flowCount struct {
	mu     sync.Mutex
	counts map[netip.Addr]int
	taken  time.Time // when it was begun; zero if there is no count to use
}

// flowsAge is for how long a count serves.
const flowsAge = time.Second

func (f *flowCount) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken = time.Time{}
}

// count returns the connections by instance's address. It is nil where the kernel doesn't tell.
// The caller must not change it.
func (f *flowCount) count() map[netip.Addr]int { return f.since(time.Now().Add(-flowsAge)) }

// since is count, of a count that was begun at a time or after it.
func (f *flowCount) since(t time.Time) map[netip.Addr]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.taken.Before(t) {
		f.taken = time.Now()
		f.counts = established()
	}
	return f.counts
}

// established asks the kernel. Connections of the engine's own health checks aren't anybody's.
func established() map[netip.Addr]int {
	table, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // then it is off by what came or went
		return nil
	}
	counts := map[netip.Addr]int{}
	for _, f := range table {
		const inUse = 3 // TCP_CONNTRACK_ESTABLISHED, linux/netfilter/nf_conntrack_tcp.h
		tcp, ok := f.ProtoInfo.(*netlink.ProtoInfoTCP)
		if !ok || tcp.State != inUse {
			continue
		}
		from, _ := netip.AddrFromSlice(f.Forward.SrcIP.To4())
		to, _ := netip.AddrFromSlice(f.Reverse.SrcIP.To4())
		if from != Gateway() {
			counts[to]++
		}
	}
	return counts
}
