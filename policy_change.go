package imx

import "time"

// PolicyRequest asks for another policy of an environment.
type PolicyRequest struct {
	Policy Policy `json:"policy"`
	// Over is the digest of the policy that this one was made of; with it, one that was set meanwhile isn't lost. "" means any.
	Over   Digest `json:"over,omitempty"`
	Reason string `json:"reason,omitempty"`
	// ReplaceFirm lets rules take the place of conditions that nothing excuses.
	ReplaceFirm bool   `json:"replaceFirm,omitempty"`
	DryRun      DryRun `json:"dryRun,omitempty"`
}

// PolicyChange is who set a policy, when and why.
type PolicyChange struct {
	By     Principal `json:"by"`
	Time   time.Time `json:"time"`
	Reason string    `json:"reason,omitempty"`
}

// PolicyHit is a release that runs and for which a policy would change something.
type PolicyHit struct {
	Service string  `json:"service"`
	Release int     `json:"release"`
	Purpose Purpose `json:"purpose"`
	// Allowed says that it would be admitted, and wasn't; else Unmet are the conditions that would stand in the way.
	Allowed bool     `json:"allowed,omitempty"`
	Unmet   []string `json:"unmet,omitempty"`
	// Does is what would be done about it, To the release that would take its place; "" for a hit that isn't about a start.
	Does DeniedAction `json:"does,omitempty"`
	To   int          `json:"to,omitempty"`
}

// PolicyView is a policy and what it asks for.
type PolicyView struct {
	Policy     Policy          `json:"policy"`
	Digest     Digest          `json:"digest"`
	Shipped    bool            `json:"shipped,omitempty"` // nobody gave the environment one of its own
	Conditions []ConditionView `json:"conditions"`        // sorted by ID
	Changed    *PolicyChange   `json:"changed,omitempty"` // the last; nil where nobody ever did
	// Replaced are conditions that nothing excuses, and in whose place rules of a user's own are.
	Replaced []string    `json:"replaced,omitempty"`
	Notes    []string    `json:"notes,omitempty"` // what is odd about it
	Hits     []PolicyHit `json:"hits,omitempty"`  // whom it would change something for; with a PolicyRequest's answer alone
}

// ConditionView is what a condition says of itself.
type ConditionView struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Asks  string `json:"description,omitempty"`
	// Firm says that nothing excuses it: no exception, no warning.
	Firm bool `json:"firm,omitempty"`
	// Warns says that the settings let it only be shown, whatever is asked.
	Warns bool `json:"warns,omitempty"`
	// Shown says that it is only shown where an instance of a release that was admitted is started.
	Shown bool   `json:"shown,omitempty"`
	File  string `json:"file"`
}
