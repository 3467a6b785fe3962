package imx

import "time"

// Plan is a Template with nothing left to choose. It holds no file content (see File), no
// position and no mirror, so that the same choices give the same bytes and the same digest.
type Plan struct {
	Source   Source      `json:"source"`
	Images   []ImagePlan `json:"images"`
	Services []Spec      `json:"services"`
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
