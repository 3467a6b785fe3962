package cli

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

type psOptions struct {
	Service string
	All     bool
}

func (o *psOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Service, "service", "", "only the instances of this `SERVICE`")
	f.BoolVarP(&o.All, "all", "a", false, "ended instances too, with how they ended")
}

func newPsCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts psOptions
	cmd := page{
		use:   "ps [--service SERVICE] [--all]",
		short: "List instances",
		long: `Lists the instances that run, with their release, phase, address and age. Ended ones are kept for
a while and shown with --all: what an instance wrote can be read until then.`,
		example: `
$ imx ps
$ imx ps --all --service hello`,
		exits: asking(status{3, "there is no such service"}),
	}.command(func(ctx context.Context, _ []string) error {
		return runPs(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	_ = cmd.RegisterFlagCompletionFunc("service", completeServices(g, serviceName)) // fails only for a flag that isn't there
	return cmd
}

func runPs(ctx context.Context, opts psOptions, g *Global, t *term.Terminal) error {
	instances, err := g.client().Instances(ctx, opts.Service)
	if err != nil {
		return err
	}
	if !opts.All {
		instances = slices.DeleteFunc(instances, func(in imx.Instance) bool { return in.Phase == imx.Ended })
	}
	if g.JSON {
		return printJSON(t.Out, instances)
	}
	if err := showInstances(t.Out, instances, time.Now()); err != nil {
		return err
	}
	return showDenied(ctx, g, t.Out, instances)
}

// showDenied tells of the services whose instances run though their release wouldn't be admitted any more.
func showDenied(ctx context.Context, g *Global, out term.Stream, instances []imx.Instance) error {
	s, err := g.client().Status(ctx, time.Time{})
	if err != nil {
		return err
	}
	for _, v := range living(s.State) {
		if slices.ContainsFunc(instances, func(in imx.Instance) bool { return in.Service == v.Name }) {
			if _, err := io.WriteString(out, verdictNotes(out.Ink, s.State, v, s.Environment)); err != nil {
				return err
			}
		}
	}
	return nil
}
