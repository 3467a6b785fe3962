package control

import (
	"slices"
	"strings"

	"imx"
)

// Evidence returns the newest evidence of each type about an image, sorted by type.
func Evidence(s *imx.State, image imx.Digest) []imx.Evidence {
	list := []imx.Evidence{}
	for _, e := range s.Evidence[image] {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b imx.Evidence) int { return strings.Compare(a.PredicateType, b.PredicateType) })
	return list
}

// AddEvidence writes down that a statement about an image was kept, and returns what is on the log, with the log's
// time. What is known already, with the same answer, isn't written again.
// Errors: Conflict for one whose key doesn't count any more: sign it again.
func (c *Control) AddEvidence(by imx.Principal, e imx.Evidence) (imx.Evidence, error) {
	added, err := decide(c, by, func(s *imx.State) (imx.Evidence, []imx.Body, error) {
		known := s.Evidence[e.Image][e.PredicateType]
		if known.Statement == e.Statement && known.Manifest == e.Manifest && known.Bundle == e.Bundle && known.Signer == e.Signer && sameAnswer(known, e) {
			return known, nil, nil
		}
		judged := e
		judged.Made = c.now(s)
		if k := s.Keys[e.Signer]; e.Signer != "" && (k.ID == "" || k.EndedFor(judged)) {
			return e, nil, imx.Errorf(imx.Conflict, "the key %s, which signed a statement about %s, doesn't count any more", e.Signer, e.Image.Short()).
				WithHint("try again: another key took its place")
		}
		return e, []imx.Body{imx.EvidenceAdded{Evidence: e}}, nil
	})
	if err != nil {
		return added, err
	}
	if kept := c.evidence(added); kept.Manifest == added.Manifest {
		added.Made = kept.Made
	}
	return added, nil
}

// evidence returns what the state has of the type of an evidence.
func (c *Control) evidence(e imx.Evidence) imx.Evidence {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Evidence[e.Image][e.PredicateType]
}

func sameAnswer(a, b imx.Evidence) bool {
	if a.Passed == nil || b.Passed == nil {
		return a.Passed == b.Passed && a.Summary == b.Summary
	}
	return *a.Passed == *b.Passed && a.Summary == b.Summary
}
