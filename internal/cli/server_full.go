//go:build !client

package cli

import (
	"context"
	"fmt"
	"os"

	"imx"
	"imx/internal/daemon"
	"imx/internal/ingress/acme"
	"imx/internal/ingress/front"
	"imx/internal/policy"
	"imx/internal/probe"
	"imx/internal/term"
)

// ClientOnly says whether the server was left out of this build.
const ClientOnly = false

// The server's defaults, as its help shows them.
const (
	defaultListen = daemon.DefaultListen
)

func runServer(ctx context.Context, opts serverOptions, g *Global, t *term.Terminal) error {
	size, err := sourceSize(opts.SourceSize)
	if err != nil {
		return err
	}
	return daemon.Run(ctx, daemon.Config{
		Data: g.Data, Listen: opts.Listen, Network: opts.Network, Anonymous: opts.anonymous(), Refuse: leastLevel(opts.Refuse),
		Environment: daemon.Environment{Name: opts.Environment, Change: policy.Change(opts.ChangeEnvironment)},
		Keys:        daemon.Keys{Identity: opts.Identity, Token: opts.Token}, SourceSize: size, Prove: opts.Prove, Version: g.Version, Probe: g.Probe, Log: t.Err,
		Ready: func() {
			if g.JSON {
				_ = printLine(t.Out, serverReady{Socket: g.Socket()})
				return
			}
			_, _ = fmt.Fprintf(t.Out, "imx %s answers on %s\n", g.Version.Version, g.Socket())
		},
	})
}

// leastSourceSize holds what git itself writes into a copy, and some history.
const leastSourceSize = imx.Size(1 << 20)

func sourceSize(text string) (imx.Size, error) {
	size, err := imx.ParseSize(text)
	if err == nil && size < leastSourceSize {
		err = imx.Errorf(imx.Invalid, "--source-size %s is too small for any repository", text).WithHint("give %s or more", leastSourceSize)
	}
	return size, err
}

func (o *serverOptions) anonymous() daemon.Anonymous {
	if o.Push {
		return daemon.AnonymousPushes
	}
	return daemon.Anonymous(o.Anonymous)
}

// serverReady is what the server prints with --json once it answers.
type serverReady struct {
	Socket string `json:"socket"`
}

// probeWord makes imx the program that tests of images run in instances.
const probeWord = probe.Word

func runProbe(ctx context.Context, args []string, t *term.Terminal) int {
	return probe.Main(ctx, args, t.Out)
}

// frontWord makes imx the process that answers requests from outside.
const frontWord = front.Word

func runFront(ctx context.Context, args []string, t *term.Terminal) int {
	return front.Main(ctx, args, t.Err, func(folder *os.Root) front.Authority { return acme.Open(folder, 0) })
}

func purge(ctx context.Context, data string) error { return daemon.Purge(ctx, data) }

// checkFiles looks at the registry in the data folder. Where there is none, what is missing is the server.
func checkFiles(ctx context.Context, g *Global, req imx.RegistryCheckRequest, report imx.Report, unavailable error) (imx.RegistryCheck, error) {
	check, err := daemon.CheckRegistry(ctx, g.Data, req, report)
	if imx.KindOf(err) == imx.NotFound {
		return imx.RegistryCheck{}, unavailable
	}
	return check, err
}

// verifyFiles verifies the log in the data folder. Where there is none, what is missing is the
// server.
func verifyFiles(ctx context.Context, g *Global, earlier []imx.Checkpoint, unavailable error) (imx.LogCheck, error) {
	check, err := daemon.VerifyLog(ctx, g.Data, earlier...)
	if imx.KindOf(err) == imx.NotFound {
		return imx.LogCheck{}, unavailable
	}
	return check, err
}
