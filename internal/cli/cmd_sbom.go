package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/sign"
	"imx/internal/term"
)

type sbomOptions struct {
	Image  string
	Format string
	Output string
}

func (o *sbomOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Format, "format", "spdx", "`FORM` of the document: spdx (SPDX 2.3) or cyclonedx (CycloneDX 1.6), both JSON")
	f.StringVarP(&o.Output, "output", "o", toStdout, "write the document to `FILE`")
}

func newSBOMCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts sbomOptions
	cmd := page{
		use:   "sbom IMAGE [--format spdx|cyclonedx] [-o FILE]",
		short: "Write down what an image is made of",
		long: `Prints the software bill of materials of an image: packages with their sources, licences and .debs'
digests, what is in Go, Java, Python, Node and Rust files, and (SPDX) every file with what brings it.
It was made with the image from what the builder knows, or is made now of an image that was pushed.
First the image's bytes are read and compared with its inventory: a changed image gets none.` + imageSays,
		example: `
$ imx sbom web -o web.spdx.json
$ imx sbom web --format cyclonedx | jq -r '.components[].purl'`,
		exits: asking(
			status{2, "several images begin with the digest, or there is no such form"}, status{3, "there is no such image"},
			status{4, "FILE can't be written"}, status{5, "the image, or the document, was changed since it was made"}, status{7, "FILE's disk is full"},
		),
		least:    1,
		most:     1,
		complete: onlyFirst(completeImages(g)),
	}.command(func(ctx context.Context, args []string) error {
		opts.Image = args[0]
		return runSBOM(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runSBOM(ctx context.Context, opts sbomOptions, g *Global, t *term.Terminal) error {
	doc, err := g.client().SBOM(ctx, opts.Image, opts.Format)
	if err != nil {
		return err
	}
	return writeOutput(ctx, opts.Output, t, func(to io.Writer) error {
		_, err := to.Write(append(doc, '\n'))
		return err
	})
}

type evidenceOptions struct {
	Image, Type string
	Bundle      bool
}

func newImageEvidenceCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts evidenceOptions
	cmd := page{
		use:   "evidence IMAGE [TYPE [--bundle]]",
		short: "Show what was stated of an image, and by which statement",
		long: `Lists the newest statement of each type about an image. With TYPE (provenance, spdx, cyclonedx, scan,
test, vex, check) that statement itself is printed, as in-toto has it, after checking its signature, and
that its key counted; with --bundle, its signed form, byte for byte. In the registry those are referrers of
the image's manifest, which cosign finds.` + imageSays,
		example: `
$ imx image evidence web
$ imx image evidence web provenance | jq .predicate.buildDefinition
$ imx image evidence web provenance --bundle > provenance.sigstore.json`,
		exits: asking(
			status{2, "several images begin with the digest"}, status{3, "there is no such image, or nothing of TYPE was stated of it"},
			status{5, "the statement was changed since it was kept, or its key doesn't count"},
		),
		least:    1,
		most:     2,
		complete: onlyFirst(completeImages(g)),
	}.command(func(ctx context.Context, args []string) error {
		opts.Image = args[0]
		if len(args) > 1 {
			opts.Type = args[1]
		}
		return runImageEvidence(ctx, opts, g, t)
	})
	cmd.Flags().BoolVar(&opts.Bundle, "bundle", false, "print the signed form of TYPE's statement: a sigstore bundle")
	return cmd
}

func runImageEvidence(ctx context.Context, opts evidenceOptions, g *Global, t *term.Terminal) error {
	if opts.Bundle {
		if opts.Type == "" {
			return imx.Errorf(imx.Invalid, "of which statement --bundle shall print the bundle isn't said").WithHint("imx image evidence %s provenance --bundle", opts.Image)
		}
		bundle, err := g.client().Bundle(ctx, opts.Image, opts.Type)
		if err != nil {
			return err
		}
		_, err = t.Out.Write(bundle)
		return err
	}
	if opts.Type != "" {
		st, err := g.client().Statement(ctx, opts.Image, opts.Type)
		if err != nil {
			return err
		}
		return printJSON(t.Out, st)
	}
	list, err := g.client().Evidence(ctx, opts.Image)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, list)
	}
	keys, err := g.client().Keys(ctx)
	if err != nil {
		return err
	}
	return showEvidence(t.Out, list, keys)
}

// showEvidence prints a table of statements with who signed them, or that there are none.
func showEvidence(out term.Stream, list []imx.Evidence, keys []imx.Key) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "nothing was stated of this image: imx build states what is in it, imx sbom does so of one that was pushed")
		return err
	}
	known, now := map[string]imx.Key{}, time.Now()
	for _, k := range keys {
		known[k.ID] = k
	}
	table := term.Table{
		Head:  []string{"TYPE", "ANSWER", "SAYS", "MADE", "SIGNED BY", "STATEMENT"},
		Wraps: []string{"SAYS", "SIGNED BY"}, Drops: []string{"MADE"},
	}
	for _, e := range list {
		table.Add(out.Ink.Name(evidenceName(e)), answerOf(out.Ink, e), term.Clean(e.Summary), term.Age(e.Made, now)+" ago", signerOf(out.Ink, e, known), e.Statement.Short())
	}
	_, err := io.WriteString(out, table.Text(out.Ink, out.Columns()))
	return err
}

// signerOf says who signed a statement: the role, or the person, and the beginning of the key; or why that doesn't count.
func signerOf(ink term.Ink, e imx.Evidence, known map[string]imx.Key) string {
	if e.Signer == "" {
		return ink.Warn("nobody")
	}
	k := known[e.Signer]
	who := cmp.Or(string(k.Role), string(k.Owner), "unknown") + " " + term.Clean(shortKey(e.Signer))
	if sign.Signer(e, known) != nil {
		return ink.Bad(who + ", doesn't count")
	}
	return who
}

// keyID is a key's ID in a table: the beginning of it, which all commands take, where a terminal shows it.
func keyID(out term.Stream, id string) string {
	if out.Terminal {
		return term.Clean(shortKey(id))
	}
	return term.Clean(id)
}

// shortKey is the beginning of a key's ID, enough for a person to recognise it by.
func shortKey(id string) string {
	id = strings.TrimPrefix(id, "SHA256:")
	return id[:min(8, len(id))]
}

func evidenceName(e imx.Evidence) string {
	return cmp.Or(imx.PredicateNames()[e.PredicateType], e.PredicateType)
}

// answerOf is the answer of a statement that has one.
func answerOf(ink term.Ink, e imx.Evidence) string {
	switch {
	case e.Passed == nil:
		return ""
	case *e.Passed:
		return ink.Good("passed")
	}
	return ink.Bad("failed")
}

// evidenceWords name statements for a line: "test (failed)".
func evidenceWords(list []imx.Evidence) []string {
	var words []string
	for _, e := range list {
		word := evidenceName(e)
		if e.Passed != nil && !*e.Passed {
			word += " (failed)"
		}
		words = append(words, word)
	}
	return words
}
