package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"imx"
)

// Propose opens a candidate and returns it with its id. One that is open already, of the same plan and request, is returned
// as it is. Others of the same services are superseded by it.
func (c *Control) Propose(by imx.Principal, cand imx.Candidate) (imx.Candidate, error) {
	made, err := decide(c, by, func(s *imx.State) (imx.Candidate, []imx.Body, error) {
		for _, other := range s.Candidates {
			if other.State == imx.CandidateOpen && other.Plan == cand.Plan && other.Request == cand.Request && other.Environment == cand.Environment &&
				(other.Commit != nil || cand.Commit == nil) { // a commit that the server saw proves more than one that somebody names
				return other, nil, nil
			}
		}
		const tries = 100
		for range tries {
			if cand.ID = c.cfg.NewID(); s.Candidates[cand.ID].ID == "" {
				return cand, []imx.Body{imx.CandidateMade{Candidate: cand}}, nil
			}
		}
		return cand, nil, imx.Errorf(imx.Internal, "no new id for a candidate was found in %d tries", tries)
	})
	if err != nil {
		return made, err
	}
	return FindCandidate(c.State(), made.ID)
}

// FindCandidate returns a candidate. Errors: NotFound.
func FindCandidate(s *imx.State, id string) (imx.Candidate, error) {
	c, ok := s.Candidates[id]
	if !ok {
		return c, imx.Errorf(imx.NotFound, "there is no candidate %q", id).WithHint("imx review lists those that there are")
	}
	return c, nil
}

// OpenCandidate returns a candidate that nothing has become of yet. Errors: as FindCandidate; Conflict.
func OpenCandidate(s *imx.State, id string) (imx.Candidate, error) {
	c, err := FindCandidate(s, id)
	if err == nil && c.State != imx.CandidateOpen {
		err = imx.Errorf(imx.Conflict, "candidate %s is %s: %s", id, c.State, c.Why).WithHint("imx review lists those that are open")
	}
	return c, err
}

// Review adds a person's answer to an open candidate, as accept sees it at that moment; a no ends it.
// Errors: as OpenCandidate; those of accept.
func (c *Control) Review(by imx.Principal, id string, accept func(s *imx.State, cand imx.Candidate) (imx.Review, error)) (imx.Review, error) {
	return decide(c, by, func(s *imx.State) (imx.Review, []imx.Body, error) {
		cand, err := OpenCandidate(s, id)
		if err != nil {
			return imx.Review{}, nil, err
		}
		r, err := accept(s, cand)
		if err != nil {
			return r, nil, err
		}
		bodies := []imx.Body{imx.Reviewed{Candidate: id, Review: r}}
		if !r.Approves {
			bodies = append(bodies, imx.CandidateEnded{Candidate: id, State: imx.CandidateRejected, Why: fmt.Sprintf("%s: %s", r.By, r.Reason)})
		}
		return r, bodies, nil
	})
}

// settled ends the candidates that a promotion decides about: the one that is released, and those of services that stand
// elsewhere afterwards than where they expect them.
func settled(s *imx.State, p Promotion, made imx.Applied) []imx.Body {
	moved := slices.Collect(maps.Keys(made.Replicas))
	for _, r := range made.Releases {
		moved = append(moved, r.Service)
	}
	var ends []imx.Body
	for _, c := range slices.SortedFunc(maps.Values(s.Candidates), func(a, b imx.Candidate) int { return cmp.Compare(a.ID, b.ID) }) {
		switch {
		case c.State != imx.CandidateOpen:
		case c.Plan == p.Plan:
			ends = append(ends, imx.CandidateEnded{Candidate: c.ID, State: imx.CandidateReleased, Why: "apply " + p.Apply})
		case slices.ContainsFunc(c.Services, func(name string) bool { return slices.Contains(moved, name) }):
			ends = append(ends, imx.CandidateEnded{Candidate: c.ID, State: imx.CandidateSuperseded, Why: "apply " + p.Apply + " released another plan of its services"})
		}
	}
	return ends
}
