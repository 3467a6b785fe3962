package imx

// Frozen is a set of packages that is kept for good: all that a lock names, with the lock. It is an
// OCI artifact in the registry, so that whatever copies images copies it too.
type Frozen struct {
	Name     string `json:"name"`   // its repository is FrozenPrefix and this
	Tag      string `json:"tag"`    // names the lock: one lock gives one tag
	Digest   Digest `json:"digest"` // of the OCI manifest
	Packages int    `json:"packages"`
	Size     Size   `json:"size"` // of the packages
}

// FrozenPrefix is what the repositories of frozen sets begin with.
const FrozenPrefix = "frozen/"

// FreezeRequest asks to keep all packages that a lock names.
type FreezeRequest struct {
	Template Template `json:"template"`
	Lock     *Lock    `json:"lock"`
	Name     string   `json:"name,omitempty"` // of the set; "" means the name of the template's folder
}

// Archives is what a server knows of archives: how new an index it saw of each suite, and the frozen
// sets that it has.
type Archives struct {
	Suites []LockedSuite `json:"suites"` // sorted by archive and suite
	Frozen []Frozen      `json:"frozen"` // sorted by name and tag
}
