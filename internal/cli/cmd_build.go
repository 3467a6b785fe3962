package cli

import (
	"context"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/term"
)

type buildOptions struct {
	Dir string
}

func newBuildCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "build [DIR]",
		short: "Build a template's images and release nothing",
		long: `Plans the template of DIR (here, unless named) and builds each of its images on the server,
where the registry then has them. The same plan gives the same digest on any machine, and an
image that was built already isn't built again.`,
		example: `
$ imx build hello
$ imx build --json hello | jq -r '.images[].digest'`,
		exits: asking(
			status{2, "the template has mistakes, or a package doesn't exist"},
			status{3, "there is no such folder"},
			status{5, "the archive or a package can't be trusted"},
			status{7, "the server's disk is full"},
		),
		most:     1,
		complete: completeDirs,
	}.command(func(ctx context.Context, args []string) error {
		return runBuild(ctx, buildOptions{Dir: dirOf(args)}, g, t)
	})
}

func runBuild(ctx context.Context, opts buildOptions, g *Global, t *term.Terminal) error {
	f, err := readFolder(ctx, opts.Dir)
	if err != nil {
		return err
	}
	result, err := track(g, t, func(report imx.Report) (imx.ApplyResult, error) {
		return g.client().Build(ctx, f.request(), report)
	})
	if err != nil {
		return atFolder(err, f.path)
	}
	if err := keepLock(f, result.Plan.Lock, g, t); err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, result)
	}
	return showImages(t.Out, result.Images, inFolder(result.Plan.Notices, f.path))
}
