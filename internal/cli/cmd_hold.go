package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/term"
)

func newHoldCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "hold",
		short: "Show and release what a rollback holds",
		long: `A rollback holds a service where it is: no apply, candidate or followed repository moves it on. What imx rolled back by
itself is moved on by anything but that same release.`,
		example: `
$ imx hold list
$ imx hold release web --reason "the fault is mended"`,
		exits: asking(status{2, "there is no such command"}),
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newHoldListCommand(g, t), newHoldReleaseCommand(g, t))
	return cmd
}

func newHoldListCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "list",
		short: "List the services that are held",
		long:  "Lists the services that are held, with who went back from which release, since when, and why. A service that isn't listed goes on with the next apply.",
		example: `
$ imx hold list
$ imx hold list --json | jq -r '.[].name'`,
		exits: asking(),
	}.command(func(ctx context.Context, _ []string) error {
		services, err := g.client().Services(ctx)
		if err != nil {
			return err
		}
		held := slices.DeleteFunc(services, func(v imx.Service) bool { return v.Hold == nil })
		if g.JSON {
			return printJSON(t.Out, held)
		}
		return showHolds(t.Out, held, time.Now())
	})
}

func showHolds(out term.Stream, held []imx.Service, now time.Time) error {
	if len(held) == 0 {
		_, err := fmt.Fprintln(out, "no service is held")
		return err
	}
	table := term.Table{Head: []string{"SERVICE", "AT", "FROM", "BY", "SINCE", "WHY"}, Wraps: []string{"WHY"}}
	for _, v := range held {
		table.Add(out.Ink.Name(v.Name), strconv.Itoa(v.Target), strconv.Itoa(v.Hold.From), term.Clean(string(v.Hold.By)),
			term.Age(v.Hold.Since, now)+" ago", term.Clean(v.Hold.Reason))
	}
	_, err := io.WriteString(out, table.Text(out.Ink, out.Columns()))
	return err
}

func newHoldReleaseCommand(g *Global, t *term.Terminal) *cobra.Command {
	reason := ""
	cmd := page{
		use:   "release SERVICE --reason WHY",
		short: "Let a service go on that is held",
		long: `Ends a hold: the next apply, candidate or commit of a followed repository may release the service again. Nothing is
released by it.`,
		example: `
$ imx hold release web --reason "the fault is mended"
web isn't held any more: what is released next goes on from release 3`,
		exits: asking(
			status{2, "the reason is missing"},
			status{3, "there is no such service"},
			status{4, "it isn't held"},
		),
		least:    1,
		most:     1,
		complete: onlyFirst(completeServices(g, serviceName)),
	}.command(func(ctx context.Context, args []string) error {
		if err := needsReason(reason); err != nil {
			return err
		}
		v, err := g.client().ReleaseHold(ctx, args[0], reason)
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, v)
		}
		_, err = fmt.Fprintf(t.Out, "%s isn't held any more: what is released next goes on from release %d\n", t.Out.Ink.Name(v.Name), v.Target)
		return err
	})
	cmd.Flags().StringVar(&reason, "reason", "", "say `WHY`; the log keeps it")
	return cmd
}
