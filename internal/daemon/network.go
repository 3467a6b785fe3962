package daemon

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"imx"
	"imx/internal/disk"
	"imx/internal/engine/local"
)

// networkFile remembers a data folder's range of addresses: releases hold addresses out of it.
const networkFile = "network"

// network returns the range of addresses of a data folder: the one that it had before, else the
// wanted one, else one that is free on this machine. Errors: Conflict where another is wanted than
// the folder already has, or one that something else on this machine uses.
func network(data, wanted string) (netip.Prefix, error) {
	path := filepath.Join(data, networkFile)
	recorded, err := os.ReadFile(path)
	if err == nil {
		p, err := parseNetwork(string(bytes.TrimSpace(recorded)))
		if err != nil {
			return p, imx.Errorf(imx.Internal, "%s is damaged: %w", path, err).WithHint("write the range into it that `imx log` shows addresses of")
		}
		if wanted != "" && wanted != p.String() {
			return p, imx.Errorf(imx.Conflict, "the data folder uses the network %s, not %s: its releases hold addresses out of it", p, wanted).
				WithHint("leave --network out, or use another data folder")
		}
		return p, nil
	}
	if !os.IsNotExist(err) {
		return netip.Prefix{}, err
	}
	choose := local.FreeNetwork
	if wanted != "" {
		choose = func() (netip.Prefix, error) { return claimable(data, wanted) }
	}
	p, err := choose()
	if err != nil {
		return p, err
	}
	return p, disk.WriteWhole(path, []byte(p.String()+"\n"), 0o600)
}

// claimable reads the range that a person wants and checks that nothing else on the machine has it.
func claimable(data, wanted string) (netip.Prefix, error) {
	p, err := parseNetwork(wanted)
	if err != nil {
		return p, err
	}
	id, err := engineID(data)
	if err != nil {
		return p, err
	}
	return p, local.CheckNetwork(p, id)
}

// parseNetwork reads a range: IPv4, with room for services and instances.
func parseNetwork(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is4() || p.Bits() < 16 || p.Bits() > 28 || p != p.Masked() {
		return p, imx.Errorf(imx.Invalid, "%q is not an IPv4 range between /16 and /28, such as %s", strings.TrimSpace(text), local.DefaultNetwork)
	}
	return p, nil
}
