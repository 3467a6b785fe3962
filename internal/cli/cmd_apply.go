package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

type applyOptions struct {
	Dir string
	Yes bool
	// SkipTests is why nothing is tested.
	SkipTests string
}

func (o *applyOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.Yes, "yes", "y", false, "don't ask before changing anything; needed where nobody can answer")
	f.StringVar(&o.SkipTests, "skip-tests", "", "release without testing the images; the log keeps the `REASON`")
}

func newApplyCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts applyOptions
	cmd := page{
		use:   "apply [DIR] [--yes] [--skip-tests REASON]",
		short: "Build, release and roll out a template",
		long: `Shows what would change, asks, then builds the images of DIR (here, unless named), tests
those that haven't passed yet as they are (see "imx test"), releases all services at once and
waits for each rollout. A test that fails stops it before anything is released. New instances get traffic once they are
healthy; a release that never gets healthy never does, and its service stays as it was. Where nothing would change,
but a release may not run any more (imx verify), what is missing of its evidence or doesn't count is made anew.
Ctrl-C before the release leaves everything as it was; after it, the rollouts go on.`,
		example: `
$ imx apply hello
$ imx apply --yes hello || imx releases hello`,
		exits: asking(
			status{0, "everything is rolled out, or there was nothing to change"},
			status{2, "the template has mistakes; in a pipe: --yes is missing"},
			status{3, "there is no such folder"},
			status{4, "another apply is under way, or a port is taken"},
			status{5, "the archive or a package can't be trusted, a test failed, or the question was answered with no"},
			status{7, "the server's disk is full, or no address is left"},
			status{exitRollout, "a release never got healthy; its service stays on the last good one"},
			status{exitDenied, "nothing was to change, and what runs may not run any more, though what is stated of it was made anew"},
			status{exitWaits, "nothing was released: a candidate waits for approvals, or for the end of a freeze (imx review)"},
			status{exitInterrupted, "interrupted"},
		),
		most:     1,
		complete: completeDirs,
	}.command(func(ctx context.Context, args []string) error {
		opts.Dir = dirOf(args)
		return runApply(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runApply(ctx context.Context, opts applyOptions, g *Global, t *term.Terminal) error {
	if opts.SkipTests != "" && strings.TrimSpace(opts.SkipTests) == "" {
		return imx.Errorf(imx.Invalid, "--skip-tests needs a reason").WithHint("say why: the log keeps it")
	}
	if !opts.Yes {
		if err := nobodyAsked(g, t, "apply", strings.TrimSpace("imx plan "+argOf(opts.Dir))); err != nil {
			return err
		}
	}
	f, err := readFolder(ctx, opts.Dir)
	if err != nil {
		return err
	}
	planned, err := planFolder(ctx, f, f.request(), g, t)
	if err != nil {
		return err
	}
	if !g.JSON {
		if err := showPlan(t.Out, planned, f.path); err != nil {
			return err
		}
	}
	goOn, err := wantsApply(ctx, planned, opts, g, t)
	if err != nil || !goOn {
		return err
	}
	f.lock, f.template.Source = &planned.Lock, planned.Plan.Source // what was shown is what is applied,
	req := f.request()
	req.Expect = planned.Base // and to what it was compared with
	req.SkipTests = strings.TrimSpace(opts.SkipTests)
	if err := applyFolder(ctx, f, req, g, t); err != nil {
		return err
	}
	return stillRefused(ctx, planned, g)
}

// wantsApply says whether to go on from the plan: a person, or --yes, wants its changes, or there are
// none but something is still on its way.
func wantsApply(ctx context.Context, planned imx.PlanResult, opts applyOptions, g *Global, t *term.Terminal) (bool, error) {
	if len(planned.Changes) == 0 {
		pending, err := rollingOut(ctx, planned.Plan, g)
		if err != nil || pending {
			return pending, err
		}
		denied, err := refused(ctx, planned.Plan, g)
		if err != nil || len(denied) == 0 {
			return false, errors.Join(err, showNothingApplied(planned, g, t))
		}
		for _, d := range denied {
			fmt.Fprintf(t.Err, "%s may not run any more (%s): what is stated of its image is made anew\n", d.Subject, unmetNow(d.Verdict))
		}
	}
	if opts.Yes {
		return true, nil
	}
	yes, err := t.Confirm(ctx, "Apply this?")
	if err == nil && !yes {
		err = errDeclined()
	}
	return yes, err
}

// rollingOut reports whether a service of the plan is on its way to a release right now. Then there
// is something to wait for, even if there is nothing to change.
func rollingOut(ctx context.Context, p imx.Plan, g *Global) (bool, error) {
	status, err := g.client().Status(ctx, time.Time{})
	for _, spec := range p.Services {
		if v := status.State.Services[spec.Name]; !v.Destroyed && v.Target != v.Current {
			return true, err
		}
	}
	return false, err
}

// refused are the verdicts on those services of a plan that run and may not be started again.
func refused(ctx context.Context, p imx.Plan, g *Global) ([]imx.Verification, error) {
	var denied []imx.Verification
	for _, spec := range p.Services {
		found, err := g.client().Verify(ctx, imx.VerifyQuery{Subject: "service." + spec.Name, Purpose: imx.ForStart})
		switch {
		case imx.KindOf(err) == imx.NotFound: // it doesn't run
		case err != nil:
			return nil, err
		case !found.Verdict.Allowed:
			denied = append(denied, found)
		}
	}
	return denied, nil
}

// unmetNow are the conditions that stand in a verdict's way.
func unmetNow(v imx.Verdict) string {
	ids, _ := unmetOf(v, nil)
	return ids
}

// stillRefused is an error where a plan that changed nothing has services that may not run any more, whatever was stated anew.
func stillRefused(ctx context.Context, planned imx.PlanResult, g *Global) error {
	if len(planned.Changes) > 0 {
		return nil
	}
	denied, err := refused(ctx, planned.Plan, g)
	if err != nil || len(denied) == 0 {
		return err
	}
	return exit{exitDenied, imx.Errorf(imx.Refused, "%s still may not run: %s", denied[0].Subject, unmetNow(denied[0].Verdict)).
		WithHint("imx verify %s says what each condition wants, and what to do", denied[0].Verdict.Service)}
}

func showNothingApplied(planned imx.PlanResult, g *Global, t *term.Terminal) error {
	if g.JSON {
		return printJSON(t.Out, imx.ApplyResult{Plan: planned})
	}
	return nil
}

// applyFolder asks the server to apply and shows what came of it.
func applyFolder(ctx context.Context, f folder, req imx.PlanRequest, g *Global, t *term.Terminal) error {
	err := runApplication(ctx, g, t, func(report imx.Report) (imx.ApplyResult, error) { return g.client().Apply(ctx, req, report) })
	if _, own := errors.AsType[exit](err); own || err == nil || ctx.Err() != nil {
		return err
	}
	return atFolder(err, f.path)
}

// runApplication does what makes releases, and shows what came of it.
func runApplication(ctx context.Context, g *Global, t *term.Terminal, work func(imx.Report) (imx.ApplyResult, error)) error {
	var released atomic.Bool // set by the first step of a rollout
	result, err := track(g, t, func(report imx.Report) (imx.ApplyResult, error) {
		return work(func(p imx.Progress) {
			if strings.HasPrefix(p.Step, "roll out ") {
				released.Store(true)
			}
			report(p)
		})
	})
	switch {
	case err != nil && ctx.Err() != nil && released.Load():
		return errInterrupted("the release is made and the server goes on rolling it out: imx status shows how far it is")
	case err != nil && ctx.Err() != nil:
		return errInterrupted("nothing was released when it ended; what was built is kept for the next apply")
	case err != nil:
		return err
	}
	switch {
	case g.JSON:
		err = printJSON(t.Out, result)
	case result.Candidate == nil:
		err = showApplied(t.Out, result)
	}
	if c := result.Candidate; c != nil {
		return errors.Join(err, exit{exitWaits, &imx.Error{
			Kind: imx.Refused, Message: fmt.Sprintf("nothing was released: candidate %s waits for %s", c.ID, result.Waits), Hint: waitingHint(c.ID, result.Waits),
		}})
	}
	return errors.Join(err, failedRollouts(result.Releases, servedBy(ctx, g)))
}

// waitingHint says what can be done about a candidate that waits.
func waitingHint(id, waits string) string {
	if strings.Contains(waits, "approvals") {
		return fmt.Sprintf("imx review %s shows what would change; who is a reviewer says yes with imx approve %s", id, id)
	}
	return fmt.Sprintf("imx review %s shows until when; imx release %s releases it then, and imx exception add freeze excuses it", id, id)
}

// servedBy returns which release has the traffic of each service: 0 for none. It is nil where the server
// doesn't answer.
func servedBy(ctx context.Context, g *Global) map[string]int {
	status, err := g.client().Status(ctx, time.Time{})
	if err != nil {
		return nil
	}
	current := map[string]int{}
	for name, s := range status.State.Services {
		current[name] = s.Current
	}
	return current
}

// failedRollouts is an error of its own exit status where a release has failed. current is as of servedBy.
func failedRollouts(releases []imx.Release, current map[string]int) error {
	var failed []imx.Release
	for _, r := range releases {
		switch r.State {
		case imx.ReleaseGood:
		case imx.ReleaseSuperseded:
			return exit{exitRollout, &imx.Error{
				Kind: imx.Conflict, Message: fmt.Sprintf("release %s %d: %s", r.Service, r.Number, r.Reason),
				Hint: "somebody wanted something else meanwhile: imx log shows who and what",
			}}
		case imx.ReleasePending, imx.ReleaseFailed:
			failed = append(failed, r)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	var said []string
	for _, r := range failed {
		said = append(said, fmt.Sprintf("release %s %d failed: %s", r.Service, r.Number, remains(r, current)))
	}
	last := failed[len(failed)-1].Service
	return exit{exitRollout, &imx.Error{
		Kind: imx.Conflict, Message: strings.Join(said, "\n"),
		Hint: "imx releases " + last + " says why; imx ps --all --service " + last + " names its instances, imx logs shows what they wrote",
	}}
}

// remains says what serves now that a release has failed.
func remains(failed imx.Release, current map[string]int) string {
	serving, known := current[failed.Service]
	switch {
	case serving != 0:
		return fmt.Sprintf("the service stays on release %d", serving)
	case failed.Number == 1:
		return "it is the service's first, so nothing serves"
	case known:
		return "no release of the service was ever good, so nothing serves"
	}
	return "the service stays as it was"
}
