package imx

import (
	"slices"
	"strings"
	"time"
)

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
	// Unsigned says why no signature counts: there is none, the key is unknown, it is wrong. With a Signer it is said of another commit that is new.
	Unsigned string `json:"unsigned,omitempty"`
	// Keys are those that signed the other commits that are new to a service that the candidate releases; sorted.
	Keys []string `json:"keys,omitempty"`
	// Emails are the addresses, as NormalEmail has them, of all who wrote, made or are named as co-authors of a commit that is new to
	// a service that the candidate releases; sorted. People are those of them who were known when the commit was seen, and who signed; sorted.
	Emails []string    `json:"emails,omitempty"`
	People []Principal `json:"people,omitempty"`
}

// The most addresses that a Commit names, and the most bytes that one has (RFC 5321): nobody known has a longer one.
const (
	MaxEmails = 1000
	MaxEmail  = 254
)

// NormalEmail returns an address as it is compared with others: without blanks around it and without its letters' case.
func NormalEmail(address string) string {
	return strings.ToLower(strings.ToUpper(strings.ToValidUTF8(strings.TrimSpace(address), "�")))
}

// Known are those who wrote or made the commits, as people are known now or were when the commit was seen; sorted.
func (c Commit) Known(people map[Principal]Person) []Principal {
	all := slices.Clone(c.People)
	for name, p := range people {
		if slices.ContainsFunc(p.Emails, func(own string) bool { return slices.Contains(c.Emails, NormalEmail(own)) }) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
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
	Status CommitStatus `json:"status"`
	// Earlier is what became of the commits before that are known still, the newest first.
	Earlier []CommitStatus `json:"earlier,omitempty"`
	Refused int64          `json:"refusedCalls,omitempty"` // calls of its webhook with a wrong signature, since the server's start
}

// What happens to sources.
type (
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

func (SourceAdded) kind() string   { return "source-added" }
func (SourceRemoved) kind() string { return "source-removed" }
func (CommitSeen) kind() string    { return "commit-seen" }

// SourceRequest follows a repository, or changes how.
type SourceRequest struct {
	Source GitSource `json:"source"`
	// Secret signs calls of its webhook. The server keeps it; it is never told again.
	Secret string `json:"secret,omitempty"`
	// Unhook takes its webhook's secret away; without it and a Secret, what there is stays.
	Unhook Unhook `json:"unhook,omitempty"`
}

// Unhook says that a source has no webhook any more.
type Unhook bool

// CommitStatus is what became of the newest commit of a source, in the form of a status that GitHub, Gitea and Forgejo
// take for a commit.
type CommitStatus struct {
	Commit      string `json:"sha"`
	State       string `json:"state"` // "pending", "success", "failure", "error"
	Context     string `json:"context"`
	Description string `json:"description"`
}
