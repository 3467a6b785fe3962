//go:build client

package cli

import (
	"context"

	"imx"
	"imx/internal/term"
)

// ClientOnly says whether the server was left out of this build.
const ClientOnly = true

// The server's defaults, for the help; daemon has the same.
const (
	defaultListen = "127.0.0.1:5050"
)

// errClientBuild refuses what only the full build can do.
func errClientBuild(what string) error {
	return imx.Errorf(imx.Invalid, "this imx is the client-only build and can't %s", what).
		WithHint("do it on the Linux machine of the server; to reach that server's socket from here: " +
			"ssh -N -L ./imx.sock:" + DefaultData + "/imx.sock HOST, then imx --data . status")
}

func runServer(context.Context, serverOptions, *Global, *term.Terminal) error {
	return errClientBuild("run a server")
}

// probeWord is no argument: this build tests no images.
const probeWord = "\x00"

func runProbe(context.Context, []string, *term.Terminal) int { return 2 }

// frontWord is no argument: this build answers no requests.
const frontWord = "\x00"

func runFront(context.Context, []string, *term.Terminal) int { return 2 }

func purge(context.Context, string) error { return errClientBuild("purge one") }

// checkFiles returns why no server answered: this build reads no registry's files.
func checkFiles(_ context.Context, _ *Global, _ imx.RegistryCheckRequest, _ imx.Report, unavailable error) (imx.RegistryCheck, error) {
	return imx.RegistryCheck{}, unavailable
}

// verifyFiles returns why no server answered: this build reads no log files.
func verifyFiles(_ context.Context, _ *Global, _ []imx.Checkpoint, unavailable error) (imx.LogCheck, error) {
	return imx.LogCheck{}, unavailable
}
