// Package inventory answers questions about images from their inventories: which images there are
// and which one a person means, what one holds, why a path is in it, and how two differ. Values go
// in and come out: it opens no image, asks no server and shows nothing. Inventories of images that
// imx builds are made by package build; this one only reads them, or makes do with bare layers.
package inventory

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"

	"imx"
)

// Parse reads an inventory as the builder keeps it. Errors: Invalid for one of a newer format, and
// for bytes that are none.
func Parse(raw []byte) (imx.Inventory, error) {
	var inv imx.Inventory
	if err := json.Unmarshal(raw, &inv); err != nil {
		return imx.Inventory{}, imx.Errorf(imx.Invalid, "the inventory can't be read: %w", err)
	}
	if inv.Version != imx.InventoryVersion {
		return imx.Inventory{}, imx.Errorf(imx.Invalid, "the inventory has format %d, and this imx reads %d", inv.Version, imx.InventoryVersion).
			WithHint("use the version of imx that built the image, or a newer one")
	}
	return inv, nil
}

// contents finds paths and packages of an inventory by their names.
type contents struct {
	inv      imx.Inventory
	paths    map[string]imx.InventoryPath
	packages map[string]imx.InventoryPackage
}

func open(inv imx.Inventory) *contents {
	c := &contents{
		inv:      inv,
		paths:    make(map[string]imx.InventoryPath, len(inv.Paths)),
		packages: make(map[string]imx.InventoryPackage, len(inv.Packages)),
	}
	for _, p := range inv.Paths {
		c.paths[p.Path] = p
	}
	if _, ok := c.paths["/"]; !ok { // no archive of a layer names it
		c.paths["/"] = imx.InventoryPath{Path: "/", Kind: imx.PathDirectory, Mode: 0o755, Origin: imx.OriginFrame}
	}
	for _, p := range inv.Packages {
		c.packages[p.Name] = p
	}
	return c
}

// maxLinks is how many links a path may lead through, as Linux has it (path_resolution(7)).
const maxLinks = 40

// place follows the links among the folders of a path, so that /lib/x stands for /usr/lib/x. The
// last element stays as it is. links are those that were followed.
func (c *contents) place(name string) (at string, links []imx.InventoryPath) {
	rest := strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/")
	at = "/"
	for len(rest) > 0 {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		p := c.paths[next]
		if len(rest) == 0 || p.Kind != imx.PathLink || len(links) == maxLinks {
			at = next
			continue
		}
		links = append(links, p)
		rest = append(strings.Split(strings.Trim(linked(p), "/"), "/"), rest...)
		at = "/"
	}
	return at, links
}

// linked is where a link points to, as an absolute path.
func linked(p imx.InventoryPath) string {
	if strings.HasPrefix(p.Target, "/") {
		return path.Clean(p.Target)
	}
	return path.Join(path.Dir(p.Path), p.Target)
}

// target follows a link to its end, or returns false where that isn't in the image.
func (c *contents) target(p imx.InventoryPath) (imx.InventoryPath, bool) {
	for range maxLinks {
		if p.Kind != imx.PathLink {
			return p, p.Path != ""
		}
		at, _ := c.place(linked(p))
		p = c.paths[at]
	}
	return p, false
}

// names returns what the packages are called, sorted.
func (c *contents) names() []string { return slices.Sorted(maps.Keys(c.packages)) }
