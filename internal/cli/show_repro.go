package cli

import (
	"fmt"
	"io"
	"strings"

	"imx"
	"imx/internal/term"
)

// showRepros prints of each image whether it came out the same twice, and where not, in what.
func showRepros(out term.Stream, images []imx.Repro, notices imx.Diagnostics) error {
	var b strings.Builder
	b.WriteString(diagnosticsText(out.Ink, notices))
	for _, r := range images {
		name := out.Ink.Name(r.Image.Name) + " " + r.Image.Digest.Short()
		if r.Same() {
			b.WriteString(name + "  " + out.Ink.Good("the same bytes twice") + "\n")
			continue
		}
		b.WriteString(name + "  " + out.Ink.Bad("other bytes the second time: "+otherwise(r)) + "\n")
		for _, d := range r.Differences {
			b.WriteString(differenceText(out.Ink, d))
		}
		if r.More > 0 {
			fmt.Fprintf(&b, "    and %s\n", term.Count(int64(r.More), "further difference"))
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// otherwise says what of an image is not the same.
func otherwise(r imx.Repro) string {
	switch {
	case len(r.Differences) > 0:
		return r.Again.Digest.Short()
	case r.Image.Digest != r.Again.Digest:
		return r.Again.Digest.Short() + "; the same files were packed or described differently"
	case r.Image.Root != r.Again.Root:
		return "the root file system " + r.Again.Root.Short() + ", not " + r.Image.Root.Short()
	}
	return "the inventory"
}

// differenceText shows one difference: the path, what differs, and what each build has.
func differenceText(ink term.Ink, d imx.PathDifference) string {
	what := string(d.What)
	switch {
	case d.What == imx.AspectContent && d.Line > 0:
		what = fmt.Sprintf("line %d", d.Line)
	case d.What == imx.AspectContent:
		what = fmt.Sprintf("content from byte %s on", term.Number(d.Offset))
	}
	return fmt.Sprintf("    %s: %s\n      %s %s\n      %s %s\n", ink.Bold(term.Clean(d.Path)), what,
		ink.Bad("-"), term.Clean(d.First), ink.Good("+"), term.Clean(d.Second))
}
