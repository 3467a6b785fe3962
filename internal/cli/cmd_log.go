package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

type logOptions struct {
	From   int64
	Follow bool
}

func (o *logOptions) addFlags(f *pflag.FlagSet) {
	f.Int64Var(&o.From, "from", 0, "begin with event number `N`")
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on with events as they happen")
}

func newLogCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts logOptions
	cmd := page{
		use:   "log [-f] [--from N]",
		short: "Show everything that happened, or verify it",
		long: `Prints the events of the append-only log, one a line: when, who, what. "imx log verify" recomputes
the whole log and finds any change to it.`,
		example: `
$ imx log -f
$ imx log --json | jq -c 'select(.kind == "rollout-failed")'`,
		exits: asking(status{2, "N is below 0"}, status{exitInterrupted, "interrupted, as -f is ended"}),
	}.command(func(ctx context.Context, _ []string) error {
		return runLog(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	cmd.AddCommand(newLogVerifyCommand(g, t), newLogCheckpointCommand(g, t))
	return cmd
}

func runLog(ctx context.Context, opts logOptions, g *Global, t *term.Terminal) error {
	if opts.From < 0 {
		return imx.Errorf(imx.Invalid, "there is no event %d: they count from 0", opts.From)
	}
	for event, err := range g.client().Events(ctx, opts.From, opts.Follow) {
		switch {
		case err != nil && ctx.Err() != nil:
			return exit{code: exitInterrupted}
		case err != nil:
			return err
		case g.JSON:
			err = printLine(t.Out, event)
		default:
			err = showEvent(t.Out, event)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type logVerifyOptions struct {
	Checkpoints []string
}

func (o *logVerifyOptions) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.Checkpoints, "checkpoint", nil, "`FILE` with a checkpoint of this log that was kept elsewhere; may be given again")
}

func newLogVerifyCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts logVerifyOptions
	cmd := page{
		use:   "verify [--checkpoint FILE]",
		short: "Recompute the log and find any change to it",
		long: `Recomputes every hash of the log from its records and checks the signed checkpoint. It names the
first event that isn't as it was written: a flipped bit, a cut end, another order. Where no
server runs, the files in the data folder are verified directly. That a whole log was put back
to an earlier day, or written anew, only a checkpoint can show that was kept elsewhere: "imx log
checkpoint" prints one.`,
		example: `
$ imx log verify
ok: 1,204 events, root 5Jk0sCq0aVxk…
$ imx log checkpoint >/mnt/elsewhere/checkpoint
$ imx log verify --checkpoint /mnt/elsewhere/checkpoint`,
		exits: []status{
			{0, "the log is whole"},
			{5, "it isn't: the first bad event is named"},
			{6, "no server answers, and there is no log in the data folder"},
		},
	}.command(func(ctx context.Context, _ []string) error {
		return runLogVerify(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runLogVerify(ctx context.Context, opts logVerifyOptions, g *Global, t *term.Terminal) error {
	earlier, err := readCheckpoints(opts.Checkpoints)
	if err != nil {
		return err
	}
	check, err := g.client().VerifyLog(ctx, earlier...)
	if imx.KindOf(err) == imx.Unavailable && ctx.Err() == nil {
		check, err = verifyFiles(ctx, g, earlier, err)
	}
	if err != nil {
		return err
	}
	if g.JSON {
		err = printJSON(t.Out, check)
	} else if check.Error == nil && check.Bad == nil {
		_, err = fmt.Fprintf(t.Out, "%s %s, root %s\n", t.Out.Ink.Good("ok:"), term.Count(check.Events, "event"), check.Checkpoint.Root)
	}
	return errors.Join(err, badLog(check))
}

func readCheckpoints(paths []string) ([]imx.Checkpoint, error) {
	var earlier []imx.Checkpoint
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, imx.Errorf(imx.NotFound, "the checkpoint can't be read: %w", err)
		}
		var c imx.Checkpoint
		if err := json.Unmarshal(text, &c); err != nil || c.Note == "" || c.Key == "" {
			return nil, imx.Errorf(imx.Invalid, "%s is no checkpoint", path).WithHint("imx log checkpoint prints one")
		}
		earlier = append(earlier, c)
	}
	return earlier, nil
}

func newLogCheckpointCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "checkpoint",
		short: "Print the log's newest signed checkpoint, to keep elsewhere",
		long: `Prints the newest signed checkpoint as JSON: how many events the log had, and the root of its
Merkle tree. Kept where the server can't write, it proves later that the log only grew since.`,
		example: `
$ imx log checkpoint >/mnt/elsewhere/checkpoint`,
		exits: asking(),
	}.command(func(ctx context.Context, _ []string) error {
		s, err := g.client().Status(ctx, time.Time{})
		if err != nil {
			return err
		}
		return printJSON(t.Out, s.Checkpoint)
	})
}

// badLog is an error where a log isn't as it was written.
func badLog(check imx.LogCheck) error {
	e := &imx.Error{Kind: imx.Refused, Message: "the log was changed"}
	switch {
	case check.Error == nil && check.Bad == nil:
		return nil
	case check.Error != nil:
		e.Message, e.Hint = check.Error.Message, check.Error.Hint
	case check.Bad != nil:
		e.Message = fmt.Sprintf("event %d isn't as it was written", *check.Bad)
	}
	if e.Hint == "" {
		e.Hint = "what comes before it is whole; compare with a checkpoint kept elsewhere, and restore the log from a copy"
	}
	return e
}
