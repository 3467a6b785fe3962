package cli

import (
	"fmt"
	"io"
	"strings"

	"imx"
	"imx/internal/inventory"
	"imx/internal/term"
)

// fewChains is how many chains `imx image why` shows without --all.
const fewChains = 3

// showImageWhy prints what brought a path or package into an image, and at most so many chains.
func showImageWhy(out term.Stream, d imx.ImageDetail, w inventory.Why, most int) error {
	var b strings.Builder
	if w.Path != nil {
		b.WriteString(pathText(out.Ink, d, w))
	}
	if w.Package != nil {
		b.WriteString(packageText(out.Ink, d, w, most))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// pathText says what a path is and who brought it.
func pathText(ink term.Ink, d imx.ImageDetail, w inventory.Why) string {
	users := map[int]string{}
	for _, u := range d.Inventory.Users {
		users[u.UID] = term.Clean(u.Name)
	}
	var b strings.Builder
	for _, l := range w.Links {
		b.WriteString(ink.Dim(term.Clean(l.Path)+arrow(l)) + "\n")
	}
	p := *w.Path
	what := string(p.Kind) + ", " + ownerOf(users, p)
	if p.Kind != imx.PathLink {
		what += ", " + p.Mode.String()
	}
	if p.Kind == imx.PathFile {
		what += ", " + imx.Size(p.Size).String()
	}
	b.WriteString(ink.Bold(term.Clean(p.Path)) + arrow(p) + "  " + ink.Dim(what) + marksOf(ink, p) + "\n")
	b.WriteString("  " + broughtBy(d, p) + "\n")
	if t := w.Target; t != nil {
		fmt.Fprintf(&b, "  it ends at %s, %s\n", ink.Name(term.Clean(t.Path)), broughtBy(d, *t))
	}
	return b.String()
}

// broughtBy says in words what brought a path.
func broughtBy(d imx.ImageDetail, p imx.InventoryPath) string {
	switch p.Origin {
	case imx.OriginPackage:
		return "from package " + p.Package
	case imx.OriginGenerated:
		if p.Package != "" {
			return "made by the maintainer scripts of " + p.Package
		}
		return "made by maintainer scripts or triggers while the image was built"
	case imx.OriginTemplate:
		return "from the template's block image." + d.Name
	case imx.OriginFrame:
		return "imx gives it to every image"
	}
	if d.Pushed {
		return "not known: the image was pushed, and its layers don't say what brought a path"
	}
	return "not known: the image was built before imx kept inventories; a new build of it has one"
}

// packageText says what a package is, and how the template leads to it.
func packageText(ink term.Ink, d imx.ImageDetail, w inventory.Why, most int) string {
	var b strings.Builder
	p := *w.Package
	says := p.Version
	if source := sourceOf(p); source != "" {
		says += ", of source " + source
	}
	b.WriteString(ink.Name(p.Name) + " " + says + aside(ink, p.Description) + "\n")
	for i, c := range w.Chains {
		if i == most {
			b.WriteString(ink.Dim(fmt.Sprintf("and from %s of the template: --all", term.Count(int64(len(w.Chains)-most), "more package"))) + "\n")
			break
		}
		b.WriteString(chainText(ink, c))
	}
	switch {
	case len(w.Chains) > 0:
	case d.Pushed:
		b.WriteString("  what was asked for isn't known: the image was pushed\n")
	default:
		b.WriteString("  nothing that the template names depends on it\n")
	}
	return b.String()
}

// chainText shows a chain from the template on, one relation a line.
func chainText(ink term.Ink, c inventory.Chain) string {
	if len(c.Steps) == 0 {
		return "  the template names it\n"
	}
	var b strings.Builder
	b.WriteString("  the template names " + ink.Name(c.From) + "\n")
	for _, s := range c.Steps {
		provided := ""
		if s.Provides {
			provided = ", which " + ink.Name(s.To) + " provides"
		}
		fmt.Fprintf(&b, "  %s %s %s%s%s\n", ink.Name(s.From), s.Field, s.Relation, provided, ink.Dim("  → "+s.To+" "+s.Version))
	}
	return b.String()
}
