//go:build client

package cli

import (
	"context"

	"imx"
	"imx/internal/term"
)

// simulate is what only the full build can do.
func simulate(context.Context, []imx.Spec, supposed, *Global, *term.Terminal) error {
	return errClientBuild("simulate rollouts")
}
