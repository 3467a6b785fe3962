package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// forwardDir holds, for all engines of the machine together, whether it forwarded packets before
// the first of them (file "before"), and one file for each engine that needs it to.
const (
	forwardDir    = "/run/imx-forward"
	forwardSysctl = "net/ipv4/ip_forward"
)

// forward lets the machine forward packets, which published ports need on the interfaces to the
// outside. It doesn't make it a router for others: the firewall has the say about every packet of
// the engine's network, and hosts that already forwarded go on as they did.
func (c Config) forward() error {
	return lockForward(func() error {
		if _, err := os.Stat(filepath.Join(forwardDir, c.ID)); err == nil {
			return sysctl(forwardSysctl, "1")
		}
		if err := os.MkdirAll(forwardDir, 0o700); err != nil {
			return err
		}
		before := filepath.Join(forwardDir, "before")
		if _, err := os.Stat(before); err != nil {
			value, err := os.ReadFile(filepath.Join("/proc/sys", forwardSysctl))
			if err != nil {
				return err
			}
			if err := writeAtomic(before, value); err != nil {
				return err
			}
		}
		return errors.Join(os.WriteFile(filepath.Join(forwardDir, c.ID), nil, 0o600), sysctl(forwardSysctl, "1"))
	})
}

// unforward gives the machine's setting back when the last engine that needed it has gone.
func (c Config) unforward() error {
	return lockForward(func() error {
		err := os.Remove(filepath.Join(forwardDir, c.ID))
		if err != nil {
			return ignoreMissing(err)
		}
		users, err := os.ReadDir(forwardDir)
		if err != nil || len(users) > 1 {
			return err // more than "before" is left
		}
		before, err := os.ReadFile(filepath.Join(forwardDir, "before"))
		if err != nil {
			return err
		}
		return errors.Join(sysctl(forwardSysctl, string(before)), os.RemoveAll(forwardDir))
	})
}

// lockForward lets one engine of the machine at a time change the shared setting. The lock is on
// /run itself, so that it leaves no file behind.
func lockForward(f func() error) error {
	dir, err := os.Open("/run")
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	defer dir.Close() //nolint:errcheck // a directory; closing it frees the lock
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	if err := f(); err != nil {
		return fmt.Errorf("letting the machine forward packets: %w", err)
	}
	return nil
}
