package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx/internal/term"
)

type demoOptions struct {
	Keep    bool
	Replace int
}

func (o *demoOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.Keep, "keep", false, "leave everything running at the end, and say how to take it down")
	f.IntVar(&o.Replace, "replace", 1, "how many times the page is changed under load")
}

func newDemoCommand(_ *Global, t *term.Terminal) *cobra.Command {
	var opts demoOptions
	cmd := page{
		use:   "demo [--keep] [--replace N]",
		short: "Watch a shop being built, replaced under load, and rolled back",
		long: `Refuses a template with a secret in it. Starts a server in a scratch folder, applies a shop of three
services to it, replaces them while requests come in, tries a broken version, and rolls back. Scans an image that
lacks Debian's security suite, and one that has it. Then it takes everything down again and leaves nothing behind.`,
		example: `
# imx demo
# imx demo --keep
# imx demo --replace 20`,
		exits: []status{
			{0, "everything went as told, and no request failed"},
			{1, "something didn't go as told, or a request failed"},
			{2, "this is a client-only build"},
			{5, "it needs root"},
			{exitInterrupted, "interrupted; everything is taken down"},
		},
	}.command(func(ctx context.Context, _ []string) error {
		return runDemo(ctx, opts, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}
