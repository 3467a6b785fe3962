package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

type planOptions struct {
	Dir      string
	Update   bool
	Detailed bool
}

func (o *planOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.Update, "update", false, "choose the newest versions, whatever imx.lock says")
	f.BoolVar(&o.Detailed, "detailed-exitcode", false, "exit with 10 if there is something to change")
}

func newPlanCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts planOptions
	cmd := page{
		use:   "plan [DIR] [--update]",
		short: "Show what applying a template would change",
		long: `Resolves the template of DIR (here, unless named) against its signed archive and shows every
change before it happens: packages, files, settings, instances. It changes nothing but
DIR/imx.lock, which pins what was chosen; keep that file in Git.`,
		example: `
$ imx plan hello
$ imx plan --update --detailed-exitcode; test $? = 10 && echo there are updates`,
		exits: asking(
			status{0, "the plan was made; with --detailed-exitcode: there is nothing to change"},
			status{2, "the template has mistakes, or a package doesn't exist"},
			status{3, "there is no such folder"},
			status{5, "the archive can't be trusted: a signature, date or hash is wrong"},
			status{exitChanges, "with --detailed-exitcode: there is something to change (2 means a mistake already)"},
		),
		most:     1,
		complete: completeDirs,
	}.command(func(ctx context.Context, args []string) error {
		opts.Dir = dirOf(args)
		return runPlan(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runPlan(ctx context.Context, opts planOptions, g *Global, t *term.Terminal) error {
	f, err := readFolder(ctx, opts.Dir)
	if opts.Update && f.damaged {
		err = nil // nothing of the lock is needed
	}
	if err != nil {
		return err
	}
	req := f.request()
	req.Update = opts.Update
	result, err := planFolder(ctx, f, req, g, t)
	if err != nil {
		return err
	}
	if g.JSON {
		err = printJSON(t.Out, result)
	} else {
		err = showPlan(t.Out, result, f.path)
	}
	if err == nil && opts.Detailed && len(result.Changes) > 0 {
		return exit{code: exitChanges}
	}
	return err
}

// planFolder asks for a plan and keeps its lock.
func planFolder(ctx context.Context, f folder, req imx.PlanRequest, g *Global, t *term.Terminal) (imx.PlanResult, error) {
	result, err := track(g, t, func(report imx.Report) (imx.PlanResult, error) {
		return g.client().Plan(ctx, req, report)
	})
	if err != nil {
		return result, atFolder(err, f.path)
	}
	return result, keepLock(f, result.Lock, g, t)
}

// keepLock writes the lock file and says so where that changed it.
func keepLock(f folder, lock imx.Lock, g *Global, t *term.Terminal) error {
	changed, err := f.writeLock(lock)
	if err != nil || !changed || g.JSON {
		return err
	}
	_, err = fmt.Fprintf(t.Err, "%s\n", t.Err.Ink.Dim("wrote "+filepath.Join(f.path, imx.LockFile)))
	return err
}
