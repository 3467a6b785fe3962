package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

type gcOptions struct {
	DryRun bool
	Grace  imx.Duration
}

func (o *gcOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "only tell what would be removed")
	lengthVar(f, &o.Grace, "grace", imx.Duration(24*time.Hour), "keep what was made within this `TIME`, needed or not")
}

func newGCCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts gcOptions
	cmd := page{
		use:   "gc [--dry-run] [--grace TIME]",
		short: "Remove images and packages that nothing needs any more",
		long: `Removes what the server keeps of earlier builds and nothing needs any more. Kept are each service's current
release and its last ten good ones, whatever runs, the newest image of each name with all that it takes to build it
again without an archive, pushed tags, frozen sets, and what was made within the grace time. The server does this by
itself once a day, and sooner, with a grace of an hour, where less than a tenth of its disk is free. Builds on their
way are waited for.`,
		example: `
$ imx gc --dry-run
$ imx gc --grace 1h`,
		exits: asking(status{2, "TIME is no length of time"}, status{exitInterrupted, "interrupted; what was removed stays removed"}),
	}.command(func(ctx context.Context, _ []string) error { return runGC(ctx, opts, g, t) })
	opts.addFlags(cmd.Flags())
	return cmd
}

func runGC(ctx context.Context, opts gcOptions, g *Global, t *term.Terminal) error {
	done, err := track(g, t, func(report imx.Report) (imx.Collection, error) {
		return g.client().Collect(ctx, imx.CollectRequest{DryRun: imx.DryRun(opts.DryRun), Grace: &opts.Grace}, report)
	})
	if err != nil && ctx.Err() != nil {
		return errInterrupted("what was removed stays removed; imx gc goes on with the rest")
	}
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, done)
	}
	return showCollection(t.Out, done)
}

func showCollection(out term.Stream, c imx.Collection) error {
	if c.Things == 0 {
		_, err := fmt.Fprintln(out, "nothing is there that isn't needed")
		return err
	}
	table := term.Table{Head: []string{"KIND", "NUMBER", "SIZE"}}
	for _, k := range c.Kinds {
		table.Add(k.Kind, strconv.Itoa(k.Things), k.Size.String())
	}
	verb := "freed"
	if c.DryRun {
		verb = "would free"
	}
	_, err := io.WriteString(out, table.Text(out.Ink, out.Columns())+verb+" "+out.Ink.Bold(c.Size.String())+"\n")
	return err
}
