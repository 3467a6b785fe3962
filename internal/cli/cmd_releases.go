package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/term"
)

type releasesOptions struct {
	Service string
}

func newReleasesCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "releases SERVICE",
		short: "List a service's releases",
		long: `Lists the releases of a service that are kept, the newest first: which one has the traffic, which
is being rolled out, which failed and why. Any good one can be gone back to.`,
		example: `
$ imx releases hello
$ imx rollback hello --to 3`,
		exits:    asking(status{3, "there is no such service"}),
		least:    1,
		most:     1,
		complete: onlyFirst(completeServices(g, serviceName)),
	}.command(func(ctx context.Context, args []string) error {
		return runReleases(ctx, releasesOptions{Service: args[0]}, g, t)
	})
}

func runReleases(ctx context.Context, opts releasesOptions, g *Global, t *term.Terminal) error {
	c := g.client()
	releases, err := c.Releases(ctx, opts.Service)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, releases)
	}
	services, err := c.Services(ctx)
	if err != nil {
		return err
	}
	service := imx.Service{Name: opts.Service}
	for _, s := range services {
		if s.Name == opts.Service {
			service = s
		}
	}
	service.Releases = releases
	return showReleases(t.Out, service, time.Now())
}
