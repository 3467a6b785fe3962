package pipeline

import (
	"context"
	"encoding/json"
	"slices"

	"imx"
	"imx/internal/build"
	"imx/internal/plan"
	"imx/internal/template"
)

// Taken is a plan that is good in another environment, with what was made of it there.
type Taken struct {
	Plan    imx.Plan
	Images  []imx.Image // of the plan, in its order
	Request imx.Digest  // of the PlanRequest that it was made of, as it came
	Origin  imx.Origin
	// Bring brings the images' bytes into the registry, each with all that its offer names; what is here already stays. nil where all was brought before.
	Bring func(ctx context.Context, report imx.Report) error
	// Vouch writes down what is stated of an image there, where nothing that counts is stated here. nil where it was written down before.
	Vouch func(ctx context.Context, image imx.Image) error
}

// Compare says what releasing a plan of another environment would change here, as Plan does. req is what it was made of there: what it expects, and
// that tests were skipped, doesn't matter here. Errors: Invalid and Refused, as Plan; Refused where it isn't a plan of the template; Conflict as Plan, and for an image that is built otherwise here.
func (p *Pipeline) Compare(ctx context.Context, t Taken, req imx.PlanRequest) (imx.PlanResult, error) {
	if err := template.Check(req.Template).Err(); err != nil {
		return imx.PlanResult{}, err
	}
	if req.Lock == nil {
		return imx.PlanResult{}, imx.Errorf(imx.Refused, "what the plan was made of in %s has no lock", t.Origin.Environment)
	}
	if !plan.Of(t.Plan, req.Template) {
		return imx.PlanResult{}, imx.Errorf(imx.Refused, "the plan of %s isn't one of the template that comes with it", t.Origin.Environment).
			WithHint("the rules here read the template: it must describe what is released. Both servers need the same version of imx: imx version")
	}
	found, err := p.cfg.Check(ctx, req.Template)
	if err != nil {
		return imx.PlanResult{}, err
	}
	if err := p.cfg.Control.CheckPorts(t.Plan.Services, t.Plan.Ingresses); err != nil {
		return imx.PlanResult{}, err
	}
	s := *p.cfg.Control.State()
	if err := otherwise(s, t); err != nil {
		return imx.PlanResult{}, err
	}
	return imx.PlanResult{
		Plan: t.Plan, Digest: t.Plan.Digest(), Lock: *req.Lock, Changes: plan.Diff(released(t.Plan, s, &t.Origin), s, p.built),
		Notices: slices.Concat(req.Template.Notices, plan.Unlisted(t.Plan, s)), Findings: found, Base: s.Base(t.Plan.Names()),
	}, nil
}

// otherwise refuses an image of whose plan there is another image here: the same plan gives the same bytes, or nobody knows which are right.
func otherwise(s imx.State, t Taken) error {
	for _, image := range t.Images {
		here, ok := s.Images[image.Plan]
		if ok && here.Digest != image.Digest {
			return imx.Errorf(imx.Conflict, "image %s of the same plan is %s here, and %s in %s", image.Name, here.Digest, image.Digest, t.Origin.Environment).
				WithHint("imx build --check-repro builds it anew on both servers and says which of them differs; both need the same version of imx")
		}
	}
	return nil
}

// released is a plan as it is released here: with the services' numbers of instances, where it was planned elsewhere.
func released(planned imx.Plan, s imx.State, origin *imx.Origin) imx.Plan {
	if origin == nil {
		return planned
	}
	planned.Services = slices.Clone(planned.Services)
	for i, spec := range planned.Services {
		planned.Services[i] = s.Services[spec.Name].Keeping(spec)
	}
	return planned
}

// TakeOver releases what Compare returned, if services still stand where they did, and waits as Apply does. It builds nothing, and tests nothing of which
// the statement counts. Errors: as Apply; Refused for an image whose root isn't the one that the other environment has; those of t's functions.
func (p *Pipeline) TakeOver(ctx context.Context, by imx.Principal, t Taken, req imx.PlanRequest, report imx.Report) (imx.ApplyResult, error) {
	planned, err := p.Compare(ctx, t, req)
	if err != nil {
		return imx.ApplyResult{}, err
	}
	return p.apply(ctx, work{
		by: by, account: req.Account, template: req.Template, planned: planned, expect: req.Expect, taken: &t, report: report,
	})
}

// takenBefore is what a candidate took over; nil for one that was planned here.
func takenBefore(c imx.Candidate) *Taken {
	if c.Origin == nil {
		return nil
	}
	return &Taken{Images: c.Images, Request: c.Request, Origin: *c.Origin}
}

// origin is where a work was good before; nil for what was planned here.
func (w work) origin() *imx.Origin {
	if w.taken == nil {
		return nil
	}
	return &w.taken.Origin
}

// continues reports whether a candidate of its plan is what a work would leave: both come from the same environment, to services that stood alike.
func (w work) continues(c imx.Candidate) bool {
	return w.taken != nil && c.Origin != nil && c.Origin.Environment == w.taken.Origin.Environment && c.Request == w.taken.Request && c.Base == w.planned.Base
}

// bring makes sure that the images of a plan that was built elsewhere are here and what is stated of them, and states what this server finds itself. Nobody sees
// any of them before all are here.
func (p *Pipeline) bring(ctx context.Context, w work) ([]imx.Image, error) {
	if err := otherwise(*p.cfg.Control.State(), *w.taken); err != nil {
		return nil, err
	}
	if err := p.keep(w.template, w.planned.Plan); err != nil {
		return nil, err
	}
	if w.taken.Bring != nil {
		if err := w.taken.Bring(ctx, w.report); err != nil {
			return nil, err
		}
	}
	for _, image := range w.taken.Images {
		if err := p.root(ctx, image, w); err != nil {
			return nil, err
		}
	}
	for _, image := range w.taken.Images {
		if err := p.admit(ctx, image, w); err != nil {
			return nil, err
		}
	}
	return w.taken.Images, nil
}

// root makes the root of an image from its layers. Errors: Refused if it isn't the one that the other environment has.
func (p *Pipeline) root(ctx context.Context, image imx.Image, w work) error {
	_, root, err := p.cfg.Builder.Root(ctx, image.Digest)
	if err == nil && root != image.Root {
		err = imx.Errorf(imx.Refused, "the root of image %s is %s here, and %s in %s", image.Name, root, image.Root, w.taken.Origin.Environment).
			WithHint("both servers need the same version of imx: imx version; then imx promote again")
	}
	return err
}

// admit publishes an image that was built elsewhere, writes it down, and states of it what a build here would.
func (p *Pipeline) admit(ctx context.Context, image imx.Image, w work) error {
	raw, err := p.cfg.Blobs.ReadAll(image.Digest, maxDocument)
	if err != nil {
		return err
	}
	var m struct {
		MediaType string `json:"mediaType"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return imx.Errorf(imx.Refused, "%s is no manifest of an image: %w", image.Digest, err)
	}
	if err := p.cfg.Publish(ctx, image.Name, builtTag+image.Plan.Short(), build.Result{Image: image, Manifest: raw, MediaType: m.MediaType}); err != nil {
		return err
	}
	if err := p.record(&builds{work: w}, image); err != nil {
		return err
	}
	if w.taken.Vouch != nil {
		if err := w.taken.Vouch(ctx, image); err != nil {
			return err
		}
	}
	p.cfg.Scan(ctx, w.by, image, w.report)
	return p.cfg.Checked(ctx, w.by, image, w.planned)
}

// testedThere reports whether all images of a plan that comes from another environment are known to have passed its tests: then they aren't run again.
func (p *Pipeline) testedThere(w work, images []imx.Image) (bool, error) {
	if w.taken == nil {
		return false, nil
	}
	for _, image := range images {
		passed, err := p.cfg.Tested(image.Digest, w.planned.Digest)
		if err != nil || !passed {
			return false, err
		}
	}
	for _, image := range images {
		w.report(imx.Progress{Step: "test image." + image.Name, Status: imx.StepCached, Message: "passed in " + w.taken.Origin.Environment})
	}
	return true, nil
}
