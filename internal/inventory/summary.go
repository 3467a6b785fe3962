package inventory

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"imx"
)

// Summary is what a person wants to know of an image before anything else.
type Summary struct {
	Files    int                        `json:"files"`
	Size     imx.Size                   `json:"size"`               // of all files, unpacked
	Folders  []Share                    `json:"folders"`            // the largest first; one that holds most of the image stands as its parts
	Packages []Share                    `json:"packages,omitempty"` // the largest first
	Origins  map[imx.PathOrigin]Portion `json:"origins,omitempty"`
	// What can give a process more rights than it has.
	Privileged []imx.InventoryPath `json:"privileged,omitempty"` // files with setuid, setgid or capabilities
	Writable   []imx.InventoryPath `json:"writable,omitempty"`   // by everybody
	Listens    []imx.InventoryPath `json:"listens,omitempty"`    // programs that can open a listening socket
}

// Portion is some of an image's files.
type Portion struct {
	Files int      `json:"files"`
	Size  imx.Size `json:"size"`
}

// Share is the part of an image's files that a folder or package has.
type Share struct {
	Portion

	Name string `json:"name"`
}

// Summarize sums an inventory up. It needs no order of paths.
func Summarize(inv imx.Inventory) Summary {
	all, packages := Portion{}, map[string]Portion{}
	s := Summary{Origins: map[imx.PathOrigin]Portion{}}
	for _, p := range inv.Packages {
		packages[p.Name] = Portion{} // one without files is in the image nevertheless
	}
	for _, p := range inv.Paths {
		if p.Kind == imx.PathFile {
			all.add(p)
			count(s.Origins, p.Origin, p)
			if p.Package != "" {
				count(packages, p.Package, p)
			}
		}
		s.notice(p)
	}
	s.Files, s.Size = all.Files, all.Size
	s.Packages, s.Folders = shares(packages), folders(inv.Paths, all)
	return s
}

// notice sorts a path in where it is of concern.
func (s *Summary) notice(p imx.InventoryPath) {
	if Privileges(p) != "" {
		s.Privileged = append(s.Privileged, p)
	}
	if p.Kind != imx.PathLink && p.Mode&0o002 != 0 {
		s.Writable = append(s.Writable, p)
	}
	if p.Listens {
		s.Listens = append(s.Listens, p)
	}
}

// Privileges names what a file gives to who runs it: "setuid", "setgid", "capabilities", several
// with commas; "" for nothing. A folder's setgid bit only hands its group on.
func Privileges(p imx.InventoryPath) string {
	var has []string
	if p.Kind == imx.PathFile && p.Mode&0o4000 != 0 {
		has = append(has, "setuid")
	}
	if p.Kind == imx.PathFile && p.Mode&0o2000 != 0 {
		has = append(has, "setgid")
	}
	if p.Capabilities != "" {
		has = append(has, "capabilities")
	}
	return strings.Join(has, ", ")
}

// Sticky reports whether only owners may remove what lies in a folder, as in /tmp.
func Sticky(p imx.InventoryPath) bool { return p.Kind == imx.PathDirectory && p.Mode&0o1000 != 0 }

func (p *Portion) add(path imx.InventoryPath) {
	p.Files++
	p.Size += imx.Size(path.Size)
}

func count[K comparable](portions map[K]Portion, key K, path imx.InventoryPath) {
	p := portions[key]
	p.add(path)
	portions[key] = p
}

// folders returns the shares of the top folders. One that has more than half of the bytes says too
// little: it stands as the folders below it.
func folders(paths []imx.InventoryPath, all Portion) []Share {
	top := map[string]Portion{}
	for _, p := range paths {
		if p.Kind == imx.PathFile {
			count(top, above(p.Path, 1), p)
		}
	}
	for name, portion := range maps.Clone(top) {
		if portion.Size*2 <= all.Size || name == "/" {
			continue
		}
		delete(top, name)
		for _, p := range paths {
			if p.Kind == imx.PathFile && above(p.Path, 1) == name {
				count(top, above(p.Path, 2), p)
			}
		}
	}
	return shares(top)
}

// above returns a file's folder, at most so many levels below the root.
func above(file string, levels int) string {
	parts := strings.Split(strings.TrimPrefix(file, "/"), "/")
	return "/" + strings.Join(parts[:min(levels, len(parts)-1)], "/")
}

func shares(portions map[string]Portion) []Share {
	list := make([]Share, 0, len(portions))
	for name, p := range portions {
		list = append(list, Share{p, name})
	}
	slices.SortFunc(list, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(b.Files, a.Files), strings.Compare(a.Name, b.Name))
	})
	return list
}
