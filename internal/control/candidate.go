package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"imx"
	"imx/internal/state"
)

// Propose opens a candidate and returns it with its id. One that is open already, of the same plan and request, is returned
// as it is. Others of the same services are superseded by it. Of a plan whose rejection stands the candidate is rejected from the start,
// by the same people.
func (c *Control) Propose(by imx.Principal, cand imx.Candidate) (imx.Candidate, error) {
	made, err := decide(c, by, func(s *imx.State) (imx.Candidate, []imx.Body, error) {
		rejections := state.Rejections(s, cand.Environment, cand.Plan)
		for _, other := range s.Candidates {
			if same(other, cand) && (other.State == imx.CandidateOpen || other.State == imx.CandidateRejected && len(rejections) > 0) {
				return other, nil, nil
			}
		}
		if err := Expect(s, cand.Services, cand.Base); err != nil {
			return cand, nil, err
		}
		const tries = 100
		for range tries {
			if cand.ID = c.cfg.NewID(); s.Candidates[cand.ID].ID == "" {
				return cand, proposal(cand, rejections), nil
			}
		}
		return cand, nil, imx.Errorf(imx.Internal, "no new id for a candidate was found in %d tries", tries)
	})
	if err != nil {
		return made, err
	}
	return FindCandidate(c.State(), made.ID)
}

// same reports whether a candidate is all that another one would be.
func same(other, cand imx.Candidate) bool {
	return other.Plan == cand.Plan && other.Request == cand.Request && other.Environment == cand.Environment && alike(other, cand) &&
		(other.Commit != nil || cand.Commit == nil) // a commit that the server saw proves more than one that somebody names
}

// alike reports whether both were planned here, or come from the same environment to services that stood alike: the request of the one that was
// planned here says where those stood.
func alike(a, b imx.Candidate) bool {
	if a.Origin == nil || b.Origin == nil {
		return a.Origin == b.Origin
	}
	return a.Origin.Environment == b.Origin.Environment && a.Base == b.Base
}

func proposal(cand imx.Candidate, rejections []imx.Review) []imx.Body {
	if len(rejections) == 0 {
		return []imx.Body{imx.CandidateMade{Candidate: cand}}
	}
	cand.Reviews = rejections
	return []imx.Body{imx.CandidateMade{Candidate: cand}, rejected(cand.ID, rejections[0])}
}

func rejected(id string, no imx.Review) imx.CandidateEnded {
	return imx.CandidateEnded{Candidate: id, State: imx.CandidateRejected, Why: fmt.Sprintf("%s: %s", no.By, no.Reason)}
}

// FindCandidate returns the candidate that a person means by its id, or by how that begins. Errors: NotFound; Invalid for several.
func FindCandidate(s *imx.State, wanted string) (imx.Candidate, error) {
	id, err := imx.Abbreviated("candidate", wanted, "imx review lists those that there are", maps.Keys(s.Candidates))
	return s.Candidates[id], err
}

// OpenCandidate returns a candidate that nothing has become of yet. Errors: as FindCandidate; Conflict.
func OpenCandidate(s *imx.State, id string) (imx.Candidate, error) {
	c, err := FindCandidate(s, id)
	if err == nil && c.State != imx.CandidateOpen {
		err = imx.Errorf(imx.Conflict, "candidate %s is %s: %s", c.ID, c.State, c.Why).WithHint("%s", next(c))
	}
	return c, err
}

// next says what can be done about a candidate that isn't open.
func next(c imx.Candidate) string {
	switch {
	case c.State != imx.CandidateSuperseded && c.State != imx.CandidateFailed:
		return "imx review lists those that are open"
	case c.Commit != nil:
		return fmt.Sprintf("imx review lists those that are open; imx source refresh %s makes one of what %s has now", c.Commit.Repository, c.Commit.Repository)
	}
	return "imx review lists those that are open; imx apply makes one of what a template would change now"
}

// Answerable says whether an answer may be given to a candidate: to an open one or, a yes, to a rejected one, by who rejected it or where
// nobody's rejection stands any more. Errors: as OpenCandidate; Conflict where another candidate of its services is open, or they stand elsewhere by now.
func Answerable(s *imx.State, id string, r imx.Review) error {
	cand, err := OpenCandidate(s, id)
	if cand.State != imx.CandidateRejected {
		return err
	}
	nos := state.Rejections(s, cand.Environment, cand.Plan)
	theirs := slices.ContainsFunc(nos, func(no imx.Review) bool { return no.By == r.By })
	if !r.Approves || len(nos) > 0 && !theirs {
		return imx.Errorf(imx.Conflict, "candidate %s is %s: %s", id, cand.State, cand.Why).WithHint("who rejected it opens it again: imx approve %s", id)
	}
	if err := Expect(s, cand.Services, cand.Base); err != nil {
		return err
	}
	for _, other := range s.Candidates {
		both := slices.ContainsFunc(other.Services, func(name string) bool { return slices.Contains(cand.Services, name) })
		if other.State == imx.CandidateOpen && other.Environment == cand.Environment && both {
			return imx.Errorf(imx.Conflict, "candidate %s of the same services took the place of %s", other.ID, id).
				WithHint("imx review %s shows it; what %s was made of can be proposed again", other.ID, id)
		}
	}
	return nil
}

// Review adds a person's answer to a candidate, as accept sees it at that moment. A no ends it; a yes of who rejected it opens it again.
// Errors: as Answerable; those of accept.
func (c *Control) Review(by imx.Principal, id string, accept func(s *imx.State, cand imx.Candidate) (imx.Review, error)) (imx.Review, error) {
	return decide(c, by, func(s *imx.State) (imx.Review, []imx.Body, error) {
		cand, err := FindCandidate(s, id)
		if err != nil {
			return imx.Review{}, nil, err
		}
		id := cand.ID
		r, err := accept(s, cand)
		if err != nil {
			return r, nil, err
		}
		if err := Answerable(s, id, r); err != nil {
			return r, nil, err
		}
		bodies := []imx.Body{imx.Reviewed{Candidate: id, Review: r}}
		if !r.Approves {
			bodies = append(bodies, rejected(id, r))
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
