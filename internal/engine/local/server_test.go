// A server in a process of its own, which a test can kill.

package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"imx"
	"imx/internal/admission"
	"imx/internal/engine/local"
	"imx/internal/network/nft"
)

// serverEnv makes the test's program a server of its own, with an order to carry out.
const serverEnv = "IMX_TEST_SERVER"

// order is what a server in a process of its own is told.
type order struct {
	Dir     string      `json:"dir"`
	ID      string      `json:"id"`
	Table   string      `json:"table"`
	Root    string      `json:"root"`
	Network string      `json:"network"`
	Release imx.Release `json:"release"`
	Count   int         `json:"count"`
	Keep    int         `json:"keep"` // so many are frozen once all are healthy
}

func TestMain(m *testing.M) {
	if text := os.Getenv(serverEnv); text != "" {
		if err := serve(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serve starts what it is told to start, and then waits for its death.
func serve(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	table, err := nft.New(o.Table)
	if err != nil {
		return err
	}
	cfg := local.Config{Dir: o.Dir, ID: o.ID, Firewall: table}
	if err := cfg.Network.UnmarshalText([]byte(o.Network)); err != nil {
		return err
	}
	cfg.Roots = func(context.Context, imx.Digest) (string, error) { return o.Root, nil }
	ctx := context.Background()
	e, err := local.Open(ctx, cfg)
	if err != nil {
		return err
	}
	if err := e.Scale(ctx, admission.ForTrial(o.Release), o.Release, o.Count); err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	go func() {
		for range changed {
			seen, err := e.Observe(ctx)
			healthy := slices.DeleteFunc(seen.Instances, func(x imx.Instance) bool { return x.Phase != imx.Healthy })
			if o.Keep > 0 && err == nil && len(healthy) == o.Count {
				_ = e.Keep(ctx, o.Release, o.Keep) // the test sees what comes of it
			}
		}
	}()
	return e.Run(ctx, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
}

// server starts a server process over the machine's folder.
func (m *machine) server(t *testing.T, r imx.Release, n int) *exec.Cmd {
	t.Helper()
	return m.serverWith(t, order{Release: r, Count: n})
}

func (m *machine) serverWith(t *testing.T, o order) *exec.Cmd {
	t.Helper()
	root, err := m.cfg.Roots(t.Context(), o.Release.Image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	o.Dir, o.ID, o.Table, o.Root, o.Network = m.cfg.Dir, m.cfg.ID, m.table, root, m.cfg.Network.String()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serverEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be dead already
		_ = cmd.Wait()
	})
	return cmd
}
