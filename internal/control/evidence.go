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

// AddEvidence writes down that a statement about an image was kept, and returns what is on the log. What is
// known already, with the same answer, isn't written again.
func (c *Control) AddEvidence(by imx.Principal, e imx.Evidence) (imx.Evidence, error) {
	return decide(c, by, func(s *imx.State) (imx.Evidence, []imx.Body, error) {
		known := s.Evidence[e.Image][e.PredicateType]
		if known.Statement == e.Statement && known.Manifest == e.Manifest && sameAnswer(known, e) {
			return known, nil, nil
		}
		return e, []imx.Body{imx.EvidenceAdded{Evidence: e}}, nil
	})
}

func sameAnswer(a, b imx.Evidence) bool {
	if a.Passed == nil || b.Passed == nil {
		return a.Passed == b.Passed && a.Summary == b.Summary
	}
	return *a.Passed == *b.Passed && a.Summary == b.Summary
}
