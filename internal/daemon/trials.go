package daemon

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"imx"
	"imx/internal/disk"
	"imx/internal/engine/local"
	"imx/internal/trial"
)

// trialFolder holds a folder for the engine of each test that is being run. Between tests it isn't there.
const trialFolder = "trial"

// trialRange is where tests have their addresses: a range for tests of networks (RFC 2544), so that none of them is
// anybody's.
const trialRange = "198.19.0.0/16"

// machine is an engine of one test, with nothing else on it.
type machine struct {
	*local.Engine

	cfg  local.Config
	from *machines
}

var _ trial.Machine = machine{}

// Network is the range of addresses.
func (m machine) Network() netip.Prefix { return m.cfg.Network }

// Gateway is the address of this end of the instances' links.
func (m machine) Gateway() netip.Addr { return local.Gateway() }

// Close ends all that is on it, and leaves no trace.
func (m machine) Close(ctx context.Context) error {
	defer m.from.free(m.cfg.Network)
	if err := clearTrial(ctx, m.cfg); err != nil {
		return err
	}
	m.from.tidy()
	return nil
}

func clearTrial(ctx context.Context, cfg local.Config) error {
	if err := local.Purge(ctx, cfg); err != nil {
		return err
	}
	return os.RemoveAll(cfg.Dir)
}

// machines makes engines for tests, as the one that serves but for folder, mark and range.
type machines struct {
	data    string
	serving local.Config
	probe   string // as of Config
	version string
	digests digests

	mu   sync.Mutex
	used map[netip.Prefix]bool

	folders sync.Mutex // trialFolder is made and removed under it
}

// folder makes a folder for a machine.
func (ms *machines) folder() (string, error) {
	ms.folders.Lock()
	defer ms.folders.Unlock()
	all := filepath.Join(ms.data, trialFolder)
	if err := os.MkdirAll(all, 0o700); err != nil {
		return "", disk.Error(err, "making a folder for a test")
	}
	dir, err := os.MkdirTemp(all, "")
	if err != nil {
		return "", disk.Error(err, "making a folder for a test")
	}
	return dir, nil
}

// tidy removes trialFolder if no machine has anything in it.
func (ms *machines) tidy() {
	ms.folders.Lock()
	defer ms.folders.Unlock()
	_ = os.Remove(filepath.Join(ms.data, trialFolder)) // which others may still have something in
}

// open makes a machine.
func (ms *machines) open(ctx context.Context) (trial.Machine, error) {
	dir, err := ms.folder()
	if err != nil {
		return nil, err
	}
	cfg, err := engineConfig(dir, netip.Prefix{})
	if err != nil {
		return nil, err
	}
	cfg.Dir, cfg.Roots, cfg.Files, cfg.Log, cfg.Guest = dir, ms.serving.Roots, ms.serving.Files, ms.serving.Log, true
	if cfg.Probe, err = ms.program(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if cfg.Network, err = ms.take(cfg.ID); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	m := machine{cfg: cfg, from: ms}
	if m.Engine, err = local.Open(ctx, cfg); err != nil {
		return nil, errors.Join(err, m.Close(context.WithoutCancel(ctx)))
	}
	return m, nil
}

// program returns the probe: a program that runs in an image with nothing in it.
func (ms *machines) program() (string, error) {
	path := ms.probe
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return "", err
		}
	}
	file, err := elf.Open(path)
	if err != nil {
		return "", imx.Errorf(imx.Invalid, "%s can't be the probe of tests: %w", path, err).WithHint("name a static imx in IMX_PROBE")
	}
	defer file.Close() // read-only
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return "", imx.Errorf(imx.Invalid, "%s is linked dynamically, so it can't run in the images that it tests", path).
				WithHint("build it with CGO_ENABLED=0, or name one that is in IMX_PROBE")
		}
	}
	return path, nil
}

// take returns a range that nothing on this machine uses. Each mark begins to look at a place of its own.
func (ms *machines) take(id string) (netip.Prefix, error) {
	const bits, count = 22, 64
	first := netip.MustParsePrefix(trialRange).Addr().As4()
	mark, err := hex.DecodeString(id)
	if err != nil || len(mark) < 2 {
		return netip.Prefix{}, imx.Errorf(imx.Internal, "%q marks no engine of a data folder", id)
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	start := int(binary.BigEndian.Uint16(mark))
	for i := range count {
		third := byte((start + i) % count << 2) //nolint:gosec // at most 63 << 2
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{first[0], first[1], third, 0}), bits)
		if !ms.used[p] && local.CheckNetwork(p, id) == nil {
			ms.used[p] = true
			return p, nil
		}
	}
	return netip.Prefix{}, imx.Errorf(imx.Exhausted, "no range of addresses is free for tests in %s", trialRange).
		WithHint("`ip route show table all` shows what uses it; imx apply --skip-tests REASON releases without tests")
}

func (ms *machines) free(p netip.Prefix) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	delete(ms.used, p)
}

// endTrials takes away what the tests of a server that is gone have left.
func endTrials(ctx context.Context, data string) error {
	left, err := trialConfigs(data)
	if err != nil {
		return err
	}
	for _, cfg := range left {
		if err := clearTrial(ctx, cfg); err != nil {
			return err
		}
	}
	return os.RemoveAll(filepath.Join(data, trialFolder))
}

// trialConfigs are those of the engines whose tests run, or were cut off.
func trialConfigs(data string) ([]local.Config, error) {
	all, err := filepath.Abs(filepath.Join(data, trialFolder))
	if err != nil {
		return nil, err
	}
	left, err := os.ReadDir(all)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, imx.Errorf(imx.Internal, "looking for what tests have left: %w", err)
	}
	var configs []local.Config
	for _, one := range left {
		dir := filepath.Join(all, one.Name())
		cfg, err := engineConfig(dir, netip.Prefix{})
		if err != nil {
			return nil, err
		}
		cfg.Dir = dir
		configs = append(configs, cfg)
	}
	return configs, nil
}
