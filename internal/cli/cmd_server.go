package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

type serverOptions struct {
	Listen      string
	Network     string
	Push        bool
	Anonymous   string
	Refuse      string
	Environment string
	// ChangeEnvironment lets it be another than the data folder has.
	ChangeEnvironment bool
	Identity          string
	Token             string
	SourceSize        string
	Prove             time.Duration
}

func (o *serverOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Listen, "listen", defaultListen, "`ADDRESS` of the image registry; none leaves it to the socket")
	f.BoolVar(&o.Push, "push", false, "the same as --anonymous push: let whoever reaches the registry's address push images too")
	f.StringVar(&o.Anonymous, "anonymous", "", "what whoever shows no token may do at the registry's address: none, pull or push; unless given, pull on an address of this machine alone, else none")
	f.StringVar(&o.Refuse, "refuse", string(imx.Critical), "the least `LEVEL` of findings that refuses a template: critical, high, medium, low; or never")
	f.StringVar(&o.Identity, "identity", "", "`FILE` with the age identity that the server's keys are sealed to; identity in the data folder, unless given")
	f.StringVar(&o.Token, "pkcs11", "", "`MODULE:LABEL:PINFILE`: the server's keys are in a PKCS#11 token; only in a build with it")
	f.StringVar(&o.Environment, "environment", "", "`NAME` of the environment whose policy says what may run: development, staging, production, or one of yours; the folder's own from before, else development")
	f.BoolVar(&o.ChangeEnvironment, "change-environment", false, "let --environment be another than the folder had before")
	f.StringVar(&o.SourceSize, "source-size", "2GiB", "`SIZE` that the server's copy of each followed repository may have")
	f.DurationVar(&o.Prove, "prove", 5*time.Minute, "`DURATION` after which each way back is proved again: its root is read, and an instance of it started")
	f.StringVar(&o.Network, "network", "", "`RANGE` of addresses for services and instances; the folder's own from before, else one that is free")
}

func newServerCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts serverOptions
	cmd := page{
		use:   "server [--data DIR] [--listen ADDRESS] [--push | --anonymous WHAT] [--network RANGE] [--refuse LEVEL] [--environment NAME [--change-environment]] [--identity FILE] [--source-size SIZE] [--prove DURATION]",
		short: "Run the server",
		long: `Runs the server until it is told to stop: it builds images, serves the registry, keeps the log and
runs instances. The registry's address gives images to whoever reaches it, if only this machine
can, and takes them from those who have a token ("imx registry token") or, with --push, from
everybody. Everything it has is in the data folder, the environment that its first start names, too:
a later start with another one is refused unless it says --change-environment. Instances outlive it: the next start
takes them over as they are.`,
		example: `
# imx server --data /srv/imx &
# systemctl enable --now imx`,
		exits: []status{
			{0, "it was told to stop, and did"},
			{2, "a flag makes no sense, or this is a client-only build"},
			{3, "there is no such environment"},
			{4, "another server holds the data folder or the address, or the folder is for another environment"},
			{5, "it may not do what it must: it needs root"},
			{6, "something it needs on this machine is missing"},
		},
	}.command(func(ctx context.Context, _ []string) error {
		if err := oneOf("refuse", opts.Refuse, levelNames()); err != nil {
			return err
		}
		if opts.Anonymous != "" {
			if err := oneOf("anonymous", opts.Anonymous, []string{"none", "pull", "push"}); err != nil {
				return err
			}
			if opts.Push && opts.Anonymous != "push" {
				return imx.Errorf(imx.Invalid, "--push and --anonymous %s contradict each other", opts.Anonymous).WithHint("give one of them")
			}
		}
		if opts.Prove < time.Second {
			return imx.Errorf(imx.Invalid, "--prove %v is too often: a proof starts an instance", opts.Prove).WithHint("give 1s or more")
		}
		if opts.ChangeEnvironment && opts.Environment == "" {
			return imx.Errorf(imx.Invalid, "--change-environment doesn't say to which").WithHint("add --environment NAME")
		}
		return runServer(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	cmd.AddCommand(newPurgeCommand(g, t))
	return cmd
}

type purgeOptions struct {
	Yes bool
}

func (o *purgeOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.Yes, "yes", "y", false, "don't ask; needed where nobody can answer")
}

func newPurgeCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts purgeOptions
	cmd := page{
		use:   "purge [--yes]",
		short: "End everything of a server that doesn't run",
		long: `Asks, then ends every instance that a server left running and takes its mounts, addresses, rules and
cgroups away. The files in the data folder stay: remove the folder to forget them.`,
		example: `
# imx server purge --data /srv/imx --yes && rm -r /srv/imx`,
		exits: []status{
			{2, "in a pipe: --yes is missing; or this is a client-only build"},
			{4, "the server still runs"},
			{5, "the question was answered with no, or this needs root"},
		},
	}.command(func(ctx context.Context, _ []string) error {
		return runPurge(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

// purged is what purge answers with --json.
type purged struct {
	Purged string `json:"purged"` // the data folder
}

func runPurge(ctx context.Context, opts purgeOptions, g *Global, t *term.Terminal) error {
	if !opts.Yes {
		if err := nobodyAsked(g, t, "server purge", "imx ps"); err != nil {
			return err
		}
		yes, err := t.Confirm(ctx, "End every instance of "+g.Data+"?")
		if err != nil {
			return err
		}
		if !yes {
			return errDeclined()
		}
	}
	if err := purge(ctx, g.Data); err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, purged{g.Data})
	}
	_, err := fmt.Fprintf(t.Out, "nothing of %s runs any more\n", g.Data)
	return err
}
