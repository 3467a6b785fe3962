package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"imx/internal/term"
)

type checkOptions struct {
	Dir string
}

func newCheckCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "check [DIR]",
		short: "Check a template without a server",
		long: `Reads the *.imx.hcl files of DIR (here, unless named) and reports every mistake at once, each
with its place and what to write instead. It asks no server and no archive: whether a package
exists is for "imx plan" to say.`,
		example: `
$ imx check hello
ok: 1 image, 1 service, from b31f0c2a97d4`,
		exits:    []status{{0, "the template has no mistakes"}, {2, "it has some"}, {3, "there is no such folder"}},
		most:     1,
		complete: completeDirs,
	}.command(func(ctx context.Context, args []string) error {
		return runCheck(ctx, checkOptions{Dir: dirOf(args)}, g, t)
	})
}

// runCheck prints the whole template with --json.
func runCheck(ctx context.Context, opts checkOptions, g *Global, t *term.Terminal) error {
	tpl, err := readTemplate(ctx, opts.Dir)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, tpl)
	}
	ink := t.Out.Ink
	_, err = fmt.Fprintf(t.Out, "%s%s %s, %s, from %s\n", diagnosticsText(ink, inFolder(tpl.Notices, opts.Dir)), ink.Good("ok:"),
		term.Count(int64(len(tpl.Images)), "image"), term.Count(int64(len(tpl.Services)), "service"), origin(tpl.Source))
	return err
}
