// These tests exist because a ruleset is worth what the kernel makes of it: real connections
// between real network namespaces show what passes and what doesn't.

package nft_test

import (
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/network"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func TestOnlyDeclaredConnectionsPass(t *testing.T) {
	l := shop(t)
	l.boxes["app1"].listen(9000, "app1's admin")
	l.boxes["out"].listen(7000, "out")
	listen(l, 7001, "the machine")
	for _, c := range []struct{ says, from, to, want string }{
		{"a declared connection to a service's address", "web1", "10.99.0.2:8000", "app1"},
		{"a declared connection to an instance itself", "web1", "10.99.1.3:8000", "app1"},
		{"the next tier", "app1", "10.99.0.3:5432", "db1"},
		{"past a tier, to the service", "web1", "10.99.0.3:5432", dropped},
		{"past a tier, to the instance", "web1", "10.99.1.4:5432", dropped},
		{"another port of the same service", "web1", "10.99.0.2:9000", dropped},
		{"another port of the same instance", "web1", "10.99.1.3:9000", dropped},
		{"the reverse direction", "app1", "10.99.1.1:8080", dropped},
		{"a sibling", "web1", "10.99.1.2:8080", dropped},
		{"a published port, undeclared", "app1", "192.0.2.1:80", dropped},
		{"the machine, by its gateway address", "web1", gateway + ":7001", dropped},
		{"the machine, by another address", "web1", "192.0.2.1:7001", dropped},
		{"outside", "web1", "192.0.2.2:7000", dropped},
		{"from outside to a published port", "out", "192.0.2.1:80", "web"},
		{"from outside to an instance", "out", "10.99.1.1:8080", dropped},
		{"from outside to a service's address", "out", "10.99.0.1:8080", "no route to host"},
		{"an instance of its own service, by the service's address", "app1", "10.99.0.2:8000", "app1"},
	} {
		got := l.boxes[c.from].outcome(c.to, c.want)
		if !strings.HasPrefix(got, c.want) && !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: %s to %s gave %s, want %s", c.says, c.from, c.to, got, c.want)
		}
	}
	for to, want := range map[string]string{"10.99.1.1:8080": "web1", "10.99.1.4:5432": "db1"} {
		if got := outcome(to, want); got != want {
			t.Errorf("the machine to %s gave %s, want %s", to, got, want)
		}
	}
}

func TestPublishedPortAnswersOnEveryAddressOfTheMachine(t *testing.T) {
	_ = shop(t)
	for _, to := range []string{"127.0.0.1:80", "127.9.9.9:80", "192.0.2.1:80"} {
		if got := outcome(to, "web"); !strings.HasPrefix(got, "web") {
			t.Errorf("the machine to %s gave %s", to, got)
		}
	}
}

func TestSpoofedSourceIsDropped(t *testing.T) {
	l := shop(t)
	seen := l.boxes["db1"].sniff()
	if got := l.boxes["app1"].outcome("10.99.1.4:5432", "an answer"); got != "db1" || !slices.Contains(seen(), "10.99.1.3") {
		t.Fatalf("an honest connection gave %s and showed no packet", got)
	}
	// web1 takes app1's address, which may call db.
	web := l.boxes["web1"]
	web.in(func() {
		eth, err := netlink.LinkByName("eth0")
		must(t, err)
		must(t, netlink.AddrAdd(eth, &netlink.Addr{IPNet: single(address(3))}))
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: address(3).AsSlice()}, Timeout: 300 * time.Millisecond}
		if conn, err := d.Dial("tcp4", "10.99.1.4:5432"); err == nil {
			_ = conn.Close()
			t.Error("web1 connected with app1's address")
		}
	})
	if got := seen(); len(got) > 0 {
		t.Errorf("packets with the sources %v reached db1", got)
	}
	// A neighbour takes it.
	l.boxes["out"].in(func() {
		eth, err := netlink.LinkByName("eth0")
		must(t, err)
		must(t, netlink.AddrAdd(eth, &netlink.Addr{IPNet: single(address(3))}))
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: address(3).AsSlice()}, Timeout: 300 * time.Millisecond}
		if conn, err := d.Dial("tcp4", "10.99.1.4:5432"); err == nil {
			_ = conn.Close()
			t.Error("a neighbour connected with app1's address")
		}
	})
	if got := seen(); len(got) > 0 {
		t.Errorf("packets with the sources %v reached db1", got)
	}
}

// sniff returns a function that tells the sources of the IPv4 packets that came in since the last call.
func (b *box) sniff() func() []string {
	b.l.Helper()
	var fd int
	b.in(func() {
		var err error
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0x0008) // ETH_P_IP in network order
		must(b.l, err)
	})
	b.l.Cleanup(func() { _ = unix.Close(fd) })
	return func() []string {
		var sources []string
		packet := make([]byte, 2048)
		for {
			n, from, err := unix.Recvfrom(fd, packet, 0)
			if err != nil {
				return sources
			}
			if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype == unix.PACKET_HOST && n >= 20 {
				source, _ := netip.AddrFromSlice(packet[12:16])
				sources = append(sources, source.String())
			}
		}
	}
}

func TestWithoutReadyInstanceConnectionsAreRefusedAtOnce(t *testing.T) {
	l := shop(t)
	for i := range l.world.Instances {
		l.world.Instances[i].Ready = false
	}
	l.apply()
	for _, c := range []struct{ from, to string }{{"web1", "10.99.0.2:8000"}, {"out", "192.0.2.1:80"}} {
		if got := l.boxes[c.from].outcome(c.to, refused); got != refused {
			t.Errorf("%s to %s gave %s", c.from, c.to, got)
		}
	}
	for _, to := range []string{"127.0.0.1:80", "192.0.2.1:80"} {
		if got := outcome(to, refused); got != refused {
			t.Errorf("the machine to %s gave %s", to, got)
		}
	}
	l.world.Instances[0].Ready = true
	l.apply()
	if got := l.boxes["out"].outcome("192.0.2.1:80", "an answer"); got != "web1" {
		t.Errorf("with one instance ready again, %s answered", got)
	}
}

func TestConnectionsFollowTheWeights(t *testing.T) {
	l := shop(t)
	for _, weights := range []imx.Weights{{1: 1, 2: 1}, {1: 9, 2: 1}, {2: 5}} {
		l.world.Services[0].Weights = weights
		l.apply()
		count := map[string]int{}
		l.boxes["out"].in(func() {
			for range 640 {
				count[outcome("192.0.2.1:80", "an answer")]++
			}
		})
		want := 640 * weights[1] / (weights[1] + weights[2])
		if got := count["web1"]; got < want-10 || got > want+10 || count["web1"]+count["web2"] != 640 {
			t.Errorf("weights %v gave %v", weights, count)
		}
	}
}

func TestAPreviewLeadsToItsReleaseAloneAndRefusesWithoutOne(t *testing.T) {
	l := shop(t)
	for i := range l.world.Instances {
		l.world.Instances[i].Shown = true
	}
	web := &l.world.Services[0]
	web.Weights = imx.Weights{1: 1}
	for release, want := range map[int]string{1: "web1", 2: "web2", 0: refused} {
		web.Preview = network.Preview{Release: release, Publish: 81, Inside: 8080}
		l.apply()
		for _, to := range []string{"192.0.2.1:81", "127.0.0.1:81"} {
			if got := outcome(to, want); got != want {
				t.Errorf("with a preview of release %d the machine to %s gave %s", release, to, got)
			}
		}
		if got := l.boxes["out"].outcome("192.0.2.1:81", want); got != want {
			t.Errorf("with a preview of release %d a neighbour got %s", release, got)
		}
		if got := l.boxes["out"].outcome("192.0.2.1:80", "web1"); got != "web1" {
			t.Errorf("with a preview of release %d the service gave %s", release, got)
		}
	}
	web.Preview.Release = 1
	l.apply()
	if got := l.boxes["app1"].outcome("192.0.2.1:81", dropped); got != dropped {
		t.Errorf("an instance that may not reached the preview: %s", got)
	}
	web.Preview = network.Preview{}
	l.apply()
	if text := l.list(); strings.Contains(text, "preview") {
		t.Errorf("of the preview is left:\n%s", text)
	}
}

func TestOtherTrafficOnTheMachinePasses(t *testing.T) {
	l := shop(t)
	elsewhere := l.neighbour("far", "198.51.100.1", "198.51.100.2")
	elsewhere.listen(7000, "far")
	listen(l, 7001, "the machine")
	for to, want := range map[string]string{"198.51.100.2:7000": "far", "192.0.2.1:7001": "the machine", "198.51.100.1:7001": "the machine"} {
		if got := l.boxes["out"].outcome(to, want); got != want {
			t.Errorf("a neighbour to %s gave %s, want %s", to, got, want)
		}
	}
	if got := outcome("127.0.0.1:7001", "an answer"); got != "the machine" {
		t.Errorf("the machine to itself gave %s", got)
	}
}

func TestTableReadsAsWritten(t *testing.T) {
	l := shop(t)
	const golden = "testdata/shop.nft"
	// Package network's tests show which instance has which slot.
	got := regexp.MustCompile(`(?s)(0x0000000. : [^}]*)}`).ReplaceAllStringFunc(l.list("--stateless"), func(slots string) string {
		return fmt.Sprintf("%d slots }", strings.Count(slots, "0x"))
	})
	if *rewrite {
		must(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the kernel's table (-want +got):\n%s", diff)
	}
}
