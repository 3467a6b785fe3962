package imx

import "time"

// State is the fold of the log up to, not including, the event Next.
type State struct {
	Next      int64               `json:"next"`
	Time      time.Time           `json:"time"` // of the last event folded in
	Services  map[string]Service  `json:"services"`
	Instances map[string]Instance `json:"instances"` // by id; of each service, a number of those that ended last stay
	Images    map[Digest]Image    `json:"images"`    // by ImagePlan.Digest
	// Evidence is the newest of each predicate type, by Image.Digest and that type.
	Evidence map[Digest]map[string]Evidence `json:"evidence,omitempty"`
	Suites   []LockedSuite                  `json:"suites"` // the newest verified index of each
	Registry RegistryState                  `json:"registry,omitzero"`
	Apply    *ApplyStarted                  `json:"apply,omitempty"`
	ApplyBy  Principal                      `json:"applyBy,omitempty"`
	ApplyAt  time.Time                      `json:"applyAt,omitzero"`
}

// Checkpoint is a signed statement that the log had Size events with this Merkle root.
type Checkpoint struct {
	Size int64  `json:"size"`
	Root string `json:"root"` // base64, as on C2SP tlog-checkpoint's third line
	Note string `json:"note"` // the signed note itself
	Key  string `json:"key"`  // the verifier key, as golang.org/x/mod/sumdb/note writes it
}
