package daemon

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"path/filepath"

	"imx"
	"imx/internal/engine/local"
	"imx/internal/trial"
)

// trialFolder holds the engine of the test that is being run, and nothing between tests.
const trialFolder = "trial"

// trialRange is where tests have their addresses: a range for tests of networks (RFC 2544), so that none of them is
// anybody's.
const trialRange = "198.19.0.0/16"

// machine is an engine of one test, with nothing else on it.
type machine struct {
	*local.Engine

	cfg local.Config
}

var _ trial.Machine = machine{}

// Network is the range of addresses.
func (m machine) Network() netip.Prefix { return m.cfg.Network }

// Close ends all that is on it, and leaves no trace.
func (m machine) Close(ctx context.Context) error { return clearTrial(ctx, m.cfg) }

func clearTrial(ctx context.Context, cfg local.Config) error {
	if err := local.Purge(ctx, cfg); err != nil {
		return err
	}
	return os.RemoveAll(cfg.Dir)
}

// openTrial makes a machine for one test: as serves, but for its folder, its mark and its range.
func (s *server) openTrial(ctx context.Context, serving local.Config) (trial.Machine, error) {
	cfg, err := trialConfig(s.data)
	if err != nil {
		return nil, err
	}
	cfg.Roots, cfg.Files, cfg.Log, cfg.Guest = serving.Roots, serving.Files, serving.Log, true
	if cfg.Probe, err = os.Executable(); err != nil {
		return nil, err
	}
	if cfg.Network, err = trialNetwork(cfg.ID); err != nil {
		return nil, err
	}
	e, err := local.Open(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, clearTrial(context.WithoutCancel(ctx), cfg))
	}
	return machine{e, cfg}, nil
}

// trialConfig names what the tests of a data folder's server make on this machine.
func trialConfig(data string) (local.Config, error) {
	cfg, err := engineConfig(filepath.Join(data, trialFolder), netip.Prefix{})
	cfg.Dir = filepath.Join(data, trialFolder)
	if err == nil {
		cfg.Dir, err = filepath.Abs(cfg.Dir)
	}
	return cfg, err
}

// trialNetwork returns a range that nothing on this machine uses. Each server begins to look at a place of its own.
func trialNetwork(id string) (netip.Prefix, error) {
	const bits, count = 22, 64
	first := netip.MustParsePrefix(trialRange).Addr().As4()
	mark, err := hex.DecodeString(id)
	if err != nil || len(mark) < 2 {
		return netip.Prefix{}, imx.Errorf(imx.Internal, "%q marks no engine of a data folder", id)
	}
	start := int(binary.BigEndian.Uint16(mark))
	for i := range count {
		third := byte((start + i) % count << 2)
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{first[0], first[1], third, 0}), bits)
		if local.CheckNetwork(p, id) == nil {
			return p, nil
		}
	}
	return netip.Prefix{}, imx.Errorf(imx.Exhausted, "no range of addresses is free for tests in %s", trialRange).
		WithHint("`ip route show table all` shows what uses it; imx apply --skip-tests REASON releases without tests")
}

// endTrials takes away what the tests of a server that is gone have left.
func endTrials(ctx context.Context, data string) error {
	cfg, err := trialConfig(data)
	if err != nil {
		return err
	}
	if _, err := os.Stat(cfg.Dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return clearTrial(ctx, cfg)
}
