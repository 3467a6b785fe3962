package cli

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

type verifyOptions struct {
	Subject string
	Purpose string
	Record  string // file that what the verdict was made of is written to
}

func (o *verifyOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Purpose, "for", "", "judge it `FOR` a start or a release; a start for what was released, unless given")
	f.StringVar(&o.Record, "record", "", "write what the verdict was made of to `FILE`, for imx policy test")
}

func newVerifyCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts verifyOptions
	cmd := page{
		use:   "verify IMAGE|SERVICE|INSTANCE [--for FOR] [--record FILE]",
		short: "Show whether something may run, and on what evidence",
		long: `Holds an image, a service's current release or an instance's against the policy of the server's environment, as
it is now, and shows each condition: met or not, what was found, and the statements that it stands on, with the role of the key that signed each.
A condition that isn't met and doesn't refuse is only shown ("warns"); "excused" ones have an exception. A release that was
admitted may be started again though its scan is old or a reviewer has left: --for release tells whether it would be released now. A service
comes before an image of the same name; "image.NAME" means the image. docs/policy.md tells more.`,
		example: `
$ imx verify web
$ imx verify image.web --for release
$ imx verify --json web | jq -r '.verdict.conditions[] | select(.met | not) | .says'`,
		exits: asking(
			status{0, "it may run"},
			status{2, "several images begin with the digest, or FOR is neither start nor release"},
			status{3, "there is no such image, service or instance"},
			status{exitDenied, "it may not run"},
		),
		least:    1,
		most:     1,
		complete: onlyFirst(completeImages(g)),
	}.command(func(ctx context.Context, args []string) error {
		opts.Subject = args[0]
		return runVerify(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

// recording is what `imx verify --record` writes: all that a verdict is made of.
type recording struct {
	Policy imx.Policy      `json:"policy"`
	Input  json.RawMessage `json:"input"`
}

func runVerify(ctx context.Context, opts verifyOptions, g *Global, t *term.Terminal) error {
	found, err := g.client().Verify(ctx, imx.VerifyQuery{Subject: opts.Subject, Purpose: imx.Purpose(opts.Purpose), Detail: opts.Record != ""})
	if err != nil {
		return err
	}
	if opts.Record != "" {
		if err := record(ctx, opts.Record, found, g); err != nil {
			return err
		}
		found.Looked, found.Input = nil, nil
	}
	if g.JSON {
		err = printJSON(t.Out, found)
	} else {
		err = showVerification(t.Out, found, time.Now())
	}
	if err == nil && !found.Verdict.Allowed {
		return exit{code: exitDenied}
	}
	return err
}

func record(ctx context.Context, file string, found imx.Verification, g *Global) error {
	p, err := g.client().Policy(ctx, found.Verdict.Environment)
	if err != nil {
		return err
	}
	raw, err := json.MarshalIndent(recording{p.Policy, found.Input}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, append(raw, '\n'), 0o600); err != nil {
		return imx.Errorf(imx.Invalid, "the recording can't be written: %w", err)
	}
	return nil
}
