// Package takeover brings here what runs in the environment before this one: it asks for a signed offer, holds all that comes against its
// digests, and has it released as it is. It trusts no registry: what the offer doesn't name isn't brought. Whether to believe an offer, package offer says;
// what may be released, the policy.
package takeover

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/control"
	"imx/internal/offer"
	"imx/internal/pipeline"
	"imx/internal/policy"
	"imx/internal/replicate"
	"imx/internal/sign"
)

// Config is what a Taker joins.
type Config struct {
	Control  *control.Control
	Pipeline *pipeline.Pipeline
	// Ask asks an upstream for a signed offer of the plan of a service, or of the one that there is for "".
	Ask func(ctx context.Context, u imx.Upstream, service, nonce string) ([]byte, error)
	// Open returns the two registries: an upstream's and this server's.
	Open func(u imx.Upstream) (from, here replicate.Side, err error)
	// Sound reports whether a statement counts and its bytes are whole; as evidence.Store.Check.
	Sound       func(e imx.Evidence) error
	Environment string
	Now         func() time.Time
}

// Taker takes over. Its methods may be called from several goroutines at once.
type Taker struct {
	cfg Config
}

// New returns a Taker. It starts nothing.
func New(cfg Config) *Taker { return &Taker{cfg} }

// Take releases here what an upstream offers, or only says what that would change. Errors: NotFound where no upstream is known; Unavailable for one that
// can't be reached; Refused for an offer that doesn't count, and for whatever isn't as it says; Conflict where another plan is offered than the request
// has; as pipeline.TakeOver.
func (t *Taker) Take(ctx context.Context, by imx.Principal, req imx.TakeoverRequest, report imx.Report) (imx.ApplyResult, error) {
	u, err := Upstream(t.cfg.Control.State(), req.From, t.cfg.Environment)
	if err != nil {
		return imx.ApplyResult{}, err
	}
	step := imx.Progress{Step: "ask " + u.Environment, Status: imx.StepRunning, Message: u.Address}
	report(step)
	began := t.cfg.Now()
	c, err := t.offered(ctx, by, u, req)
	if step.Status, step.Seconds = imx.StepDone, t.cfg.Now().Sub(began).Seconds(); err != nil {
		step.Status, step.Message = imx.StepFailed, imx.AsError(err).Message
	} else {
		step.Message = "good there since " + c.taken.Origin.Since.UTC().Format(time.RFC3339)
	}
	report(step)
	if err != nil {
		return imx.ApplyResult{}, err
	}
	if req.DryRun {
		planned, err := t.cfg.Pipeline.Compare(ctx, c.taken, c.request)
		return imx.ApplyResult{Plan: planned, Origin: &c.taken.Origin}, err
	}
	c.request.Expect, c.request.Account = req.Base, req.Account
	return t.cfg.Pipeline.TakeOver(ctx, by, c.taken, c.request, report)
}

// Upstream returns the one that is meant: that which is named, that of the policy's After, or the only one. Errors: NotFound; Invalid.
func Upstream(s *imx.State, from, environment string) (imx.Upstream, error) {
	known := slices.Sorted(maps.Keys(s.Upstreams))
	name := cmp.Or(from, policy.Of(s, environment).Settings.After)
	none := func(e *imx.Error) (imx.Upstream, error) {
		if len(known) > 0 {
			return imx.Upstream{}, e.WithHint("known are %s: imx upstream list", strings.Join(known, ", "))
		}
		return imx.Upstream{}, e.WithHint("there, imx key export > keys.json; here, imx upstream add %s https://HOST --keys keys.json", cmp.Or(name, "ENVIRONMENT"))
	}
	switch {
	case name != "":
		if u, ok := s.Upstreams[name]; ok {
			return u, nil
		}
		return none(imx.Errorf(imx.NotFound, "no upstream %q is known: the server of the environment before this one", name))
	case len(known) == 1:
		return s.Upstreams[known[0]], nil
	case len(known) == 0:
		return none(imx.Errorf(imx.NotFound, "no upstream is known: the server of the environment before this one"))
	}
	return none(imx.Errorf(imx.Invalid, "several upstreams are known, and none is named").WithHint("--from names one"))
}

// coming is what an upstream offers, on its way.
type coming struct {
	*Taker

	by      imx.Principal
	bundle  []byte // the signed offer
	offer   imx.Offer
	copier  replicate.Copier
	taken   pipeline.Taken
	request imx.PlanRequest
}

// offered asks for an offer and reads the plan of it.
func (t *Taker) offered(ctx context.Context, by imx.Principal, u imx.Upstream, req imx.TakeoverRequest) (*coming, error) {
	nonce := newNonce()
	bundle, err := t.cfg.Ask(ctx, u, first(req.Services), nonce)
	if err != nil {
		return nil, err
	}
	s := t.cfg.Control.State()
	o, err := offer.Verify(bundle, s.Keys, u.Environment, nonce, t.cfg.Now())
	if e := imx.AsError(err); err != nil && e.Hint == "" {
		return nil, e.WithHint("both servers need the same version of imx: imx version; if they have it, look at what is between them")
	}
	if err != nil {
		return nil, err
	}
	if err := Covers(o, req.Services); err != nil {
		return nil, err
	}
	if req.Plan != "" && req.Plan != o.Plan {
		return nil, imx.Errorf(imx.Conflict, "%s offers the plan %s by now, and not %s, which was shown", u.Environment, o.Plan.Short(), req.Plan.Short()).
			WithHint("do it again: it shows what would change now")
	}
	signer, err := Signer(bundle, s.Keys, u.Environment)
	if err != nil {
		return nil, err
	}
	c := &coming{Taker: t, by: by, bundle: bundle, offer: o}
	c.taken.Origin = imx.Origin{Environment: u.Environment, Bundle: imx.DigestBytes(bundle), Signer: signer, Since: o.Since(), At: o.At}
	c.copier.Alone = true
	if c.copier.From, c.copier.To, err = t.cfg.Open(u); err != nil {
		return nil, err
	}
	return c, c.read(ctx)
}

// first is the service by which a plan is asked for; "" for the one that there is.
func first(services []string) string {
	if len(services) == 0 {
		return ""
	}
	return services[0]
}

// newNonce is what nobody has answered before.
func newNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

// Signer returns the ID of the releaser's key of an environment that a bundle is signed with. Errors: Refused.
func Signer(bundle []byte, keys map[string]imx.Key, environment string) (string, error) {
	opened, err := sign.Open(bundle)
	if err != nil {
		return "", err
	}
	for id, k := range keys {
		if k.Environment != environment || k.Role != imx.RoleReleaser {
			continue
		}
		if public, err := sign.ParsePublic(k.Public); err == nil && opened.Verify(public) == nil {
			return id, nil
		}
	}
	return "", imx.Errorf(imx.Refused, "the offer isn't signed with a key of %s that is known here", environment).
		WithHint("there, imx key export > keys.json; here, imx upstream add %s --keys keys.json", environment)
}

// read brings the plan, and what it was made of, and holds them against the offer.
func (c *coming) read(ctx context.Context) error {
	first := c.offer.Images[0]
	raw, err := c.manifest(ctx, first.Image.Name, first.Artifact)
	if err != nil {
		return err
	}
	at, err := artifact(c.offer, first, raw)
	if err != nil {
		return err
	}
	planned, err := c.copier.Blob(ctx, first.Image.Name, at.plan)
	if err != nil {
		return err
	}
	if c.taken.Plan, c.taken.Images, err = Plan(c.offer, planned); err != nil {
		return err
	}
	asked, err := c.copier.Blob(ctx, first.Image.Name, at.request)
	if err != nil {
		return err
	}
	c.request, err = Request(c.offer, asked)
	c.taken.Request, c.taken.Bring, c.taken.Vouch = c.offer.Request, c.bring, c.vouch
	return err
}

// manifest reads one that is offered. Errors: as replicate.Copier.Manifest.
func (c *coming) manifest(ctx context.Context, repository string, d imx.Digest) ([]byte, error) {
	raw, err := c.copier.Manifest(ctx, repository, d)
	if imx.KindOf(err) == imx.NotFound {
		return nil, imx.Errorf(imx.NotFound, "%s doesn't have what it offers: %w", c.offer.Environment, err).
			WithHint("it was removed meanwhile, or is lost: there, imx registry fsck looks for what is missing; then imx promote again")
	}
	return raw, err
}

// bring copies what the offer names into this server's registry. What is there already stays; cut off, the next goes on with what is missing.
func (c *coming) bring(ctx context.Context, report imx.Report) error {
	if _, err := c.cfg.Pipeline.Keep(c.bundle); err != nil {
		return err
	}
	for _, im := range c.offer.Images {
		step := imx.Progress{Step: "bring image." + im.Image.Name, Status: imx.StepRunning}
		began := c.cfg.Now()
		to := c.copier
		to.Report = func(p imx.Progress) {
			p.Step = step.Step
			report(p)
		}
		done, err := c.one(ctx, to, im)
		step.Seconds = c.cfg.Now().Sub(began).Seconds()
		switch {
		case err != nil:
			step.Status, step.Message = imx.StepFailed, imx.AsError(err).Message
		case done.Manifests == 0:
			step.Status, step.Message = imx.StepCached, "it is here"
		default:
			step.Status, step.Message = imx.StepDone, fmt.Sprintf("%s of %s", done.Bytes, c.offer.Environment)
		}
		report(step)
		if err != nil {
			return err
		}
	}
	return nil
}

// one copies an image, and what of the offer refers to it.
func (c *coming) one(ctx context.Context, to replicate.Copier, im imx.Offering) (replicate.Copied, error) {
	var all replicate.Copied
	fetch := func(d imx.Digest, check func(raw []byte) error) error {
		raw, err := c.manifest(ctx, im.Image.Name, d)
		if err == nil {
			err = check(raw)
		}
		if err != nil {
			return err
		}
		done, err := to.Copy(ctx, replicate.Place{Repository: im.Image.Name, Digest: d}, replicate.Place{Repository: im.Image.Name})
		all.Manifests, all.Blobs, all.Bytes = all.Manifests+done.Manifests, all.Blobs+done.Blobs, all.Bytes+done.Bytes
		return err
	}
	if err := fetch(im.Image.Digest, func(raw []byte) error { return image(c.offer, im.Image, raw) }); err != nil {
		return all, err
	}
	err := fetch(im.Artifact, func(raw []byte) error {
		_, err := artifact(c.offer, im, raw)
		return err
	})
	for _, e := range im.Evidence {
		if err == nil && vouched(e.PredicateType) {
			err = fetch(e.Manifest, func(raw []byte) error { return stated(c.offer, im.Image, e, raw) })
		}
	}
	return all, err
}

// vouch writes down what the builder of another server states of an image, where nothing that counts is stated of it here, and what its tester
// does: that is about the plan which comes, and what is stated here may be about another.
func (c *coming) vouch(_ context.Context, image imx.Image) error {
	i := slices.IndexFunc(c.offer.Images, func(o imx.Offering) bool { return o.Image == image })
	for _, e := range c.offer.Images[i].Evidence {
		known, ok := c.cfg.Control.State().Evidence[image.Digest][e.PredicateType]
		here := known.Bundle == e.Bundle || e.PredicateType != imx.PredicateTest
		if !vouched(e.PredicateType) || ok && here && c.cfg.Sound(known) == nil {
			continue
		}
		e.There, e.Made = e.First(), c.cfg.Now().UTC()
		err := c.counts(e)
		if err == nil {
			_, err = c.cfg.Control.AddEvidence(c.by, e)
		}
		if err != nil && e.PredicateType != imx.PredicateTest { // what nobody counts on is tested here
			return fmt.Errorf("what %s states of the image %s: %w", c.offer.Environment, image.Name, err)
		}
	}
	return nil
}

// counts says why a statement that was brought doesn't count here.
func (c *coming) counts(e imx.Evidence) error {
	bundle, err := c.cfg.Pipeline.Kept(e.Bundle, sign.MaxBundle)
	if err != nil {
		return err
	}
	if _, err = sign.Counts(e, bundle, c.cfg.Control.State().Keys); err != nil {
		return imx.Errorf(imx.Refused, "%w", err).
			WithHint("in %s, imx key export > keys.json; here, imx upstream add %s --keys keys.json: whose word counts there counts here, too, unless the key ended here (imx key list)",
				c.offer.Environment, c.offer.Environment)
	}
	return nil
}
