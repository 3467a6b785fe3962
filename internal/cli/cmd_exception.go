package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

func newExceptionCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "exception",
		short: "Excuse a condition of the policy for a while",
		long: `Makes, lists and ends exceptions: each excuses one condition of the policy, for a service or for all, until a moment, for a
reason, and is on the log with who made it. The condition "signed" has none.`,
		example: `
$ imx exception add scan --service web --until 72h --reason "the feed's server is down"
$ imx exception list
$ imx exception end 3afb973e`,
		exits: asking(status{2, "there is no such command"}),
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newExceptionAddCommand(g, t), newExceptionListCommand(g, t), newExceptionEndCommand(g, t))
	return cmd
}

type exceptionOptions struct {
	Condition, Service, Image, Until, Reason string
}

func (o *exceptionOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Service, "service", "", "only for this `SERVICE`")
	f.StringVar(&o.Image, "image", "", "only for the image with this `DIGEST`")
	f.StringVar(&o.Until, "until", "", "excuse it until `TIME`: a day (from its beginning, UTC), a moment, or how long from now (72h, 10d)")
	f.StringVar(&o.Reason, "reason", "", "say `WHY`; the log keeps it")
}

func newExceptionAddCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts exceptionOptions
	cmd := page{
		use:   "add CONDITION --until TIME --reason WHY [--service SERVICE] [--image DIGEST]",
		short: "Excuse a condition until a moment",
		long: `Excuses CONDITION of the policy of the server's environment, from now until TIME, at most 90 days. What is excused
is shown wherever the verdict is.`,
		example: `
$ imx exception add scan --service web --until 72h --reason "the feed's server is down"
$ imx exception add reviews --until 2027-01-02 --reason "nobody else is here over the holidays"`,
		exits: asking(
			status{2, "there is no such condition, it can't be excused, or the reason or the end is missing, past, or too far away"},
			status{3, "there is no such service"},
		),
		least: 1,
		most:  1,
	}.command(func(ctx context.Context, args []string) error {
		opts.Condition = args[0]
		return runExceptionAdd(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	_ = cmd.RegisterFlagCompletionFunc("service", completeServices(g, serviceName)) // fails only for a flag that isn't there
	return cmd
}

func runExceptionAdd(ctx context.Context, opts exceptionOptions, g *Global, t *term.Terminal) error {
	until, err := parseUntil(opts.Until, time.Now())
	if err != nil {
		return err
	}
	var image imx.Digest
	if opts.Image != "" {
		if image, err = imx.ParseDigest(opts.Image); err != nil {
			return err
		}
	}
	x, err := g.client().Except(ctx, imx.Exception{
		Condition: opts.Condition, Service: opts.Service, Image: image, Reason: strings.TrimSpace(opts.Reason), Until: until,
	})
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, x)
	}
	_, err = fmt.Fprintf(t.Out, "exception %s excuses %s until %s\n", t.Out.Ink.Name(x.ID), x.Condition, term.Stamp(x.Until))
	return err
}

func newExceptionListCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "list",
		short: "List the exceptions that haven't ended",
		long:  "Lists the exceptions that haven't ended, the one that ends first at the top. The log has all that there ever were.",
		example: `
$ imx exception list
$ imx exception list --json | jq -r '.[].condition'`,
		exits: asking(),
	}.command(func(ctx context.Context, _ []string) error {
		list, err := g.client().Exceptions(ctx)
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, list)
		}
		return showExceptions(t.Out, list, time.Now())
	})
}

func newExceptionEndCommand(g *Global, t *term.Terminal) *cobra.Command {
	reason := ""
	cmd := page{
		use:   "end ID [--reason WHY]",
		short: "End an exception before its time",
		long:  "Ends an exception. What it excused counts again at once, and what runs is judged anew.",
		example: `
$ imx exception end 3afb973e --reason "the feed's server is back"`,
		exits: asking(status{3, "there is no such exception"}, status{4, "it has ended already"}),
		least: 1,
		most:  1,
	}.command(func(ctx context.Context, args []string) error {
		if err := g.client().EndException(ctx, args[0], reason); err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, struct {
				Ended string `json:"ended"`
			}{args[0]})
		}
		_, err := fmt.Fprintf(t.Out, "exception %s has ended\n", t.Out.Ink.Name(args[0]))
		return err
	})
	cmd.Flags().StringVar(&reason, "reason", "", "say `WHY`; the log keeps it")
	return cmd
}
