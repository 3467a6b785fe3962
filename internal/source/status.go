package source

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"imx"
)

// The states of a commit, as GitHub, Gitea and Forgejo have them.
const (
	pending = "pending"
	success = "success"
	failure = "failure"
	broken  = "error"
)

// Status says what became of the newest commit of a source.
func Status(s *imx.State, src imx.GitSource) imx.CommitStatus {
	is := imx.CommitStatus{Commit: src.Seen, Context: "imx/" + src.Name}
	is.State, is.Description = became(s, src)
	return is
}

// earlier says what became of the commits of a source that it saw before the newest, of which the state has candidates; the newest first.
func earlier(s *imx.State, src imx.GitSource) []imx.CommitStatus {
	var list []imx.CommitStatus
	told := map[string]bool{src.Seen: true}
	all := slices.SortedFunc(maps.Values(s.Candidates), func(a, b imx.Candidate) int { return cmp.Or(b.Made.Compare(a.Made), cmp.Compare(a.ID, b.ID)) })
	for _, c := range all {
		if c.Commit == nil || c.Commit.Repository != src.Name || told[c.Commit.ID] {
			continue
		}
		told[c.Commit.ID] = true
		is := imx.CommitStatus{Commit: c.Commit.ID, Context: "imx/" + src.Name}
		is.State, is.Description = stands(s, c)
		list = append(list, is)
	}
	return list
}

func became(s *imx.State, src imx.GitSource) (state, says string) {
	c, known := s.Candidates[src.Candidate]
	switch {
	case src.Unread != "":
		return broken, src.Unread
	case src.Fault != "":
		return failure, src.Fault
	case src.Seen == "":
		return pending, "no commit was seen yet"
	case src.Candidate == "":
		return success, "it changes nothing that runs"
	case !known:
		return success, fmt.Sprintf("candidate %s was settled long ago", src.Candidate)
	}
	return stands(s, c)
}

// stands says how a candidate's commit stands.
func stands(s *imx.State, c imx.Candidate) (state, says string) {
	switch c.State {
	case imx.CandidateReleased:
		return released(s, c)
	case imx.CandidateSuperseded:
		return failure, fmt.Sprintf("candidate %s is superseded: %s; imx source refresh %s looks at what there is now", c.ID, c.Why, c.Commit.Repository)
	case imx.CandidateRejected, imx.CandidateFailed:
		return failure, fmt.Sprintf("candidate %s is %s: %s", c.ID, c.State, c.Why)
	case imx.CandidateOpen:
	}
	return pending, fmt.Sprintf("candidate %s waits: imx review %s", c.ID, c.ID)
}

// released says how far the releases of a candidate's plan are.
func released(s *imx.State, c imx.Candidate) (state, says string) {
	state = success
	var words []string
	for _, name := range c.Services {
		for _, r := range s.Services[name].Releases {
			if r.Plan != c.Plan {
				continue
			}
			words = append(words, fmt.Sprintf("%s %d %s", name, r.Number, r.State))
			switch {
			case r.State == imx.ReleaseFailed:
				state = failure
			case r.State == imx.ReleasePending && state == success:
				state = pending
			}
		}
	}
	return state, "released: " + strings.Join(words, ", ")
}
