package verdict

import (
	"encoding/json"
	"slices"
	"time"

	"imx"
	"imx/internal/policy"
	"imx/internal/sign"
)

// origin checks where a release was good before; nil for what was planned here.
func (j *Judge) origin(s *imx.State, r imx.Release) *policy.Origin {
	o := r.Origin
	if o == nil {
		return nil
	}
	one := &policy.Origin{Environment: o.Environment, Since: o.Since, At: o.At, Signer: o.Signer, Bundle: o.Bundle}
	err := j.offered(s, r)
	if one.Counts = err == nil; err != nil {
		one.Why = reason(err)
	}
	return one
}

// offered says why the signed offer that a release came by doesn't count. Its bytes are read each time, and its key asked for each time.
func (j *Judge) offered(s *imx.State, r imx.Release) error {
	o := r.Origin
	raw, err := j.cfg.Bundle(o.Bundle)
	if err != nil {
		return err
	}
	bundle, err := sign.Open(raw)
	if err != nil {
		return err
	}
	// It was asked for, and not kept there: whether its key had ended is judged by when it was answered. It was believed with a key that was known then,
	// however far the clock there is behind this one.
	made := o.At
	if from := s.Keys[o.Signer].From; made.Before(from) {
		made = from
	}
	st, err := sign.Counts(imx.Evidence{
		Image: r.Plan, PredicateType: imx.PredicateOffer, Statement: imx.DigestBytes(bundle.Payload), Bundle: o.Bundle, Signer: o.Signer, Made: made, There: o.At,
	}, raw, s.Keys)
	if err != nil {
		return err
	}
	var said imx.Offer
	if err := json.Unmarshal(st.Predicate, &said); err != nil {
		return imx.Errorf(imx.Refused, "what is signed is no offer: %w", err)
	}
	return vouches(said, r, s.Keys[o.Signer])
}

// vouches says why an offer that a key signed doesn't say of a release what its Origin says.
func vouches(said imx.Offer, r imx.Release, key imx.Key) error {
	o := r.Origin
	serves := func(one imx.Serving) bool { return one.Service == r.Service && one.Image == r.Image.Digest }
	switch {
	case key.Environment != o.Environment || said.Environment != o.Environment:
		return imx.Errorf(imx.Refused, "the environment %s offered it, and the key %s is of %q", said.Environment, key.ID, key.Environment)
	case said.Plan != r.Plan:
		return imx.Errorf(imx.Refused, "it is an offer of the plan %s", said.Plan)
	case !slices.ContainsFunc(said.Services, serves):
		return imx.Errorf(imx.Refused, "it doesn't say that %s runs the image %s", r.Service, r.Image.Digest)
	case !said.Since().Equal(o.Since) || !said.At.Equal(o.At):
		return imx.Errorf(imx.Refused, "it says so at %s of a time from %s on", day(said.At), day(said.Since()))
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }
