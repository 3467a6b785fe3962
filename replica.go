package imx

import "time"

// RegistryMirror is a rule by which repositories are copied as soon as something new is in them, to another registry or from
// one, with all that refers to their images.
type RegistryMirror struct {
	Name       string          `json:"name"`
	Direction  MirrorDirection `json:"direction"`
	URL        string          `json:"url"`                 // of the other registry: https://host, or http://host
	Repository string          `json:"repository"`          // a pattern, as MatchRepository takes it
	TokenFile  string          `json:"tokenFile,omitempty"` // on the server's machine: the secret, or NAME:SECRET
}

// MirrorDirection is which way a mirror copies.
type MirrorDirection string

// The directions, as the server sees them.
const (
	MirrorTo   MirrorDirection = "to"
	MirrorFrom MirrorDirection = "from"
)

// MirrorStatus is how a mirror did.
type MirrorStatus struct {
	RegistryMirror

	Looked time.Time `json:"looked,omitzero"` // when the two sides were compared last
	Copied int       `json:"copied"`          // manifests, since the server started
	Behind int       `json:"behind"`          // tags and statements that the last look found missing and couldn't copy
	Error  *Error    `json:"error,omitempty"` // of the last look
}

// RegistryFault is something in the registry that isn't as it was brought there.
type RegistryFault struct {
	Kind   FaultKind  `json:"kind"`
	Thing  string     `json:"thing"`            // a blob's digest; REPOSITORY:TAG; or the name's place
	What   string     `json:"what"`             // "is gone", "has other bytes: ..."
	Ranges [][2]int64 `json:"ranges,omitempty"` // the bytes that are wrong: from, and up to but not including
	// NeededBy are images, tags and releases that can't be had whole: "app:v1", "release shop/3".
	NeededBy []string `json:"neededBy,omitempty"`
	Repaired string   `json:"repaired,omitempty"` // what it was mended from
	Error    *Error   `json:"error,omitempty"`    // why it couldn't be mended
}

// FaultKind is what sort of thing is damaged.
type FaultKind string

// What can be damaged.
const (
	FaultBlob     FaultKind = "blob"
	FaultManifest FaultKind = "manifest"
	FaultTag      FaultKind = "tag"
	FaultName     FaultKind = "name" // of a blob, a manifest or a referrer in a repository
)

// RegistryCheck is what a look at every byte of the registry found.
type RegistryCheck struct {
	Blobs  int             `json:"blobs"`
	Names  int             `json:"names"`
	Bytes  Size            `json:"bytes"`
	Faults []RegistryFault `json:"faults"` // what was repaired too
}

// Left returns the faults that weren't repaired.
func (c RegistryCheck) Left() []RegistryFault {
	var left []RegistryFault
	for _, f := range c.Faults {
		if f.Repaired == "" {
			left = append(left, f)
		}
	}
	return left
}

// RegistryCheckRequest asks for a look at every byte of the registry.
type RegistryCheckRequest struct {
	// RepairFrom is the URL of a registry that has the same; "" repairs nothing. "log" mends from the log and the bytes
	// at hand alone.
	RepairFrom string `json:"repairFrom,omitempty"`
	Secret     string `json:"secret,omitempty"` // for that registry: a token, or NAME:SECRET
	// Forget lets go of damaged statements in whose place there is a newer one, where they couldn't be repaired.
	Forget Forget `json:"forget,omitempty"`
}

// Forget says that what nothing needs any more and can't be repaired is removed.
type Forget bool

// What happens to replicas.
type (
	// MirrorSet begins to copy repositories, or does so otherwise than before.
	MirrorSet struct {
		Mirror RegistryMirror `json:"mirror"`
	}
	// MirrorRemoved ends that.
	MirrorRemoved struct {
		Name string `json:"name"`
	}
	// RegistryRepaired says that damage was mended.
	RegistryRepaired struct {
		Faults []RegistryFault `json:"faults"`
	}
)

func (MirrorSet) kind() string        { return "mirror-set" }
func (MirrorRemoved) kind() string    { return "mirror-removed" }
func (RegistryRepaired) kind() string { return "registry-repaired" }
