package imx

import (
	"slices"
	"time"
)

// Candidate is a plan whose images are built and tested and that waits to be released: for approvals, or for whatever
// else its environment's policy asks.
type Candidate struct {
	ID      string `json:"id"`
	Plan    Digest `json:"plan"`    // Plan.Digest; what is approved
	Request Digest `json:"request"` // of the PlanRequest's JSON in the blob store, with the lock: all that a release needs
	// Proof names the tests and waivers of the template and why tests are skipped: what was asked of the plan. It is approved, too.
	Proof       Digest    `json:"proof,omitempty"`
	Environment string    `json:"environment"`
	Source      Source    `json:"source"`           // as the template's sender says
	Commit      *Commit   `json:"commit,omitempty"` // what the server itself saw in a repository
	By          Principal `json:"by"`
	// Account is the local account that By brought it from; "" for a commit's. Whose login it is can become known, or another's.
	Account  string    `json:"account,omitempty"`
	Images   []Image   `json:"images"`
	Services []string  `json:"services"`
	Made     time.Time `json:"made"`
	// Base is where its services stood when it was planned, as State.Base has it. Once they don't any more, it can't be released.
	Base Digest `json:"base,omitempty"`
	// Origin is the environment that it was good in before; nil for what was planned here.
	Origin *Origin `json:"origin,omitempty"`

	State CandidateState `json:"state"`
	// Why it is in that state: a rejection's reason, the failed condition, the apply that released it.
	Why     string   `json:"why,omitempty"`
	Reviews []Review `json:"reviews,omitempty"`
}

// CandidateState is how far a candidate has come.
type CandidateState string

// The states of a candidate.
const (
	CandidateOpen     CandidateState = "open"
	CandidateReleased CandidateState = "released"
	CandidateRejected CandidateState = "rejected"
	// CandidateSuperseded is the end of one that can't be released any more: another plan of its services took its place, or what they run has changed.
	CandidateSuperseded CandidateState = "superseded"
	CandidateFailed     CandidateState = "failed" // it was released, and the rollout of one of its releases failed
)

// Review is a person's yes or no to a plan, signed with a key of theirs.
type Review struct {
	By       Principal `json:"by"`
	Approves bool      `json:"approves"`
	Reason   string    `json:"reason,omitempty"`
	Plan     Digest    `json:"plan"`
	Key      string    `json:"key"`    // Key.ID
	Bundle   Digest    `json:"bundle"` // of the signed statement
	Made     time.Time `json:"made"`
	Signed   time.Time `json:"signed,omitzero"` // by the reviewer's clock
	// Shown is the CandidateView that there was to see when it was given, as JSON in the blob store.
	Shown Digest `json:"shown,omitempty"`
	// Void is why it doesn't count any more, where that is asked for; the log has none.
	Void string `json:"void,omitempty"`
}

// ReviewPredicate is the predicate of a review's statement. Its subjects are the plan, named "plan", and each image.
type ReviewPredicate struct {
	Candidate   string    `json:"candidate"`
	Environment string    `json:"environment"`
	Plan        Digest    `json:"plan"`
	Proof       Digest    `json:"proof,omitempty"` // Candidate.Proof
	Approves    bool      `json:"approves"`
	Reason      string    `json:"reason,omitempty"`
	Made        time.Time `json:"made"` // by the reviewer's clock
}

// What happens to candidates.
type (
	// CandidateMade opens a candidate. Open ones of the same services are superseded. It has the reviews of its plan that stand.
	CandidateMade struct {
		Candidate Candidate `json:"candidate"`
	}
	// Reviewed adds a review to an open candidate, or to a rejected one: the yes of who rejected it opens it again.
	Reviewed struct {
		Candidate string `json:"candidate"`
		Review    Review `json:"review"`
	}
	// CandidateEnded ends a candidate. One that is rejected can be opened again.
	CandidateEnded struct {
		Candidate string         `json:"candidate"`
		State     CandidateState `json:"state"`
		Why       string         `json:"why"`
	}
)

func (CandidateMade) kind() string  { return "candidate-made" }
func (Reviewed) kind() string       { return "reviewed" }
func (CandidateEnded) kind() string { return "candidate-ended" }

// ReviewRequest is a person's answer to a candidate: the statement, signed where their key is.
type ReviewRequest struct {
	Bundle []byte `json:"bundle"`
}

// CandidateView is a candidate with all that a person looks at before they answer.
type CandidateView struct {
	Candidate
	Changes  []Change        `json:"changes"`  // to what runs, as a plan shows them
	Diff     []ServiceChange `json:"diff"`     // of each service that a release would be made of
	Verdicts []Verdict       `json:"verdicts"` // of each service that a release would be made of, as of now
	// Conflict says why it can't be released whatever anybody answers; "" if it can.
	Conflict string   `json:"conflict,omitempty"`
	Notices  []string `json:"notices,omitempty"` // what couldn't be compared, and why
	// Texts are the changed files line by line.
	Texts []TextChange `json:"texts,omitempty"`
	// Seen is when the rest was as it is here: of what has ended, when it was answered last. Zero means now.
	Seen time.Time `json:"seen,omitzero"`
}

// TextChange is how a file of an image or a service changes.
type TextChange struct {
	Subject string `json:"subject"` // as a Change's
	Path    string `json:"path"`
	// Diff are the lines that come and go, in the form of `diff -u`; "" with a Note.
	Diff string `json:"diff,omitempty"`
	// Note says why there are none, or not all: the file isn't text, is too large, isn't kept any more.
	Note string `json:"note,omitempty"`
}

// ServiceChange is what a candidate's release of a service gains and loses against the one that runs.
type ServiceChange struct {
	Service string `json:"service"`
	Running int    `json:"running,omitempty"` // the release that runs; 0 for none
	// Packages of the image by name, before and after; the version is "" where there is none.
	Packages []Change `json:"packages"`
	// Gained and Lost are the vulnerabilities that only the one or the other has, the gravest first.
	Gained []Vulnerability `json:"gained"`
	Lost   []Vulnerability `json:"lost"`
	Before Size            `json:"before,omitempty"` // of the image
	After  Size            `json:"after"`
	// Rights are lines of what an instance may do beyond reading: "user 0", "setuid /usr/bin/su", "writable /data".
	Rights LineChange `json:"rights"`
	// Firewall are the rules of package network, a line each: "port 443 of this machine leads to its port 8000".
	Firewall LineChange `json:"firewall"`
}

// LineChange is how a set of lines changes; each list is sorted.
type LineChange struct {
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	Kept    []string `json:"kept,omitempty"`
}

// Authors are those who had a hand in a candidate, so that they can't approve it: who brought it, whose login that account is, and whom
// the commits that are new to its services are from, by what is known of people now.
func (c Candidate) Authors(people map[Principal]Person) []Principal {
	all := []Principal{c.By}
	if p, ok := WithLogin(people, c.Account); ok {
		all = append(all, p.Name)
	}
	if c.Commit != nil {
		all = append(all, c.Commit.Known(people)...)
		if c.Commit.Signer != "" {
			all = append(all, c.Commit.Signer)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
