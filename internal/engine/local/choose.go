package local

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"imx"
)

// FreeNetwork returns a range of addresses for a new engine: the first /16 from DefaultNetwork on
// that no route of this machine leads into, the default route aside, and that no other engine has
// claimed.
// Errors: Exhausted where all of 10.213.0.0/16 to 10.254.0.0/16 are in use.
func FreeNetwork() (netip.Prefix, error) {
	used, err := usedRanges()
	if err != nil {
		return netip.Prefix{}, err
	}
	claimed, err := claims()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("reading other engines' ranges: %w", err)
	}
	used = slices.AppendSeq(used, maps.Values(claimed))
	first := netip.MustParsePrefix(DefaultNetwork).Addr().As4()
	for second := first[1]; second < 255; second++ {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{first[0], second, 0, 0}), 16)
		if !overlaps(p, used) {
			return p, nil
		}
	}
	return netip.Prefix{}, imx.Errorf(imx.Exhausted, "no range of addresses is free from %s on", DefaultNetwork).
		WithHint("name one with --network")
}

// CheckNetwork reports whether the engine that is marked by id could use a range of addresses.
// Errors: Invalid for a range that means something else to every machine, Conflict where it overlaps
// with the machine's own addresses and routes, the default route aside, or with another engine's range.
func CheckNetwork(p netip.Prefix, id string) error {
	if err := usable(p); err != nil {
		return err
	}
	p = p.Masked()
	if err := (Config{ID: id, Network: p}).unclaimed(); err != nil {
		return err
	}
	taken, err := foreignRanges(Config{ID: id}.linkPrefix())
	if err != nil {
		return err
	}
	for _, t := range taken {
		if t.Overlaps(p) {
			return imx.Errorf(imx.Conflict, "the network %s overlaps with %s, which this machine uses itself (`ip route show table all` shows it)", p, t).
				WithHint("start the server with another --network, or without one: it then finds a free range")
		}
	}
	return nil
}

// usable reports whether a range is of a size and kind that an engine can use.
func usable(p netip.Prefix) error {
	if !p.Addr().Is4() || p.Bits() > 28 || p.Bits() < 16 {
		return imx.Errorf(imx.Invalid, "the engine can't use the network %s", p).
			WithHint("give an IPv4 range from /16 to /28, such as " + DefaultNetwork)
	}
	for _, special := range []struct{ prefix, why string }{
		{"0.0.0.0/8", "its addresses mean the sender itself"},
		{"127.0.0.0/8", "its addresses never leave a machine"},
		{"169.254.0.0/16", "it is link-local, and the instances' gateway is in it"},
		{"224.0.0.0/3", "its addresses are for multicast, or reserved"},
	} {
		if netip.MustParsePrefix(special.prefix).Overlaps(p) {
			return imx.Errorf(imx.Invalid, "the engine can't use the network %s: %s", p, special.why).
				WithHint("give a private IPv4 range from /16 to /28, such as " + DefaultNetwork)
		}
	}
	return nil
}

// usedRanges returns the ranges that the machine's routes lead into, the default route aside.
func usedRanges() ([]netip.Prefix, error) {
	routes, err := allRoutes()
	var used []netip.Prefix
	for _, r := range routes {
		if p, ok := destination(r); ok {
			used = append(used, p)
		}
	}
	return used, err
}

// foreignRanges returns the ranges of the machine's routes and interfaces that aren't engines'
// fences or ways to services, and don't belong to interfaces whose names begin with own.
func foreignRanges(own string) ([]netip.Prefix, error) {
	routes, err := allRoutes()
	if err != nil {
		return nil, err
	}
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // another's interface came or went meanwhile
		return nil, fmt.Errorf("reading the machine's interfaces: %w", err)
	}
	mine := map[int]bool{}
	for _, l := range links {
		mine[l.Attrs().Index] = strings.HasPrefix(l.Attrs().Name, own)
	}
	var ranges []netip.Prefix
	for _, r := range routes {
		fence := r.Type == unix.RTN_UNREACHABLE && r.Priority == fencePriority
		if p, ok := destination(r); ok && !fence && r.Table != reachTable && !mine[r.LinkIndex] {
			ranges = append(ranges, p)
		}
	}
	// An interface that is down has addresses and no routes.
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("reading the machine's addresses: %w", err)
	}
	for _, a := range addresses {
		if p, ok := prefixOf(a.IPNet); ok && !mine[a.LinkIndex] {
			ranges = append(ranges, p)
		}
	}
	return ranges, nil
}

func allRoutes() ([]netlink.Route, error) {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // then a route came or went meanwhile
		return nil, fmt.Errorf("reading the machine's routes: %w", err)
	}
	return routes, nil
}

// destination is where a route leads, or false for a default route, or one of the two halves that
// a VPN puts in its place.
func destination(r netlink.Route) (netip.Prefix, bool) {
	p, ok := prefixOf(r.Dst)
	return p, ok && p.Bits() > 1
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits).Masked(), ok
}

func overlaps(p netip.Prefix, used []netip.Prefix) bool {
	return slices.ContainsFunc(used, p.Overlaps)
}
