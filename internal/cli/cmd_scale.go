package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/term"
)

type scaleOptions struct {
	Service  string
	Replicas int
}

func newScaleCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "scale SERVICE=N",
		short: "Change how many instances a service has",
		long: `Starts or stops instances of the service's release until N of them run, which "imx ps" shows. The next apply goes back
to the number in the template.`,
		example: `
$ imx scale web=5
web is scaled to 5 instances`,
		exits: asking(
			status{2, "N is no number, or more than the service may have"},
			status{3, "there is no such service"},
			status{exitInterrupted, "interrupted; the server goes on"},
		),
		least: 1,
		most:  1,
		complete: onlyFirst(completeServices(g, func(s imx.Service) string {
			return s.Name + "=" + strconv.Itoa(s.Replicas)
		})),
	}.command(func(ctx context.Context, args []string) error {
		opts, err := parseScale(args[0])
		if err != nil {
			return err
		}
		return runScale(ctx, opts, g, t)
	})
}

func parseScale(arg string) (scaleOptions, error) {
	service, number, ok := strings.Cut(arg, "=")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 || service == "" {
		return scaleOptions{}, imx.Errorf(imx.Invalid, "%q doesn't say how many instances of what", arg).
			WithHint("write SERVICE=N, for example imx scale hello=3")
	}
	return scaleOptions{Service: service, Replicas: n}, nil
}

func runScale(ctx context.Context, opts scaleOptions, g *Global, t *term.Terminal) error {
	service, err := track(g, t, func(report imx.Report) (imx.Service, error) {
		return g.client().Scale(ctx, opts.Service, opts.Replicas, report)
	})
	if err != nil && ctx.Err() != nil {
		return errInterrupted("if the change had begun, the server goes on with it: imx status shows")
	}
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, service)
	}
	_, err = fmt.Fprintf(t.Out, "%s is scaled to %s\n", t.Out.Ink.Name(service.Name), term.Count(int64(service.Replicas), "instance"))
	return err
}
