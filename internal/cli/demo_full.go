//go:build !client

package cli

import (
	"context"
	"io/fs"
	"os"

	"imx"
	"imx/examples"
	"imx/internal/daemon"
	"imx/internal/demo"
	"imx/internal/term"
)

func runDemo(ctx context.Context, opts demoOptions, t *term.Terminal) error {
	binary, err := os.Executable()
	if err != nil {
		return imx.Errorf(imx.Internal, "the path of this program isn't known: %w", err)
	}
	shop, err := fs.Sub(examples.Shop, "shop")
	if err != nil {
		return err
	}
	leaky, err := fs.Sub(examples.Leaky, "leaky")
	if err != nil {
		return err
	}
	proxy, err := fs.Sub(examples.Proxy, "proxy")
	if err != nil {
		return err
	}
	return demo.Run(ctx, demo.Config{
		Binary: binary, Shop: shop, Leaky: leaky, Proxy: proxy, Keep: opts.Keep, Replace: opts.Replace, Out: t.Out.Writer, Err: t.Err.Writer, Purge: daemon.Purge, Traces: daemon.Traces,
	})
}
