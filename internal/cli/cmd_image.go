package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/inventory"
	"imx/internal/term"
)

// imageSays explains IMAGE in the help of each command that takes one.
const imageSays = `

IMAGE is a name (the newest image built under it), a digest or the beginning of one, NAME@DIGEST,
a name in the registry, or a service (the image that it runs). An image comes before a service of the
same name; "service.NAME" means the service.`

func newImageCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "image",
		short: "Look into images: what is inside, why, and what changed",
		long: `Lists the images that were built, shows what one holds, tells which package and which chain of
dependencies brought a path into it, compares two, and lists what was stated of one. Nothing is unpacked or started: the
builder keeps an inventory with each image.`,
		example: `
$ imx image list
$ imx image show web
$ imx image why web /usr/lib/x86_64-linux-gnu/libssl.so.3
$ imx image diff web@3afb973e65eb web`,
		exits: asking(status{2, "there is no such command"}),
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newImageListCommand(g, t), newImageShowCommand(g, t), newImageWhyCommand(g, t), newImageDiffCommand(g, t),
		newImageEvidenceCommand(g, t))
	return cmd
}

func newImageListCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "list",
		short: "List the images that were built",
		long: `Lists the images, the newest first: digest, compressed size, numbers of packages and files, when each
was built and which services run it. Images that were pushed from outside are listed, too.`,
		example: `
$ imx image list
$ imx image list --json | jq -r '.[] | select(.runBy) | .digest'`,
		exits: asking(),
	}.command(func(ctx context.Context, _ []string) error {
		images, err := g.client().Images(ctx)
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, images)
		}
		return showImageList(t.Out, images, time.Now())
	})
}

type imageShowOptions struct {
	Image    string
	Files    bool
	Packages bool
}

func (o *imageShowOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.Files, "files", false, "list all paths: mode, owner, size, what brought each")
	f.BoolVar(&o.Packages, "packages", false, "list all packages: version, source, size in the image, files")
}

func newImageShowCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts imageShowOptions
	cmd := page{
		use:   "show IMAGE [--packages] [--files]",
		short: "Show what is inside an image",
		long: `Shows how an image runs, what in it deserves a look (setuid files, capabilities, what everybody may
write, programs that can listen), its accounts, largest packages and folders, and its layers.

--files says of each path which package brought it, or
  (generated)  maintainer scripts or triggers made or changed it while the image was built
  (template)   the template's image block has it
  (frame)      imx gives it to every image: top folders, links such as /bin, places for mounts` + imageSays,
		example: `
$ imx image show web
$ imx image show web --packages
$ imx image show --json service.web | jq -r '.inventory.packages[] | "\(.name) \(.version)"'`,
		exits:    asking(status{2, "several images begin with the digest"}, status{3, "there is no such image"}),
		least:    1,
		most:     1,
		complete: onlyFirst(completeImages(g)),
	}.command(func(ctx context.Context, args []string) error {
		opts.Image = args[0]
		return runImageShow(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

// shownImage is what `imx image show --json` prints.
type shownImage struct {
	imx.ImageDetail

	Summary inventory.Summary `json:"summary"`
}

func runImageShow(ctx context.Context, opts imageShowOptions, g *Global, t *term.Terminal) error {
	d, err := g.client().Image(ctx, opts.Image)
	if err != nil {
		return err
	}
	shown := shownImage{d, inventory.Summarize(d.Inventory)}
	switch {
	case g.JSON:
		return printJSON(t.Out, shown)
	case !opts.Files && !opts.Packages:
		return showImage(t.Out, shown, time.Now())
	}
	if opts.Packages {
		err = showImagePackages(t.Out, shown)
	}
	if opts.Files && err == nil {
		err = showImageFiles(t.Out, d.Inventory)
	}
	return err
}

type imageWhyOptions struct {
	Image, Subject string
	All            bool
}

func (o *imageWhyOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.All, "all", "a", false, "a chain from each package of the template that leads there, not only the shortest ones")
}

func newImageWhyCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts imageWhyOptions
	cmd := page{
		use:   "why IMAGE PATH [--all]",
		short: "Show which package and which dependencies brought a path in",
		long: `Tells what brought PATH into the image: a package, maintainer scripts, the template, or imx itself; and
by which chain of dependencies a package that the template names leads there, the shortest first.
A package's name may stand in place of PATH. Links among its folders are followed.` + imageSays,
		example: `
$ imx image why web /usr/lib/x86_64-linux-gnu/libssl.so.3
$ imx image why web libssl3`,
		exits: asking(
			status{2, "several images begin with the digest"},
			status{3, "there is no such image, or it has no such path or package; near ones are named"},
		),
		least:    2,
		most:     2,
		complete: onlyFirst(completeImages(g)),
	}.command(func(ctx context.Context, args []string) error {
		opts.Image, opts.Subject = args[0], args[1]
		return runImageWhy(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runImageWhy(ctx context.Context, opts imageWhyOptions, g *Global, t *term.Terminal) error {
	d, err := g.client().Image(ctx, opts.Image)
	if err != nil {
		return err
	}
	why, err := inventory.Explain(d.Inventory, opts.Subject)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, why)
	}
	if !opts.All {
		return showImageWhy(t.Out, d, why, fewChains)
	}
	return showImageWhy(t.Out, d, why, len(why.Chains))
}

type imageDiffOptions struct {
	From, To string
	Files    bool
	ExitCode bool
}

func (o *imageDiffOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.Files, "files", false, "list every path that changes, those of changed packages too")
	f.BoolVar(&o.ExitCode, "exit-code", false, "exit with 10 if the images differ")
}

func newImageDiffCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts imageDiffOptions
	cmd := page{
		use:   "diff IMAGE OTHER [--files] [--exit-code]",
		short: "Show what changes from one image to another",
		long: `Compares IMAGE with OTHER: packages, files (kind, content, mode, owner), sizes, accounts, setuid files and
capabilities, programs that can listen, and how they run. Files that come with a package
that changes are counted; all others are named.` + imageSays + ` So does OTHER.`,
		example: `
$ imx image diff service.web web
$ imx image diff --exit-code web@3afb973e65eb web; test $? = 10 && echo it differs`,
		exits: asking(
			status{0, "they were compared; with --exit-code: nothing differs"},
			status{2, "several images begin with the digest"},
			status{3, "there is no such image"},
			status{exitChanges, "with --exit-code: something differs (as with plan --detailed-exitcode; 1 and 2 are failures)"},
		),
		least:    2,
		most:     2,
		complete: completeImages(g),
	}.command(func(ctx context.Context, args []string) error {
		opts.From, opts.To = args[0], args[1]
		return runImageDiff(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runImageDiff(ctx context.Context, opts imageDiffOptions, g *Global, t *term.Terminal) error {
	a, err := g.client().Image(ctx, opts.From)
	if err != nil {
		return err
	}
	b, err := g.client().Image(ctx, opts.To)
	if err != nil {
		return err
	}
	diff := inventory.Compare(a, b)
	switch {
	case g.JSON:
		err = printJSON(t.Out, diff)
	case opts.Files:
		err = showImageDiff(t.Out, a, b, everyPath(diff))
	default:
		err = showImageDiff(t.Out, a, b, ownPaths(diff))
	}
	if err == nil && opts.ExitCode && !diff.Empty() {
		return exit{code: exitChanges}
	}
	return err
}

// completeImages offers the names of images, and each image by name and digest.
func completeImages(g *Global) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		images, err := g.client().Images(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var words []string
		seen := map[string]bool{}
		for _, v := range images {
			if !seen[v.Name] {
				seen[v.Name] = true
				words = append(words, v.Name)
			}
			words = append(words, v.Name+"@"+v.Digest.Short())
		}
		return unused(words, nil, start), cobra.ShellCompDirectiveNoFileComp
	}
}
