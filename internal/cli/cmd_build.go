package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

type buildOptions struct {
	Dir        string
	CheckRepro bool
}

func (o *buildOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.CheckRepro, "check-repro", false, "build each image a second time and show the first differences")
}

func newBuildCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts buildOptions
	cmd := page{
		use:   "build [DIR] [--check-repro]",
		short: "Build a template's images and release nothing",
		long: `Plans the template of DIR (here, unless named) and builds each of its images on the server,
where the registry then has them. The same plan gives the same digest on any machine, and an
image that was built already isn't built again. An image that can't be built leaves the others
alone: what can be built is, and each failure is told.

With --check-repro each image is then built a second time, from nothing but its packages, in another
folder, with another umask and with the packages in the opposite order; what differs is shown by path.`,
		example: `
$ imx build hello
$ imx build --check-repro hello
$ imx build --json hello | jq -r '.images[].digest'`,
		exits: asking(
			status{2, "the template has mistakes, or a package doesn't exist"},
			status{3, "there is no such folder"},
			status{5, "the archive or a package can't be trusted"},
			status{7, "the server's disk is full"},
			status{exitRepro, "with --check-repro: an image came out otherwise the second time"},
		),
		most:     1,
		complete: completeDirs,
	}.command(func(ctx context.Context, args []string) error {
		opts.Dir = dirOf(args)
		if opts.CheckRepro {
			return runCheckRepro(ctx, opts, g, t)
		}
		return runBuild(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
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
	if err := showImages(t.Out, result.Images, inFolder(result.Plan.Notices, f.path)); err != nil {
		return err
	}
	if line := findingsLine(t.Out.Ink, result.Plan.Findings, f.path); line != "" {
		_, err = fmt.Fprint(t.Out, "\n"+strings.TrimSuffix(line, "\n"))
	}
	return err
}

func runCheckRepro(ctx context.Context, opts buildOptions, g *Global, t *term.Terminal) error {
	f, err := readFolder(ctx, opts.Dir)
	if err != nil {
		return err
	}
	result, err := track(g, t, func(report imx.Report) (imx.ReproResult, error) {
		return g.client().CheckRepro(ctx, f.request(), report)
	})
	if err != nil {
		return atFolder(err, f.path)
	}
	if err := keepLock(f, result.Plan.Lock, g, t); err != nil {
		return err
	}
	if g.JSON {
		err = printJSON(t.Out, result)
	} else {
		err = showRepros(t.Out, result.Images, inFolder(result.Plan.Notices, f.path))
	}
	if err != nil {
		return err
	}
	return notRepeated(result.Images)
}

// notRepeated is an error of its own exit status where an image came out otherwise the second time.
func notRepeated(images []imx.Repro) error {
	var names []string
	for _, r := range images {
		if !r.Same() {
			names = append(names, "image."+r.Image.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return exit{exitRepro, imx.Errorf(imx.Internal, "built a second time, %s came out otherwise", strings.Join(names, ", ")).
		WithHint("leave the paths that differ out, by generated = [\"!PATH\"] or with the package that makes them, or report it as a defect of imx")}
}
