package inventory

import (
	"cmp"
	"slices"
	"strings"

	"imx"
)

// Why tells why something is in an image.
type Why struct {
	// Path is what was asked about, with the links among its folders followed; nil where a package was.
	Path *imx.InventoryPath `json:"path,omitempty"`
	// Links are those that were followed, in their order.
	Links []imx.InventoryPath `json:"links,omitempty"`
	// Target is the end of the links that Path begins, where it is one and its end is in the image.
	Target *imx.InventoryPath `json:"target,omitempty"`
	// Package is the one that carries Path, or that was asked about; nil where none does.
	Package *imx.InventoryPackage `json:"package,omitempty"`
	// Chains lead from packages that the template names to Package: of each such package one that no
	// other is shorter than. The shortest stands first. One without steps says that the template names
	// Package itself.
	Chains []Chain `json:"chains,omitempty"`
}

// Explain says why a path, or a package if the words has no slash, is in an image. Errors of kind
// NotFound, with near names, for what isn't in it.
func Explain(inv imx.Inventory, subject string) (Why, error) {
	c := open(inv)
	if !strings.Contains(subject, "/") {
		p, ok := c.packages[subject]
		if !ok {
			return Why{}, c.noPackage(subject)
		}
		return Why{Package: &p, Chains: c.chains(p.Name)}, nil
	}
	at, links := c.place(subject)
	found, ok := c.paths[at]
	if !ok {
		return Why{}, c.noPath(subject, at)
	}
	w := Why{Path: &found, Links: links}
	if end, ok := c.target(found); ok && found.Kind == imx.PathLink {
		w.Target = &end
	}
	if p, ok := c.packages[found.Package]; ok {
		w.Package, w.Chains = &p, c.chains(p.Name)
	}
	return w, nil
}

func (c *contents) noPackage(name string) error {
	err := imx.Errorf(imx.NotFound, "the image has no package %q", name)
	if p, ok := c.paths["/"+name]; ok && name != "" {
		return err.WithHint("for the path, write %s", p.Path)
	}
	if names := near(name, c.names()); len(names) > 0 {
		return err.WithHint("%s", meant(names))
	}
	if files := c.called(name); len(files) > 0 {
		return err.WithHint("for a file, write its path: %s", either(files))
	}
	return err.WithHint("imx image show --packages lists its packages")
}

// noPath is the error for a path that isn't there; at is where it would be.
func (c *contents) noPath(asked, at string) error {
	err := imx.Errorf(imx.NotFound, "the image has nothing at %s", asked)
	if at != asked {
		err = imx.Errorf(imx.NotFound, "the image has nothing at %s, which is %s", asked, at)
	}
	name := at[strings.LastIndexByte(at, '/')+1:]
	if files := c.called(name); len(files) > 0 {
		return err.WithHint("%s", meant(files))
	}
	folder := at[:len(at)-len(name)]
	var beside []string
	for _, p := range c.inv.Paths {
		if strings.HasPrefix(p.Path, folder) && !strings.Contains(p.Path[len(folder):], "/") {
			beside = append(beside, p.Path[len(folder):])
		}
	}
	found := near(name, beside)
	for i := range found {
		found[i] = folder + found[i]
	}
	return err.WithHint("%s", cmp.Or(meant(found), "imx image show --files lists its files"))
}

// called returns a few paths whose last element is the name.
func (c *contents) called(name string) []string {
	var found []string
	for _, p := range c.inv.Paths {
		if strings.HasSuffix(p.Path, "/"+name) && p.Kind != imx.PathDirectory {
			found = append(found, p.Path)
		}
	}
	slices.SortStableFunc(found, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	return found[:min(few, len(found))]
}
