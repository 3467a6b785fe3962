package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/git"
	"imx/internal/plan"
	"imx/internal/template"
)

// fetchTime bounds how long a repository may take, so that one that doesn't answer or never ends doesn't hold up the others.
const fetchTime = 10 * time.Minute

// look looks at a source: at its branch, and at a commit that is new. What is wrong with either is written down, and no error.
func (f *Follower) look(ctx context.Context, name string, report imx.Report) error {
	return f.step(ctx, name, report, func(src imx.GitSource, head string) bool { return head != src.Seen })
}

// again looks at a source, and at its newest commit even if it was seen, unless that has a candidate which is open or was released.
func (f *Follower) again(ctx context.Context, name string, report imx.Report) error {
	return f.step(ctx, name, report, func(src imx.GitSource, head string) bool {
		s := f.cfg.Control.State()
		c := s.Candidates[src.Candidate]
		settled := src.Fault == "" && (c.State == imx.CandidateOpen || c.State == imx.CandidateReleased)
		return head != src.Seen || !settled
	})
}

func (f *Follower) step(ctx context.Context, name string, report imx.Report, wanted func(src imx.GitSource, head string) bool) error {
	f.work.Lock()
	defer f.work.Unlock()
	f.mu.Lock()
	delete(f.looks.woken, name)
	f.looks.last[name] = f.cfg.Now()
	f.mu.Unlock()
	src, err := f.find(name)
	if err != nil {
		return err
	}
	report(imx.Progress{Step: "fetch " + name, Status: imx.StepRunning})
	repo, head, err := f.fetch(ctx, src)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		f.tell(ctx, name, imx.CommitSeen{Source: name, Fault: says(err)})
		return nil
	}
	report(imx.Progress{Step: "fetch " + name, Status: imx.StepDone, Message: short(head)})
	if !wanted(src, head) {
		f.tell(ctx, name, imx.CommitSeen{Source: name})
		return nil
	}
	seen := imx.CommitSeen{Source: name, Commit: &imx.Commit{Repository: name, ID: head}}
	if src.Seen != "" && !repo.Leads(ctx, src.Seen, head) {
		seen.Notice = fmt.Sprintf("the history of %s was rewritten: commit %s, which was seen before, isn't in it any more", src.Branch, short(src.Seen))
	}
	cand, ok, err := f.propose(ctx, repo, src, &seen, report)
	if ctx.Err() != nil {
		return ctx.Err() // it is looked at again by the next start
	}
	switch {
	case err != nil:
		seen.Fault = says(err)
	case ok:
		seen.Candidate = cand.ID
	}
	f.mu.Lock()
	delete(f.tried, seen.Candidate)
	f.mu.Unlock()
	return f.cfg.Control.Record(imx.Server, seen)
}

func (f *Follower) fetch(ctx context.Context, src imx.GitSource) (*git.Repository, string, error) {
	repo, err := f.repository(ctx, src)
	if err != nil {
		return nil, "", err
	}
	within, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	head, err := repo.Fetch(within)
	if within.Err() != nil && ctx.Err() == nil {
		err = imx.Errorf(imx.Unavailable, "%s didn't answer, or has more than can be fetched, in %s", src.URL, fetchTime)
	}
	err = f.sized(src, err)
	return repo, head, err
}

// sized says of what is too large what can be done about it.
func (f *Follower) sized(src imx.GitSource, err error) error {
	if _, over := errors.AsType[*git.TooLargeError](err); !over {
		return err
	}
	return imx.Errorf(imx.Exhausted, "source %s is too large, %s: %w", src.Name, src.URL, err).
		WithHint("take large files out of the history, follow a smaller repository, or start the server with a larger --source-size")
}

// propose makes a candidate of a commit, and fills in what is to be known of it.
func (f *Follower) propose(ctx context.Context, repo *git.Repository, src imx.GitSource, seen *imx.CommitSeen, report imx.Report) (imx.Candidate, bool, error) {
	req, err := f.read(ctx, repo, src, seen.Commit.ID)
	if told := f.describe(ctx, repo, seen.Commit); err == nil {
		err = told
	}
	if err == nil {
		err = f.admissible(*seen.Commit)
	}
	if err != nil {
		return imx.Candidate{}, false, err
	}
	return f.cfg.Releaser.Propose(ctx, imx.Server, req, func(ctx context.Context, services []string) (*imx.Commit, error) {
		commit := *seen.Commit // with addresses, which the log has once: with the candidate
		var err error
		var notice string
		if commit.Emails, notice, err = f.hands(ctx, repo, src, commit.ID, services); notice != "" {
			seen.Notice = strings.TrimPrefix(seen.Notice+"; "+notice, "; ")
		}
		if err == nil {
			err = f.below(ctx, repo, &commit, services)
		}
		commit.People = commit.Known(f.cfg.Control.State().People)
		if err == nil {
			err = f.admissible(commit)
		}
		return &commit, err
	}, report)
}

// admissible refuses a commit that the policy wouldn't admit whatever anybody approves.
func (f *Follower) admissible(commit imx.Commit) error {
	if commit.Unsigned == "" || !f.cfg.Signed() {
		return nil
	}
	return imx.Errorf(imx.Refused, "commit %s isn't signed by anybody known, and the policy takes no other: %s", short(commit.ID), commit.Unsigned).
		WithHint("sign it, git commit --amend -S, with a key that imx person add NAME --role author --key FILE makes known; then imx source refresh %s", commit.Repository)
}

// below asks of the commits that are new to services, and that a commit stands on, who signed them. Where nothing of the repository runs, nothing
// says which are new: then who signs the newest vouches for all.
func (f *Follower) below(ctx context.Context, repo *git.Repository, commit *imx.Commit, services []string) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	var since []string
	for _, b := range bases(f.cfg.Control.State(), services) {
		if b.commit != "" {
			since = append(since, b.commit)
		}
	}
	found, err := repo.New(ctx, commit.ID, since...)
	if err != nil {
		return err
	}
	for _, id := range found {
		if id == commit.ID {
			continue
		}
		o, err := repo.Commit(ctx, id)
		if err != nil {
			return err
		}
		key, why, err := f.signer(ctx, repo, id, o)
		if err != nil {
			return err
		}
		if why == "" {
			commit.Keys, commit.People = append(commit.Keys, key.ID), append(commit.People, key.Owner)
		} else if commit.Unsigned == "" {
			commit.Unsigned = fmt.Sprintf("commit %s, which is new too: %s", short(id), why)
		}
	}
	slices.Sort(commit.Keys)
	commit.Keys = slices.Compact(commit.Keys)
	return nil
}

// signer returns the key of somebody known that signed a commit or a tag of it, or why none did.
func (f *Follower) signer(ctx context.Context, repo *git.Repository, id string, o git.Object) (imx.Key, string, error) {
	s := f.cfg.Control.State()
	key, refused := git.Signer(o, s.Keys, s.People, f.cfg.Now())
	if refused == nil {
		return key, "", nil
	}
	tags, err := repo.Tags(ctx, id)
	if err != nil {
		return key, "", err
	}
	for _, tag := range tags {
		if byTag, other := git.Signer(tag, s.Keys, s.People, f.cfg.Now()); other == nil {
			return byTag, "", nil
		}
	}
	return imx.Key{}, imx.AsError(refused).Message, nil
}

// hands returns the addresses of all who had a hand in what is new to any of the services that a commit would release. To a service whose
// release is of no commit that leads to this one, all is new; where it is of another, a notice tells.
func (f *Follower) hands(ctx context.Context, repo *git.Repository, src imx.GitSource, commit string, services []string) (emails []string, notice string, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	var since, apart []string
	all := len(services) == 0
	for _, b := range bases(f.cfg.Control.State(), services) {
		switch {
		case b.commit == "":
			all = true
		case repo.Leads(ctx, b.commit, commit):
			since = append(since, b.commit)
		default:
			all = true
			apart = append(apart, fmt.Sprintf("%s (%s)", short(b.commit), b.service))
		}
	}
	if len(apart) > 0 {
		notice = fmt.Sprintf("what runs is of a commit that isn't in the history of %s: %s; whoever wrote any of that history had a hand in it",
			src.Branch, strings.Join(apart, ", "))
	}
	if all {
		since = nil
	}
	emails, err = repo.Emails(ctx, commit, since...)
	return emails, notice, err
}

// read reads a commit's template and lock. Errors: Invalid, with the first mistake's file and line; NotFound without a folder or lock.
func (f *Follower) read(ctx context.Context, repo *git.Repository, src imx.GitSource, commit string) (imx.PlanRequest, error) {
	within, cancel := context.WithTimeout(ctx, fetchTime) // it may fetch files that were left out
	defer cancel()
	files, err := repo.Files(within, commit, src.Folder)
	if err != nil {
		return imx.PlanRequest{}, f.sized(src, err)
	}
	t, said := template.Parse(files)
	if err := said.Err(); err != nil {
		return imx.PlanRequest{}, err
	}
	folder := src.Folder
	if folder == "" {
		folder = "."
	}
	t.Source = imx.Source{Folder: folder, Commit: commit}
	raw, err := fs.ReadFile(files, imx.LockFile)
	if errors.Is(err, fs.ErrNotExist) {
		return imx.PlanRequest{}, imx.Errorf(imx.NotFound, "commit %s has no %s beside the template, so that nothing says which packages it means", short(commit), imx.LockFile).
			WithHint("run imx plan in the folder, and commit %s", imx.LockFile)
	}
	if err != nil {
		return imx.PlanRequest{}, imx.Errorf(imx.Invalid, "%s of commit %s can't be read: %w", imx.LockFile, short(commit), err)
	}
	lock, err := plan.ParseLock(raw)
	return imx.PlanRequest{Template: t, Lock: &lock}, err
}

// describe fills in who made a commit and who signed it.
func (f *Follower) describe(ctx context.Context, repo *git.Repository, commit *imx.Commit) error {
	o, err := repo.Commit(ctx, commit.ID)
	if err != nil {
		return err
	}
	commit.Author, commit.Committer, commit.Time, commit.Subject = o.Author.String(), o.Committer.String(), o.Committer.Time, o.Subject
	key, why, err := f.signer(ctx, repo, commit.ID, o)
	commit.Signer, commit.Key, commit.Unsigned = key.Owner, key.ID, why
	return err
}

// says is an error in a line: its mistakes with their places, and what to do.
func says(err error) string {
	e := imx.AsError(err)
	text := e.Message
	for i, d := range e.Diagnostics {
		if d.Severity == imx.SeverityNotice {
			continue
		}
		text = d.Summary
		if at := d.At.String(); at != "" {
			text = at + ": " + text
		}
		if more := len(e.Diagnostics) - i - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more)", more)
		}
		break
	}
	text, _, _ = strings.Cut(text, "\n")
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	const most = 1000
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func short(commit string) string { return commit[:min(12, len(commit))] }
