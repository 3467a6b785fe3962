package local

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"imx"
)

// FreeNetwork returns a range of addresses for a new engine: the first /16 from DefaultNetwork on
// that no route of this machine leads into, the default route aside. Other engines' ranges have
// routes, so every engine on a machine gets a range of its own.
// Errors: Exhausted where all of 10.213.0.0/16 to 10.254.0.0/16 are in use.
func FreeNetwork() (netip.Prefix, error) {
	used, err := usedRanges()
	if err != nil {
		return netip.Prefix{}, err
	}
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

// usedRanges returns the ranges that the machine's routes lead into, the default route aside.
func usedRanges() ([]netip.Prefix, error) {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // then a route came or went meanwhile
		return nil, fmt.Errorf("reading the machine's routes: %w", err)
	}
	var used []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		if ok && bits > 0 {
			used = append(used, netip.PrefixFrom(addr.Unmap(), bits))
		}
	}
	return used, nil
}

func overlaps(p netip.Prefix, used []netip.Prefix) bool {
	return slices.ContainsFunc(used, p.Overlaps)
}
