package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

type fsckOptions struct {
	RepairFrom string
	TokenFile  string
	Forget     bool
}

func (o *fsckOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.RepairFrom, "repair-from", "", "repair what is damaged from the registry at this `URL`; \"log\" repairs what the log and the bytes here can")
	f.StringVar(&o.TokenFile, "token-file", "", "`FILE` with a token for that registry, or NAME:PASSWORD")
	f.BoolVar(&o.Forget, "forget", false, "let go of damaged statements that a newer one has replaced")
}

func newRegistryFsckCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts fsckOptions
	cmd := page{
		use:   "fsck [--repair-from URL] [--token-file FILE] [--forget]",
		short: "Read every byte of the registry, find damage and repair it",
		long: `Reads every blob, manifest, tag and name, compares it with its digest, its manifest and the log, and names what is damaged: the
bytes, and the images and releases that need them. The server goes on meanwhile; where none runs, the data folder is read directly. With
--repair-from, bytes come from another registry and are compared with the digest before they replace anything; tags come from the log. Which
bytes of a blob are wrong is known once the right ones have come, or where a part of it was pulled before.

A statement of an image that is damaged can be made anew: imx build states provenance, imx scan a scan. The damaged one is then "since
replaced": nothing reads it, and with --forget it is removed, where it couldn't be repaired.`,
		example: `
$ imx registry fsck
ok: 1,204 blobs, 3,611 names, 38.1 GiB
$ imx registry fsck --repair-from https://registry.example.org --token-file token
$ imx registry fsck --forget`,
		exits: []status{
			{0, "nothing is damaged, or all was repaired or let go of"},
			{2, "URL is no registry's"},
			{3, "the token file isn't there"},
			{5, "something is damaged: it is named"},
			{6, "no server answers, and there is no registry in the data folder"},
		},
	}.command(func(ctx context.Context, _ []string) error { return runFsck(ctx, opts, g, t) })
	opts.addFlags(cmd.Flags())
	return cmd
}

func runFsck(ctx context.Context, opts fsckOptions, g *Global, t *term.Terminal) error {
	req := imx.RegistryCheckRequest{RepairFrom: opts.RepairFrom, Forget: imx.Forget(opts.Forget)}
	if opts.TokenFile != "" {
		b, err := os.ReadFile(opts.TokenFile)
		if err != nil {
			return imx.Errorf(imx.NotFound, "the token file can't be read: %w", err)
		}
		req.Secret = string(b)
	}
	found, err := track(g, t, func(report imx.Report) (imx.RegistryCheck, error) {
		found, err := g.client().CheckRegistry(ctx, req, report)
		if imx.KindOf(err) == imx.Unavailable && ctx.Err() == nil {
			return checkFiles(ctx, g, req, report, err)
		}
		return found, err
	})
	if err != nil {
		return err
	}
	if g.JSON {
		err = printJSON(t.Out, found)
	} else {
		_, err = io.WriteString(t.Out, fsckText(t.Out.Ink, found))
	}
	return errors.Join(err, damaged(found))
}

// damaged is an error where something is left that isn't as it should be.
func damaged(c imx.RegistryCheck) error {
	left := c.Left()
	if len(left) == 0 {
		return nil
	}
	e := imx.Errorf(imx.Refused, "the registry is damaged in %s", term.Count(int64(len(left)), "place"))
	if len(left) < len(c.Faults) {
		return e.WithHint("what wasn't repaired says why")
	}
	return e.WithHint("repair it from a registry that has the same: imx registry fsck --repair-from URL; statements that were since replaced can be let go of: --forget")
}

func fsckText(ink term.Ink, c imx.RegistryCheck) string {
	var b strings.Builder
	for _, f := range c.Faults {
		fmt.Fprintf(&b, "%s %s %s\n", f.Kind, ink.Name(term.Clean(f.Thing)), term.Clean(f.What))
		for i, r := range f.Ranges {
			if i == 10 {
				fmt.Fprintf(&b, "  and %s more\n", term.Count(int64(len(f.Ranges)-i), "range"))
				break
			}
			fmt.Fprintf(&b, "  bytes %d to %d\n", r[0], r[1]-1)
		}
		for _, n := range f.NeededBy {
			fmt.Fprintf(&b, "  needed by %s\n", term.Clean(n))
		}
		switch {
		case f.Repaired != "":
			fmt.Fprintf(&b, "  %s from %s\n", ink.Good("repaired"), term.Clean(f.Repaired))
		case f.Error != nil:
			fmt.Fprintf(&b, "  %s: %s\n", ink.Warn("not repaired"), term.Clean(f.Error.Message))
		}
	}
	head := ink.Good("ok:")
	if len(c.Left()) > 0 {
		head = ink.Warn("damaged:")
	}
	fmt.Fprintf(&b, "%s %s, %s, %s\n", head, term.Count(int64(c.Blobs), "blob"), term.Count(int64(c.Names), "name"), c.Bytes)
	return b.String()
}
