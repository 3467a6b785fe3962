package imx

// CollectRequest asks for the removal of what nothing needs any more.
type CollectRequest struct {
	DryRun DryRun `json:"dryRun,omitempty"`
	// Grace is for how long what was just made stays, needed or not; nil means a day.
	Grace *Duration `json:"grace,omitempty"`
}

// DryRun says that something is only to be told, not done.
type DryRun bool

// Collection is what nothing needed any more, and was removed unless DryRun says otherwise.
type Collection struct {
	DryRun DryRun          `json:"dryRun,omitempty"`
	Things int             `json:"things"`
	Size   Size            `json:"size"`  // on the disk
	Kinds  []CollectedKind `json:"kinds"` // the largest first
}

// CollectedKind is one kind of what was removed: "blob", "unpacked", "base".
type CollectedKind struct {
	Kind   string `json:"kind"`
	Things int    `json:"things"`
	Size   Size   `json:"size"`
}
