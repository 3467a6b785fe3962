package cli

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

type promoteOptions struct {
	Services []string
	From     string
	DryRun   bool
	Yes      bool
}

func (o *promoteOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.From, "from", "", "the `ENVIRONMENT` that it runs in; the one that the policy asks for, unless given, or the only one that is known")
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "only show what would change")
	f.BoolVarP(&o.Yes, "yes", "y", false, "don't ask before changing anything; needed where nobody can answer")
}

func newPromoteCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts promoteOptions
	cmd := page{
		use:   "promote [SERVICE...] [--from ENVIRONMENT] [--dry-run] [--yes]",
		short: "Release what the environment before this one runs",
		long: `Asks the server of another environment, an upstream, for what it runs, shows what would change here, asks, and releases the same images by digest.
Nothing is built, and nothing is tested again of which the test results there count here. Vulnerabilities are looked for here, and the policy here says
whether it may be released: with "after" and "soak" it asks that it was good there, for how long. Services keep the number of instances that
they have here. What was planned together is promoted together: SERVICE names the plan. A rollback there is promoted as well as what is new there.
What the other server signed is checked with the keys that are known of it (imx upstream), and each byte that comes against what it signed.`,
		example: `
$ imx promote web --dry-run
$ imx promote web --from staging
$ imx promote --yes`,
		exits: asking(
			status{0, "everything is rolled out, or it was up to date"},
			status{2, "several upstreams are known, and none is named; in a pipe: --yes is missing"},
			status{3, "there is no such upstream, or it offers no such service"},
			status{4, "another apply is under way, a port is taken, an image is built otherwise here, or it isn't good there now"},
			status{5, "the offer or something that came with it can't be trusted, the policy refuses it, a test failed, or the question was answered with no"},
			status{exitRollout, "a release never got healthy; its service stays on the last good one"},
			status{exitWaits, "nothing was released: a candidate waits for approvals, or for the end of a freeze (imx review)"},
			status{exitInterrupted, "interrupted"},
		),
		most:     -1,
		complete: completeServices(g, serviceName),
	}.command(func(ctx context.Context, args []string) error {
		opts.Services = args
		return runPromote(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	_ = cmd.RegisterFlagCompletionFunc("from", completeEnvironment(g)) // fails only for a flag that isn't there
	return cmd
}

// completeEnvironment offers the upstreams' for a flag, whatever the arguments are.
func completeEnvironment(g *Global) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		return completeUpstreams(g)(cmd, nil, start)
	}
}

func runPromote(ctx context.Context, opts promoteOptions, g *Global, t *term.Terminal) error {
	if !opts.Yes && !opts.DryRun {
		if err := nobodyAsked(g, t, "promote", "imx promote --dry-run"); err != nil {
			return err
		}
	}
	req := imx.TakeoverRequest{From: opts.From, Services: opts.Services, DryRun: true}
	shown, err := track(g, t, func(report imx.Report) (imx.ApplyResult, error) { return g.client().TakeOver(ctx, req, report) })
	if err != nil {
		return err
	}
	policy, err := g.client().Policy(ctx, "")
	if err != nil {
		return err
	}
	if !g.JSON {
		if err := showTakeover(t.Out, shown, policy.Policy.Settings, time.Now()); err != nil {
			return err
		}
	}
	goOn, err := wantsPromote(ctx, shown, opts, g, t)
	if err != nil || !goOn {
		return err
	}
	req.DryRun, req.Plan, req.Base = false, shown.Plan.Digest, shown.Plan.Base
	return runApplication(ctx, g, t, func(report imx.Report) (imx.ApplyResult, error) { return g.client().TakeOver(ctx, req, report) })
}

// wantsPromote says whether to go on from what was shown: a person, or --yes, wants its changes, or there are none but something is still on its way.
func wantsPromote(ctx context.Context, shown imx.ApplyResult, opts promoteOptions, g *Global, t *term.Terminal) (bool, error) {
	pending := false
	if len(shown.Plan.Changes) == 0 && !opts.DryRun {
		var err error
		if pending, err = rollingOut(ctx, shown.Plan.Plan, g); err != nil {
			return false, err
		}
	}
	switch {
	case opts.DryRun || len(shown.Plan.Changes) == 0 && !pending:
		if g.JSON {
			return false, printJSON(t.Out, shown)
		}
		return false, nil
	case pending || opts.Yes:
		return true, nil
	}
	yes, err := t.Confirm(ctx, "Promote this?")
	if err == nil && !yes {
		err = errDeclined()
	}
	return yes, err
}

// showTakeover prints where something comes from, what it would change, and what the policy asks for of where it was.
func showTakeover(out term.Stream, shown imx.ApplyResult, s imx.PolicySettings, now time.Time) error {
	o := *shown.Origin
	var b strings.Builder
	b.WriteString(out.Ink.Bold(o.Environment) + " runs the plan " + out.Ink.Name(shown.Plan.Digest.Short()) + ", good since " + term.Stamp(o.Since) +
		", for " + term.Age(o.Since, o.At) + "\n\n")
	for _, one := range bySubject(shown.Plan.Changes) {
		b.WriteString(one.text(out.Ink, out.Columns()) + "\n")
	}
	b.WriteString(diagnosticsText(out.Ink, shown.Plan.Notices) + findingsLine(out.Ink, shown.Plan.Findings, ""))
	if len(shown.Plan.Changes) == 0 {
		b.WriteString(out.Ink.Good("up to date") + ": everything is as in " + o.Environment + "\n")
	} else {
		b.WriteString(summary(out.Ink, shown.Plan.Changes, "bring") + "\n" + soakText(out.Ink, o, s, now))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// soakText says what the policy asks for of where something was, if that isn't so yet.
func soakText(ink term.Ink, o imx.Origin, s imx.PolicySettings, now time.Time) string {
	enough := o.Since.Add(time.Duration(s.Soak))
	switch {
	case s.After != "" && s.After != o.Environment:
		return ink.Warn("note:") + " the policy asks for what was good in " + term.Clean(s.After) + "\n"
	case s.After != "" && o.At.Before(enough):
		return ink.Warn("note:") + " the policy asks for " + s.Soak.String() + " there, which is at " + term.Stamp(enough) + ", in " + term.Age(now, enough) + "\n"
	}
	return ""
}

// originSays tells where something was good before; "" for what was planned here.
func originSays(o *imx.Origin) string {
	if o == nil {
		return ""
	}
	return "promoted from " + term.Clean(o.Environment) + ", good there since " + term.Stamp(o.Since)
}
