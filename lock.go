package imx

import "time"

// LockVersion is the version of the lock file's format.
const LockVersion = 1

// LockFile is the name of the lock file beside the templates.
const LockFile = "imx.lock"

// Lock pins every choice that resolving a template made, so that the same commit gives the same
// Plan later. It names no mirror: any mirror of the archive must have the same bytes.
type Lock struct {
	Version  int           `json:"version"`
	Suites   []LockedSuite `json:"suites"`   // sorted by archive and suite
	Packages []Package     `json:"packages"` // sorted by name, version, architecture; each one once
	Images   []LockedImage `json:"images"`   // sorted by name
}

// LockedSuite is the signed index that the packages were chosen from.
type LockedSuite struct {
	Archive   string    `json:"archive"`
	Suite     string    `json:"suite"`
	InRelease Digest    `json:"inRelease"`
	Date      time.Time `json:"date"` // the index's own Date
}

// LockedImage says which packages one image is made of, each as a Package.Ref.
// Asked repeats what the template asked for: where it no longer does, the image is resolved anew.
type LockedImage struct {
	Name string `json:"name"`
	From Names  `json:"from"` // the archives
	// Epoch is ImagePlan.Epoch: the newest Date of the suites when the packages in Ship were
	// chosen. It stays while they do, so that a newer index alone doesn't make a new image.
	Epoch   time.Time `json:"epoch"`
	Asked   []string  `json:"asked"`
	Without []string  `json:"without,omitempty"` // repeats ImageSpec.Without
	// Recommends repeats ImageSpec.Recommends.
	Recommends bool     `json:"recommends,omitempty"`
	Base       []string `json:"base"`
	Tools      []string `json:"tools,omitempty"`
	Ship       []string `json:"ship"`
	// Kits pin what tests of the image ask for beside it; sorted by what they ask for.
	Kits []LockedKit `json:"kits,omitempty"`
}

// LockedKit says which packages a Kit has beyond those of its image.
type LockedKit struct {
	Asked []string `json:"asked"` // repeats Kit.Packages
	// Over is the digest of the image's packages, all three groups: over others, the kit is resolved anew.
	Over  Digest    `json:"over"`
	Epoch time.Time `json:"epoch"`          // ImagePlan.Epoch: the image's, or for one without packages as LockedImage.Epoch
	Base  []string  `json:"base,omitempty"` // of an image without packages
	Tools []string  `json:"tools,omitempty"`
	Ship  []string  `json:"ship"`
}

// Package is one .deb, pinned.
type Package struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"` // the package's own: "amd64" or "all"
	Archive      string `json:"archive"`
	Suite        string `json:"suite"`
	Path         string `json:"path"` // below the mirror's root: "pool/main/..."
	Size         int64  `json:"size"`
	Digest       Digest `json:"digest"`
}

// Ref returns "name_version_architecture", unique in a Lock.
func (p Package) Ref() string { return p.Name + "_" + p.Version + "_" + p.Architecture }
