package nft_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/network"
	"imx/internal/network/nft"
)

// The lab is a machine in small: a network namespace of its own for the machine, with the table
// under test, and one for each instance and neighbour, joined to it as the engine joins them. Every
// address is one of these namespaces'.
const (
	gateway   = "169.254.1.1"
	tableName = "imx-test"
)

type lab struct {
	testing.TB
	host  netns.NsHandle
	table *nft.Table
	world network.World
	boxes map[string]*box
}

// box is a namespace beside the machine: an instance, or a neighbour outside.
type box struct {
	l       *lab
	ns      netns.NsHandle
	address netip.Addr
	veth    string // the machine's side
}

// newLab moves the test's thread into a new namespace; the thread ends with the test.
func newLab(tb testing.TB) *lab {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("needs root to make network namespaces")
	}
	runtime.LockOSThread()
	host, err := netns.New()
	must(tb, err)
	table, err := nft.New(tableName)
	must(tb, err)
	l := &lab{TB: tb, host: host, table: table, boxes: map[string]*box{}}
	l.world.Network = netip.MustParsePrefix("10.99.0.0/16")
	up(tb, "lo")
	sysctl(tb, "ip_forward", "1")
	sysctl(tb, "conf/all/rp_filter", "0") // what the machine's own check would drop, ours must
	must(tb, netlink.RouteAdd(&netlink.Route{Dst: ipNet(l.world.Network), Type: unix.RTN_UNREACHABLE}))
	tb.Cleanup(func() {
		for _, b := range l.boxes {
			_ = b.ns.Close()
		}
		_ = host.Close()
	})
	return l
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func single(a netip.Addr) *net.IPNet { return ipNet(netip.PrefixFrom(a, a.BitLen())) }

func sysctl(tb testing.TB, key, value string) {
	tb.Helper()
	must(tb, os.WriteFile("/proc/sys/net/ipv4/"+key, []byte(value), 0o644))
}

func up(tb testing.TB, name string) netlink.Link {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	must(tb, err)
	must(tb, netlink.LinkSetUp(link))
	return link
}

// join makes a namespace with an eth0 that leads to the machine's veth of the given name.
func (l *lab) join(name, veth string, address netip.Addr) *box {
	l.Helper()
	b := &box{l: l, address: address, veth: veth}
	var err error
	b.ns, err = netns.New() // and be in it
	must(l, err)
	must(l, netns.Set(l.host))
	l.boxes[name] = b
	must(l, netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: veth}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(b.ns)),
	}))
	up(l, veth)
	b.in(func() { up(l, "lo") })
	return b
}

// await waits until the kernel has noticed that both ends of the box's link are up: packets before
// that are lost.
func (b *box) await() {
	b.l.Helper()
	running := func(name string) {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
			link, err := netlink.LinkByName(name)
			must(b.l, err)
			if link.Attrs().OperState == netlink.OperUp {
				return
			}
		}
		b.l.Fatalf("%s didn't come up", name)
	}
	running(b.veth)
	b.in(func() { running("eth0") })
}

// instance adds an instance to the machine and to the world.
func (l *lab) instance(e network.Endpoint) *box {
	l.Helper()
	e.Interface = "vi" + e.ID
	b := l.join(e.ID, e.Interface, e.Address)
	link := up(l, e.Interface)
	must(l, netlink.AddrAdd(link, &netlink.Addr{IPNet: single(netip.MustParseAddr(gateway)), Scope: unix.RT_SCOPE_LINK}))
	must(l, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: single(e.Address), Scope: netlink.SCOPE_LINK}))
	sysctl(l, "conf/"+e.Interface+"/route_localnet", "1")
	b.in(func() {
		eth := up(l, "eth0")
		must(l, netlink.AddrAdd(eth, &netlink.Addr{IPNet: single(e.Address)}))
		via := netip.MustParseAddr(gateway)
		must(l, netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Dst: single(via), Scope: netlink.SCOPE_LINK}))
		must(l, netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: via.AsSlice()}))
	})
	b.await()
	l.world.Instances = append(l.world.Instances, e)
	return b
}

// neighbour adds a machine outside, whose default route leads to ours.
func (l *lab) neighbour(name, ours, theirs string) *box {
	l.Helper()
	b := l.join(name, "vo"+name, netip.MustParseAddr(theirs))
	link := up(l, "vo"+name)
	own := netip.MustParseAddr(ours)
	must(l, netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(own, 24))}))
	b.in(func() {
		eth := up(l, "eth0")
		must(l, netlink.AddrAdd(eth, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(b.address, 24))}))
		must(l, netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: own.AsSlice()}))
	})
	b.await()
	return b
}

// in runs f with the thread in the box.
func (b *box) in(f func()) {
	must(b.l, netns.Set(b.ns))
	defer func() { must(b.l, netns.Set(b.l.host)) }()
	f()
}

// listen answers connections to a port with a name. It may be called in any namespace.
func listen(tb testing.TB, port int, name string) {
	tb.Helper()
	listener, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
	must(tb, err)
	tb.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.WriteString(conn, name)
				_ = conn.Close()
			}()
		}
	}()
}

func (b *box) listen(port int, name string) {
	b.l.Helper()
	b.in(func() { listen(b.l, port, name) })
}

// call connects and returns who answered.
func call(ctx context.Context, to string, patience time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", to)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	who, err := io.ReadAll(conn)
	return string(who), err
}

// The three ways in which a call can end.
const (
	dropped = "(dropped)"
	refused = "(refused)"
)

// outcome calls and says who answered, or how it failed. Only who expects to be dropped doesn't
// wait long, because the machine may be busy.
func outcome(to, want string) string {
	patience := 20 * time.Second
	if want == dropped {
		patience = 300 * time.Millisecond
	}
	who, err := call(context.Background(), to, patience)
	var timeout net.Error
	switch {
	case err == nil:
		return who
	case errors.Is(err, unix.ECONNREFUSED):
		return refused
	case errors.As(err, &timeout) && timeout.Timeout():
		return dropped
	}
	return err.Error()
}

func (b *box) outcome(to, want string) (result string) {
	b.in(func() { result = outcome(to, want) })
	return result
}

// apply computes and applies the lab's world.
func (l *lab) apply() {
	l.Helper()
	must(l, l.table.Apply(l.Context(), network.Compute(l.world)))
}

// list returns the kernel's table as the nft program shows it.
func (l *lab) list(flags ...string) string {
	l.Helper()
	text, err := exec.Command("nft", append(flags, "list", "table", "inet", tableName)...).CombinedOutput()
	if err != nil {
		l.Fatalf("nft: %v: %s", err, text)
	}
	return string(text)
}

// nft runs the nft program as somebody else on the machine would.
func (l *lab) nft(script string) {
	l.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if text, err := cmd.CombinedOutput(); err != nil {
		l.Fatalf("nft: %v: %s", err, text)
	}
}

func address(last int) netip.Addr { return netip.AddrFrom4([4]byte{10, 99, 1, byte(last)}) }

func connect(service, port string) []imx.PortRef {
	return []imx.PortRef{{Service: service, Port: port}}
}

// shop is a world of three tiers: web (two instances, published on 80) may call app, app may call
// db, and app itself.
func shop(tb testing.TB) *lab {
	tb.Helper()
	l := newLab(tb)
	l.instance(network.Endpoint{ID: "web1", Service: "web", Release: 1, Address: address(1), Ready: true, Connect: connect("app", "http")})
	l.instance(network.Endpoint{ID: "web2", Service: "web", Release: 2, Address: address(2), Ready: true, Connect: connect("app", "http")})
	l.instance(network.Endpoint{
		ID: "app1", Service: "app", Release: 1, Address: address(3), Ready: true,
		Connect: append(connect("db", "pg"), connect("app", "http")...),
	})
	l.instance(network.Endpoint{ID: "db1", Service: "db", Release: 1, Address: address(4), Ready: true})
	l.world.Services = []network.ServiceNet{
		{Name: "web", Address: netip.MustParseAddr("10.99.0.1"), Ports: []imx.Port{{Name: "http", Container: 8080, Publish: 80}}, Weights: imx.Weights{1: 1, 2: 1}},
		{Name: "app", Address: netip.MustParseAddr("10.99.0.2"), Ports: []imx.Port{{Name: "http", Container: 8000}, {Name: "admin", Container: 9000}}, Weights: imx.Weights{1: 1}},
		{Name: "db", Address: netip.MustParseAddr("10.99.0.3"), Ports: []imx.Port{{Name: "pg", Container: 5432}}, Weights: imx.Weights{1: 1}},
	}
	l.neighbour("out", "192.0.2.1", "192.0.2.2")
	for id, port := range map[string]int{"web1": 8080, "web2": 8080, "app1": 8000, "db1": 5432} {
		l.boxes[id].listen(port, id)
	}
	l.apply()
	return l
}
