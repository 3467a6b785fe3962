package imx

import (
	"slices"
	"time"
)

// Candidate is a plan whose images are built and tested and that waits to be released: for approvals, or for whatever
// else its environment's policy asks.
type Candidate struct {
	ID          string    `json:"id"`
	Plan        Digest    `json:"plan"`    // Plan.Digest; what is approved
	Request     Digest    `json:"request"` // of the PlanRequest's JSON in the blob store, with the lock: all that a release needs
	Environment string    `json:"environment"`
	Source      Source    `json:"source"`           // as the template's sender says
	Commit      *Commit   `json:"commit,omitempty"` // what the server itself saw in a repository
	By          Principal `json:"by"`
	Images      []Image   `json:"images"`
	Services    []string  `json:"services"`
	Made        time.Time `json:"made"`

	State CandidateState `json:"state"`
	// Why it is in that state: a rejection's reason, the failed condition, the apply that released it.
	Why     string   `json:"why,omitempty"`
	Reviews []Review `json:"reviews,omitempty"`
}

// CandidateState is how far a candidate has come.
type CandidateState string

// The states of a candidate.
const (
	CandidateOpen       CandidateState = "open"
	CandidateReleased   CandidateState = "released"
	CandidateRejected   CandidateState = "rejected"
	CandidateSuperseded CandidateState = "superseded" // another plan of the same services took its place
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
}

// ReviewPredicate is the predicate of a review's statement. Its subjects are the plan, named "plan", and each image.
type ReviewPredicate struct {
	Candidate   string    `json:"candidate"`
	Environment string    `json:"environment"`
	Plan        Digest    `json:"plan"`
	Approves    bool      `json:"approves"`
	Reason      string    `json:"reason,omitempty"`
	Made        time.Time `json:"made"` // by the reviewer's clock
}

// Commit is a commit as the server itself saw it in a repository.
type Commit struct {
	Repository string    `json:"repository"` // the GitSource's name
	ID         string    `json:"id"`         // full Git object name
	Author     string    `json:"author"`     // "Name <email>"
	Committer  string    `json:"committer"`
	Time       time.Time `json:"time"` // the committer's
	Subject    string    `json:"subject"`
	// Signer is the person whose key signed the commit, or an annotated tag of it, and Key that key; "" if nobody known did.
	Signer Principal `json:"signer,omitempty"`
	Key    string    `json:"key,omitempty"`
	// Unsigned says why no signature counts: there is none, the key is unknown, it is wrong.
	Unsigned string `json:"unsigned,omitempty"`
	// People are those of the authors and committers of all commits since the running release's that are known, by name.
	People []Principal `json:"people,omitempty"`
}

// GitSource is a repository and a branch of it that the server follows.
type GitSource struct {
	Name   string   `json:"name"`
	URL    string   `json:"url"` // file path, ssh or https
	Branch string   `json:"branch"`
	Folder string   `json:"folder,omitempty"` // of the template, in the repository; "" means its top
	Every  Duration `json:"every"`
	// Release says that a candidate is released by itself as soon as it is admitted.
	Release bool `json:"release,omitempty"`
	// Notes says that what came of a commit is written back as a Git note on it, refs/notes/imx.
	Notes bool `json:"notes,omitempty"`
	// Hook is the SHA-256 of the secret that signs calls of its webhook; "" means there is none.
	Hook Digest    `json:"hook,omitempty"`
	Seen string    `json:"seen,omitempty"` // the newest commit that a candidate was made of, or that failed
	At   time.Time `json:"at,omitzero"`    // when it was seen
	// Candidate is the id of what was made of that commit; "" if it changes nothing, or there is a Fault.
	Candidate string `json:"candidate,omitempty"`
	// Fault says why that commit made no candidate, or why it couldn't be released by itself; "" if all is well.
	Fault string `json:"fault,omitempty"`
	// Notice is what else is to be known of that commit: that the branch's history was rewritten.
	Notice string `json:"notice,omitempty"`
	// Unread says why the repository can't be read now; "" if it can.
	Unread string `json:"unread,omitempty"`
}

// SourceView is a source, and what its server knows of it beside.
type SourceView struct {
	GitSource
	Status  CommitStatus `json:"status"`
	Refused int64        `json:"refusedCalls,omitempty"` // calls of its webhook with a wrong signature, since the server's start
}

// What happens to candidates and where they come from.
type (
	// CandidateMade opens a candidate. Open ones of the same services are superseded.
	CandidateMade struct {
		Candidate Candidate `json:"candidate"`
	}
	// Reviewed adds a review to an open candidate.
	Reviewed struct {
		Candidate string `json:"candidate"`
		Review    Review `json:"review"`
	}
	// CandidateEnded ends a candidate.
	CandidateEnded struct {
		Candidate string         `json:"candidate"`
		State     CandidateState `json:"state"`
		Why       string         `json:"why"`
	}
	// SourceAdded follows a repository, or changes how.
	SourceAdded struct {
		Source GitSource `json:"source"`
	}
	// SourceRemoved stops following it.
	SourceRemoved struct {
		Source string `json:"source"`
	}
	// CommitSeen says that a followed branch has a commit, and what came of it. Without a commit it says why the repository
	// can't be read, or with no fault that it can again.
	CommitSeen struct {
		Source    string  `json:"source"`
		Commit    *Commit `json:"commit,omitempty"`
		Candidate string  `json:"candidate,omitempty"` // the id of what was made of it; "" if it changes nothing
		Fault     string  `json:"fault,omitempty"`
		Notice    string  `json:"notice,omitempty"`
	}
)

func (CandidateMade) kind() string  { return "candidate-made" }
func (Reviewed) kind() string       { return "reviewed" }
func (CandidateEnded) kind() string { return "candidate-ended" }
func (SourceAdded) kind() string    { return "source-added" }
func (SourceRemoved) kind() string  { return "source-removed" }
func (CommitSeen) kind() string     { return "commit-seen" }

// Authors are those who had a hand in a candidate, so that they can't approve it: who brought it, and whom the commits
// since the running release are from.
func (c Candidate) Authors() []Principal {
	all := []Principal{c.By}
	if c.Commit != nil {
		all = append(all, c.Commit.People...)
		if c.Commit.Signer != "" {
			all = append(all, c.Commit.Signer)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

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
	// Firewall are lines of the rules, as package network writes them.
	Firewall LineChange `json:"firewall"`
}

// LineChange is how a set of lines changes; each list is sorted.
type LineChange struct {
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	Kept    []string `json:"kept,omitempty"`
}

// SourceRequest follows a repository, or changes how.
type SourceRequest struct {
	Source GitSource `json:"source"`
	// Secret signs calls of its webhook. The server keeps it; it is never told again.
	Secret string `json:"secret,omitempty"`
}

// CommitStatus is what became of the newest commit of a source, in the form of a status that GitHub, Gitea and Forgejo
// take for a commit.
type CommitStatus struct {
	Commit      string `json:"sha"`
	State       string `json:"state"` // "pending", "success", "failure", "error"
	Context     string `json:"context"`
	Description string `json:"description"`
}
