package imx

import (
	"encoding/json"
	"time"
)

// Purpose is what a Verdict is asked for.
type Purpose string

// The purposes. What was good enough to be released may be started again though a scan has become old:
// a machine that was off must be able to bring its services back, and the way back must stay open.
const (
	ForRelease Purpose = "release" // a new release is made
	ForStart   Purpose = "start"   // an instance of a release that was admitted is started
)

// Verdict is a policy's answer to whether something may run: of one image, under one plan, with the evidence and
// the keys of one moment.
type Verdict struct {
	Image       Digest      `json:"image"` // Image.Digest
	Service     string      `json:"service,omitempty"`
	Plan        Digest      `json:"plan"` // Plan.Digest
	Environment string      `json:"environment"`
	Purpose     Purpose     `json:"purpose"`
	Policy      Digest      `json:"policy"` // Policy.Digest
	Allowed     bool        `json:"allowed"`
	Conditions  []Condition `json:"conditions"` // sorted by ID; a policy with none allows nothing
	// Inputs names all that the answer depends on. The same inputs give the same answer until Until.
	Inputs Digest    `json:"inputs"`
	Made   time.Time `json:"made"`
	Until  time.Time `json:"until"`
}

// Condition is one thing that a policy asks for, and how it stands.
type Condition struct {
	ID  string `json:"id"`  // "signed", "tests"
	Met bool   `json:"met"` //
	// Refuses says that the verdict is no while the condition isn't met; else it is only shown.
	Refuses bool   `json:"refuses"`
	Says    string `json:"says"`           // one line: what was found, or what is missing
	Hint    string `json:"hint,omitempty"` // what to do next
	// Evidence are the statements that it stands on.
	Evidence []Digest `json:"evidence,omitempty"`
	// Exception is the id of the Exception that excuses a condition which isn't met.
	Exception string    `json:"exception,omitempty"`
	Until     time.Time `json:"until,omitzero"` // when time alone changes it
}

// Holds reports whether the condition doesn't stand in the way.
func (c Condition) Holds() bool { return c.Met || !c.Refuses || c.Exception != "" }

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
	// VerdictGiven says how a release was judged: at first, and each time that the answer or its reasons change.
	VerdictGiven struct {
		Service string  `json:"service"`
		Release int     `json:"release,omitempty"` // 0 where it wasn't admitted and never became one
		Verdict Verdict `json:"verdict"`
	}
)

func (PolicySet) kind() string      { return "policy-set" }
func (ExceptionMade) kind() string  { return "exception-made" }
func (ExceptionEnded) kind() string { return "exception-ended" }
func (VerdictGiven) kind() string   { return "verdict-given" }

// VerifyQuery asks whether something may run.
type VerifyQuery struct {
	Subject string  // an image as for ImageDetail, a service or an instance
	Purpose Purpose // "" means ForStart for what was released, ForRelease for an image
	Detail  bool    // with what conditions looked at
}

// Verification is the verdict on something as it is now, and what it stands on.
type Verification struct {
	Subject  string         `json:"subject"`           // "service web, release 3"
	Release  int            `json:"release,omitempty"` // 0 for an image
	Verdict  Verdict        `json:"verdict"`
	Evidence []EvidenceView `json:"evidence"` // what is stated of it, and people's reviews of its plan
	// Looked are the values that each condition looked at, by its id, and Input the document that all of them saw.
	Looked map[string]json.RawMessage `json:"looked,omitempty"`
	Input  json.RawMessage            `json:"input,omitempty"`
}

// EvidenceView is a statement, whether it counts, and whose word it is.
type EvidenceView struct {
	Name      string    `json:"name"` // as PredicateNames has it
	Statement Digest    `json:"statement"`
	Signer    string    `json:"signer,omitempty"` // Key.ID; of a review, the person
	Role      Role      `json:"role,omitempty"`
	Made      time.Time `json:"made"`
	Counts    bool      `json:"counts"`
	Why       string    `json:"why,omitempty"` // it doesn't
	Summary   string    `json:"summary"`
}

// PolicyView is a policy and what it asks for.
type PolicyView struct {
	Policy     Policy          `json:"policy"`
	Digest     Digest          `json:"digest"`
	Shipped    bool            `json:"shipped,omitempty"` // nobody gave the environment one of its own
	Conditions []ConditionView `json:"conditions"`        // sorted by ID
}

// ConditionView is what a condition says of itself.
type ConditionView struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Asks  string `json:"description,omitempty"`
	// Firm says that nothing excuses it: no exception, no warning.
	Firm bool `json:"firm,omitempty"`
	// Shown says that it is only shown where an instance of a release that was admitted is started.
	Shown bool   `json:"shown,omitempty"`
	File  string `json:"file"`
}

// EndRequest asks for the end of an exception.
type EndRequest struct {
	Reason string `json:"reason,omitempty"`
}
