package state

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"imx"
)

// KeptCandidates is how many candidates that ended a State keeps: the newest, and beside them each whose rejection stands, and each
// that a service runs or rolls out.
const KeptCandidates = 50

// foldCandidate folds what becomes of candidates, and where they come from.
func foldCandidate(s *imx.State, e imx.Event) error {
	switch b := e.Body.(type) {
	case imx.CandidateMade:
		return candidateMade(s, e, b.Candidate)
	case imx.Reviewed:
		return reviewed(s, e, b)
	case imx.CandidateEnded:
		return ofCandidate(s, e, b.Candidate, func(c *imx.Candidate) { c.State, c.Why = b.State, b.Why })
	case imx.SourceAdded:
		src := b.Source
		old := s.Sources[src.Name]
		if old.URL == src.URL && old.Branch == src.Branch && old.Folder == src.Folder {
			src.Seen, src.At, src.Candidate, src.Fault, src.Notice, src.Unread = old.Seen, old.At, old.Candidate, old.Fault, old.Notice, old.Unread
		}
		put(&s.Sources, src.Name, src)
	case imx.SourceRemoved:
		if _, ok := s.Sources[b.Source]; !ok {
			return misfit(e, "there is no source %q", b.Source)
		}
		s.Sources = maps.Clone(s.Sources)
		delete(s.Sources, b.Source)
	case imx.CommitSeen:
		src, ok := s.Sources[b.Source]
		if !ok {
			return misfit(e, "there is no source %q", b.Source)
		}
		if b.Commit == nil {
			src.Unread = b.Fault
		} else {
			src.Seen, src.At, src.Candidate = b.Commit.ID, e.Time, b.Candidate
			src.Fault, src.Notice, src.Unread = b.Fault, b.Notice, ""
		}
		put(&s.Sources, src.Name, src)
	}
	return nil
}

func candidateMade(s *imx.State, e imx.Event, c imx.Candidate) error {
	if _, ok := s.Candidates[c.ID]; ok {
		return misfit(e, "there is a candidate %q already", c.ID)
	}
	c.Made, c.State = e.Time, imx.CandidateOpen
	all := maps.Clone(s.Candidates)
	for id, old := range all {
		if old.State == imx.CandidateOpen && old.Environment == c.Environment && overlap(old.Services, c.Services) {
			old.State, old.Why = imx.CandidateSuperseded, "candidate "+c.ID+" took its place"
			all[id] = old
		}
	}
	put(&all, c.ID, c)
	s.Candidates = all
	forgetCandidates(s)
	return nil
}

// reviewed adds an answer. The last yes that a rejected candidate lacked opens it again.
func reviewed(s *imx.State, e imx.Event, b imx.Reviewed) error {
	edit := func(c *imx.Candidate) {
		r := b.Review
		r.Made = e.Time
		others := slices.DeleteFunc(slices.Clone(c.Reviews), func(o imx.Review) bool { return o.By == r.By })
		c.Reviews = append(others, r) // a person's last word counts
	}
	c := s.Candidates[b.Candidate]
	if c.State != imx.CandidateRejected || !b.Review.Approves {
		return ofCandidate(s, e, b.Candidate, edit)
	}
	edit(&c)
	s.Candidates = maps.Clone(s.Candidates)
	s.Candidates[c.ID] = c
	if len(Rejections(s, c.Environment, c.Plan)) == 0 {
		c.State, c.Why = imx.CandidateOpen, ""
		s.Candidates[c.ID] = c
	}
	return nil
}

// Rejections are the answers that stand in the way of a plan in an environment, whichever candidates of it they were given to: of each
// person who is a reviewer now the last one, if it is a no that isn't signed by a compromised key. In the order of their persons' names.
func Rejections(s *imx.State, environment string, plan imx.Digest) []imx.Review {
	last := map[imx.Principal]imx.Review{}
	for _, c := range slices.SortedFunc(maps.Values(s.Candidates), older) {
		if c.Environment != environment || c.Plan != plan {
			continue
		}
		for _, r := range c.Reviews {
			if old, ok := last[r.By]; !ok || !r.Made.Before(old.Made) {
				last[r.By] = r
			}
		}
	}
	var found []imx.Review
	for _, name := range slices.Sorted(maps.Keys(last)) {
		r, p := last[name], s.People[name]
		if !r.Approves && p.Has(imx.RoleReviewer) && !r.Made.Before(p.Since) && !s.Keys[r.Key].Compromised {
			found = append(found, r)
		}
	}
	return found
}

// outdate ends the open candidates of a service that stands elsewhere, after an event, than where they expect it.
func outdate(s *imx.State, e imx.Event, service string) {
	all := maps.Clone(s.Candidates)
	for id, c := range all {
		if c.State == imx.CandidateOpen && c.Base != "" && slices.Contains(c.Services, service) && c.Base != s.Base(c.Services) {
			c.State, c.Why = imx.CandidateSuperseded, fmt.Sprintf("what %s runs has changed since it was made (%s)", service, e.Kind())
			all[id] = c
			s.Candidates = all
		}
	}
}

// failedCandidate says of what was released that the rollout of one of its releases failed.
func failedCandidate(s *imx.State, e imx.Event) {
	b, ok := e.Body.(imx.RolloutFailed)
	if !ok {
		return
	}
	r, _ := s.Services[b.Service].Release(b.Release)
	if c, ok := s.Candidates[r.Candidate]; ok && c.State == imx.CandidateReleased {
		c.State, c.Why = imx.CandidateFailed, fmt.Sprintf("%s: release %d of %s failed: %s", c.Why, b.Release, b.Service, b.Reason)
		s.Candidates = maps.Clone(s.Candidates)
		s.Candidates[c.ID] = c
	}
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(name string) bool { return slices.Contains(b, name) })
}

// forgetCandidates drops the oldest of those that ended. s.Candidates must be the state's own.
func forgetCandidates(s *imx.State) {
	stands := standing(s)
	for _, v := range s.Services {
		for _, number := range []int{v.Current, v.Target} {
			r, _ := v.Release(number)
			stands[r.Candidate] = true
		}
	}
	var ended []imx.Candidate
	for _, c := range s.Candidates {
		if c.State != imx.CandidateOpen && !stands[c.ID] {
			ended = append(ended, c)
		}
	}
	slices.SortFunc(ended, older)
	for _, c := range ended[:max(0, len(ended)-KeptCandidates)] {
		delete(s.Candidates, c.ID)
	}
}

// standing are the rejected candidates that mustn't be forgotten, because nothing else says any more that their plan was rejected: of each
// plan in each environment the newest candidate, until another release of one of its services was made. Each stands for a decision
// that a person made since the last release: that bounds them.
func standing(s *imx.State) map[string]bool {
	type key struct {
		environment string
		plan        imx.Digest
	}
	newest := map[key]imx.Candidate{}
	for _, c := range slices.SortedFunc(maps.Values(s.Candidates), older) {
		newest[key{c.Environment, c.Plan}] = c
	}
	stands := map[string]bool{}
	for _, c := range newest {
		stands[c.ID] = c.State == imx.CandidateRejected && !slices.ContainsFunc(c.Services, func(name string) bool {
			releases := s.Services[name].Releases
			return len(releases) > 0 && releases[len(releases)-1].Made.After(c.Made)
		})
	}
	return stands
}

func older(a, b imx.Candidate) int {
	return cmp.Or(a.Made.Compare(b.Made), strings.Compare(a.ID, b.ID))
}

// ofCandidate changes an open candidate.
func ofCandidate(s *imx.State, e imx.Event, id string, edit func(*imx.Candidate)) error {
	c, ok := s.Candidates[id]
	switch {
	case !ok:
		return misfit(e, "there is no candidate %q", id)
	case c.State != imx.CandidateOpen:
		return misfit(e, "candidate %q isn't open: it is %s", id, c.State)
	}
	edit(&c)
	s.Candidates = maps.Clone(s.Candidates)
	s.Candidates[id] = c
	forgetCandidates(s)
	return nil
}
