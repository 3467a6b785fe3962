package cli

import (
	"context"

	"github.com/spf13/cobra"

	"imx/internal/term"
)

type whyOptions struct {
	Instance string
}

func newWhyCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "why INSTANCE",
		short: "Show the chain from an instance back to its commit",
		long: `Prints why an instance is what it is, one link a line: its release, its image, the plan that the
image was made from, and the commit of the template. Each link names the one before it by digest.`,
		example: `
$ imx why hello-4-k3x9
$ imx why --json hello-4-k3x9 | jq -r .source.commit`,
		exits:    asking(status{3, "there is no such instance"}),
		least:    1,
		most:     1,
		complete: completeInstances(g, nil),
	}.command(func(ctx context.Context, args []string) error {
		return runWhy(ctx, whyOptions{Instance: args[0]}, g, t)
	})
}

func runWhy(ctx context.Context, opts whyOptions, g *Global, t *term.Terminal) error {
	why, err := g.client().Why(ctx, opts.Instance)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, why)
	}
	return showWhy(t.Out, why)
}
