//go:build client

package cli

import (
	"context"

	"imx/internal/term"
)

func runDemo(context.Context, demoOptions, *term.Terminal) error {
	return errClientBuild("play the demo, which runs a server")
}
