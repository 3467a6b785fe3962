package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

func newKeyExportCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "export",
		short: "Print the public keys for the server of the next environment",
		long: `Prints as JSON the public keys by which another server believes what this one states of images and offers: those of its builder, tester
and releaser, also those that ended, and those of its own upstreams. "imx upstream add" reads them there. No private key is in it, but
whoever can change the file on its way says whom the other server believes.`,
		example: `$ imx key export > staging.keys.json`,
		exits:   asking(),
	}.command(func(ctx context.Context, _ []string) error {
		export, err := g.client().ExportKeys(ctx)
		if err != nil {
			return err
		}
		if err := printJSON(t.Out, export); err != nil || g.JSON || !t.Err.Terminal {
			return err
		}
		_, err = fmt.Fprintf(t.Err, "keep it as %s.keys.json; on the server of the next environment: imx upstream add %s https://HOST --keys %s.keys.json\n",
			export.Environment, export.Environment, export.Environment)
		return err
	})
}

func newUpstreamCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "upstream",
		short: "Say from which servers releases come here",
		long: `An upstream is the server of the environment before this one: staging, for a server of production. What runs there may be released here
as it is, the same images by digest, once it was good there.`,
		example: `
$ imx upstream add staging https://staging.example.org --keys staging.keys.json --token-file /etc/imx/staging.token
$ imx upstream list`,
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newUpstreamAddCommand(g, t), newUpstreamListCommand(g, t), newUpstreamRemoveCommand(g, t))
	return cmd
}

type upstreamAddOptions struct {
	Environment string
	Address     string
	Keys        string
	TokenFile   string
}

func (o *upstreamAddOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Keys, "keys", "", "`FILE` that imx key export printed on that server; - reads it from standard input")
	f.StringVar(&o.TokenFile, "token-file", "", "`FILE` on this server's machine with a token of the other's registry, as an absolute path; it is read each time")
}

func newUpstreamAddCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts upstreamAddOptions
	cmd := page{
		use:   "add ENVIRONMENT [URL] [--keys FILE] [--token-file FILE]",
		short: "Make a server known, or change what is known of it",
		long: `Makes the server of ENVIRONMENT known, with the address URL of its registry, https://HOST or http://HOST:PORT, and the keys in FILE: what
they sign counts here from now on, about how images came to be and were tested, and about what runs there. What is wrong with an image,
and whether it may run, this server finds itself.

Of a server that is known already, what isn't given stays, but for the token where URL is another one. Keys are added, and those that ended
there end here.`,
		example: `
$ imx upstream add staging https://staging.example.org --keys staging.keys.json --token-file /etc/imx/staging.token
$ ssh staging imx key export | imx upstream add staging --keys -`,
		exits: asking(
			status{2, "ENVIRONMENT or URL can't be one, or FILE isn't what imx key export prints there"}, status{3, "there is no such FILE"},
			status{4, "ENVIRONMENT is this server's own, or its keys can't be believed: one is known as somebody else's, or ended, or none signs what it offers"},
		),
		least: 1,
		most:  2,
	}.command(func(ctx context.Context, args []string) error {
		if opts.Environment = args[0]; len(args) > 1 {
			opts.Address = args[1]
		}
		return runUpstreamAdd(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runUpstreamAdd(ctx context.Context, opts upstreamAddOptions, g *Global, t *term.Terminal) error {
	req := imx.UpstreamRequest{Environment: opts.Environment, Address: opts.Address, TokenFile: opts.TokenFile}
	if opts.Keys != "" {
		var err error
		if req.Keys, err = readExport(t, opts.Keys); err != nil {
			return err
		}
	}
	u, err := g.client().SetUpstream(ctx, req)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, u)
	}
	return showUpstreams(ctx, g, t, []imx.Upstream{u})
}

// readExport reads what imx key export printed; the name - is standard input.
func readExport(t *term.Terminal, name string) (*imx.KeyExport, error) {
	in := t.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, imx.Errorf(imx.NotFound, "the keys can't be read: %w", err)
		}
		defer func() { _ = f.Close() }() // it was only read from
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxKeyFile+1))
	if err == nil && len(raw) > maxKeyFile {
		err = fmt.Errorf("it has more than %d bytes", maxKeyFile)
	}
	var export imx.KeyExport
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		err = d.Decode(&export)
	}
	if err != nil {
		return nil, imx.Errorf(imx.Invalid, "%s isn't what imx key export prints: %w", name, err).WithHint("run it on the other server: imx key export > FILE")
	}
	return &export, nil
}

func newUpstreamListCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:     "list",
		short:   "Show from which servers releases come here",
		long:    `Shows each server with its environment, its address and the file of its token. Of its keys it tells how many count.`,
		example: `$ imx upstream list`,
		exits:   asking(),
	}.command(func(ctx context.Context, _ []string) error {
		all, err := g.client().Upstreams(ctx)
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, all)
		}
		if len(all) == 0 {
			_, err := fmt.Fprintln(t.Out, "releases come from no other server: imx upstream add ENVIRONMENT URL --keys FILE")
			return err
		}
		return showUpstreams(ctx, g, t, all)
	})
}

func showUpstreams(ctx context.Context, g *Global, t *term.Terminal, all []imx.Upstream) error {
	keys, err := g.client().Keys(ctx)
	if err != nil {
		return err
	}
	table := term.Table{Head: []string{"ENVIRONMENT", "ADDRESS", "TOKEN", "KEYS", "SINCE", "BY"}, Wraps: []string{"ADDRESS", "TOKEN"}, Drops: []string{"BY", "SINCE"}}
	for _, u := range all {
		count := 0
		for _, k := range keys {
			if k.Until.IsZero() && !k.Compromised && slices.Contains(u.Keys, k.ID) {
				count++
			}
		}
		table.Add(t.Out.Ink.Name(u.Environment), term.Clean(u.Address), term.Clean(u.TokenFile), fmt.Sprintf("%d of %d count", count, len(u.Keys)), term.Stamp(u.Since), term.Clean(string(u.By)))
	}
	_, err = io.WriteString(t.Out, table.Text(t.Out.Ink, t.Out.Columns()))
	return err
}

func newUpstreamRemoveCommand(g *Global, t *term.Terminal) *cobra.Command {
	var reason string
	var yes bool
	cmd := page{
		use:   "remove ENVIRONMENT [--reason WHY] [--yes]",
		short: "Let no more releases come from a server",
		long: `Ends what is known of the server of ENVIRONMENT, and its keys with it, but for those that came with another server too. What was taken over
from there stays, and what its keys signed before counts on. The same keys don't come back: to add it again, they are
renewed with "imx key rotate" on the servers whose they are. So it says first which keys end, and asks, or --yes is to be said.`,
		example:  `$ imx upstream remove staging --reason "replaced by another machine"`,
		exits:    asking(status{2, "nobody is there to ask"}, status{3, "there is no such upstream"}, status{5, "it wasn't confirmed"}),
		least:    1,
		most:     1,
		complete: completeUpstreams(g),
	}.command(func(ctx context.Context, args []string) error {
		if !yes {
			if err := confirmUpstreamEnds(ctx, args[0], g, t); err != nil {
				return err
			}
		}
		return g.client().RemoveUpstream(ctx, args[0], reason)
	})
	cmd.Flags().StringVar(&reason, "reason", "", "`WHY`; it stays on the log")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask; needed where nobody can answer")
	return cmd
}

// confirmUpstreamEnds says which keys end with an upstream, and asks.
func confirmUpstreamEnds(ctx context.Context, environment string, g *Global, t *term.Terminal) error {
	if err := nobodyAsked(g, t, "upstream remove", "imx key list"); err != nil {
		return err
	}
	all, err := g.client().Upstreams(ctx)
	if err != nil {
		return err
	}
	keys, err := g.client().Keys(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(u imx.Upstream) bool { return u.Environment == environment })
	if i < 0 {
		return nil // which the server says
	}
	count := map[string]int{}
	for _, k := range keys {
		others := slices.ContainsFunc(all, func(u imx.Upstream) bool { return u.Environment != environment && slices.Contains(u.Keys, k.ID) })
		if k.Until.IsZero() && !k.Compromised && slices.Contains(all[i].Keys, k.ID) && !others {
			count[k.Environment]++
		}
	}
	var ends []string
	for _, of := range slices.Sorted(maps.Keys(count)) {
		ends = append(ends, fmt.Sprintf("%d of %s", count[of], of))
	}
	text := fmt.Sprintf("With %s keys end, and don't come back: %s.\n", environment, cmp.Or(strings.Join(ends, ", "), "none"))
	if _, err := io.WriteString(t.Err, term.Wrap(text, t.Err.Columns())); err != nil {
		return err
	}
	if yes, err := t.Confirm(ctx, "Remove the upstream?"); err != nil || yes {
		return err
	}
	return errDeclined()
}

func completeUpstreams(g *Global) cobra.CompletionFunc {
	return onlyFirst(func(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		all, err := g.client().Upstreams(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, u := range all {
			names = append(names, u.Environment)
		}
		return unused(names, nil, start), cobra.ShellCompDirectiveNoFileComp
	})
}
