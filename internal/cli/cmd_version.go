package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/term"
)

func newVersionCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "version",
		short: "Show which imx this is",
		long: `Prints the version of this program, the commit it was built from, and its system. It asks no
server; "imx status" says which version the server has.`,
		example: `
$ imx version
imx 0.1.0 (commit 3f9c2e71ab04, go1.26, linux/amd64)`,
	}.command(func(ctx context.Context, _ []string) error {
		return runVersion(ctx, g, t)
	})
}

func runVersion(_ context.Context, g *Global, t *term.Terminal) error {
	if g.JSON {
		return printJSON(t.Out, g.Version)
	}
	_, err := fmt.Fprintf(t.Out, "imx %s %s\n", g.Version.Version, t.Out.Ink.Dim("("+build(g.Version)+")"))
	return err
}

func build(v imx.Version) string {
	text := v.Go + ", " + v.System
	if v.Commit != "" {
		text = "commit " + v.Commit[:min(12, len(v.Commit))] + ", " + text
	}
	if v.Client {
		text += ", client only"
	}
	return text
}
