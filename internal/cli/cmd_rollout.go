package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/term"
)

func newRolloutCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "rollout",
		short: "Watch and steer how releases take over",
		long: `Shows how a release takes the place of another, lets it go on, stops it or gives it up, tells afterwards why each step
was taken, and tries a template's deploy block in a simulated world. What a rollout does by itself, docs/rollout.md describes.`,
		example: `
$ imx rollout watch
$ imx rollout promote web
$ imx rollout history web`,
		exits: asking(status{2, "there is no such command"}),
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	for i, sub := range []*cobra.Command{
		newRolloutWatchCommand(g, t), newRolloutHistoryCommand(g, t), newRolloutPromoteCommand(g, t), newRolloutPauseCommand(g, t),
		newRolloutAbortCommand(g, t), newRolloutSimulateCommand(g, t),
	} {
		sub.Annotations[orderNote] = string(rune('a' + i))
		cmd.AddCommand(sub)
	}
	return cmd
}

func newRolloutHistoryCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "history SERVICE",
		short: "Tell why each step of a service's rollouts was taken",
		long: `Lists what happened to a service's releases, the oldest first, a line each: when, what, why, and by whom. It is read
from the log, and goes back to the service's first release.`,
		example: `
$ imx rollout history web
$ imx rollout history web --json | jq -r '.[] | select(.kind == "rollout-failed").body.reason'`,
		exits:    asking(status{3, "there is no such service"}),
		least:    1,
		most:     1,
		complete: onlyFirst(completeServices(g, serviceName)),
	}.command(func(ctx context.Context, args []string) error {
		events, err := g.client().History(ctx, args[0])
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, events)
		}
		return showHistory(t.Out, args[0], events)
	})
}

func newRolloutPromoteCommand(g *Global, t *term.Terminal) *cobra.Command {
	var req imx.PromoteRequest
	cmd := page{
		use:   "promote SERVICE [--whole] [--reason WHY]",
		short: "Let a rollout go on to its next step",
		long: `Ends the step that the service's rollout is at, or with --whole all that are left: it has all the traffic as soon as it
is healthy. It also ends a pause. A release that does worse is given up all the same.`,
		example: `
$ imx rollout promote web
web: release 4 goes on past step 1 of 3, 10 %
$ imx rollout promote web --whole --reason "it mends the outage"`,
		exits: asking(
			status{3, "there is no such service"},
			status{4, "nothing of it is being rolled out, or no step of it waits"},
		),
		least:    1,
		most:     1,
		complete: onlyFirst(completeServices(g, serviceName)),
	}.command(func(ctx context.Context, args []string) error {
		v, err := g.client().Promote(ctx, args[0], req)
		if err != nil {
			return err
		}
		st := standingOf(&imx.State{}, v, imx.RolloutView{})
		says := fmt.Sprintf("release %d goes on%s", v.Target, before(" past ", st.step()))
		if req.Whole {
			says = fmt.Sprintf("release %d goes on past all steps", v.Target)
		}
		return told(g, t, v, says)
	})
	cmd.Flags().BoolVar(&req.Whole, "whole", false, "past all steps that are left")
	cmd.Flags().StringVar(&req.Reason, "reason", "", "say `WHY`; the log keeps it")
	return cmd
}

func newRolloutPauseCommand(g *Global, t *term.Terminal) *cobra.Command {
	reason := ""
	cmd := page{
		use:   "pause SERVICE [--reason WHY]",
		short: "Stop a rollout where it is",
		long: `Stops the service's rollout where it is: nothing gets more traffic until it is promoted. A release that does worse is
given up all the same.`,
		example: `
$ imx rollout pause web --reason "let us look at its logs first"
web: release 4 stays where it is until it is promoted`,
		exits: asking(
			status{3, "there is no such service"},
			status{4, "nothing of it is being rolled out"},
		),
		least:    1,
		most:     1,
		complete: onlyFirst(completeServices(g, serviceName)),
	}.command(func(ctx context.Context, args []string) error {
		v, err := g.client().Pause(ctx, args[0], reason)
		if err != nil {
			return err
		}
		return told(g, t, v, fmt.Sprintf("release %d stays where it is until it is promoted", v.Target))
	})
	cmd.Flags().StringVar(&reason, "reason", "", "say `WHY`; the log keeps it")
	return cmd
}

func newRolloutAbortCommand(g *Global, t *term.Terminal) *cobra.Command {
	reason := ""
	cmd := page{
		use:   "abort SERVICE --reason WHY",
		short: "Give a rollout up",
		long: `Gives the service's rollout up: the current release gets all the traffic back at once, and the new one counts as failed.
Services of its group go back with it.`,
		example: `
$ imx rollout abort web --reason "customers see an old price"
web: release 4 is given up, release 3 gets all the traffic back`,
		exits: asking(
			status{2, "the reason is missing"},
			status{3, "there is no such service"},
			status{4, "nothing of it is being rolled out"},
		),
		least:    1,
		most:     1,
		complete: onlyFirst(completeServices(g, serviceName)),
	}.command(func(ctx context.Context, args []string) error {
		if err := needsReason(reason); err != nil {
			return err
		}
		v, err := g.client().Abort(ctx, args[0], reason)
		if err != nil {
			return err
		}
		says := fmt.Sprintf("release %d is given up, ", v.Target)
		if v.Current == 0 {
			return told(g, t, v, says+"and the service has no other")
		}
		return told(g, t, v, says+fmt.Sprintf("release %d gets all the traffic back", v.Current))
	})
	cmd.Flags().StringVar(&reason, "reason", "", "say `WHY`; the log keeps it")
	return cmd
}

// needsReason refuses what isn't done without a reason before a server is asked.
func needsReason(reason string) error {
	if strings.TrimSpace(reason) != "" {
		return nil
	}
	return imx.Errorf(imx.Invalid, "this needs a reason").WithHint("say --reason WHY: the log keeps it")
}

// told prints what came of a person's word about a service: in JSON the service as it was then.
func told(g *Global, t *term.Terminal, v imx.Service, says string) error {
	if g.JSON {
		return printJSON(t.Out, v)
	}
	_, err := fmt.Fprintf(t.Out, "%s: %s\n", t.Out.Ink.Name(v.Name), says)
	return err
}
