package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx/internal/term"
)

type statusOptions struct {
	At string // a moment as a person writes it; "" means now
}

func (o *statusOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.At, "at", "", "show the state at `TIME`: 2026-05-01T09:30:00Z, \"2026-05-01 09:30\" (UTC) or 90m ago")
}

func newStatusCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts statusOptions
	cmd := page{
		use:   "status [--at TIME]",
		short: "Show services, traffic, rollouts and the log's state",
		long: `Shows each service with its release, its instances, where its traffic goes and what is being
rolled out; then the log's checkpoint and the engine's mechanisms. With --at it shows the same
of a past moment, folded from the log.`,
		example: `
$ imx status
$ imx status --at 90m
$ imx status --json | jq '.state.services.hello.current'`,
		exits: asking(status{2, "TIME isn't understood"}, status{3, "TIME is before the log's first event"}),
	}.command(func(ctx context.Context, _ []string) error {
		return runStatus(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runStatus(ctx context.Context, opts statusOptions, g *Global, t *term.Terminal) error {
	now := time.Now()
	at, err := parseMoment(opts.At, now)
	if err != nil {
		return err
	}
	s, err := g.client().Status(ctx, at)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, s)
	}
	if !at.IsZero() {
		now = at
	}
	return showStatus(t.Out, s, now)
}
