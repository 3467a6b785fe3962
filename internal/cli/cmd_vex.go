package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
	"imx/internal/vuln"
)

type vexOptions struct {
	Image         string
	IDs           []string
	Justification string
	Because       string
}

func (o *vexOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Justification, "justification", "", "`WHY`, as OpenVEX names it: "+strings.Join(vuln.Justifications(), ", "))
	f.StringVar(&o.Because, "because", "", "`TEXT` that says it in words")
}

func newVEXCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts vexOptions
	cmd := page{
		use:   "vex IMAGE [ID...] [--justification WHY] [--because TEXT]",
		short: "State that vulnerabilities don't affect an image, because",
		long: `States that the vulnerabilities ID don't affect IMAGE, for the reason given, and keeps that as evidence about
it. "imx scan" then shows them as excused, with the reason. Prints all that was stated of the image as an OpenVEX
document, which other tools read; without an ID only that. An ID that no scan of IMAGE finds is noticed. A statement is about one digest: what holds for every
build of an image belongs in an OpenVEX document of your own (imx feed add FILE).` + imageSays,
		example: `
$ imx vex web CVE-2023-44487 --justification vulnerable_code_not_in_execute_path --because "HTTP/2 is off"
$ imx vex web > web.openvex.json`,
		exits: asking(
			status{2, "the reason or ID can't be one, or several images begin with the digest"},
			status{3, "there is no such image, or nothing was stated of it"},
		),
		least:    1,
		most:     -1,
		complete: onlyFirst(completeImages(g)),
	}.command(func(ctx context.Context, args []string) error {
		opts.Image, opts.IDs = args[0], args[1:]
		return runVEX(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runVEX(ctx context.Context, opts vexOptions, g *Global, t *term.Terminal) error {
	if len(opts.IDs) == 0 && (opts.Justification != "" || opts.Because != "") {
		return imx.Errorf(imx.Invalid, "a reason was given, and no vulnerability that it is about").WithHint("imx vex IMAGE ID --justification WHY")
	}
	doc, err := g.client().Excuse(ctx, opts.Image, imx.VEXRequest{IDs: opts.IDs, Justification: opts.Justification, Because: opts.Because})
	if err != nil {
		return err
	}
	if err := printJSON(t.Out, doc); err != nil || len(opts.IDs) == 0 || g.JSON {
		return err
	}
	return tellUnfound(ctx, opts, g, t)
}

// tellUnfound notices vulnerabilities that were excused and that no scan of the image finds: their names may be misspelt.
func tellUnfound(ctx context.Context, opts vexOptions, g *Global, t *term.Terminal) error {
	result, err := g.client().Scan(ctx, imx.ScanRequest{Subject: opts.Image}, func(imx.Progress) {})
	if err != nil {
		_, err = fmt.Fprintf(t.Err, "%s whether the image has them isn't known: %s\n", t.Err.Ink.Warn("notice:"), term.Clean(imx.AsError(err).Message))
		return err
	}
	for _, id := range opts.IDs {
		if !slices.ContainsFunc(result.Images, func(one imx.ImageScan) bool {
			return slices.ContainsFunc(one.Vulnerabilities, func(v imx.Vulnerability) bool { return vuln.Names(v, id) })
		}) {
			if _, err := fmt.Fprintf(t.Err, "%s no scan finds %s in the image\n", t.Err.Ink.Warn("notice:"), term.Clean(id)); err != nil {
				return err
			}
		}
	}
	return nil
}
