package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/frozen"
	"imx/internal/term"
)

func newArchiveCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "archive",
		short: "Keep packages for good, and see what is kept",
		long: `Archives drop old versions of packages. What a lock names can be frozen: the server then keeps every
package of it for good, and a build with that lock needs no archive any more. A frozen set can be
taken to another server in one file.`,
		example: `
$ imx archive freeze shop --output shop.tar
$ imx archive thaw shop.tar --data /srv/other`,
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newArchiveFreezeCommand(g, t), newArchiveThawCommand(g, t), newArchiveListCommand(g, t))
	return cmd
}

type freezeOptions struct {
	Dir    string
	Name   string
	Output string
}

func (o *freezeOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Name, "name", "", "`NAME` of the set; the folder's, unless given")
	f.StringVarP(&o.Output, "output", "o", "", "write the set to `FILE` too, as an OCI layout in a tar; - is standard output")
}

func newArchiveFreezeCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts freezeOptions
	cmd := page{
		use:   "freeze [DIR] [--name NAME] [--output FILE]",
		short: "Keep every package that a template's lock names",
		long: `Keeps every package that DIR/imx.lock (here, unless named) names, and the lock, in the server's
registry as frozen/NAME: nothing deletes them from then on. Packages that the server lacks are
fetched. A build with that lock then needs no archive. The set is an OCI artifact, so skopeo and
oras copy it too.`,
		example: `
$ imx archive freeze shop
frozen/shop:lock-5f0c31e2a9b7  74 packages, 38.1 MiB
$ imx archive freeze shop --output shop.tar
$ imx archive freeze shop --output - | zstd > shop.tar.zst`,
		exits: asking(
			status{2, "the template has mistakes, NAME can't be a name, or FILE is - and standard output is a terminal or taken by --json"},
			status{3, "there is no such folder or no lock in it, or neither the server nor the archive has a package any more"},
			status{4, "the lock doesn't fit the template, or FILE can't be written"},
			status{5, "the archive or a package can't be trusted"},
			status{7, "the server's disk or FILE's is full"},
		),
		most:     1,
		complete: completeDirs,
	}.command(func(ctx context.Context, args []string) error {
		opts.Dir = dirOf(args)
		return runArchiveFreeze(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

// checkOutput refuses what nobody could read: a tar on a terminal, or with JSON behind it.
func checkOutput(output string, g *Global, t *term.Terminal) error {
	switch {
	case output != toStdout:
		return nil
	case g.JSON:
		return imx.Errorf(imx.Invalid, "--output - and --json would both be on standard output").WithHint("name a file with --output")
	case t.Out.Terminal:
		return imx.Errorf(imx.Invalid, "the set is a tar, and standard output is a terminal").WithHint("name a file with --output, or send it on: imx archive freeze --output - | ...")
	}
	return nil
}

func runArchiveFreeze(ctx context.Context, opts freezeOptions, g *Global, t *term.Terminal) error {
	if err := checkOutput(opts.Output, g, t); err != nil {
		return err
	}
	f, err := readFolder(ctx, opts.Dir)
	if err != nil {
		return err
	}
	set, err := track(g, t, func(report imx.Report) (imx.Frozen, error) {
		set, err := g.client().Freeze(ctx, imx.FreezeRequest{Template: f.template, Lock: f.lock, Name: opts.Name}, report)
		if err != nil || opts.Output == "" {
			return set, err
		}
		name := filepath.Base(opts.Output)
		if opts.Output == toStdout {
			name = "standard output"
		}
		return set, writeOutput(ctx, opts.Output, t, func(to io.Writer) error {
			return exportTo(ctx, g, exported{set, name, to}, report)
		})
	})
	if err != nil {
		return atFolder(err, f.path)
	}
	if opts.Output == toStdout {
		return sayFrozen(t.Err, set)
	}
	return showFrozen(set, g, t)
}

// exported is a set on its way out of the server.
type exported struct {
	imx.Frozen
	name string // of where it goes to, for people
	to   io.Writer
}

// exportTo writes a set of the server's.
func exportTo(ctx context.Context, g *Global, set exported, report imx.Report) error {
	c, repository := g.client(), imx.FrozenPrefix+set.Name
	manifest, err := c.Manifest(ctx, repository, string(set.Digest))
	if err != nil {
		return err
	}
	whole, err := frozen.Read(manifest, func(d imx.Digest, size int64) ([]byte, error) {
		r, err := c.Blob(ctx, repository, d)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(io.LimitReader(r, size+1))
	})
	if err != nil {
		return err
	}
	done := imx.Progress{Step: "write " + set.name, Status: imx.StepRunning, Total: int64(len(whole.Layers)), Unit: "packages"}
	err = frozen.WriteLayout(set.to, whole, set.Name, func(l frozen.Layer) (io.ReadCloser, error) {
		done.Message = l.Title
		report(done)
		done.Done++
		return c.Blob(ctx, repository, l.Digest)
	})
	if err != nil {
		return err
	}
	done.Status, done.Message = imx.StepDone, ""
	report(done)
	return nil
}

type thawOptions struct {
	File string
	Name string
}

func (o *thawOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Name, "name", "", "`NAME` of the set here; the one in FILE, unless given")
}

func newArchiveThawCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts thawOptions
	cmd := page{
		use:   "thaw FILE [--name NAME]",
		short: "Bring a frozen set from a file into the server",
		long: `Reads a frozen set from FILE, an OCI layout in a tar, and puts it into the server's registry. Every
package is checked against the digest that the set's lock has, before the server keeps it. Builds
with that lock then need no archive. Thawing the same again changes nothing.`,
		example: `
$ imx archive thaw shop.tar
frozen/shop:lock-5f0c31e2a9b7  74 packages, 38.1 MiB
$ imx build shop`,
		exits: asking(
			status{2, "NAME can't be a name, or FILE doesn't say one"},
			status{3, "there is no such file"},
			status{5, "FILE is no frozen set, lacks a part, or has other bytes than its lock says"},
			status{7, "the server's disk is full"},
		),
		least: 1,
		most:  1,
		complete: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
	}.command(func(ctx context.Context, args []string) error {
		opts.File = args[0]
		return runArchiveThaw(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runArchiveThaw(ctx context.Context, opts thawOptions, g *Global, t *term.Terminal) error {
	file, err := os.Open(opts.File)
	if err != nil {
		return imx.Errorf(imx.NotFound, "the frozen set can't be read: %w", err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return imx.Errorf(imx.NotFound, "the frozen set can't be read: %w", err)
	}
	if !st.Mode().IsRegular() {
		return imx.Errorf(imx.Refused, "%s: this is no frozen set: it isn't a file that can be read twice", opts.File).
			WithHint("write it to a file first, and name that")
	}
	layout, err := frozen.OpenLayout(file, st.Size())
	if err != nil {
		e := imx.AsError(err)
		e.Message = opts.File + ": " + e.Message
		return e
	}
	if opts.Name == "" {
		opts.Name = layout.Name
	}
	if err := frozen.CheckName(opts.Name); err != nil {
		return err
	}
	set, err := track(g, t, func(report imx.Report) (imx.Frozen, error) {
		return layout.Set.Describe(opts.Name), push(ctx, g, opts.Name, layout, report)
	})
	if err != nil {
		return err
	}
	return showFrozen(set, g, t)
}

// push pushes a set to the server's registry: what is there already stays, and the manifest comes last.
func push(ctx context.Context, g *Global, name string, layout *frozen.Layout, report imx.Report) error {
	c, repository, set := g.client(), imx.FrozenPrefix+name, layout.Set
	for _, b := range [][]byte{set.Config, set.LockFile} {
		if err := c.PushBlob(ctx, repository, imx.DigestBytes(b), int64(len(b)), bytes.NewReader(b)); err != nil {
			return err
		}
	}
	done := imx.Progress{Step: "thaw " + name, Status: imx.StepRunning, Total: int64(len(set.Layers)), Unit: "packages"}
	for _, l := range set.Layers {
		done.Message = l.Title
		report(done)
		has, err := c.HasBlob(ctx, repository, l.Digest)
		switch {
		case err == nil && has:
			err = layout.Check(l)
		case err == nil:
			err = c.PushBlob(ctx, repository, l.Digest, l.Size, layout.Open(l))
		}
		if err != nil {
			return layerError(l, err)
		}
		done.Done++
	}
	if err := c.PushManifest(ctx, repository, set.Tag(), frozen.ManifestType, set.Manifest); err != nil {
		return err
	}
	done.Status, done.Message = imx.StepDone, ""
	report(done)
	return nil
}

// layerError names the package that an error is about. What the registry calls invalid is here the file's
// fault, not that of whoever asked.
func layerError(l frozen.Layer, err error) error {
	e := imx.AsError(err)
	e.Message = l.Title + ": " + e.Message
	if e.Kind == imx.Invalid {
		e.Kind, e.Hint = imx.Refused, "copy the file again from where it was written"
	}
	return e
}

func newArchiveListCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "list",
		short: "Show the suites that were seen and the frozen sets",
		long: `Shows the newest index that the server saw of each suite of each archive, with the date that it is
signed with: an older one is refused. Below are the frozen sets.`,
		example: `
$ imx archive list
$ imx archive list --json | jq -r '.frozen[].name'`,
		exits: asking(),
	}.command(func(ctx context.Context, _ []string) error {
		all, err := g.client().Archives(ctx)
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, all)
		}
		return showArchives(t.Out, all)
	})
}

func showFrozen(set imx.Frozen, g *Global, t *term.Terminal) error {
	if g.JSON {
		return printJSON(t.Out, set)
	}
	return sayFrozen(t.Out, set)
}

func sayFrozen(out term.Stream, set imx.Frozen) error {
	_, err := fmt.Fprintf(out, "%s:%s  %s, %s\n", imx.FrozenPrefix+out.Ink.Name(set.Name), set.Tag, term.Count(int64(set.Packages), "package"), set.Size)
	return err
}

// showArchives prints what a server knows of archives.
func showArchives(out term.Stream, all imx.Archives) error {
	suites := term.Table{
		Head:  []string{"ARCHIVE", "SUITE", "SIGNED", "INDEX"},
		Wraps: []string{"ARCHIVE"},
	}
	for _, s := range all.Suites {
		suites.Add(out.Ink.Name(s.Archive), s.Suite, term.Stamp(s.Date), s.InRelease.Short())
	}
	sets := term.Table{Head: []string{"FROZEN", "TAG", "PACKAGES", "SIZE", "DIGEST"}}
	for _, f := range all.Frozen {
		sets.Add(out.Ink.Name(f.Name), f.Tag, term.Number(int64(f.Packages)), f.Size.String(), f.Digest.Short())
	}
	text := "no suite was seen yet\n"
	if len(all.Suites) > 0 {
		text = suites.Text(out.Ink, out.Columns())
	}
	if len(all.Frozen) == 0 {
		text += "\nnothing is frozen\n"
	} else {
		text += "\n" + sets.Text(out.Ink, out.Columns())
	}
	_, err := io.WriteString(out, text)
	return err
}
