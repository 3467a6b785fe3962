package imx

import (
	"strconv"
	"strings"
)

// Inventory says what is inside an image and where each part came from. The builder makes it with
// the image, from what it knows, and keeps it in the blob store as JSON under Image.Inventory. The
// same plan gives the same inventory.
type Inventory struct {
	Version  int                `json:"version"`
	Packages []InventoryPackage `json:"packages"` // what the image ships, sorted by name
	Paths    []InventoryPath    `json:"paths"`    // sorted by path
	Users    []InventoryUser    `json:"users"`    // the image's accounts, in the order of passwd(5)
}

// InventoryVersion is the version of an Inventory's format.
const InventoryVersion = 1

// InventoryPackage is a package of an image, with those of its control fields that say why it is
// there. Relations are as the package has them (Debian policy, chapter 7).
type InventoryPackage struct {
	Package

	Asked         bool   `json:"asked,omitempty"` // the template names it
	Source        string `json:"source"`          // name of the source package
	SourceVersion string `json:"sourceVersion"`
	Section       string `json:"section,omitempty"`
	Description   string `json:"description,omitempty"` // its first line
	PreDepends    string `json:"preDepends,omitempty"`
	Depends       string `json:"depends,omitempty"`
	Recommends    string `json:"recommends,omitempty"`
	Provides      string `json:"provides,omitempty"`
}

// InventoryPath is one path of an image.
type InventoryPath struct {
	Path         string     `json:"path"` // absolute
	Kind         PathKind   `json:"kind"`
	Mode         Mode       `json:"mode"` // permission bits, with setuid, setgid and sticky
	UID          int        `json:"uid,omitempty"`
	GID          int        `json:"gid,omitempty"`
	Size         int64      `json:"size,omitempty"`
	Digest       Digest     `json:"digest,omitempty"`       // of a file's content
	Target       string     `json:"target,omitempty"`       // of a symbolic link
	Capabilities string     `json:"capabilities,omitempty"` // security.capability, in hex
	Origin       PathOrigin `json:"origin"`
	Package      string     `json:"package,omitempty"` // name of the one that carries it
	// Listens says that a program can open a listening socket: it, or a library that it is linked
	// with (the C library aside), calls listen(2).
	Listens bool `json:"listens,omitempty"`
}

// PathKind is what a path is.
type PathKind string

// The kinds of paths that an image can have.
const (
	PathFile      PathKind = "file"
	PathDirectory PathKind = "directory"
	PathLink      PathKind = "link"
)

// PathOrigin says who brought a path into an image.
type PathOrigin string

// The origins of paths.
const (
	OriginPackage   PathOrigin = "package"   // a package carries it
	OriginGenerated PathOrigin = "generated" // maintainer scripts or triggers made it
	OriginTemplate  PathOrigin = "template"  // the template has it
	OriginFrame     PathOrigin = "frame"     // every image has it
)

// InventoryUser is an account of an image.
type InventoryUser struct {
	Name string `json:"name"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	Home string `json:"home,omitempty"`
}

// ReadUsers reads passwd(5). A line that isn't of its form is passed over, as the C library does.
func ReadUsers(passwd string) []InventoryUser {
	var list []InventoryUser
	for line := range strings.Lines(passwd) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) != 7 || fields[0] == "" {
			continue
		}
		uid, err1 := strconv.Atoi(fields[2])
		gid, err2 := strconv.Atoi(fields[3])
		if err1 == nil && err2 == nil {
			list = append(list, InventoryUser{Name: fields[0], UID: uid, GID: gid, Home: fields[5]})
		}
	}
	return list
}
