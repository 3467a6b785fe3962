// Package review says what a person signs when they answer a candidate, which answers are taken, and how what runs differs from
// what would run. It signs nothing, and whether enough people said yes is for the policy to say.
package review

import (
	"encoding/json"
	"slices"
	"time"

	"imx"
	"imx/internal/sign"
	"imx/internal/statement"
)

// Statement is what is signed: about a candidate's plan and each of its images, in the form that statement.Parse reads.
func Statement(c imx.Candidate, p imx.ReviewPredicate) ([]byte, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, imx.Errorf(imx.Internal, "a review can't be written as JSON: %w", err)
	}
	st := imx.Statement{
		Type: imx.StatementType, PredicateType: imx.PredicateReview, Predicate: raw,
		Subject: []imx.Subject{{Name: "plan", Digest: map[string]string{"sha256": c.Plan.Hex()}}},
	}
	for _, im := range c.Images {
		st.Subject = append(st.Subject, imx.Subject{Name: "image " + im.Name, Digest: map[string]string{"sha256": im.Digest.Hex()}})
	}
	payload, err := json.Marshal(st)
	if err != nil {
		return nil, imx.Errorf(imx.Internal, "a review can't be written as JSON: %w", err)
	}
	_, err = statement.Parse(payload)
	return payload, err
}

// maxReason bounds the bytes of a reason: it is on the log for good.
const maxReason = 4 << 10

// Answer is a person's answer to a candidate as they sign it at a moment of their clock.
func Answer(c imx.Candidate, made time.Time) imx.ReviewPredicate {
	return imx.ReviewPredicate{Candidate: c.ID, Environment: c.Environment, Plan: c.Plan, Proof: c.Proof, Made: made.UTC().Truncate(time.Millisecond)}
}

// Accept takes a signed answer to a candidate as a review, if it may count at a moment.
// Errors: Refused for what isn't about this candidate, or isn't signed by somebody who may answer it; Conflict for the same answer
// again; Invalid for a no without a reason.
func Accept(s *imx.State, c imx.Candidate, raw []byte, now time.Time) (imx.Review, error) {
	bundle, err := sign.Open(raw)
	if err != nil {
		return imx.Review{}, err
	}
	p, err := answers(c, bundle.Payload)
	if err != nil {
		return imx.Review{}, err
	}
	key, err := keyOf(s, bundle)
	if err != nil {
		return imx.Review{}, err
	}
	_, err = sign.Counts(imx.Evidence{
		Image: c.Plan, PredicateType: imx.PredicateReview, Statement: imx.DigestBytes(bundle.Payload), Bundle: imx.DigestBytes(raw), Signer: key.ID, Made: now,
	}, raw, s.Keys)
	if err != nil {
		return imx.Review{}, err
	}
	r := imx.Review{
		By: key.Owner, Approves: p.Approves, Reason: p.Reason, Plan: c.Plan, Key: key.ID, Bundle: imx.DigestBytes(raw), Made: now, Signed: p.Made,
	}
	return r, may(s, c, r)
}

// answers returns what is signed, if it is an answer to this very candidate.
func answers(c imx.Candidate, payload []byte) (imx.ReviewPredicate, error) {
	var p imx.ReviewPredicate
	st, err := statement.Parse(payload)
	if err == nil && st.PredicateType != imx.PredicateReview {
		err = imx.Errorf(imx.Refused, "what is signed is no review but of type %s", st.PredicateType)
	}
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(st.Predicate, &p); err != nil {
		return p, imx.Errorf(imx.Refused, "what is signed is no review: %w", err)
	}
	another := ""
	switch {
	case p.Candidate != c.ID:
		another = "the candidate " + p.Candidate
	case p.Plan != c.Plan:
		another = "the plan " + string(p.Plan)
	case p.Proof != c.Proof:
		another = "other tests and waivers of its plan"
	case p.Environment != c.Environment:
		another = "the environment " + p.Environment
	}
	if another != "" {
		return p, imx.Errorf(imx.Refused, "what is signed is an answer to another thing: it is for %.100s, and this is candidate %s of plan %s in %s",
			another, c.ID, c.Plan, c.Environment).WithHint("look at what waits now, imx review %s, and answer that", c.ID)
	}
	if want, err := Statement(c, p); err != nil || imx.DigestBytes(want) != imx.DigestBytes(payload) {
		return p, imx.Errorf(imx.Refused, "what is signed isn't about the images of candidate %s", c.ID)
	}
	if len(p.Reason) > maxReason {
		return p, imx.Errorf(imx.Invalid, "the reason has %d bytes, more than %d", len(p.Reason), maxReason)
	}
	if !p.Approves && p.Reason == "" {
		return p, imx.Errorf(imx.Invalid, "candidate %s is rejected without a reason", c.ID).WithHint("say why, so that somebody can do something about it: --reason")
	}
	return p, nil
}

// keyOf returns the person's key that a bundle names.
func keyOf(s *imx.State, b sign.Bundle) (imx.Key, error) {
	for _, k := range s.Keys {
		if k.Role != "" {
			continue
		}
		if public, err := sign.ParsePublic(k.Public); err == nil && public.Hint() == b.Hint {
			return k, nil
		}
	}
	return imx.Key{}, imx.Errorf(imx.Refused, "it is signed with a key that is nobody's whom imx knows").
		WithHint("imx person list shows who is known; imx person add NAME --key FILE.pub --role reviewer makes somebody known")
}

// Marked are the answers to a candidate, each with why it doesn't count any more, where that can be told from the state alone.
func Marked(s *imx.State, c imx.Candidate) []imx.Review {
	list := slices.Clone(c.Reviews)
	for i, r := range list {
		k, p := s.Keys[r.Key], s.People[r.By]
		switch {
		case k.Compromised:
			list[i].Void = "its key is compromised: " + k.Reason
		case !p.Has(imx.RoleReviewer):
			list[i].Void = string(r.By) + " is no reviewer any more"
		case r.Made.Before(p.Since) || k.Owner != r.By || !k.Until.IsZero() && !r.Made.Before(k.Until):
			list[i].Void = "it isn't signed by a key that was known of " + string(r.By) + " then"
		case r.Approves && slices.Contains(c.Authors(s.People), r.By):
			list[i].Void = string(r.By) + " had a hand in it"
		}
	}
	return list
}

// may says whether a person may give an answer.
func may(s *imx.State, c imx.Candidate, r imx.Review) error {
	if !s.People[r.By].Has(imx.RoleReviewer) {
		return imx.Errorf(imx.Refused, "%s is no reviewer", r.By).WithHint("imx person add %s --role reviewer makes them one", r.By)
	}
	if r.Approves && slices.Contains(c.Authors(s.People), r.By) {
		return imx.Errorf(imx.Refused, "%s had a hand in candidate %s, and can't approve it", r.By, c.ID).WithHint("somebody else has to look at it")
	}
	for _, o := range Marked(s, c) {
		if o.By == r.By && o.Approves != r.Approves && !r.Signed.After(o.Signed) { // somebody else could send an earlier one again
			return imx.Errorf(imx.Conflict, "%s has signed this answer to candidate %s before the one that counts, of %s", r.By, c.ID, o.Signed.Format(time.RFC3339Nano)).
				WithHint("sign a new one, with a clock that is right")
		}
		if o.By == r.By && o.Approves == r.Approves && o.Void == "" { // what doesn't count any more is said again with another key
			return imx.Errorf(imx.Conflict, "%s has answered candidate %s so already", r.By, c.ID).WithHint("each person counts once: imx review %s shows who is missing", c.ID)
		}
	}
	return nil
}
