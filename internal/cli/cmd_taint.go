package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/term"
)

func newTaintCommand(g *Global, t *term.Terminal) *cobra.Command {
	reason := ""
	cmd := page{
		use:   "taint INSTANCE --reason WHY",
		short: "Have an instance replaced though it runs",
		long: `Has an instance replaced that can't be trusted any more, or that somebody has looked into. Another one of its release is
started first; when that is healthy, the tainted one loses its traffic, finishes its connections and stops. Only one that holds a
volume has to stop first. Until then "imx untaint" takes it back. In the midst of a rolling replacement, the end of that comes first.`,
		example: `
$ imx taint hello-4-k3x9 --reason "somebody had a shell in it"
hello-4-k3x9 is replaced as soon as another is healthy`,
		exits: asking(
			status{2, "the reason is missing"},
			status{3, "there is no such instance"},
			status{4, "it is stopping, or has ended"},
		),
		least:    1,
		most:     1,
		complete: completeInstances(g, nil),
	}.command(func(ctx context.Context, args []string) error {
		in, err := g.client().Taint(ctx, args[0], reason)
		return tellTaint(g, t, in, "is replaced as soon as another is healthy", err)
	})
	cmd.Flags().StringVar(&reason, "reason", "", "say `WHY`; the log keeps it")
	return cmd
}

func newUntaintCommand(g *Global, t *term.Terminal) *cobra.Command {
	reason := ""
	cmd := page{
		use:   "untaint INSTANCE [--reason WHY]",
		short: "Take a taint back",
		long:  `Lets a tainted instance run on, if it hasn't been told to stop yet. What was started in its place stops.`,
		example: `
$ imx untaint hello-4-k3x9 --reason "it was the wrong one"
hello-4-k3x9 runs on`,
		exits: asking(
			status{3, "there is no such instance"},
			status{4, "it isn't tainted, or stops already"},
		),
		least:    1,
		most:     1,
		complete: completeInstances(g, nil),
	}.command(func(ctx context.Context, args []string) error {
		in, err := g.client().Untaint(ctx, args[0], reason)
		return tellTaint(g, t, in, "runs on", err)
	})
	cmd.Flags().StringVar(&reason, "reason", "", "say `WHY`; the log keeps it")
	return cmd
}

// tellTaint says what becomes of an instance.
func tellTaint(g *Global, t *term.Terminal, in imx.Instance, says string, err error) error {
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, in)
	}
	_, err = fmt.Fprintf(t.Out, "%s %s\n", t.Out.Ink.Name(in.ID), says)
	return err
}
