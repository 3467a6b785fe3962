package local

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"imx"
)

// sharedDir is what all engines of the machine have in common: file "before" says whether the
// machine forwarded packets before the first of them, and a file for each engine that has anything
// on the network, named by its ID, holds its range of addresses.
const (
	sharedDir     = "/run/imx-shared"
	forwardSysctl = "net/ipv4/ip_forward"
)

// forward claims the engine's range of addresses and lets the machine forward packets, which
// published ports need on the interfaces to the outside. That doesn't make it a router for others:
// the firewall has the say about every packet of the engine's network, and machines that already
// forwarded go on as they did. The error is of kind Conflict if another engine's range overlaps.
func (c Config) forward() error {
	return lockShared(func() error {
		claim := filepath.Join(sharedDir, c.ID)
		if text, err := os.ReadFile(claim); err == nil && string(text) == c.Network.String() {
			return sysctl(forwardSysctl, "1")
		}
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
		return errors.Join(writeAtomic(claim, []byte(c.Network.String())), sysctl(forwardSysctl, "1"))
	})
}

// unclaimed checks that no other engine of the machine uses the range of addresses.
func (c Config) unclaimed() error {
	claims, err := os.ReadDir(sharedDir)
	if err != nil {
		return ignoreMissing(err)
	}
	for _, claim := range claims {
		text, err := os.ReadFile(filepath.Join(sharedDir, claim.Name()))
		if err != nil {
			return err
		}
		other, err := netip.ParsePrefix(string(text))
		if err != nil || claim.Name() == c.ID || !other.Overlaps(c.Network) {
			continue // "before" is no range
		}
		return imx.Errorf(imx.Conflict, "the network %s overlaps with %s, which another imx server of this machine uses (its mark is %s)",
			c.Network, other, claim.Name()).WithHint("start this server with another --network, or destroy the other's services")
	}
	return nil
}

// unforward gives the machine's setting back when the last engine that needed it has gone.
func (c Config) unforward() error {
	return lockShared(func() error {
		err := os.Remove(filepath.Join(sharedDir, c.ID))
		if err != nil {
			return ignoreMissing(err)
		}
		users, err := os.ReadDir(sharedDir)
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
