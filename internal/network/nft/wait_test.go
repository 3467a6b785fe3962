package nft_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/network"
)

// asleep makes a lab whose service web has no instance that is ready, and whose connections wait. It returns the attempts that are
// reported.
func asleep(t *testing.T) (*lab, <-chan network.SYN) {
	t.Helper()
	l := shop(t)
	for i := range l.world.Services {
		l.world.Services[i].Waits = true
	}
	l.ready(false)
	attempts := make(chan network.SYN, 10_000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go within(t, l.host, func() {
		ended <- l.table.Listen(ctx, func(s network.SYN) {
			select {
			case attempts <- s:
			default:
			}
		})
	})
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l, attempts
}

// ready makes all instances take connections, or none.
func (l *lab) ready(is bool) {
	l.Helper()
	for i := range l.world.Instances {
		l.world.Instances[i].Ready = is
	}
	l.apply()
}

// within runs f on a thread of its own in a network namespace; the thread ends with it.
func within(tb testing.TB, ns netns.NsHandle, f func()) {
	tb.Helper()
	runtime.LockOSThread()
	if err := netns.Set(ns); err != nil {
		tb.Error(err)
		return
	}
	f()
}

// dial opens a connection from a network namespace.
func dial(tb testing.TB, ns netns.NsHandle, to string) <-chan error {
	tb.Helper()
	connected := make(chan error, 1)
	go within(tb, ns, func() {
		conn, err := net.DialTimeout("tcp4", to, 20*time.Second)
		if err == nil {
			err = conn.Close()
		}
		connected <- err
	})
	return connected
}

func TestAConnectionThatWaitsIsReportedAndMadeWhenItIsSentOn(t *testing.T) {
	l, attempts := asleep(t)
	for _, c := range []struct {
		says, to string
		from     netns.NsHandle
		resend   netns.NsHandle // another's attempt is sent on by the machine, an instance's from where that is
	}{
		{"from outside, to a published port", "192.0.2.1:80", l.boxes["out"].ns, l.host},
		{"from an instance, to a service's address", "10.99.0.2:8000", l.boxes["web1"].ns, l.boxes["web1"].ns},
		{"from the machine, to a published port", "127.0.0.1:80", l.host, l.host},
	} {
		l.ready(false)
		for len(attempts) > 0 {
			<-attempts // the one before tried again
		}
		began := time.Now()
		connected := dial(t, c.from, c.to)
		s := <-attempts
		if s.To.String() != c.to || s.Packet == nil {
			t.Errorf("%s: an attempt to reach %s is reported, with a packet of %d bytes", c.says, s.To, len(s.Packet))
		}
		l.ready(true)
		must(t, netns.Set(c.resend))
		err := l.table.Resend(s)
		must(t, netns.Set(l.host))
		must(t, err)
		must(t, <-connected)
		if took := time.Since(began); took > 900*time.Millisecond {
			t.Errorf("%s: it took %s, as long as until its next try", c.says, took)
		}
	}
}

func TestAConnectionThatWaitsIsMadeByItsNextTry(t *testing.T) {
	l, attempts := asleep(t)
	connected := dial(t, l.host, "127.0.0.1:80")
	<-attempts
	l.ready(true)
	must(t, <-connected)
}

func TestAFloodOfAttemptsIsReportedInBounds(t *testing.T) {
	l, attempts := asleep(t)
	from, to := netip.MustParseAddrPort("127.0.0.1:1000"), netip.MustParseAddrPort("127.0.0.1:80")
	for len(attempts) == 0 { // it listens by then
		must(t, l.table.Resend(network.SYN{From: from, To: to, Packet: attempt(from, to)}))
	}
	began := time.Now()
	for range 20_000 {
		must(t, l.table.Resend(network.SYN{From: from, To: to, Packet: attempt(from, to)}))
	}
	bound := 200 + 1000*int(time.Since(began).Seconds()+1)
	reported := 0
	for quiet := time.After(time.Second); ; {
		select {
		case <-attempts:
			reported++
			continue
		case <-quiet:
		}
		break
	}
	if reported == 0 || reported > bound {
		t.Errorf("%d of 20000 attempts were reported, want some and at most %d", reported, bound)
	}
	counts, err := l.table.Arrivals(t.Context())
	must(t, err)
	if counts["web"] != 0 {
		t.Errorf("connections that wait count as %d arrivals", counts["web"])
	}
}

// attempt is the packet of an attempt to open a connection.
func attempt(from, to netip.AddrPort) []byte {
	p := make([]byte, 40)
	copy(p, []byte{0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, unix.IPPROTO_TCP})
	copy(p[12:], from.Addr().AsSlice())
	copy(p[16:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(p[20:], from.Port())
	binary.BigEndian.PutUint16(p[22:], to.Port())
	p[32], p[33] = 0x50, 0x02
	s, err := network.ParseSYN(p)
	if err != nil {
		panic(err)
	}
	return s.Packet
}

func TestNewConnectionsAreCountedByService(t *testing.T) {
	l := shop(t)
	for range 7 {
		if got := outcome("127.0.0.1:80", "web"); got[:3] != "web" {
			t.Fatalf("the machine to its port gave %s", got)
		}
	}
	for range 3 {
		if got := l.boxes["web1"].outcome("10.99.0.2:8000", "app1"); got != "app1" {
			t.Fatalf("web1 to app gave %s", got)
		}
	}
	l.world.Services[0].Weights = imx.Weights{1: 1} // which changes elements alone
	l.apply()
	counts, err := l.table.Arrivals(t.Context())
	must(t, err)
	if counts["web"] != 7 || counts["app"] != 3 || counts["db"] != 0 {
		t.Errorf("the counts are %v", counts)
	}
	must(t, l.table.Check(t.Context()))
}
