package imx

import "time"

// Policy is what an environment asks of what runs in it.
type Policy struct {
	Environment string `json:"environment"`
	// Rules are Rego files of a user's own by name: beside imx's own, and in place of those that have their names.
	Rules    map[string]string `json:"rules,omitempty"`
	Settings PolicySettings    `json:"settings"`
}

// Digest names the policy.
func (p Policy) Digest() Digest { return DigestJSON(p) }

// PolicySettings are what one can choose without writing Rego. Rules read them as data.settings.
type PolicySettings struct {
	Reviews int      `json:"reviews"` // approvals by so many people, none of them an author
	ScanAge Duration `json:"scanAge"` // how old the newest scan may be
	// Dirty allows templates from folders that differ from their commit, or are in none.
	Dirty bool `json:"dirty"`
	// SignedCommits asks for a commit that somebody known signed, seen by the server itself in a repository.
	SignedCommits bool `json:"signedCommits"`
	// SignedSources asks that all commits of a followed repository that are new are signed by somebody known. Of folders it asks nothing.
	SignedSources bool `json:"signedSources"`
	// KnownAuthor refuses plans that neither somebody known nor a followed repository brought; else that is only shown.
	KnownAuthor bool `json:"knownAuthor"`
	// Freezes are the times in which nothing new is released. What runs is started, scaled and gone back to all the same.
	Freezes []Freeze `json:"freezes,omitempty"`
	// After is the environment in which a release must have been good before it is released here, for Soak without a break; "" asks for none.
	After string   `json:"after,omitempty"`
	Soak  Duration `json:"soak,omitempty"`
	// Warn are ids of conditions that are shown and don't refuse.
	Warn []string `json:"warn,omitempty"`
	// Denied says what becomes of a running release that would no longer be admitted.
	Denied DeniedAction `json:"denied"`
}

// DeniedAction is what is done about a running release that a policy wouldn't admit any more.
type DeniedAction string

// What is done.
const (
	DeniedShow    DeniedAction = "show"    // it is shown and goes on
	DeniedReplace DeniedAction = "replace" // it is rolled back to the newest good release that is admitted, if there is one
	DeniedStop    DeniedAction = "stop"    // as DeniedReplace, and scaled to none if there is none
)

// Exception excuses a condition for a while.
type Exception struct {
	ID        string    `json:"id"`
	Condition string    `json:"condition"`
	Service   string    `json:"service,omitempty"` // "" means each
	Image     Digest    `json:"image,omitempty"`   // "" means each
	Reason    string    `json:"reason"`
	Owner     Principal `json:"owner"`
	Made      time.Time `json:"made"`
	Until     time.Time `json:"until"` // it excuses nothing from then on
}

// What happens to policies, and what they say.
type (
	// PolicySet gives an environment a policy.
	PolicySet struct {
		Policy Policy `json:"policy"`
		// Shipped says that it is imx's own: the environment has none of its own any more.
		Shipped bool   `json:"shipped,omitempty"`
		Reason  string `json:"reason,omitempty"`
		// Replaces are conditions that nothing excuses, and in whose place rules of a user's own are.
		Replaces []string `json:"replaces,omitempty"`
	}
	// EnvironmentSet says for which environment a data folder is from now on: at its first start, and where somebody changes it.
	EnvironmentSet struct {
		Environment string `json:"environment"`
		Before      string `json:"before,omitempty"` // "" at the first start
	}
	// ExceptionMade excuses a condition.
	ExceptionMade struct {
		Exception Exception `json:"exception"`
	}
	// ExceptionEnded ends an exception before its time.
	ExceptionEnded struct {
		Exception string `json:"exception"` // its ID
		Reason    string `json:"reason,omitempty"`
	}
)

func (PolicySet) kind() string      { return "policy-set" }
func (EnvironmentSet) kind() string { return "environment-set" }
func (ExceptionMade) kind() string  { return "exception-made" }
func (ExceptionEnded) kind() string { return "exception-ended" }

// EndRequest asks for the end of an exception.
type EndRequest struct {
	Reason string `json:"reason,omitempty"`
}
