package build

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"strconv"
	"strings"

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
	in.Users = append(in.Users, users(passwd)...)
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

// users reads the accounts of a passwd(5) file; lines that aren't accounts are passed over, as the C
// library does.
func users(passwd string) []imx.InventoryUser {
	var list []imx.InventoryUser
	for line := range strings.Lines(passwd) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) != 7 {
			continue
		}
		uid, err1 := strconv.Atoi(fields[2])
		gid, err2 := strconv.Atoi(fields[3])
		if err1 == nil && err2 == nil {
			list = append(list, imx.InventoryUser{Name: fields[0], UID: uid, GID: gid, Home: fields[5]})
		}
	}
	return list
}
