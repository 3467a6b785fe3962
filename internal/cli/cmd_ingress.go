package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

func newIngressCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "ingress",
		short: "See where requests come in from outside",
		long: `Shows each ingress with its ports, its routes and what came of their requests, its certificates with their
ends, and what is wrong. A template's ingress and route blocks make them; docs/ingress.md tells more.`,
		example: `
$ imx ingress
$ imx ingress --json | jq '.[].routes[].counts'
$ imx ingress logs -f`,
		exits: asking(),
	}.command(func(ctx context.Context, _ []string) error { return runIngress(ctx, g, t) })
	cmd.AddCommand(newIngressLogsCommand(g, t), newIngressRestartCommand(g, t), newIngressRemoveCommand(g, t))
	return cmd
}

func runIngress(ctx context.Context, g *Global, t *term.Terminal) error {
	views, err := g.client().Ingresses(ctx)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, views)
	}
	return showIngresses(t.Out, views, time.Now())
}

type ingressLogsOptions struct {
	Follow bool
	Tail   int
}

func (o *ingressLogsOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on with requests to come")
	f.IntVar(&o.Tail, "tail", 0, "only the last `N` lines of what was already written")
}

func newIngressLogsCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts ingressLogsOptions
	cmd := page{
		use:   "logs [-f] [--tail N]",
		short: "Show the requests that came in",
		long: `Prints a line for each request, after its end: when, from where, what was asked, the answer's status, size
and time, and which instance gave it. With --json the lines come as they are kept. The newest some
80 MiB are kept.`,
		example: `
$ imx ingress logs --tail 20
$ imx ingress logs -f --json | jq 'select(.status >= 500)'`,
		exits: asking(status{exitInterrupted, "interrupted, as -f is ended"}),
	}.command(func(ctx context.Context, _ []string) error { return runIngressLogs(ctx, opts, g, t) })
	opts.addFlags(cmd.Flags())
	return cmd
}

func runIngressLogs(ctx context.Context, opts ingressLogsOptions, g *Global, t *term.Terminal) error {
	if opts.Tail < 0 {
		return imx.Errorf(imx.Invalid, "the last %d lines can't be shown: --tail takes a number above 0", opts.Tail)
	}
	log, err := g.client().AccessLog(ctx, imx.LogOptions{Follow: opts.Follow, Tail: opts.Tail})
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // it was only read from
	if g.JSON {
		_, err = io.Copy(t.Out, log)
	} else {
		err = showAccess(t.Out, log)
	}
	if err != nil && ctx.Err() != nil {
		return exit{code: exitInterrupted}
	}
	return err
}

// showAccess prints lines of an access log for people.
func showAccess(out term.Stream, log io.Reader) error {
	for lines := json.NewDecoder(log); ; {
		var l imx.AccessLine
		if err := lines.Decode(&l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, accessLine(out.Ink, l)); err != nil {
			return err
		}
	}
}

func newIngressRestartCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "restart",
		short: "Have another process answer, without a dropped connection",
		long: `Starts another process beside the one that answers, gives it the listening sockets, and lets the old one
finish what it has. A server that is started anew as another imx does so by itself.`,
		example: `
$ imx ingress restart`,
		exits: asking(status{3, "there is no ingress"}),
	}.command(func(ctx context.Context, _ []string) error {
		if err := g.client().RestartIngress(ctx); err != nil {
			return err
		}
		return printDone(g, t, "another process takes over")
	})
}

func newIngressRemoveCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "remove INGRESS",
		short: "Take an ingress down that no service has a route of",
		long: `Stops listening on the ingress' ports. What its connections have begun is finished. With the last ingress
the process ends too.`,
		example: `
$ imx ingress remove public`,
		exits: asking(status{3, "there is no such ingress"}, status{4, "a service has a route of it"}),
		least: 1, most: 1,
	}.command(func(ctx context.Context, args []string) error {
		if err := g.client().RemoveIngress(ctx, args[0]); err != nil {
			return err
		}
		return printDone(g, t, "removed ingress "+args[0])
	})
}

// printDone says that something is done; with --json the exit status says so.
func printDone(g *Global, t *term.Terminal, text string) error {
	if g.JSON {
		return printJSON(t.Out, struct{}{})
	}
	_, err := fmt.Fprintln(t.Out, text)
	return err
}
