package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/client"
	"imx/internal/term"
)

type destroyOptions struct {
	Services []string
	All      bool
	Volumes  bool
	Yes      bool
}

func (o *destroyOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.All, "all", false, "every service, and every ingress")
	f.BoolVar(&o.Volumes, "volumes", false, "their volumes too, with everything stored in them")
	f.BoolVarP(&o.Yes, "yes", "y", false, "don't ask; needed where nobody can answer")
}

func newDestroyCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts destroyOptions
	cmd := page{
		use:   "destroy SERVICE... | --all [--volumes] [--yes]",
		short: "Take services down",
		long: `Asks, then stops all instances of the services and takes their routes away. Volumes stay for a
service of the same name to come, unless --volumes ends them too; the log keeps all that happened. Services that are
named leave ingresses open; --all takes these down as well.`,
		example: `
$ imx destroy hello
$ imx destroy --all --volumes --yes`,
		exits: asking(
			status{2, "no service is named; in a pipe: --yes is missing"},
			status{3, "there is no such service"},
			status{4, "another service connects to one of these"},
			status{5, "the question was answered with no"},
		),
		most:     -1,
		complete: completeServices(g, serviceName),
	}.command(func(ctx context.Context, args []string) error {
		opts.Services = args
		return runDestroy(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

// destroyed is what destroy answers with --json.
type destroyed struct {
	Destroyed []string `json:"destroyed"`
	Ingresses []string `json:"ingresses,omitempty"`
	Volumes   bool     `json:"volumes,omitempty"`
}

// words name what is destroyed, for people.
func (d destroyed) words() string {
	var parts []string
	if len(d.Destroyed) > 0 {
		parts = append(parts, strings.Join(d.Destroyed, ", "))
	}
	if len(d.Ingresses) > 0 {
		parts = append(parts, "ingress "+strings.Join(d.Ingresses, ", "))
	}
	return strings.Join(parts, " and ")
}

func runDestroy(ctx context.Context, opts destroyOptions, g *Global, t *term.Terminal) error {
	if opts.All == (len(opts.Services) > 0) {
		return imx.Errorf(imx.Invalid, "destroy needs the names of services, or --all").WithHint("imx status lists the services")
	}
	if !opts.Yes {
		if err := nobodyAsked(g, t, "destroy", "imx status"); err != nil {
			return err
		}
	}
	c := g.client()
	services, err := c.Services(ctx)
	if err != nil {
		return err
	}
	d := destroyed{Volumes: opts.Volumes, Destroyed: []string{}}
	if opts.All {
		if d.Ingresses, err = ingressNames(ctx, c); err != nil {
			return err
		}
	}
	if len(services) > 0 || !opts.All {
		if d.Destroyed, err = namedServices(services, opts.Services); err != nil {
			return err
		}
	}
	if d.words() == "" {
		return showDestroyed(d, g, t)
	}
	if !opts.Yes {
		yes, err := t.Confirm(ctx, destroyQuestion(d))
		if err != nil {
			return err
		}
		if !yes {
			return errDeclined()
		}
	}
	if err := takeDown(ctx, c, d, g, t); err != nil {
		return err
	}
	return showDestroyed(d, g, t)
}

// takeDown destroys services, whose routes keep ingresses, and then these.
func takeDown(ctx context.Context, c *client.Client, d destroyed, g *Global, t *term.Terminal) error {
	if len(d.Destroyed) > 0 {
		_, err := track(g, t, func(report imx.Report) (struct{}, error) {
			return struct{}{}, c.Destroy(ctx, d.Destroyed, d.Volumes, report)
		})
		if err != nil {
			return err
		}
	}
	for _, name := range d.Ingresses {
		if err := c.RemoveIngress(ctx, name); err != nil && imx.KindOf(err) != imx.NotFound {
			return err
		}
	}
	return nil
}

func ingressNames(ctx context.Context, c *client.Client) ([]string, error) {
	views, err := c.Ingresses(ctx)
	var names []string
	for _, v := range views {
		names = append(names, v.Ingress.Name)
	}
	return names, err
}

func destroyQuestion(d destroyed) string {
	with := ""
	if d.Volumes && len(d.Destroyed) > 0 {
		with = ", with everything in the services' volumes"
	}
	return "Destroy " + d.words() + with + "?"
}

func showDestroyed(d destroyed, g *Global, t *term.Terminal) error {
	if g.JSON {
		return printJSON(t.Out, d)
	}
	text := "there is nothing to destroy"
	if what := d.words(); what != "" {
		text = "destroyed " + what
	}
	_, err := fmt.Fprintln(t.Out, text)
	return err
}

// namedServices returns the names once it is sure that there are such services; without names, it
// returns those of all services.
func namedServices(services []imx.Service, names []string) ([]string, error) {
	var all []string
	for _, s := range services {
		all = append(all, s.Name)
	}
	for _, name := range names {
		if !slices.Contains(all, name) {
			return nil, unknownService(name, all)
		}
	}
	if len(names) == 0 {
		return all, nil
	}
	return names, nil
}

func unknownService(name string, all []string) error {
	e := imx.Errorf(imx.NotFound, "there is no service %q", name)
	if len(all) == 0 {
		return e.WithHint("there are no services at all yet: imx apply makes some")
	}
	return e.WithHint("there are %s", strings.Join(all, ", "))
}
