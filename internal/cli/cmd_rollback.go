package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

type rollbackOptions struct {
	Service string
	To      int
}

func (o *rollbackOptions) addFlags(f *pflag.FlagSet) {
	f.IntVar(&o.To, "to", 0, "go back to release `N` in place of the newest good one before the current")
}

func newRollbackCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts rollbackOptions
	cmd := page{
		use:   "rollback SERVICE [--to N]",
		short: "Go back to an earlier good release",
		long: `Makes an earlier good release the current one again: image, configuration, ports and routes
together, without building or downloading anything. The service is held there:
no apply and no followed repository moves it on, until the hold is released.`,
		example: `
$ imx rollback web --to 3
web is back on release 3 (0.84 s)`,
		exits: asking(
			status{3, "there is no such service or release"},
			status{4, "there is nothing to go back to, or that release didn't get healthy now"},
			status{exitInterrupted, "interrupted; the server goes on"},
		),
		least:    1,
		most:     1,
		complete: onlyFirst(completeServices(g, serviceName)),
	}.command(func(ctx context.Context, args []string) error {
		opts.Service = args[0]
		return runRollback(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runRollback(ctx context.Context, opts rollbackOptions, g *Global, t *term.Terminal) error {
	if opts.To < 0 {
		return imx.Errorf(imx.Invalid, "there is no release %d: they count from 1", opts.To)
	}
	began := time.Now()
	release, err := track(g, t, func(report imx.Report) (imx.Release, error) {
		return g.client().Rollback(ctx, opts.Service, opts.To, report)
	})
	if err != nil && ctx.Err() != nil {
		return errInterrupted("if the rollback had begun, the server goes on with it: imx status shows")
	}
	if err != nil {
		return err
	}
	if g.JSON {
		err = printJSON(t.Out, release)
	} else if release.State == imx.ReleaseGood {
		_, err = fmt.Fprintf(t.Out, "%s is back on release %d %s\n", t.Out.Ink.Name(opts.Service), release.Number,
			t.Out.Ink.Dim("("+term.Took(time.Since(began))+")"))
	}
	return errors.Join(err, failedRollouts([]imx.Release{release}, servedBy(ctx, g)))
}
