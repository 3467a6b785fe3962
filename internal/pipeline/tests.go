package pipeline

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/trial"
)

// Test plans a template, builds its images and tests them, without releasing anything. Errors: as Build; NotFound for
// a name in req.Only that is neither a test's nor a service's.
func (p *Pipeline) Test(ctx context.Context, by imx.Principal, req imx.TestRequest, report imx.Report) (imx.TestReport, error) {
	if err := named(req); err != nil {
		return imx.TestReport{}, err
	}
	leave, err := p.gate.enter(ctx)
	if err != nil {
		return imx.TestReport{}, err
	}
	defer leave()
	planned, err := p.Plan(ctx, by, req.PlanRequest, report)
	if err != nil {
		return imx.TestReport{}, err
	}
	w := work{by: by, template: req.Template, planned: planned, report: report}
	images, err := p.build(ctx, w)
	if err != nil {
		return imx.TestReport{Plan: planned}, err
	}
	run := p.trial(w, images)
	run.Only, run.Again = req.Only, req.Again
	results, err := p.cfg.Test(ctx, by, run, report)
	return imx.TestReport{Plan: planned, Images: images, Results: results}, err
}

// named checks that there is what a person names.
func named(req imx.TestRequest) error {
	there := []string{trial.Refusals}
	for _, t := range req.Template.Tests {
		there = append(there, t.Name)
	}
	for _, s := range req.Template.Services {
		there = append(there, s.Name)
	}
	for _, name := range req.Only {
		if !slices.Contains(there, name) {
			return imx.Errorf(imx.NotFound, "the template has no test and no service %q", name).WithHint("there is: %s", strings.Join(there, ", "))
		}
	}
	return nil
}

// skipped is how long an exception lasts that a release without tests is made by: that it has none matters no more for its restarts.
const skipped = 24 * time.Hour

// excused are the exceptions that releases without tests are made by: one for each, of whoever asked for it. They come into being with
// the releases alone. There are none where tests are asked for.
func (p *Pipeline) excused(w work, drafts []imx.Release) ([]imx.Exception, error) {
	if w.untested == "" {
		return nil, nil
	}
	owner := w.by
	if w.candidate != nil {
		owner = w.candidate.By
	}
	all := make([]imx.Exception, 0, len(drafts))
	for _, r := range drafts {
		x, err := p.cfg.Control.DraftException(owner, imx.Exception{
			Condition: "tests", Service: r.Service, Image: r.Image.Digest, Reason: "released without tests: " + w.untested, Until: p.cfg.Now().Add(skipped),
		})
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, nil
}

// passed makes sure that what is to be released has passed its tests, unless somebody says why it need not.
func (p *Pipeline) passed(ctx context.Context, w work, images []imx.Image) error {
	if w.untested != "" {
		return nil
	}
	if done, err := p.testedThere(w, images); done || err != nil {
		return err
	}
	results, err := p.cfg.Test(ctx, w.by, p.trial(w, images), w.report)
	if err != nil {
		return err
	}
	return trial.Failed(results)
}

// trial is what there is to test of a plan whose images are built, in its order.
func (p *Pipeline) trial(w work, images []imx.Image) trial.Run {
	r := trial.Run{Plan: w.planned.Digest, Tests: w.template.Tests, Kits: w.planned.Plan.Kits, Places: w.template.Places}
	r.Make = func(ctx context.Context, k imx.Kit) (imx.Image, error) { return p.kit(ctx, w, k) }
	used := map[string]bool{}
	for _, spec := range w.planned.Plan.Services {
		used[spec.Image] = true
		for i, ip := range w.planned.Plan.Images {
			if ip.Spec.Name == spec.Image {
				r.Services = append(r.Services, trial.Subject{Spec: spec, Image: images[i], Config: ip.Spec})
			}
		}
	}
	for i, ip := range w.planned.Plan.Images {
		if !used[ip.Spec.Name] {
			r.Images = append(r.Images, trial.ByItself(images[i], ip.Spec))
		}
	}
	return r
}

// kit builds what commands of tests run in. It is kept as a build is, but published and stated nowhere: nothing is made of it.
func (p *Pipeline) kit(ctx context.Context, w work, k imx.Kit) (imx.Image, error) {
	raw, err := json.Marshal(k.Plan)
	if err != nil {
		return imx.Image{}, err
	}
	if err := p.put(raw, k.Plan.Digest()); err != nil {
		return imx.Image{}, err
	}
	fetch := newStock().fetching(k.Plan.Spec.Name, p.fetcher(w.template))
	built, err := p.cfg.Builder.Run(ctx, k.Plan, fetch, w.report)
	return built.Image, err
}
