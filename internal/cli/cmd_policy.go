package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/policy"
	"imx/internal/term"
)

func newPolicyCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "policy",
		short: "What may run: the conditions of an environment",
		long: `Shows what an environment asks of what runs in it, changes that, tries rules of your own against recorded evidence, and
explains a verdict. docs/policy.md tells how conditions are written.`,
		example: `
$ imx policy show
$ imx policy set --environment production --reviews 2
$ imx policy explain web`,
		exits: asking(status{2, "there is no such command"}),
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newPolicyShowCommand(g, t), newPolicySetCommand(g, t), newPolicyTestCommand(g, t), newPolicyExplainCommand(g, t))
	return cmd
}

func newPolicyShowCommand(g *Global, t *term.Terminal) *cobra.Command {
	environment := ""
	cmd := page{
		use:   "show [--environment NAME]",
		short: "Show what an environment asks for",
		long: `Shows the settings and conditions of an environment's policy. Of each condition it tells whether it refuses a release, refuses
the start of an instance, or is only shown.`,
		example: `
$ imx policy show
$ imx policy show --environment production --json | jq .policy.settings`,
		exits: asking(status{2, "NAME can't be an environment"}, status{3, "there is no such environment"}),
	}.command(func(ctx context.Context, _ []string) error {
		v, err := g.client().Policy(ctx, environment)
		if err != nil {
			return err
		}
		return printPolicy(v, g, t)
	})
	cmd.Flags().StringVar(&environment, "environment", "", "`NAME` of the environment; the server's, unless given")
	return cmd
}

func printPolicy(v imx.PolicyView, g *Global, t *term.Terminal) error {
	if g.JSON {
		return printJSON(t.Out, v)
	}
	return showPolicy(t.Out, v, time.Now())
}

type policyOptions struct {
	Environment, Dir, Denied string
	Reviews                  int
	ScanAge                  imx.Duration
	Dirty, SignedCommits     bool
	SignedSources            bool
	KnownAuthor              bool
	Warn, Freezes            []string
	Reset, New               bool
	flags                    *pflag.FlagSet

	policyOrder
	policyAnswers
}

// policyOrder is where a release must have been good before.
type policyOrder struct {
	After string
	Soak  imx.Duration
}

// policyAnswers are what a person says about a change of a policy as a whole.
type policyAnswers struct {
	ReplaceFirm, DryRun, Yes bool
	Reason                   string
}

func (o *policyOptions) addFlags(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.Environment, "environment", "", "`NAME` of the environment; the server's, unless given")
	f.IntVar(&o.Reviews, "reviews", 0, "ask for approvals by `N` people, none of them an author")
	lengthVar(f, &o.ScanAge, "scan-age", 0, "how old the newest scan may be: `TIME`, such as 24h or 2d")
	f.BoolVar(&o.Dirty, "dirty", false, "allow templates from folders that differ from their commit, or are in none")
	f.BoolVar(&o.SignedCommits, "signed-commits", false, "ask for a commit that somebody known signed, in a repository that the server follows")
	f.BoolVar(&o.SignedSources, "signed-sources", false, "ask that all new commits of a followed repository are signed by somebody known, and nothing of folders")
	f.BoolVar(&o.KnownAuthor, "known-author", false, "refuse plans that neither somebody known nor a followed repository brought")
	f.StringSliceVar(&o.Warn, "warn", nil, "`CONDITIONS` that are shown and don't refuse, with commas between; \"\" for none")
	f.StringArrayVar(&o.Freezes, "freeze", nil, "nothing new is released in this `TIME`, \"weekend: fri 16:00 - mon 06:00 Europe/Berlin\"; once for each, in place of those that there are; \"\" for none")
	f.StringVar(&o.After, "after", "", "release only what was good in the `ENVIRONMENT` before this one (imx promote); \"\" asks for none")
	lengthVar(f, &o.Soak, "soak", 0, "for how long it must have been good there, without a break: `TIME`, such as 24h or 2d")
	f.StringVar(&o.Denied, "denied", "", "what is done about a running release that may not run any more: `ACTION` show, replace or stop")
	f.BoolVar(&o.New, "new", false, "make the environment, which isn't known yet")
	f.BoolVar(&o.Reset, "reset", false, "begin with imx's own policy for the environment, without rules of yours")
	f.BoolVar(&o.ReplaceFirm, "replace-firm", false, "rules of yours may take the place of a condition that nothing excuses (signed)")
	f.StringVar(&o.Reason, "reason", "", "say `WHY`; the log and imx policy show keep it")
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "only tell what would be asked for, and whom that would hit")
	f.BoolVarP(&o.Yes, "yes", "y", false, "don't ask; needed where something that runs is hit and nobody can answer")
}

func newPolicySetCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts policyOptions
	cmd := page{
		use: "set [DIR] [--environment NAME] [--reviews N] [--scan-age TIME] [--dirty] [--signed-commits] [--signed-sources] " +
			"[--known-author] [--warn CONDITIONS] [--freeze TIME] [--after ENVIRONMENT] [--soak TIME] [--denied ACTION] [--new] [--reset] [--replace-firm] [--reason WHY] [--dry-run] [--yes]",
		short: "Change what an environment asks for",
		long: `Changes an environment's policy: the settings that are given, and with DIR the rules of your own, its *.rego files. A file with the
name of one of imx's takes its place, the others are added. What doesn't compile is refused. What runs is judged anew at once: where
something that runs wouldn't be started again, would be replaced or stopped, it says which and asks. A policy that is the same as imx's own
is that: --reset alone gives it back. An environment that nobody made is a mistake, unless --new makes it.`,
		example: `
$ imx policy set --environment production --reviews 2
$ imx policy set --environment production policy/ --reason "audit 2026-11" --dry-run
$ imx policy set --new --environment preview --reviews 1
$ imx policy set --dirty=false --warn scan,vulnerabilities
$ imx policy set --freeze "weekend: fri 16:00 - mon 06:00 Europe/Berlin" --freeze "holidays: 2026-12-20 - 2027-01-04"
$ imx policy set --after staging --soak 24h`,
		exits: asking(
			status{2, "a setting makes no sense, or a rule has mistakes; in a pipe: somebody would be hit and --yes is missing"},
			status{3, "there is no such folder or environment"}, status{4, "the policy was changed meanwhile; with --new: the environment is there already"},
			status{5, "a rule takes the place of a condition that nothing excuses, or the answer was no"},
		),
		most:     1,
		complete: completeDirs,
	}.command(func(ctx context.Context, args []string) error {
		opts.Dir = strings.Join(args, "")
		return runPolicySet(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	_ = cmd.RegisterFlagCompletionFunc("after", completeEnvironment(g)) // fails only for a flag that isn't there
	return cmd
}

func runPolicySet(ctx context.Context, opts policyOptions, g *Global, t *term.Terminal) error {
	var rules map[string]string
	var err error
	if opts.Dir != "" {
		if rules, err = readPolicy(opts.Dir); err != nil {
			return err
		}
	}
	now, err := opts.before(ctx, g)
	if err != nil {
		return err
	}
	req := imx.PolicyRequest{Policy: now.Policy, Over: now.Digest, Reason: opts.Reason, ReplaceFirm: opts.ReplaceFirm, DryRun: true}
	if opts.Reset {
		req.Policy = policy.Default(now.Policy.Environment)
	}
	if opts.Dir != "" {
		req.Policy.Rules = rules
	}
	if err := opts.apply(&req.Policy.Settings); err != nil {
		return err
	}
	would, err := g.client().SetPolicy(ctx, req)
	if err != nil {
		return err
	}
	if opts.DryRun {
		return printPolicy(would, g, t)
	}
	if err := askAboutPolicy(ctx, would, opts.Yes, g, t); err != nil {
		return err
	}
	req.DryRun = false
	set, err := g.client().SetPolicy(ctx, req)
	if err != nil {
		return err
	}
	return printPolicy(set, g, t)
}

// before is the policy that is changed: what the environment has, or what one begins with that is made.
func (o *policyOptions) before(ctx context.Context, g *Global) (imx.PolicyView, error) {
	now, err := g.client().Policy(ctx, o.Environment)
	switch {
	case !o.New:
		return now, err
	case err == nil:
		return now, imx.Errorf(imx.Conflict, "there is an environment %s already", now.Policy.Environment).WithHint("leave --new out")
	case imx.KindOf(err) == imx.NotFound:
		return imx.PolicyView{Policy: policy.Default(o.Environment)}, nil
	}
	return now, err
}

// askAboutPolicy asks before something that runs is hit. The error is no.
func askAboutPolicy(ctx context.Context, would imx.PolicyView, yes bool, g *Global, t *term.Terminal) error { //nolint:revive // flag-parameter: as the flag
	hit := slices.ContainsFunc(would.Hits, func(h imx.PolicyHit) bool { return h.Purpose == imx.ForStart && !h.Allowed })
	if yes || !hit {
		return nil
	}
	if _, err := io.WriteString(t.Err, hitsText(t.Err.Ink, would.Hits)); err != nil {
		return err
	}
	if err := nobodyAsked(g, t, "policy set", "imx policy set --dry-run"); err != nil {
		return err
	}
	said, err := t.Confirm(ctx, "Set this policy of "+would.Policy.Environment+"?")
	if err == nil && !said {
		return errDeclined()
	}
	return err
}

// apply changes the settings whose flags were given. Errors: Invalid.
func (o *policyOptions) apply(s *imx.PolicySettings) error {
	for name, set := range map[string]func(){
		"reviews": func() { s.Reviews = o.Reviews }, "scan-age": func() { s.ScanAge = o.ScanAge },
		"dirty": func() { s.Dirty = o.Dirty }, "signed-commits": func() { s.SignedCommits = o.SignedCommits },
		"signed-sources": func() { s.SignedSources = o.SignedSources },
		"known-author":   func() { s.KnownAuthor = o.KnownAuthor },
		"warn":           func() { s.Warn = slices.DeleteFunc(o.Warn, func(id string) bool { return id == "" }) },
		"denied":         func() { s.Denied = imx.DeniedAction(o.Denied) },
		"soak":           func() { s.Soak = o.Soak },
	} {
		if o.flags.Changed(name) {
			set()
		}
	}
	if o.flags.Changed("after") {
		if s.After = o.After; s.After == "" && !o.flags.Changed("soak") {
			s.Soak = 0
		}
	}
	if !o.flags.Changed("freeze") {
		return nil
	}
	s.Freezes = nil
	for _, text := range o.Freezes {
		if text == "" {
			continue
		}
		f, err := imx.ParseFreeze(text)
		if err != nil {
			return err
		}
		s.Freezes = append(s.Freezes, f)
	}
	return nil
}

// readPolicy reads the rules of a folder by their names. Errors: as policyRules; Invalid for a folder without rules.
func readPolicy(dir string) (map[string]string, error) {
	texts, err := policyRules(dir)
	if err == nil && len(texts) == 0 {
		return nil, imx.Errorf(imx.Invalid, "there is no *.rego file in %s", dir).WithHint("docs/policy.md shows how to write one")
	}
	return texts, err
}

// policyRules are the texts of a folder's rules by their names. Errors: as readRules.
func policyRules(dir string) (map[string]string, error) {
	own, err := readRules(dir)
	if imx.KindOf(err) == imx.NotFound {
		return nil, imx.Errorf(imx.NotFound, "there is no folder of rules %s", dir).WithHint("docs/policy.md shows how to write some")
	}
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for _, m := range own.modules {
		texts[filepath.Base(m.Name)] = m.Text
	}
	return texts, nil
}

func newPolicyExplainCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts verifyOptions
	cmd := page{
		use:   "explain [IMAGE|SERVICE|INSTANCE] [--for FOR]",
		short: "Show why each condition came out so",
		long: `Shows each condition with the values that it looked at: what it found in the evidence and in the settings. Without a name, it
explains the policy: what each condition asks for.`,
		example: `
$ imx policy explain web
$ imx policy explain web --json | jq .looked.reviews
$ imx policy explain`,
		exits:    asking(status{3, "there is no such image, service or instance"}),
		most:     1,
		complete: onlyFirst(completeImages(g)),
	}.command(func(ctx context.Context, args []string) error {
		opts.Subject = strings.Join(args, "")
		return runPolicyExplain(ctx, opts, g, t)
	})
	cmd.Flags().StringVar(&opts.Purpose, "for", "", "judge it `FOR` a start or a release; a start for what was released, unless given")
	return cmd
}

func runPolicyExplain(ctx context.Context, opts verifyOptions, g *Global, t *term.Terminal) error {
	if opts.Subject == "" {
		v, err := g.client().Policy(ctx, "")
		switch {
		case err != nil:
			return err
		case g.JSON:
			return printJSON(t.Out, v)
		}
		return showConditions(t.Out, v)
	}
	found, err := g.client().Verify(ctx, imx.VerifyQuery{Subject: opts.Subject, Purpose: imx.Purpose(opts.Purpose), Detail: true})
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, found)
	}
	return showExplanation(t.Out, found)
}

// showConditions prints what each condition asks for, in full.
func showConditions(out term.Stream, v imx.PolicyView) error {
	for _, c := range v.Conditions {
		if _, err := fmt.Fprintf(out, "%s  %s\n    %s\n", out.Ink.Name(c.ID), out.Ink.Bold(term.Clean(c.Title)), term.Clean(c.Asks)); err != nil {
			return err
		}
	}
	return nil
}
