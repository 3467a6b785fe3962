package cli

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

type simulateOptions struct {
	Requests, ErrorShare string
	Starts, Crash        imx.Duration
	Never                bool
	Seed                 uint64
}

func (o *simulateOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Requests, "requests", "200/s", "suppose so many requests to each service: `N/s`")
	f.StringVar(&o.ErrorShare, "error-share", "0%", "suppose that so much of what the new release is asked fails: `N%`")
	lengthVar(f, &o.Starts, "start-takes", imx.Duration(time.Second), "suppose that an instance of it is healthy so long after its start")
	lengthVar(f, &o.Crash, "crash-after", 0, "suppose that an instance of it ends by itself so long after its start")
	f.BoolVar(&o.Never, "never-healthy", false, "suppose that no instance of it ever gets healthy")
	f.Uint64Var(&o.Seed, "seed", 1, "what is left to chance; the same `N` gives the same timeline")
}

// supposed is what the flags say: sim.Supposed, which a client's build hasn't.
type supposed struct {
	Seed                 uint64
	Requests, ErrorShare float64
	Starts, Crash        time.Duration
	Never                bool
}

// supposed reads the flags. Errors: Invalid.
func (o *simulateOptions) supposed() (supposed, error) {
	requests, err := strconv.ParseFloat(strings.TrimSuffix(o.Requests, "/s"), 64)
	if err != nil || !(requests >= 0 && requests <= 1e9) {
		return supposed{}, imx.Errorf(imx.Invalid, "%q is no number of requests a second", o.Requests).WithHint("write --requests 200/s")
	}
	const percent = 100
	share, err := strconv.ParseFloat(strings.TrimSuffix(o.ErrorShare, "%"), 64)
	if err != nil || !(share >= 0 && share <= percent) {
		return supposed{}, imx.Errorf(imx.Invalid, "%q is no share of requests", o.ErrorShare).WithHint("write --error-share 5%%")
	}
	return supposed{
		Seed: o.Seed, Requests: requests, ErrorShare: share / percent, Starts: time.Duration(o.Starts), Crash: time.Duration(o.Crash), Never: o.Never,
	}, nil
}

func newRolloutSimulateCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts simulateOptions
	cmd := page{
		use: "simulate [DIR | SERVICE] [--requests N/s] [--error-share N%] [--start-takes TIME] [--crash-after TIME] [--never-healthy]",

		short: "Try a deploy block in a simulated world",
		long: `Releases the services of the template in DIR (here, unless named), or a service that runs, in a simulated world: with the
decisions of the real server, on instances and a clock that are none. It shows what would happen when, how many healthy instances
there were at least, and whether a law of docs/rollout.md was broken. Nothing is built, asked or changed.`,
		example: `
$ imx rollout simulate hello
$ imx rollout simulate hello --error-share 5% --requests 20/s
$ imx rollout simulate web --crash-after 10m`,
		exits: []status{
			{0, "the release took over"},
			{1, "a law was broken: a defect in imx"},
			{2, "the template has mistakes, or a flag makes no sense"},
			{3, "there is no such folder or service"},
			{6, "a service was named, and no server answers on the socket"},
			{exitRollout, "the release was given up, gone back from, or still waits after a day"},
		},
		most:     1,
		complete: completeDirs,
	}.command(func(ctx context.Context, args []string) error {
		return runRolloutSimulate(ctx, dirOf(args), opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runRolloutSimulate(ctx context.Context, of string, opts simulateOptions, g *Global, t *term.Terminal) error {
	suppose, err := opts.supposed()
	if err != nil {
		return err
	}
	specs, err := simulated(ctx, of, g)
	if err != nil {
		return err
	}
	return simulate(ctx, specs, suppose, g, t)
}

// simulated are the services of a folder's template, or the one that runs by that name.
func simulated(ctx context.Context, of string, g *Global) ([]imx.Spec, error) {
	if isFolder(of) {
		read, _, err := readTemplate(of)
		if err == nil && len(read.Services) == 0 {
			err = imx.Errorf(imx.NotFound, "the template has no service").WithHint("name another folder, or a service that runs")
		}
		return read.Services, err
	}
	services, err := g.client().Services(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(services, func(v imx.Service) bool { return v.Name == of })
	if i < 0 {
		return nil, imx.Errorf(imx.NotFound, "there is no folder or service %q", of).WithHint("imx status lists the services")
	}
	r, _ := services[i].Release(services[i].Target)
	spec := r.Spec
	spec.Replicas = services[i].Replicas
	return []imx.Spec{spec}, nil
}
