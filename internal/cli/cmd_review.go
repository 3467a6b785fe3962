package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/review"
	"imx/internal/sign"
	"imx/internal/sshsign"
	"imx/internal/term"
)

// reviewOptions are what is shown of a candidate.
type reviewOptions struct {
	Diff, All bool
}

func newReviewCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts reviewOptions
	cmd := page{
		use:   "review [CANDIDATE] [--diff] [--all]",
		short: "Show what waits for approvals, and what it would change",
		long: `Without CANDIDATE, lists what waits to be released and what was settled lately. With one, shows what releasing it would
change: the template, the packages and known vulnerabilities that come and go, sizes, what instances may do and who
may reach them; and which conditions of the policy aren't met yet. Of a candidate that has ended it shows what there was to
see when it was answered last.`,
		example: `
$ imx review
$ imx review 3afb973e --diff
$ imx review 3afb973e --json | jq -r '.diff[].gained[].id'`,
		exits: asking(status{3, "there is no such candidate"}),
		most:  1,
	}.command(func(ctx context.Context, args []string) error {
		if len(args) == 0 {
			return runReviewList(ctx, g, t)
		}
		v, err := g.client().Candidate(ctx, args[0])
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, v)
		}
		return showCandidate(t.Out, v, opts, time.Now())
	})
	cmd.Flags().BoolVar(&opts.Diff, "diff", false, "show the changed files line by line")
	cmd.Flags().BoolVar(&opts.All, "all", false, "name all packages, vulnerabilities and rights; so it is where no terminal reads it")
	return cmd
}

func runReviewList(ctx context.Context, g *Global, t *term.Terminal) error {
	list, err := g.client().Candidates(ctx)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, list)
	}
	return showCandidates(t.Out, list, time.Now())
}

// answerOptions are how a person answers a candidate.
type answerOptions struct {
	Candidate   string
	Reason, Key string
	approves    bool
}

func (o *answerOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Reason, "reason", "", "say `WHY`; it is signed, and the log keeps it")
	f.StringVar(&o.Key, "key", "", "sign with this `KEY`: a file with a private key, a public one whose private key the SSH agent has, or the beginning of a key's fingerprint")
}

func newApproveCommand(g *Global, t *term.Terminal) *cobra.Command {
	return answerCommand(page{
		use:   "approve CANDIDATE [--reason WHY] [--key KEY]",
		short: "Say yes to a candidate, signed with one's own SSH key",
		long: `Signs that CANDIDATE may be released, with an SSH key that imx knows as a reviewer's. The key stays where it is: in the SSH
agent, or in a file. The approval is for exactly that plan: another one, however little it differs, needs approvals of
its own. Nobody approves what they had a hand in, and each person counts once. Who rejected a candidate opens it again so.`,
		example: `
$ imx approve 3afb973e
$ imx approve 3afb973e --key ~/.ssh/id_ed25519 --reason "as discussed"`,
		exits: asking(
			status{2, "several keys could be meant, or the file has none"},
			status{3, "there is no such candidate, or no such key"},
			status{4, "it isn't open any more, others rejected it, or it was answered so before"},
			status{5, "the signer may not answer it: no reviewer, an author, or a key that doesn't count"},
		),
	}, answerOptions{approves: true}, g, t)
}

func newRejectCommand(g *Global, t *term.Terminal) *cobra.Command {
	return answerCommand(page{
		use:   "reject CANDIDATE --reason WHY [--key KEY]",
		short: "Say no to a candidate, signed with one's own SSH key",
		long: `Signs that CANDIDATE may not be released, and why. That ends it, and whatever else is proposed of the same plan, until who
rejected it approves it.`,
		example: `
$ imx reject 3afb973e --reason "opens a port that nobody needs"`,
		exits: asking(
			status{2, "the reason is missing, several keys could be meant, or the file has none"},
			status{3, "there is no such candidate, or no such key"},
			status{4, "it isn't open any more"},
			status{5, "the signer may not answer it: no reviewer, or a key that doesn't count"},
		),
	}, answerOptions{}, g, t)
}

func answerCommand(p page, opts answerOptions, g *Global, t *term.Terminal) *cobra.Command {
	p.least, p.most = 1, 1
	cmd := p.command(func(ctx context.Context, args []string) error {
		opts.Candidate, opts.Reason = args[0], strings.TrimSpace(opts.Reason)
		return runAnswer(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runAnswer(ctx context.Context, opts answerOptions, g *Global, t *term.Terminal) error {
	if !opts.approves && opts.Reason == "" {
		return imx.Errorf(imx.Invalid, "--reason is missing").WithHint("say why, so that somebody can do something about it")
	}
	v, err := g.client().Candidate(ctx, opts.Candidate)
	if err != nil {
		return err
	}
	key, err := openReviewer(ctx, opts.Key, g, t)
	if err != nil {
		return err
	}
	bundle, err := sealAnswer(v.Candidate, opts, key)
	if err := errors.Join(err, key.Close()); err != nil {
		return err
	}
	c, err := g.client().Review(ctx, opts.Candidate, imx.ReviewRequest{Bundle: bundle})
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, c)
	}
	return showAnswered(ctx, c, key.ID, g, t)
}

// openReviewer opens the key that a person signs with: the one that they name, or the one of their agent that is a reviewer's.
func openReviewer(ctx context.Context, named string, g *Global, t *term.Terminal) (*sshsign.Key, error) {
	people, err := g.client().People(ctx)
	if err != nil {
		return nil, err
	}
	known := []string{}
	for _, p := range people {
		for _, k := range p.Keys {
			if p.Has(imx.RoleReviewer) && !k.Compromised && (k.Until.IsZero() || k.Until.After(time.Now())) {
				known = append(known, k.ID)
			}
		}
	}
	choice := sshsign.Choice{Socket: g.Agent, Key: named, Known: known}
	if t.Asks {
		choice.Passphrase = func(ctx context.Context, file string) ([]byte, error) {
			return t.Secret(ctx, "Passphrase of "+term.Clean(file)+":")
		}
	}
	return sshsign.Open(ctx, choice)
}

func sealAnswer(c imx.Candidate, opts answerOptions, key *sshsign.Key) ([]byte, error) {
	p := review.Answer(c, time.Now())
	p.Approves, p.Reason = opts.approves, opts.Reason
	payload, err := review.Statement(c, p)
	if err != nil {
		return nil, err
	}
	return sign.Seal(payload, key)
}

// showAnswered says whose answer was taken, and what is missing still.
func showAnswered(ctx context.Context, c imx.Candidate, key string, g *Global, t *term.Terminal) error {
	ink := t.Out.Ink
	for _, r := range c.Reviews {
		if r.Key != key {
			continue
		}
		word := ink.Bad("rejected")
		if r.Approves {
			word = ink.Good("approved")
		}
		if _, err := fmt.Fprintf(t.Out, "%s %s candidate %s, plan %s\n", ink.Name(term.Clean(string(r.By))), word, ink.Name(c.ID), c.Plan.Short()); err != nil {
			return err
		}
	}
	if c.State != imx.CandidateOpen {
		return nil
	}
	v, err := g.client().Candidate(ctx, c.ID)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(t.Out, candidateNext(ink, v))
	return err
}

func newReleaseCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "release CANDIDATE",
		short: "Release a candidate that has its approvals",
		long: `Releases CANDIDATE exactly as it was planned, built and tested, if the policy admits it now, and waits for each rollout.
What its services run must be what it was compared with.`,
		example: `
$ imx release 3afb973e`,
		exits: asking(
			status{0, "everything is rolled out"},
			status{3, "there is no such candidate"},
			status{4, "it isn't open any more, what runs has changed since it was made, or another apply is under way"},
			status{5, "the policy doesn't admit it: approvals are missing, or something else"},
			status{exitRollout, "a release never got healthy; its service stays on the last good one"},
			status{exitInterrupted, "interrupted"},
		),
		least: 1,
		most:  1,
	}.command(func(ctx context.Context, args []string) error {
		return runApplication(ctx, g, t, func(report imx.Report) (imx.ApplyResult, error) {
			return g.client().Release(ctx, args[0], report)
		})
	})
}
