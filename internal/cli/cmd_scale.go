package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/term"
)

type scaleOptions struct {
	Service  string
	Replicas int
	Auto     bool
}

func newScaleCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "scale SERVICE=N|auto",
		short: "Change how many instances a service has",
		long: `Starts or stops instances of the service's release until N of them run, which "imx ps" shows. The next apply goes back
to the number in the template.

A service with a scale block has N until "imx scale SERVICE=auto" gives the number back to that block, or
another release comes. Scaled to 0, one that may sleep by its block does that: the first connection wakes it.`,
		example: `
$ imx scale web=5
web is scaled to 5 instances
$ imx scale web=auto
the scale block of web sets its number of instances again`,
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
	if ok && number == "auto" && service != "" {
		return scaleOptions{Service: service, Auto: true}, nil
	}
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 || service == "" {
		return scaleOptions{}, imx.Errorf(imx.Invalid, "%q doesn't say how many instances of what", arg).
			WithHint("write SERVICE=N, for example imx scale hello=3, or SERVICE=auto")
	}
	return scaleOptions{Service: service, Replicas: n}, nil
}

func runScale(ctx context.Context, opts scaleOptions, g *Global, t *term.Terminal) error {
	service, err := track(g, t, func(report imx.Report) (imx.Service, error) {
		req := imx.ScaleRequest{Replicas: &opts.Replicas}
		if opts.Auto {
			req = imx.ScaleRequest{Auto: true}
		}
		return g.client().Scale(ctx, opts.Service, req, report)
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
	_, err = io.WriteString(t.Out, scaledSays(t.Out.Ink, service, opts))
	return err
}

// scaledSays says what came of it, and of a service with a scale block for how long.
func scaledSays(ink term.Ink, v imx.Service, opts scaleOptions) string {
	name := ink.Name(v.Name)
	if opts.Auto {
		return fmt.Sprintf("the scale block of %s sets its number of instances again\n", name)
	}
	text := fmt.Sprintf("%s is scaled to %s\n", name, term.Count(int64(v.Replicas), "instance"))
	r, _ := v.Release(v.Target)
	switch {
	case r.Spec.Scale == nil:
		return text
	case v.Sizing.Fixed == "":
		return text + "the first connection wakes it\n"
	}
	text += fmt.Sprintf("its scale block changes nothing of that until imx scale %s=auto, or another release\n", v.Name)
	if v.Replicas != r.Spec.Within(v.Replicas) {
		text += ink.Warn("that is outside of the bounds of its scale block") + "\n"
	}
	return text
}
