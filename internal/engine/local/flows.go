package local

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"imx"
)

// flowCount counts the established connections to each instance. The kernel walks its whole table
// of connections for that, 10 ms and more however few there are, so a count serves for a while.
// An old count is never too low for an instance that has lost its traffic: forget is called when
// the rules have taken it away, and from then on its connections only get fewer.
type flowCount struct {
	open   func() map[netip.Addr]int // Config.Open
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
		if f.counts != nil && f.open != nil {
			for a, n := range f.open() {
				f.counts[a] += n
			}
		}
	}
	return f.counts
}

// established asks the kernel. Connections of the engine's own health checks aren't anybody's.
func established() map[netip.Addr]int {
	counts := map[netip.Addr]int{}
	err := eachFlow(func(to netip.Addr, _ *netlink.ConntrackFlow) { counts[to]++ })
	if err != nil {
		return nil
	}
	return counts
}

// inUse is TCP_CONNTRACK_ESTABLISHED of linux/netfilter/nf_conntrack_tcp.h.
const inUse = 3

// eachFlow calls f for every established connection to an instance, or to anywhere else.
func eachFlow(f func(to netip.Addr, flow *netlink.ConntrackFlow)) error {
	table, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // then it is off by what came or went
		return err
	}
	for _, flow := range table {
		tcp, ok := flow.ProtoInfo.(*netlink.ProtoInfoTCP)
		if !ok || tcp.State != inUse {
			continue
		}
		from, _ := netip.AddrFromSlice(flow.Forward.SrcIP.To4())
		to, _ := netip.AddrFromSlice(flow.Reverse.SrcIP.To4())
		if from != Gateway() {
			f(to, flow)
		}
	}
	return nil
}

// resetFlows ends the connections to a warm instance, which doesn't answer them any more, so that who holds one learns
// it at once. Only what counts as its flows is ended, and nothing that it opened itself. Once the instance is thawed it
// does no more: what is open then is new.
func (e *Engine) resetFlows(in *instance) error {
	warm := func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return in.record.Instance.Phase == imx.Warm
	}
	in.freezing.Lock() // a thaw waits for it
	var err error
	if warm() {
		err = e.destroySockets(in.record.Instance) // what it takes of it never changes
	}
	in.freezing.Unlock()
	return errors.Join(err, forgetFlows(in.record.Instance.Address, warm))
}

// resetting is for how long at most it is waited for resets to be on their way.
const resetting = time.Second

// forgetEvery is how often connections that are to be forgotten are looked at, and missedLooks how often in all where the
// kernel's table changes at each look.
const (
	forgetEvery = 10 * time.Millisecond
	missedLooks = 3
)

// forgetFlows has the kernel forget the connections to an instance that are over. It keeps one that the server's side
// reset for 10 s, and would lead whoever opens a new one from the same port in that time to the same instance again,
// whatever the rules say by then. Of an instance that has gone, for which warm is nil, it looks once. Of a warm one it
// waits, as long as it is that, for connections that aren't over yet: their resets have to find their way by what is to
// be forgotten.
func forgetFlows(to netip.Addr, warm func() bool) error {
	until := time.Now()
	if warm != nil {
		until = until.Add(resetting)
	}
	for look := 1; warm == nil || warm(); look++ {
		over := &flowsOver{to: to, lives: warm != nil}
		_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, over)
		missed := errors.Is(err, netlink.ErrDumpInterrupted) // the table changed meanwhile: some may not have been seen
		if missed {
			err = nil
		}
		if err != nil || over.left == 0 && (!missed || look >= missedLooks) || !time.Now().Before(until) {
			return err
		}
		time.Sleep(forgetEvery)
	}
	return nil
}

// flowsOver is a filter of an instance's connections that are over. It counts those that aren't.
type flowsOver struct {
	to netip.Addr
	// lives says that it may be thawed any moment: then connections that just begin are to it as it will be.
	lives bool
	left  int
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (f *flowsOver) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if to, _ := netip.AddrFromSlice(flow.Reverse.SrcIP.To4()); to != f.to {
		return false
	}
	tcp, ok := flow.ProtoInfo.(*netlink.ProtoInfoTCP)
	if ok && tcp.State == inUse {
		f.left++
		return false
	}
	return ok && (!f.lives || tcp.State > inUse) // states before that are of connections that begin
}

func (e *Engine) destroySockets(x imx.Instance) error {
	var open []*netlink.ConntrackFlow
	if err := eachFlow(func(to netip.Addr, flow *netlink.ConntrackFlow) {
		if to == x.Address {
			open = append(open, flow)
		}
	}); err != nil || len(open) == 0 {
		return err
	}
	space, err := os.Open(filepath.Join(e.cfg.netnsDir(), x.ID))
	if err != nil {
		return err
	}
	defer space.Close() // nothing is written through it
	onOwnThread(func() {
		if err = unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		for _, flow := range open {
			inside := &net.TCPAddr{IP: flow.Reverse.SrcIP, Port: int(flow.Reverse.SrcPort)}
			outside := &net.TCPAddr{IP: flow.Reverse.DstIP, Port: int(flow.Reverse.DstPort)}
			failed := netlink.SocketDestroy(inside, outside)
			if !errors.Is(failed, unix.ENOENT) { // it has ended by itself
				err = errors.Join(err, failed)
			}
		}
	})
	return err
}
