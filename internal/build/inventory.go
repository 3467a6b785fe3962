package build

import (
	"bytes"
	"encoding/json"
	"io/fs"

	"imx"
)

// takeStock stores the inventory of an image and returns its digest.
func (b *Builder) takeStock(t tree, p *packed, layers []layer) (imx.Digest, error) {
	in := imx.Inventory{
		Version: imx.InventoryVersion, Packages: p.Packages, Paths: []imx.InventoryPath{}, Users: []imx.InventoryUser{},
	}
	if in.Packages == nil {
		in.Packages = []imx.InventoryPackage{}
	}
	listens := t.listens(layers)
	for _, it := range t.sorted() {
		about := it.inventory()
		about.Listens = listens[it.Path]
		in.Paths = append(in.Paths, about)
	}
	passwd := p.Passwd
	if it := t["etc/passwd"]; it != nil && it.Origin == imx.OriginTemplate {
		text, err := it.content()
		if err != nil {
			return "", err
		}
		passwd = string(text)
	}
	in.Users = append(in.Users, imx.ReadUsers(passwd)...)
	raw, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	d, _, err := b.cfg.Blobs.Put(bytes.NewReader(raw), "")
	return d, err
}

func (it *item) inventory() imx.InventoryPath {
	kind := imx.PathFile
	switch {
	case it.Mode.IsDir():
		kind = imx.PathDirectory
	case it.Mode&fs.ModeSymlink != 0:
		kind = imx.PathLink
	}
	return imx.InventoryPath{
		Path: "/" + it.Path, Kind: kind, Mode: imx.Mode(octal(it.Mode)), UID: it.UID, GID: it.GID, //nolint:gosec // at most 07777
		Size: it.Size, Digest: it.Digest, Target: it.Link, Capabilities: it.Caps, Origin: it.Origin, Package: it.Owner,
	}
}
