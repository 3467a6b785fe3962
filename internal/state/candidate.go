package state

import (
	"maps"
	"slices"
	"strings"

	"imx"
)

// KeptCandidates is how many candidates that ended a State keeps: the newest.
const KeptCandidates = 50

// foldCandidate folds what becomes of candidates, and where they come from.
func foldCandidate(s *imx.State, e imx.Event) error {
	switch b := e.Body.(type) {
	case imx.CandidateMade:
		return candidateMade(s, e, b.Candidate)
	case imx.Reviewed:
		return ofCandidate(s, e, b.Candidate, func(c *imx.Candidate) {
			r := b.Review
			r.Made = e.Time
			others := slices.DeleteFunc(slices.Clone(c.Reviews), func(o imx.Review) bool { return o.By == r.By })
			c.Reviews = append(others, r) // a person's last word counts
		})
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

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(name string) bool { return slices.Contains(b, name) })
}

// forgetCandidates drops the oldest of those that ended. s.Candidates must be the state's own.
func forgetCandidates(s *imx.State) {
	var ended []imx.Candidate
	for _, c := range s.Candidates {
		if c.State != imx.CandidateOpen {
			ended = append(ended, c)
		}
	}
	slices.SortFunc(ended, func(a, b imx.Candidate) int {
		if n := a.Made.Compare(b.Made); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	for _, c := range ended[:max(0, len(ended)-KeptCandidates)] {
		delete(s.Candidates, c.ID)
	}
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
