package verdict

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/policy"
	"imx/internal/sign"
	"imx/internal/statement"
)

// inputs names all that the verdict on a release stands on, as the state has it. It reads nothing: what the state names by digest
// is what it is.
func inputs(s *imx.State, p imx.Policy, r imx.Release) imx.Digest {
	r.State, r.Reason, r.Number, r.Apply, r.Made = "", "", 0, "", time.Time{}
	return imx.DigestJSON(struct {
		Policy     imx.Digest
		Release    imx.Release
		Evidence   map[string]imx.Evidence
		Keys       map[string]imx.Key
		People     map[imx.Principal]imx.Person
		Exceptions []imx.Exception
		Candidates []imx.Candidate
	}{p.Digest(), r, standing(s, r.Image.Digest), s.Keys, s.People, exceptions(s, r), candidates(s, r, p.Environment)})
}

// standing is the evidence that a verdict stands on: all but verdicts themselves, and reviews, which are the plan's and not the image's.
func standing(s *imx.State, image imx.Digest) map[string]imx.Evidence {
	found := maps.Clone(s.Evidence[image])
	delete(found, imx.PredicateVerdict)
	delete(found, imx.PredicateReview)
	return found
}

// exceptions are those that could excuse something of a release, in the order of their ids.
func exceptions(s *imx.State, r imx.Release) []imx.Exception {
	found := []imx.Exception{}
	for _, id := range slices.Sorted(maps.Keys(s.Exceptions)) {
		x := s.Exceptions[id]
		if (x.Service == "" || x.Service == r.Service) && (x.Image == "" || x.Image == r.Image.Digest) {
			found = append(found, x)
		}
	}
	return found
}

// candidates are those of a release's plan in an environment, in the order in which they were made.
func candidates(s *imx.State, r imx.Release, environment string) []imx.Candidate {
	found := []imx.Candidate{}
	for _, c := range s.Candidates {
		if c.Environment == environment && c.Plan == r.Plan && slices.Contains(c.Services, r.Service) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b imx.Candidate) int { return cmp.Or(a.Made.Compare(b.Made), cmp.Compare(a.ID, b.ID)) })
	return found
}

// about is what a verdict is asked for, and when.
type about struct {
	purpose imx.Purpose
	inputs  imx.Digest
	now     time.Time
}

// gather reads and checks all that a verdict stands on.
func (j *Judge) gather(s *imx.State, a about, r imx.Release) policy.Input {
	in := policy.Input{
		Purpose: a.purpose, Environment: j.cfg.Environment, Now: a.now, Service: r.Service, Image: r.Image, Inputs: a.inputs,
		Candidate: r.Candidate, Origin: j.origin(s, r),
		Plan:     policy.Plan{Digest: r.Plan, Source: r.Source, By: r.By, Person: person(s, r.By), Service: r.Spec, Image: r.Config},
		Evidence: j.evidence(s, r), Exceptions: exceptions(s, r), Authors: []imx.Principal{}, Reviews: []policy.Review{},
	}
	for _, c := range candidates(s, r, j.cfg.Environment) {
		if c.Commit != nil { // the same plan is the same template, whoever else brought it
			in.Commit = stillSigned(s, c)
		}
		in.Authors = append(in.Authors, c.Authors(s.People)...)
		for _, v := range c.Reviews {
			in.Reviews = append(in.Reviews, j.review(s, v, r))
		}
	}
	if in.Plan.Person != "" {
		in.Authors = append(in.Authors, in.Plan.Person)
	}
	in.Authors = slices.Compact(slices.Sorted(slices.Values(in.Authors)))
	slices.SortStableFunc(in.Reviews, func(a, b policy.Review) int { return a.Made.Compare(b.Made) })
	in.Reviews = slices.CompactFunc(in.Reviews, func(a, b policy.Review) bool { return a.Bundle == b.Bundle }) // one that stands is told with each candidate
	return in
}

// person is who acted, if imx knows them now: they, or whose login the account is; "" for anybody else.
func person(s *imx.State, by imx.Principal) imx.Principal {
	if p, ok := imx.WithLogin(s.People, by.Account()); ok {
		return p.Name
	}
	return s.People[by].Name
}

// evidence checks what is stated of an image.
func (j *Judge) evidence(s *imx.State, r imx.Release) map[string]policy.Evidence {
	found := map[string]policy.Evidence{}
	var vex json.RawMessage
	for predicate, e := range standing(s, r.Image.Digest) {
		name := imx.PredicateNames()[predicate]
		one := policy.Evidence{
			Type: predicate, Statement: e.Statement, Bundle: e.Bundle, Signer: e.Signer, Role: s.Keys[e.Signer].Role, Environment: s.Keys[e.Signer].Environment, Made: e.Made, Summary: e.Summary,
		}
		said, err := j.counts(e, s.Keys)
		one.Facts = said.facts
		if name == "vex" {
			vex = said.vex
		}
		if f, ok := said.facts.(provenanceFacts); ok && err == nil {
			err = f.Bytes.Counts(s.Keys)
		}
		if one.Counts = err == nil; err != nil {
			one.Why = reason(err)
		}
		found[name] = one
	}
	excuse(found, vex, r.Image)
	return found
}

// reason is why something doesn't count, without what it is: that is said beside it.
func reason(err error) string {
	text := imx.AsError(err).Message
	if _, why, ok := strings.Cut(text, "doesn't count: "); ok {
		return why
	}
	return text
}

// said is what a statement says, as far as conditions ask for it. Nobody changes it.
type said struct {
	facts any
	vex   json.RawMessage // the document, of a statement that is one
}

// counts returns what an evidence says that counts. Its bytes are read each time, against their digest, and its key is asked for each
// time; a signature that was found right once is that of these bytes for good.
func (j *Judge) counts(e imx.Evidence, keys map[string]imx.Key) (said, error) {
	if err := sign.Signer(e, keys); err != nil {
		return said{}, err
	}
	bundle, err := j.cfg.Bundle(e.Bundle)
	if err != nil {
		return said{}, err
	}
	id := e
	id.Passed, id.Made, id.Summary = nil, time.Time{}, keys[e.Signer].Public
	known, ok := j.checked.get(id)
	if ok {
		return known, nil
	}
	st, err := sign.Counts(e, bundle, keys)
	if err != nil {
		return said{}, err
	}
	name := imx.PredicateNames()[e.PredicateType]
	if known.facts, err = facts(name, st.Predicate); err != nil {
		return said{}, err
	}
	if name == "vex" {
		known.vex = st.Predicate
	}
	j.checked.put(id, known)
	return known, nil
}

// stillSigned is what the server saw of a candidate's commit, with the people that are known now, and without its signer where that one's key, or role, doesn't count
// any more for what it signed before the candidate was made.
func stillSigned(s *imx.State, c imx.Candidate) *imx.Commit {
	seen := *c.Commit
	seen.People = seen.Known(s.People)
	k := s.Keys[seen.Key]
	for _, id := range seen.Keys {
		if why := ended(s, c, s.Keys[id]); why != "" {
			seen.Unsigned = fmt.Sprintf("another commit that was new with it: %s", why)
		}
	}
	switch {
	case seen.Signer == "":
		return &seen
	case k.Owner != seen.Signer:
		seen.Unsigned = "its signer's key had ended when it was seen"
	default:
		why := ended(s, c, k)
		if why == "" {
			return &seen
		}
		seen.Unsigned = why
	}
	seen.Signer, seen.Key = "", ""
	return &seen
}

// ended says why what a key signed before a candidate was made doesn't count any more, "" if it does.
func ended(s *imx.State, c imx.Candidate, k imx.Key) string {
	switch {
	case k.Compromised:
		return "its signer's key is compromised: " + k.Reason
	case !k.Until.IsZero() && !c.Made.Before(k.Until):
		return "its signer's key had ended when it was seen"
	case !s.People[k.Owner].Has(imx.RoleAuthor):
		return fmt.Sprintf("%s, who signed it, hasn't the role %s", k.Owner, imx.RoleAuthor)
	}
	return ""
}

// review checks a person's answer: that it is signed by them, is about a release's image and tests too, and says what the log says that it does.
func (j *Judge) review(s *imx.State, v imx.Review, r imx.Release) policy.Review {
	one := policy.Review{
		By: v.By, Approves: v.Approves, Plan: v.Plan, Bundle: v.Bundle, Made: v.Made, Reviewer: s.People[v.By].Has(imx.RoleReviewer),
	}
	p, err := j.answered(s, v, r)
	one.Candidate = p.Candidate
	if one.Counts = err == nil; err != nil {
		one.Why = reason(err)
	}
	return one
}

// answered returns what a person signed. Errors: Refused with why it doesn't count.
func (j *Judge) answered(s *imx.State, v imx.Review, r imx.Release) (imx.ReviewPredicate, error) {
	var p imx.ReviewPredicate
	raw, err := j.cfg.Bundle(v.Bundle)
	if err != nil {
		return p, err
	}
	bundle, err := sign.Open(raw)
	if err != nil {
		return p, err
	}
	st, err := sign.Counts(imx.Evidence{
		Image: v.Plan, PredicateType: imx.PredicateReview, Statement: imx.DigestBytes(bundle.Payload), Bundle: v.Bundle, Signer: v.Key, Made: v.Made,
	}, raw, s.Keys)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(st.Predicate, &p); err != nil {
		return p, imx.Errorf(imx.Refused, "what is signed is no review: %w", err)
	}
	return p, counted(s, v, r, signedReview{st, p, j.cfg.Environment})
}

// signedReview is a review as it was signed, and where it is asked for.
type signedReview struct {
	statement   imx.Statement
	predicate   imx.ReviewPredicate
	environment string
}

// counted says why what was signed doesn't count as the review that it is kept as; of nothing else than the signature.
func counted(s *imx.State, v imx.Review, r imx.Release, signed signedReview) error {
	p := signed.predicate
	switch {
	case p.Approves && !statement.About(signed.statement, r.Image.Digest): // a no is for the plan, whatever it is built to and tested by
		return imx.Errorf(imx.Refused, "it isn't about the image %s", r.Image.Digest.Short())
	case p.Approves && p.Plan == r.Plan && p.Proof != r.Proof:
		return imx.Errorf(imx.Refused, "it is for other tests or waivers of the plan, or for tests that aren't skipped")
	case v.Made.Before(s.People[v.By].Since):
		return imx.Errorf(imx.Refused, "it is older than what is known of %s", v.By)
	case s.Keys[v.Key].Owner != v.By:
		return imx.Errorf(imx.Refused, "it is signed with the key of %s", s.Keys[v.Key].Owner)
	case p.Plan != v.Plan || p.Approves != v.Approves || p.Environment != signed.environment:
		return imx.Errorf(imx.Refused, "what is signed isn't what it is kept as: it is about the plan %s in %s", p.Plan, p.Environment)
	}
	return nil
}
