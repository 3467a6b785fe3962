// Package daemon_test checks the few things that the wiring does by itself; what it joins is tested
// where it is, and all of it together by the scripts of package cli.
package daemon_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/control"
	"imx/internal/daemon"
	"imx/internal/eventlog"
	"imx/internal/policy"
	"imx/internal/state"
)

// start runs a server until it is ready, or returns why it didn't get there.
func start(t *testing.T, cfg daemon.Config) (stop func() error, err error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a server needs root")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	cfg.Log, cfg.Ready = io.Discard, func() { close(ready) }
	if cfg.Listen == "" {
		cfg.Listen = "none"
	}
	go func() { ended <- daemon.Run(ctx, cfg) }()
	select {
	case <-ready:
		return func() error { cancel(); return <-ended }, nil
	case err := <-ended:
		cancel()
		return nil, err
	}
}

// folder is a data folder with a short path: sockets need one.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "imx-daemon-") //nolint:usetesting // a test's own folder has too long a path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestADataFolderKeepsItsEnvironment(t *testing.T) {
	dir := folder(t)
	for i, c := range []struct {
		wanted string
		change policy.Change
		kind   imx.Kind
		is     string // as the log has it
	}{
		{"prodution", false, imx.NotFound, ""},
		{"production", false, "", "production"},
		{"", false, "", "production"},
		{"development", false, imx.Conflict, "production"},
		{"staging", true, "", "staging"},
		{"", false, "", "staging"},
		{"prodution", true, imx.NotFound, "staging"},
	} {
		stop, err := start(t, daemon.Config{Data: dir, Network: "10.251.2.0/24", Environment: daemon.Environment{Name: c.wanted, Change: c.change}})
		if imx.KindOf(err) != c.kind {
			t.Fatalf("%d: --environment %q: %v", i, c.wanted, err)
		}
		if err == nil {
			err = stop()
		}
		if c.kind == "" && err != nil {
			t.Fatalf("%d: stopping: %v", i, err)
		}
		if is := environment(t, dir); is != c.is {
			t.Errorf("%d: after --environment %q the folder is for %q, not %q", i, c.wanted, is, c.is)
		}
	}
}

// environment is the one that a data folder's log names last.
func environment(t *testing.T, dir string) string {
	t.Helper()
	log, _, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(dir, "log"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s := state.New()
	for e, err := range control.Events(log, 0) {
		if err == nil {
			err = state.Fold(s, e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s.Environment
}

func TestADataFolderKeepsItsNetwork(t *testing.T) {
	dir := folder(t)
	for _, network := range []string{"10.251.0.0/24", "", "10.251.0.0/24"} {
		stop, err := start(t, daemon.Config{Data: dir, Network: network})
		if err != nil {
			t.Fatalf("--network %q: %v", network, err)
		}
		if err := stop(); err != nil {
			t.Fatalf("stopping: %v", err)
		}
	}
	_, err := start(t, daemon.Config{Data: dir, Network: "10.252.0.0/24"})
	if imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "10.251.0.0/24") {
		t.Errorf("another network: %v", err)
	}
}

func TestAStartThatCantWorkSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  daemon.Config
		kind imx.Kind
		says string
	}{
		"no range":                   {daemon.Config{Network: "10.0.0.1"}, imx.Invalid, "10.0.0.1"},
		"a range too wide":           {daemon.Config{Network: "10.0.0.0/8"}, imx.Invalid, "/16 and /28"},
		"IPv6":                       {daemon.Config{Network: "fd00::/64"}, imx.Invalid, "IPv4"},
		"the instances' own gateway": {daemon.Config{Network: "169.254.0.0/16"}, imx.Invalid, "169.254"},
		"no address":                 {daemon.Config{Listen: "nowhere:99999"}, imx.Conflict, "registry"},
		"a long path":                {daemon.Config{Data: strings.Repeat("long/", 30)}, imx.Invalid, "107"},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Data = filepath.Join(folder(t), c.cfg.Data)
			stop, err := start(t, c.cfg)
			if err == nil {
				t.Fatal("it started", stop())
			}
			if imx.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", imx.KindOf(err), err)
			}
		})
	}
}

func TestOneServerHoldsADataFolder(t *testing.T) {
	dir := folder(t)
	stop, err := start(t, daemon.Config{Data: dir, Network: "10.251.1.0/24"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, daemon.Config{Data: dir}); imx.KindOf(err) != imx.Conflict {
		t.Errorf("a second server: %v", err)
	}
	if err := daemon.Purge(t.Context(), dir); imx.KindOf(err) != imx.Conflict {
		t.Errorf("purging under a server: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Purge(t.Context(), dir); err != nil {
		t.Errorf("purging after it: %v", err)
	}
}
