package local

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"imx"
)

// sharedDir is what all engines of the machine have in common: file "before" says whether the
// machine forwarded packets before the first of them, and a file for each engine that has anything
// on the network, named by its ID, holds its range of addresses: its claim. Only an engine with a
// claim changes the machine's routes.
const (
	sharedDir     = "/run/imx-shared"
	forwardSysctl = "net/ipv4/ip_forward"
)

// claim claims the engine's range of addresses, fences it off and lets the machine forward packets,
// which published ports need on the interfaces to the outside. That doesn't make it a router for
// others: the firewall has the say about every packet of the engine's network, and machines that
// already forwarded go on as they did. The error is of kind Conflict if another engine's range overlaps.
func (c Config) claim() error {
	return lockShared(func() error {
		if c.claimed() != c.Network {
			if err := c.writeClaim(); err != nil {
				return err
			}
		}
		_, err := reachable(c.Network)
		return errors.Join(sysctl(forwardSysctl, "1"), fence(c.Network), err)
	})
}

func (c Config) writeClaim() error {
	if err := c.unclaimed(); err != nil {
		return err
	}
	if err := os.MkdirAll(sharedDir, 0o700); err != nil {
		return err
	}
	before := filepath.Join(sharedDir, "before")
	if _, err := os.Stat(before); err != nil {
		value, err := os.ReadFile(filepath.Join("/proc/sys", forwardSysctl))
		if err != nil {
			return err
		}
		if err := writeAtomic(before, value); err != nil {
			return err
		}
	}
	return writeAtomic(filepath.Join(sharedDir, c.ID), []byte(c.Network.String()))
}

// claimed returns the range that this engine has claimed, the zero Prefix where it has none.
func (c Config) claimed() netip.Prefix {
	text, err := os.ReadFile(filepath.Join(sharedDir, c.ID))
	if err != nil {
		return netip.Prefix{}
	}
	p, _ := netip.ParsePrefix(string(text)) // the zero Prefix where it is none
	return p
}

// unclaimed checks that no other engine of the machine uses the range of addresses.
func (c Config) unclaimed() error {
	claims, err := claims()
	if err != nil {
		return err
	}
	for id, other := range claims {
		if id != c.ID && other.Overlaps(c.Network) {
			return imx.Errorf(imx.Conflict, "the network %s overlaps with %s, which another imx server of this machine uses (its mark is %s)",
				c.Network, other, id).WithHint("start this server with another --network, or destroy the other's services")
		}
	}
	return nil
}

// claims returns the ranges that engines of this machine use, by their IDs.
func claims() (map[string]netip.Prefix, error) {
	files, err := marks()
	if err != nil {
		return nil, ignoreMissing(err)
	}
	ranges := map[string]netip.Prefix{}
	for _, f := range files {
		if p := (Config{ID: f.Name()}).claimed(); p.IsValid() { // "before" is no range
			ranges[f.Name()] = p
		}
	}
	return ranges, nil
}

// marks are the files in sharedDir, but for those that an engine which was killed left half written.
func marks() ([]os.DirEntry, error) {
	files, err := os.ReadDir(sharedDir)
	return slices.DeleteFunc(files, func(f os.DirEntry) bool { return strings.HasSuffix(f.Name(), halfWritten) }), err
}

// unclaim gives up the range that the engine has claimed, and gives the machine's setting back when
// the last engine that needed it has gone. An engine without a claim changes nothing.
func (c Config) unclaim() error {
	return lockShared(func() error {
		mine := c.claimed()
		if !mine.IsValid() {
			return nil
		}
		if err := errors.Join(unfence(mine), unreachable(mine), os.Remove(filepath.Join(sharedDir, c.ID))); err != nil {
			return err
		}
		users, err := marks()
		if err != nil || len(users) > 1 {
			return err // more than "before" is left
		}
		before, err := os.ReadFile(filepath.Join(sharedDir, "before"))
		if err != nil {
			return err
		}
		return errors.Join(sysctl(forwardSysctl, string(before)), os.RemoveAll(sharedDir))
	})
}

// keepClaimed puts back what claim made, if it made anything, and says what was missing of it.
func (c Config) keepClaimed() (mended []string, err error) {
	if c.claimed() != c.Network {
		return nil, nil
	}
	// Adding a route that is there fails, and disturbs nothing.
	err = netlink.RouteAdd(fenceRoute(c.Network))
	if err == nil {
		mended = append(mended, "the unreachable route of "+c.Network.String())
	} else if !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("fencing %s off: %w", c.Network, err)
	}
	switch missing, err := reachable(c.Network); {
	case err != nil:
		return mended, err
	case missing:
		mended = append(mended, "the machine's own route to services in "+c.Network.String())
	}
	value, err := os.ReadFile(filepath.Join("/proc/sys", forwardSysctl))
	if err != nil || string(bytes.TrimSpace(value)) != "0" {
		return mended, err
	}
	return append(mended, forwardSysctl), sysctl(forwardSysctl, "1")
}

// fence keeps packets for addresses of the network that no instance has from following the
// machine's default route out of it.
func fence(p netip.Prefix) error {
	if err := netlink.RouteReplace(fenceRoute(p)); err != nil {
		return fmt.Errorf("fencing %s off: %w", p, err)
	}
	return nil
}

func unfence(p netip.Prefix) error {
	err := netlink.RouteDel(fenceRoute(p))
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("removing the route of %s: %w", p, err)
	}
	return nil
}

// fencePriority lets every other route of the same range come first. It marks engines' fences.
const fencePriority = 1 << 20

func fenceRoute(p netip.Prefix) *netlink.Route {
	dst := &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
	return &netlink.Route{Dst: dst, Type: unix.RTN_UNREACHABLE, Priority: fencePriority}
}

// lockShared lets one engine of the machine at a time change what they share. The lock is on
// /run itself, so that it leaves no file behind.
func lockShared(f func() error) error {
	dir, err := os.Open("/run")
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	defer dir.Close() // a directory; closing it frees the lock
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	if err := f(); err != nil {
		return fmt.Errorf("sharing the machine's network: %w", err)
	}
	return nil
}
