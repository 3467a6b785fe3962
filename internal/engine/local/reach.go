package local

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The machine's own connections to services' addresses, which no interface has, need a route before the firewall leads them to an
// instance: the fence would end them. It is in a table of its own, for what the machine itself opens alone, so that what
// instances send meets the fence as before. Package control gives services addresses in the lower half of the network.
const (
	reachTable    = 0x696d78 // "imx": engines share it, each with its own route
	reachPriority = 5210     // before the machine's main table
)

// reachable lets the machine open connections to services' addresses. It reports whether something of that was missing.
func reachable(p netip.Prefix) (missing bool, err error) {
	half, rule, err := reach(p)
	if err != nil {
		return false, err
	}
	for _, add := range []func() error{
		func() error { return netlink.RouteAdd(half) },
		func() error { return netlink.RuleAdd(rule) },
	} {
		switch err := add(); {
		case err == nil:
			missing = true
		case !errors.Is(err, unix.EEXIST): // adding what is there fails, and disturbs nothing
			return false, fmt.Errorf("routing the machine's own connections to %s: %w", p, err)
		}
	}
	return missing, nil
}

// unreachable takes away what reachable made. Nothing of it is no error.
func unreachable(p netip.Prefix) error {
	half, rule, err := reach(p)
	if err != nil {
		return err
	}
	for _, err := range []error{netlink.RuleDel(rule), netlink.RouteDel(half)} {
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("removing the machine's own route to %s: %w", p, err)
		}
	}
	return nil
}

func reach(p netip.Prefix) (*netlink.Route, *netlink.Rule, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, nil, fmt.Errorf("local: %w", err)
	}
	half := &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits()+1, 32)}
	rule := netlink.NewRule()
	rule.Family, rule.Priority, rule.Table, rule.IifName, rule.Dst = unix.AF_INET, reachPriority, reachTable, "lo", half
	return &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: half, Table: reachTable, Scope: netlink.SCOPE_LINK}, rule, nil
}
