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

// VerdictGiven says how a release was judged: at first, and each time that the answer or its reasons change.
type VerdictGiven struct {
	Service string  `json:"service"`
	Release int     `json:"release,omitempty"` // 0 where it wasn't admitted and never became one
	Verdict Verdict `json:"verdict"`
}

func (VerdictGiven) kind() string { return "verdict-given" }

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
