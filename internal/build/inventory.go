package build

import (
	"bytes"
	"encoding/json"
	"maps"

	"imx"
	"imx/internal/build/pack"
	"imx/internal/build/tree"
)

// takeStock stores the inventory of an image and returns its digest.
func (b *Builder) takeStock(t tree.Tree, p *packed, layers []pack.Layer) (imx.Digest, error) {
	in := imx.Inventory{
		Version: imx.InventoryVersion, Packages: p.Packages, Paths: []imx.InventoryPath{}, Users: []imx.InventoryUser{},
	}
	if in.Packages == nil {
		in.Packages = []imx.InventoryPackage{}
	}
	listens := t.Listens(programs(layers))
	for _, it := range t.Sorted() {
		about := it.Inventory()
		about.Listens = listens[it.Path]
		in.Paths = append(in.Paths, about)
	}
	passwd := p.Passwd
	if it := t["etc/passwd"]; it != nil && it.Origin == imx.OriginTemplate {
		text, err := it.Content()
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

// programs are those in all the layers, by path.
func programs(layers []pack.Layer) map[string]tree.Program {
	all := map[string]tree.Program{}
	for _, l := range layers {
		maps.Copy(all, l.Programs)
	}
	return all
}
