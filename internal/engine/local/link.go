package local

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"imx"
)

// Gateway is the host's address on every instance's link: link-local, so it can't collide with
// an address of the outside.
func Gateway() netip.Addr { return netip.AddrFrom4([4]byte{169, 254, 1, 1}) }

// plumb gives an instance its own network namespace with one interface: a veth whose only route is
// to the host. There is no bridge, so all traffic between instances crosses the firewall. What an
// interrupted plumb left is replaced.
func (c Config) plumb(r record) error {
	id := r.Instance.ID
	if err := c.unplumb(r); err != nil {
		return err
	}
	ns, err := c.makeNetns(id)
	if err != nil {
		return fmt.Errorf("making the network namespace of %s: %w", id, err)
	}
	defer ns.Close() // nothing is written through it
	if err := c.linkUp(r, ns); err != nil {
		return fmt.Errorf("connecting %s to the network: %w", id, err)
	}
	return nil
}

func (c Config) linkUp(r record, ns *os.File) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = r.Link
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns.Fd())}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	host, err := netlink.LinkByName(r.Link)
	if err != nil {
		return err
	}
	sysctls := map[string]string{
		"route_localnet": "1", // answers to connections that came through 127.0.0.1:<published port>
		"forwarding":     "1",
		"rp_filter":      "1", // besides the firewall's own binding of address and interface
	}
	for key, value := range sysctls {
		if err := sysctl("net/ipv4/conf/"+r.Link+"/"+key, value); err != nil {
			return err
		}
	}
	if err := ignoreMissing(sysctl("net/ipv6/conf/"+r.Link+"/disable_ipv6", "1")); err != nil {
		return err
	}
	if err := insideUp(r.Instance.Address, ns); err != nil {
		return err
	}
	return errors.Join(
		netlink.AddrAdd(host, &netlink.Addr{IPNet: hostNet(Gateway()), Scope: unix.RT_SCOPE_LINK}),
		netlink.LinkSetUp(host),
		netlink.RouteReplace(&netlink.Route{
			LinkIndex: host.Attrs().Index, Dst: hostNet(r.Instance.Address), Scope: netlink.SCOPE_LINK,
		}),
	)
}

// insideUp configures the instance's end of the veth.
func insideUp(address netip.Addr, ns *os.File) error {
	inside, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer inside.Close()
	for _, name := range []string{"lo", "eth0"} {
		link, err := inside.LinkByName(name)
		if err != nil {
			return err
		}
		if err := inside.LinkSetUp(link); err != nil {
			return err
		}
		if name == "lo" {
			continue
		}
		index := link.Attrs().Index
		err = errors.Join(
			inside.AddrAdd(link, &netlink.Addr{IPNet: hostNet(address)}),
			inside.RouteAdd(&netlink.Route{LinkIndex: index, Dst: hostNet(Gateway()), Scope: netlink.SCOPE_LINK}),
			inside.RouteAdd(&netlink.Route{LinkIndex: index, Gw: Gateway().AsSlice()}),
		)
		if err != nil {
			return err
		}
	}
	return nil
}

// makeNetns makes a network namespace, kept by a bind mount at netnsDir/id.
func (c Config) makeNetns(id string) (*os.File, error) {
	path := filepath.Join(c.netnsDir(), id)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	var err error
	onOwnThread(func() { err = newNetns(path) })
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

func newNetns(path string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	// Instances have no capability to bind low ports by; it is their own namespace, so all are free.
	if err := sysctl("net/ipv4/ip_unprivileged_port_start", "0"); err != nil {
		return err
	}
	// No IPv6 in this version; `lo` keeps it for programs that insist on ::1.
	if err := ignoreMissing(sysctl("net/ipv6/conf/default/disable_ipv6", "1")); err != nil {
		return err
	}
	return unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
}

// unplumb takes an instance's interface and namespace away. Nothing of them is no error.
func (c Config) unplumb(r record) error {
	if r.Link != "" {
		if err := deleteLink(r.Link); err != nil {
			return err
		}
	}
	return unmount(filepath.Join(c.netnsDir(), r.Instance.ID))
}

func deleteLink(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	var missing netlink.LinkNotFoundError
	if err != nil && !errors.As(err, &missing) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("removing interface %s: %w", name, err)
	}
	return nil
}

// links names the engine's interfaces.
func (c Config) links() ([]string, error) {
	all, err := netlink.LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) { // another's interface came or went meanwhile
		all, err = netlink.LinkList()
	}
	if err != nil {
		return nil, fmt.Errorf("local: listing interfaces: %w", err)
	}
	var names []string
	for _, l := range all {
		if strings.HasPrefix(l.Attrs().Name, c.linkPrefix()) {
			names = append(names, l.Attrs().Name)
		}
	}
	return names, nil
}

func hostNet(a netip.Addr) *net.IPNet { return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)} }

func sysctl(name, value string) error {
	return os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o600)
}

// address picks an address for a new instance in the upper half of the network: the first after
// the last one given out that isn't in use, so that an address rests before it comes again.
func (c Config) address(last netip.Addr, used map[netip.Addr]bool) (netip.Addr, error) {
	first := upperHalf(c.Network)
	count := 1 << (31 - c.Network.Bits())
	next := first
	if c.Network.Contains(last) {
		next = last.Next()
	}
	for range count {
		// Not the very last: it is the network's broadcast address.
		if !c.Network.Contains(next) || !c.Network.Contains(next.Next()) {
			next = first
		}
		if !used[next] {
			return next, nil
		}
		next = next.Next()
	}
	return netip.Addr{}, imx.Errorf(imx.Exhausted, "no address is left for an instance in %s", c.Network).
		WithHint("end some instances, or start the server with a larger --network")
}

func upperHalf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	b[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	return netip.AddrFrom4(b)
}

// linkName is unique among the engine's instances because their addresses are: 15 bytes at most.
func (c Config) linkName(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("%s%02x%02x", c.linkPrefix(), b[2], b[3])
}
