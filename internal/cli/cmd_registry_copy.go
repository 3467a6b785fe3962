package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/replicate"
	"imx/internal/term"
)

type copyOptions struct {
	TokenFile string
}

func (o *copyOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.TokenFile, "token-file", "", "`FILE` with a token for the other registry, or NAME:PASSWORD")
}

// other opens the registry that isn't the server's.
func (o *copyOptions) other(address string) (replicate.Side, error) {
	secret := ""
	if o.TokenFile != "" {
		b, err := os.ReadFile(o.TokenFile)
		if err != nil {
			return replicate.Side{}, imx.Errorf(imx.NotFound, "the token file can't be read: %w", err)
		}
		secret = string(b)
	}
	return replicate.Open(address, secret, nil)
}

// local is the server's own registry, by its socket.
func (g *Global) local() (replicate.Side, error) {
	s, err := replicate.Open("http://imx", "", g.client().Transport())
	s.Name = "of this server"
	return s, err
}

// place reads REPOSITORY[:TAG|@DIGEST].
func place(text string) (replicate.Place, error) {
	repo, digest, hasDigest := strings.Cut(text, "@")
	if hasDigest {
		d, err := imx.ParseDigest(digest)
		return replicate.Place{Repository: repo, Digest: d}, err
	}
	tag := ""
	if i := strings.LastIndex(repo, ":"); i > strings.LastIndex(repo, "/") {
		repo, tag = repo[:i], repo[i+1:]
	}
	return replicate.Place{Repository: repo, Tag: tag}, nil
}

// remote reads [SCHEME://]HOST[/REPOSITORY[:TAG|@DIGEST]].
func remote(text string) (address string, p replicate.Place, err error) {
	scheme, rest := "", text
	if i := strings.Index(text, "://"); i >= 0 {
		scheme, rest = text[:i+3], text[i+3:]
	}
	host, path, _ := strings.Cut(rest, "/")
	p, err = place(path)
	return scheme + host, p, err
}

func newRegistryPushCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts copyOptions
	cmd := page{
		use:   "push REPOSITORY[:TAG|@DIGEST] DESTINATION [--token-file FILE]",
		short: "Copy images to another registry",
		long: `Copies an image of the server's registry, or all tags of REPOSITORY, with all that is stated of it, to DESTINATION:
HOST or HOST/REPOSITORY[:TAG]. What is there already isn't sent again, so a copy that broke off goes on where it was; the tag comes last.
A tag that begins with plan-, which is reserved for what a server builds, becomes built-, with the image's digest behind.`,
		example: `
$ imx registry push hello https://registry.example.org --token-file token
$ imx registry push shop@sha256:5f0c...e2 127.0.0.1:5051/shop:v1`,
		exits: copyExits(),
		least: 2,
		most:  2,
	}.command(func(ctx context.Context, args []string) error {
		src, err := place(args[0])
		if err != nil {
			return err
		}
		address, dst, err := remote(args[1])
		if err != nil {
			return err
		}
		from, err := g.local()
		if err != nil {
			return err
		}
		to, err := opts.other(address)
		if err != nil {
			return err
		}
		return runCopy(ctx, g, t, replicate.Copier{From: from, To: to}, [2]replicate.Place{src, dst})
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func copyExits() []status {
	return []status{
		{2, "what is to be copied, or where to, isn't written right"},
		{3, "there is no such image"},
		{4, "the tag there names something else already"},
		{5, "a registry says no, or serves other bytes than asked for; or the token file can't be used"},
		{6, "a registry, or the server on the socket, doesn't answer"},
		{7, "a registry has no room"},
	}
}

func newRegistryPullCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts copyOptions
	cmd := page{
		use:   "pull SOURCE [REPOSITORY[:TAG]] [--token-file FILE]",
		short: "Copy images from another registry",
		long: `Copies an image, or all tags of a repository, with all that is stated of it, from SOURCE, HOST/REPOSITORY[:TAG|@DIGEST], to
the server's registry: to the same repository and tag unless others are given. Every byte is compared with the digest that it was asked for by: a
registry that serves others is named, and nothing of it kept.`,
		example: `
$ imx registry pull registry.example.org/debian/nginx:1.22
$ imx registry pull 127.0.0.1:5051/shop:v1 mirror/shop:v1 --token-file token`,
		exits: copyExits(),
		least: 1,
		most:  2,
	}.command(func(ctx context.Context, args []string) error {
		address, src, err := remote(args[0])
		if err != nil {
			return err
		}
		dst := replicate.Place{}
		if len(args) > 1 {
			if dst, err = place(args[1]); err != nil {
				return err
			}
		}
		to, err := g.local()
		if err != nil {
			return err
		}
		from, err := opts.other(address)
		if err != nil {
			return err
		}
		return runCopy(ctx, g, t, replicate.Copier{From: from, To: to}, [2]replicate.Place{src, dst})
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

// copied is one image that was copied.
type copied struct {
	replicate.Copied

	From string `json:"from"`
	To   string `json:"to"`
}

// runCopy copies from the first place to the second; of a repository without a tag all tags.
func runCopy(ctx context.Context, g *Global, t *term.Terminal, c replicate.Copier, between [2]replicate.Place) error {
	src, dst := between[0], between[1]
	if src.Repository == "" || dst.Digest != "" {
		return imx.Errorf(imx.Invalid, "which image is to be copied, or where to, isn't said").WithHint("REPOSITORY:TAG; HOST/REPOSITORY:TAG")
	}
	if dst.Repository == "" {
		dst.Repository = src.Repository
	}
	all, err := track(g, t, func(report imx.Report) ([]copied, error) {
		c.Report = report
		return copyAll(ctx, c, src, dst)
	})
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, all)
	}
	for _, one := range all {
		if _, err := fmt.Fprintf(t.Out, "%s -> %s  %s: %s, %s, %s new\n", t.Out.Ink.Name(one.From), t.Out.Ink.Name(one.To), one.Digest.Short(),
			term.Count(int64(one.Manifests), "manifest"), term.Count(int64(one.Blobs), "blob"), one.Bytes); err != nil {
			return err
		}
	}
	return nil
}

func copyAll(ctx context.Context, c replicate.Copier, src, dst replicate.Place) ([]copied, error) {
	from := []replicate.Place{src}
	if src.Tag == "" && src.Digest == "" {
		if dst.Tag != "" {
			return nil, imx.Errorf(imx.Invalid, "all tags of %s can't become the one tag %s", src.Repository, dst.Tag).WithHint("name one tag")
		}
		from = nil
		for tag, err := range c.From.Tags(ctx, src.Repository, "") {
			if err != nil {
				return nil, imx.Errorf(imx.NotFound, "registry %s: listing the tags of %s: %w", c.From.Name, src.Repository, err)
			}
			from = append(from, replicate.Place{Repository: src.Repository, Tag: tag})
		}
	}
	all := []copied{}
	for _, p := range from {
		done, to, err := copyOne(ctx, c, p, dst)
		if err != nil {
			return all, err
		}
		all = append(all, copied{done, p.Repository + ":" + p.Tag, c.To.Name + "/" + to.Repository + ":" + to.Tag})
	}
	return all, nil
}

func copyOne(ctx context.Context, c replicate.Copier, src, dst replicate.Place) (replicate.Copied, replicate.Place, error) {
	if dst.Tag == "" && src.Tag != "" {
		d, err := c.Resolve(ctx, src)
		if err != nil {
			return replicate.Copied{}, dst, err
		}
		dst.Tag = replicate.There(src.Tag, d)
	}
	done, err := c.Copy(ctx, src, dst)
	return done, dst, err
}

func newRegistryMirrorCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "mirror",
		short: "Keep repositories the same as another registry's",
		long: `A mirror copies repositories to another registry, or from one, as soon as something new is in them: images, their tags and all that
is stated of them. Nothing is ever removed on the other side, and no tag moved.`,
		example: `
$ imx registry mirror add backup --to https://registry.example.org --token-file /etc/imx/backup.token "team/*"
$ imx registry mirror list`,
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newMirrorAddCommand(g, t), newMirrorListCommand(g, t), newMirrorRemoveCommand(g))
	return cmd
}

type mirrorOptions struct {
	To, From, TokenFile string
}

func (o *mirrorOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.To, "to", "", "`URL` of a registry to copy to")
	f.StringVar(&o.From, "from", "", "`URL` of a registry to copy from")
	f.StringVar(&o.TokenFile, "token-file", "", "`FILE` on the server's machine with a token for it, or NAME:PASSWORD; it is read at each look")
}

func newMirrorAddCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts mirrorOptions
	cmd := page{
		use:   "add NAME (--to URL | --from URL) [--token-file FILE] REPOSITORY",
		short: "Begin to copy repositories",
		long: `Begins to copy the repositories that REPOSITORY covers ("team/*", "*" or one's name), in place of an earlier mirror by that NAME. What is
new here goes to the other side at once; what is new there is looked for each minute.`,
		example: `
$ imx registry mirror add backup --to https://registry.example.org "team/*"
$ imx registry mirror add upstream --from http://127.0.0.1:5051 shop`,
		exits: asking(status{2, "there can't be such a mirror"}),
		least: 2,
		most:  2,
	}.command(func(ctx context.Context, args []string) error {
		if (opts.To == "") == (opts.From == "") {
			return imx.Errorf(imx.Invalid, "a mirror copies to a registry or from one").WithHint("give --to or --from")
		}
		m := imx.RegistryMirror{Name: args[0], Direction: imx.MirrorTo, URL: opts.To, Repository: args[1], TokenFile: opts.TokenFile}
		if opts.From != "" {
			m.Direction, m.URL = imx.MirrorFrom, opts.From
		}
		all, err := g.client().SetMirror(ctx, m)
		if err != nil {
			return err
		}
		return showMirrors(g, t, all)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func newMirrorListCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:     "list",
		short:   "Show the mirrors, and how each did",
		long:    `Shows each mirror, and when its two sides were compared last. Of tags that couldn't be copied it tells how many, and why.`,
		example: `$ imx registry mirror list`,
		exits:   asking(),
	}.command(func(ctx context.Context, _ []string) error {
		all, err := g.client().Mirrors(ctx)
		if err != nil {
			return err
		}
		return showMirrors(g, t, all)
	})
}

func showMirrors(g *Global, t *term.Terminal, all []imx.MirrorStatus) error {
	if g.JSON {
		return printJSON(t.Out, all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(t.Out, "nothing is copied to or from another registry: imx registry mirror add")
		return err
	}
	_, err := io.WriteString(t.Out, mirrorsText(t.Out.Ink, t.Out.Columns(), all))
	return err
}

func newMirrorRemoveCommand(g *Global) *cobra.Command {
	return page{
		use:     "remove NAME",
		short:   "End a mirror",
		long:    `Ends the mirror NAME. What it copied stays.`,
		example: `$ imx registry mirror remove backup`,
		exits:   asking(status{3, "there is no such mirror"}),
		least:   1,
		most:    1,
	}.command(func(ctx context.Context, args []string) error { return g.client().RemoveMirror(ctx, args[0]) })
}
