package policy

import (
	"time"

	"imx"
	"imx/internal/freeze"
)

// Input is what a verdict is about and stands on. Its JSON is what rules see as `input`, and what `imx verify --record` writes as that.
type Input struct {
	Purpose     imx.Purpose `json:"purpose"`
	Environment string      `json:"environment"`
	Now         time.Time   `json:"now"`
	Service     string      `json:"service"`
	Image       imx.Image   `json:"image"`
	Plan        Plan        `json:"plan"`
	// Commit is what the server itself saw of the plan's commit in a repository; nil where it saw none.
	Commit *imx.Commit `json:"commit,omitempty"`
	// Authors had a hand in the plan: who wrote its commits, and who brought it here.
	Authors []imx.Principal `json:"authors"`
	// Origin is where it was good before; nil for what was planned here.
	Origin *Origin `json:"origin,omitempty"`
	// Evidence is the newest statement of each type about the image, by imx.PredicateNames, but for verdicts.
	Evidence map[string]Evidence `json:"evidence"`
	// Candidate is the id of what is released, "" for what doesn't wait. Reviews are those of all candidates of the plan, in the order in
	// which they were given.
	Candidate  string          `json:"candidate,omitempty"`
	Reviews    []Review        `json:"reviews"`
	Exceptions []imx.Exception `json:"exceptions"`
	// Freeze is how it stands at Now with the policy's freezes. Judging fills it in.
	Freeze freeze.State `json:"freeze"`
	// Inputs names all that the rest was gathered from; it becomes Verdict.Inputs.
	Inputs imx.Digest `json:"inputs,omitempty"`
}

// Origin is an imx.Origin, and whether it counts.
type Origin struct {
	Environment string     `json:"environment"`
	Since       time.Time  `json:"since"`
	At          time.Time  `json:"at"`
	Signer      string     `json:"signer"`
	Bundle      imx.Digest `json:"bundle"`
	// Counts says that the kept offer is whole, signed by a releaser's key of that environment that counts, and says this of this very plan and
	// image; Why says why not.
	Counts bool   `json:"counts"`
	Why    string `json:"why,omitempty"`
}

// Plan is the service's part of a plan.
type Plan struct {
	Digest  imx.Digest    `json:"digest"`
	Source  imx.Source    `json:"source"`
	By      imx.Principal `json:"by"`               // who applied it
	Person  imx.Principal `json:"person,omitempty"` // whom imx knows of that name, or by the login that the account is now
	Service imx.Spec      `json:"service"`
	Image   imx.ImageSpec `json:"image"`
}

// Evidence is a statement, and whether it counts.
type Evidence struct {
	Type      string     `json:"type"` // the predicate's
	Statement imx.Digest `json:"statement"`
	Bundle    imx.Digest `json:"bundle,omitempty"`
	Signer    string     `json:"signer,omitempty"`
	Role      imx.Role   `json:"role,omitempty"` // the signer's
	// Environment is the upstream's whose server stated it; "" for this server.
	Environment string    `json:"environment,omitempty"`
	Made        time.Time `json:"made"`
	Summary     string    `json:"summary"`
	// Counts says that its bytes are whole, that it is about the image, and that its signer's word counts for what it says and
	// did when it was made; Why says why not.
	Counts bool   `json:"counts"`
	Why    string `json:"why,omitempty"`
	// Facts are what conditions ask of what it says. docs/policy.md has them by type.
	Facts any `json:"facts,omitempty"`
}

// Review is a person's answer, and whether it counts.
type Review struct {
	By       imx.Principal `json:"by"`
	Approves bool          `json:"approves"`
	Plan     imx.Digest    `json:"plan"`
	// Candidate is what it was signed for.
	Candidate string     `json:"candidate"`
	Bundle    imx.Digest `json:"bundle"`
	Made      time.Time  `json:"made"`
	Reviewer  bool       `json:"reviewer"` // the person has that role now
	Counts    bool       `json:"counts"`   // it is signed by a key of theirs, and says what it is kept as
	Why       string     `json:"why,omitempty"`
}
