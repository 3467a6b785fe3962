package source

import (
	"fmt"
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
	switch c.State {
	case imx.CandidateReleased:
		return released(s, c)
	case imx.CandidateRejected, imx.CandidateSuperseded:
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
