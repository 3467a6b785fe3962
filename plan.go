package imx

import (
	"slices"
	"time"
)

// Plan is a Template with nothing left to choose. It holds no file content (see File), no
// position and no mirror, so that the same choices give the same bytes and the same digest.
type Plan struct {
	Source    Source      `json:"source"`
	Images    []ImagePlan `json:"images"`
	Services  []Spec      `json:"services"`
	Ingresses []Ingress   `json:"ingresses,omitempty"` // sorted by name
	Kits      []Kit       `json:"kits,omitempty"`      // sorted by image and packages
}

// Kit is what commands of tests run in: an image with packages over it that are there for tests alone. It is made
// as an image is, of the very packages of its image and some more, and never released; its image doesn't depend on it.
type Kit struct {
	Image    string    `json:"image"`    // name of the ImagePlan that it is laid over
	Packages []string  `json:"packages"` // as the tests ask for them: sorted, each one once
	Plan     ImagePlan `json:"plan"`     // of image and packages together; its Spec has a name that no image can have
}

// Digest names the plan.
func (p Plan) Digest() Digest { return DigestJSON(p) }

// Image returns the plan of the named image, or false.
func (p Plan) Image(name string) (ImagePlan, bool) {
	for _, im := range p.Images {
		if im.Spec.Name == name {
			return im, true
		}
	}
	return ImagePlan{}, false
}

// Kit returns the kit of the named image with just these packages, or false.
func (p Plan) Kit(image string, packages []string) (Kit, bool) {
	packages = KitPackages(packages)
	i := slices.IndexFunc(p.Kits, func(k Kit) bool { return k.Image == image && slices.Equal(k.Packages, packages) })
	if i < 0 {
		return Kit{}, false
	}
	return p.Kits[i], true
}

// KitPackages are a command's packages as a Kit has them.
func KitPackages(asked []string) []string { return slices.Compact(slices.Sorted(slices.Values(asked))) }

// Names returns the names of the plan's services.
func (p Plan) Names() []string {
	names := make([]string, 0, len(p.Services))
	for _, s := range p.Services {
		names = append(names, s.Name)
	}
	return names
}

// ImagePlan is all that decides an image's bytes.
type ImagePlan struct {
	Spec         ImageSpec `json:"spec"` // without positions and contents
	Architecture string    `json:"architecture"`
	Epoch        time.Time `json:"epoch"` // every timestamp in the image that a build would make
	Base         []Package `json:"base"`  // the Essential set: the build root, never shipped
	Tools        []Package `json:"tools"` // installed in the build root for maintainer scripts, never shipped
	Ship         []Package `json:"ship"`  // what the image is made of
}

// Digest names the image plan: two builds with the same digest give the same image.
func (p ImagePlan) Digest() Digest { return DigestJSON(p) }

// Change is one thing that applying a plan would do, for a person to read before it happens.
type Change struct {
	Op      ChangeOp `json:"op"`
	Kind    string   `json:"kind"`             // "image", "package", "file", "service", "setting", "instances", "route"
	Subject string   `json:"subject"`          // "image.web", "service.app"
	Name    string   `json:"name,omitempty"`   // the package, file or setting
	Before  string   `json:"before,omitempty"` // the old version, digest or value
	After   string   `json:"after,omitempty"`
	Note    string   `json:"note,omitempty"` // "replaced stop-then-start: its volume has one holder"
}

// ChangeOp is what a Change does to its subject.
type ChangeOp string

// The operations of a Change.
const (
	OpAdd     ChangeOp = "add"
	OpRemove  ChangeOp = "remove"
	OpUpdate  ChangeOp = "update"  // a value or version changes
	OpReplace ChangeOp = "replace" // instances are replaced by new ones
)

// Image is a built image. Its bytes are in the blob store, under Digest.
type Image struct {
	Name     string `json:"name"`
	Digest   Digest `json:"digest"` // of the OCI manifest
	Plan     Digest `json:"plan"`   // ImagePlan.Digest
	Root     Digest `json:"root"`   // of the EROFS root file system made from the layers, which it names by theirs
	Size     Size   `json:"size"`   // sum of the compressed layers
	Files    int    `json:"files"`  // regular files
	Packages int    `json:"packages"`
	// Inventory is the digest of the Inventory; "" for images that were built before there was one.
	Inventory Digest `json:"inventory,omitempty"`
}
