package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

func newRegistryCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "registry",
		short: "Say who may use the registry, copy images, and find damage",
		long: `The server's registry answers the OCI distribution API at its TCP address and on the socket. On the socket root may
do all. At the address tokens say who may pull and push what, and until when; "imx server --anonymous" says what
everybody may.`,
		example: `
$ imx registry token create --owner ci --right push "team/*"
$ imx registry push hello https://registry.example.org
$ imx registry fsck`,
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newRegistryTokenCommand(g, t), newRegistryQuotaCommand(g, t), newRegistryAuditCommand(g, t),
		newRegistryPushCommand(g, t), newRegistryPullCommand(g, t), newRegistryMirrorCommand(g, t), newRegistryFsckCommand(g, t))
	return cmd
}

func newRegistryTokenCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "token",
		short: "Make, list and revoke tokens",
		long: `A token lets whoever has its secret pull, or pull and push, in some repositories, until a day. Clients log in with
any name and the secret as the password. The log has its hash alone.`,
		example: `
$ imx registry token create --owner ci --right push "team/*"
$ imx registry token list`,
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newTokenCreateCommand(g, t), newTokenListCommand(g, t), newTokenRevokeCommand(g, t))
	return cmd
}

type tokenOptions struct {
	Owner string
	Right string
	Lasts imx.Duration
}

func (o *tokenOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Owner, "owner", "", "`NAME` of who gets it: the log has their pushes under it")
	f.StringVar(&o.Right, "right", "pull", "what it allows: pull, or push, which is both")
	lengthVar(f, &o.Lasts, "lasts", imx.Duration(90*24*time.Hour), "end it after this `TIME`")
}

func newTokenCreateCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts tokenOptions
	cmd := page{
		use:   "create --owner NAME [--right WHAT] [--lasts TIME] REPOSITORY...",
		short: "Make a token",
		long: `Makes a token for REPOSITORY: a repository's name, "team/*" for all below team, or "*" for all but frozen sets. Prints
the secret, which nothing shows again.`,
		example: `
$ imx registry token create --owner ci --right push "team/*"
imxr_5f0c31e2_9d1b...
$ imx registry token create --owner ci "*" | skopeo login --tls-verify=false -u ci --password-stdin 127.0.0.1:5050`,
		exits: asking(status{2, "there can't be such an owner, right, repository or time"}),
		least: 1,
		most:  -1,
	}.command(func(ctx context.Context, args []string) error {
		if err := oneOf("right", opts.Right, []string{"pull", "push"}); err != nil {
			return err
		}
		made, err := g.client().MakeToken(ctx, imx.TokenRequest{
			Owner: imx.Principal(opts.Owner), Rights: []imx.RegistryRight{imx.RegistryRight(opts.Right)}, Repositories: args, Lasts: opts.Lasts,
		})
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, made)
		}
		_, _ = fmt.Fprintf(t.Err, "token %s of %s: %s in %s until %s; this is shown once:\n", made.ID, made.Owner, rightsText(made.Rights),
			strings.Join(made.Repositories, ", "), term.Stamp(made.Ends))
		_, err = fmt.Fprintln(t.Out, made.Secret)
		return err
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func newTokenListCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:     "list",
		short:   "Show the tokens",
		long:    `Shows each token, the newest first: whose it is, what it allows, and until when. Secrets aren't kept.`,
		example: `$ imx registry token list`,
		exits:   asking(),
	}.command(func(ctx context.Context, _ []string) error {
		tokens, err := g.client().Tokens(ctx)
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, tokens)
		}
		if len(tokens) == 0 {
			_, err = fmt.Fprintln(t.Out, "there is no token: imx registry token create makes one")
			return err
		}
		_, err = io.WriteString(t.Out, tokensText(t.Out.Ink, t.Out.Columns(), tokens, time.Now()))
		return err
	})
}

func newTokenRevokeCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:     "revoke ID",
		short:   "End a token",
		long:    `Ends the token with this ID. What was pushed with it stays.`,
		example: `$ imx registry token revoke 5f0c31e2`,
		exits:   asking(status{3, "there is no such token"}),
		least:   1,
		most:    1,
	}.command(func(ctx context.Context, args []string) error {
		token, err := g.client().RevokeToken(ctx, args[0])
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, token)
		}
		_, err = fmt.Fprintf(t.Out, "token %s of %s counts no more\n", token.ID, token.Owner)
		return err
	})
}

func newRegistryQuotaCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "quota",
		short: "Bound what may be pushed",
		long: `A quota bounds what is in the repositories of a pattern together, or what one owner of tokens pushed. It refuses pushes at
the registry's address that have no room; what the server builds and what root pushes counts, and is never refused. Without a quota
one owner's tokens bring 100,000 manifests and 100,000 tags at most, because each is on the log for good; and 1,000,000 blobs.`,
		example: `
$ imx registry quota set "team/*" --bytes 10GiB
$ imx registry quota list`,
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newQuotaSetCommand(g, t), newQuotaListCommand(g, t))
	return cmd
}

type quotaOptions struct {
	Owner     string
	Bytes     string
	Manifests int
	Tags      int
}

func (o *quotaOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Owner, "owner", "", "`NAME` of the owner of tokens that it is for, in place of repositories")
	f.StringVar(&o.Bytes, "bytes", "0", "the most that blobs and manifests may have, with uploads under way: `SIZE`, as 10GiB; 0 is any number")
	f.IntVar(&o.Manifests, "manifests", 0, "the most manifests; 0 is 100,000 of an owner")
	f.IntVar(&o.Tags, "tags", 0, "the most tags; 0 is 100,000 of an owner")
}

func newQuotaSetCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts quotaOptions
	cmd := page{
		use:   "set [REPOSITORY] [--owner NAME] [--bytes SIZE] [--manifests N] [--tags N]",
		short: "Set a quota, or end one",
		long: `Bounds what is in the repositories that REPOSITORY covers ("team/*", "*" or one's name), or what the owner's tokens pushed, in
place of an earlier quota of the same. Without --bytes, --manifests and --tags it ends.`,
		example: `
$ imx registry quota set "team/*" --bytes 10GiB --manifests 1000 --tags 500
$ imx registry quota set --owner ci --bytes 1GiB`,
		exits: asking(status{2, "there can't be such a quota"}),
		most:  1,
	}.command(func(ctx context.Context, args []string) error {
		size, err := imx.ParseSize(opts.Bytes)
		if err != nil {
			return err
		}
		all, err := g.client().SetQuota(ctx, imx.RegistryQuota{
			Repositories: strings.Join(args, ""), Owner: imx.Principal(opts.Owner), Bytes: size, Manifests: opts.Manifests, Tags: opts.Tags,
		})
		if err != nil {
			return err
		}
		return showQuotas(g, t, all)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func newQuotaListCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "list",
		short: "Show the quotas, and how much of each is used",
		long: `Shows each quota, and how much of it is used. Each blob counts once for each repository that has it; the bytes of uploads that are
under way take room too, until they end.`,
		example: `$ imx registry quota list`,
		exits:   asking(),
	}.command(func(ctx context.Context, _ []string) error {
		all, err := g.client().Quotas(ctx)
		if err != nil {
			return err
		}
		return showQuotas(g, t, all)
	})
}

func showQuotas(g *Global, t *term.Terminal, all []imx.RegistryUse) error {
	if g.JSON {
		return printJSON(t.Out, all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(t.Out, "nothing bounds what may be pushed: imx registry quota set")
		return err
	}
	_, err := io.WriteString(t.Out, quotasText(t.Out.Ink, t.Out.Columns(), all))
	return err
}

type auditOptions struct {
	Since      string
	Repository string
}

func (o *auditOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Since, "since", "", "only what happened since `TIME`: a day, a moment, or how long ago (24h, 10d)")
	f.StringVar(&o.Repository, "repository", "", "only the repositories of this `PATTERN`")
}

func newRegistryAuditCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts auditOptions
	cmd := page{
		use:   "audit [--since TIME] [--repository PATTERN]",
		short: "Show who pulled and pushed what",
		long: `Shows who pulled and pushed which manifest, who read blobs without their manifest, when and from where, and who was turned away; the
oldest first. What repeats within an hour is one line, with how often. The trail has a bounded size, so that nobody who may pull can
fill the disk: the oldest lines go; refusals have a trail of their own, and push out no pulls. Pushes are on the log too, for good.`,
		example: `
$ imx registry audit --since 24h
$ imx registry audit --json | jq -r '.[] | select(.refused) | .from'`,
		exits: asking(status{2, "TIME isn't understood"}),
	}.command(func(ctx context.Context, _ []string) error {
		since, err := parseMoment(opts.Since, time.Now())
		if err != nil {
			return err
		}
		all, err := g.client().Pulls(ctx, since)
		if err != nil {
			return err
		}
		wanted := []imx.RegistryPull{}
		for _, p := range all {
			if opts.Repository == "" || imx.MatchRepository(opts.Repository, p.Repository) {
				wanted = append(wanted, p)
			}
		}
		if g.JSON {
			return printJSON(t.Out, wanted)
		}
		_, err = io.WriteString(t.Out, pullsText(t.Out.Ink, t.Out.Columns(), wanted))
		return err
	})
	opts.addFlags(cmd.Flags())
	return cmd
}
