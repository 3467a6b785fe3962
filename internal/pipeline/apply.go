package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"imx"
	"imx/internal/control"
)

// Apply plans, builds and releases a template, then waits until every release that it made is
// good or has failed; a failed one is in the result, not an error. If ctx ends before the releases are made
// nothing is released; if it ends after, the rollouts go on without the caller.
// Errors: as Plan; Conflict while another apply is open, for a port that is taken, or if req expects
// services to stand elsewhere than they do, now or when the releases are made; Refused if a test of an image fails, or where the
// policy doesn't allow what would be released. Where nothing is missing but approvals, or the end of a freeze, it leaves a candidate in the result.
func (p *Pipeline) Apply(ctx context.Context, by imx.Principal, req imx.PlanRequest, report imx.Report) (imx.ApplyResult, error) {
	planned, err := p.Plan(ctx, by, req, report)
	if err != nil {
		return imx.ApplyResult{}, err
	}
	return p.apply(ctx, work{
		by: by, account: req.Account, template: req.Template, planned: planned, expect: req.Expect, untested: req.SkipTests, report: report,
	})
}

// apply builds and releases what was planned.
func (p *Pipeline) apply(ctx context.Context, w work) (imx.ApplyResult, error) {
	planned := w.planned
	if err := control.Expect(p.cfg.Control.State(), planned.Plan.Names(), w.expect); err != nil {
		return imx.ApplyResult{}, err
	}
	id, err := p.cfg.Control.Begin(w.by, planned.Digest, planned.Plan.Source)
	if err != nil {
		return imx.ApplyResult{}, err
	}
	w.apply = id
	result := imx.ApplyResult{Apply: id, Plan: planned, Origin: w.origin()}
	result.Images, result.Releases, err = p.release(ctx, w)
	if err != nil {
		failed := p.cfg.Control.Fail(w.by, id, err)
		if c, waits, ok := Waiting(err); ok {
			result.Candidate, result.Waits, result.Images = &c, waits, c.Images
			return result, failed
		}
		return result, errors.Join(err, failed)
	}
	result.Releases, err = p.Watch(ctx, append(result.Releases, p.pending(planned.Plan, result.Releases)...), w.report)
	return result, err
}

// pending returns the releases that an earlier apply made and that are still on their way, of the
// services that are in the plan and got no newer one: what was asked for isn't there before they are.
func (p *Pipeline) pending(planned imx.Plan, made []imx.Release) []imx.Release {
	var releases []imx.Release
	s := p.cfg.Control.State()
	for _, spec := range planned.Services {
		v := s.Services[spec.Name]
		r, ok := v.Release(v.Target)
		if ok && v.Target != v.Current && !slices.ContainsFunc(made, func(m imx.Release) bool { return m.Service == r.Service }) {
			releases = append(releases, r)
		}
	}
	return releases
}

// release builds what the plan needs and turns it into releases, all in one event.
func (p *Pipeline) release(ctx context.Context, w work) ([]imx.Image, []imx.Release, error) {
	leave, err := p.gate.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	images, err := p.images(ctx, w)
	if err != nil {
		return nil, nil, err
	}
	if err := w.same(images); err != nil {
		return nil, nil, err
	}
	if w.waits, err = p.waits(w); err != nil {
		return nil, nil, err
	}
	if w.kept, err = p.keepRequest(w); err != nil {
		return nil, nil, err
	}
	promotion := w.promotion(images)
	drafts, err := p.admitted(ctx, w, images)
	if err != nil {
		return nil, nil, err
	}
	if err := p.passed(ctx, w, images); err != nil {
		return nil, nil, err
	}
	if promotion.Judged, err = p.judged(ctx, w, images, drafts); err != nil {
		return nil, nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, imx.Errorf(imx.Unavailable, "the caller went away before anything was released: %w", err)
	}
	releases, err := p.cfg.Control.Promote(w.by, promotion)
	return images, releases, err
}

// images are those of a work's plan, in its order: built or, where they were built elsewhere, brought.
func (p *Pipeline) images(ctx context.Context, w work) ([]imx.Image, error) {
	if w.taken != nil {
		return p.bring(ctx, w)
	}
	return p.build(ctx, w)
}

// judged returns what writes down by which verdicts releases are made, once they are. Errors: Refused where the policy doesn't allow one.
func (p *Pipeline) judged(
	ctx context.Context, w work, images []imx.Image, drafts []imx.Release,
) (func(*imx.State, []imx.Release) ([]imx.Body, error), error) {
	excused, err := p.excused(w, drafts)
	if err != nil {
		return nil, err
	}
	verdicts, err := p.cfg.Judge.Allowed(ctx, w.by, drafts, excused)
	if err != nil {
		return nil, p.wait(w, images, verdicts, err)
	}
	return func(s *imx.State, releases []imx.Release) ([]imx.Body, error) {
		made, err := p.cfg.Judge.Made(s, releases, verdicts, excused)
		if w.untested != "" {
			made = append([]imx.Body{imx.TestsSkipped{Apply: w.apply, Reason: w.untested}}, made...)
		}
		return made, err
	}, nil
}

// same makes sure that what is released of a candidate are the very images that people looked at.
func (w work) same(images []imx.Image) error {
	if w.candidate == nil {
		return nil
	}
	for i, im := range images {
		if i >= len(w.candidate.Images) || w.candidate.Images[i].Digest != im.Digest {
			return imx.Errorf(imx.Conflict, "image %s of candidate %s is built differently now: %s", im.Name, w.candidate.ID, im.Digest.Short()).
				WithHint("apply the template again: the new candidate has that image")
		}
	}
	return nil
}

// proof names what was asked of the plan before it is released.
func (w work) proof() imx.Digest {
	if w.candidate != nil {
		return w.candidate.Proof
	}
	return imx.DigestJSON(struct {
		Tests     []imx.Test
		Waivers   []imx.Waiver
		SkipTests string
	}{w.template.Tests, w.template.Waivers, w.untested})
}

// promotion is what work would release, with its images built.
func (w work) promotion(images []imx.Image) control.Promotion {
	promotion := control.Promotion{Apply: w.apply, Plan: w.planned.Digest, Proof: w.proof(), Request: w.requested(), Source: w.planned.Plan.Source, Expect: w.expect, Candidate: w.waits}
	if w.candidate != nil {
		promotion.For, promotion.Candidate = w.candidate.By, w.candidate.ID
	}
	if w.taken != nil {
		promotion.Origin = &w.taken.Origin
	}
	promotion.Ingresses = w.planned.Plan.Ingresses
	for _, spec := range w.planned.Plan.Services {
		c := control.Candidate{Spec: spec}
		for i, ip := range w.planned.Plan.Images {
			if ip.Spec.Name == spec.Image {
				c.Image, c.Config = images[i], ip.Spec
			}
		}
		promotion.Candidates = append(promotion.Candidates, c)
	}
	return promotion
}

// admitted returns the releases that would be made, each of which the engine could run.
func (p *Pipeline) admitted(ctx context.Context, w work, images []imx.Image) ([]imx.Release, error) {
	drafts, err := p.cfg.Control.Draft(w.by, w.promotion(images))
	if err != nil {
		return nil, err
	}
	for _, r := range drafts {
		if err := p.cfg.Admit(ctx, r); err != nil {
			return nil, err
		}
	}
	for _, in := range w.planned.Plan.Ingresses {
		if err := p.cfg.AdmitIngress(ctx, in); err != nil {
			return nil, err
		}
	}
	return drafts, nil
}

// Watch reports how the rollouts of some releases go and returns the releases in their final
// states. A release that another took the place of before it was good counts as failed, and so does
// one of a service that was destroyed.
func (p *Pipeline) Watch(ctx context.Context, releases []imx.Release, report imx.Report) ([]imx.Release, error) {
	began := p.cfg.Now()
	final := make([]imx.Release, len(releases))
	steps := steps{}
	for {
		changed := p.cfg.Control.Changed()
		s := p.cfg.Control.State()
		open := 0
		for i, r := range releases {
			if final[i].Number != 0 {
				continue
			}
			steps.tell(s.Services[r.Service], r, p.cfg.Now(), report)
			progress := imx.Progress{Step: fmt.Sprintf("roll out %s", r.Service), Unit: "instances"}
			var ended bool
			final[i], ended = outcome(s.Services[r.Service], r, s, &progress)
			if !ended {
				open++
				final[i] = imx.Release{}
			} else {
				progress.Seconds = p.cfg.Now().Sub(began).Seconds()
			}
			report(progress)
		}
		if open == 0 {
			return final, nil
		}
		select {
		case <-ctx.Done():
			return releases, imx.Errorf(imx.Unavailable, "stopped watching; the rollouts go on: %w", ctx.Err()).
				WithHint("imx status shows how far they are")
		case <-changed:
		}
	}
}

// outcome says how far a release's rollout is: the release as it stands, and whether it has ended.
func outcome(v imx.Service, r imx.Release, s *imx.State, progress *imx.Progress) (imx.Release, bool) {
	now, _ := v.Release(r.Number)
	for _, in := range s.Instances {
		if in.Service == r.Service && in.Release == r.Number && in.Phase == imx.Healthy {
			progress.Done++
		}
	}
	progress.Total = int64(v.Replicas)
	became := r.State == imx.ReleasePending && now.State == imx.ReleaseGood // a rollback's was good before
	switch {
	case v.Current == r.Number || became:
		progress.Status, progress.Message = imx.StepDone, fmt.Sprintf("release %d has the traffic", r.Number)
		if now.Reason != "" {
			progress.Message = fmt.Sprintf("release %d is taken: %s", r.Number, now.Reason)
		} else if v.Current != r.Number {
			progress.Message = fmt.Sprintf("release %d had the traffic and lost it since", r.Number)
		}
		return now, true
	case now.State == imx.ReleaseFailed || now.State == imx.ReleaseSuperseded:
	case v.Destroyed:
		now.State, now.Reason = imx.ReleaseFailed, "the service was destroyed before it had the traffic"
	case v.Target != r.Number:
		now.State, now.Reason = imx.ReleaseFailed, fmt.Sprintf("release %d took its place", v.Target)
	default:
		progress.Status, progress.Message = imx.StepRunning, standing(v, progress)
		return now, false
	}
	progress.Status, progress.Message = imx.StepFailed, fmt.Sprintf("release %d: %s", r.Number, now.Reason)
	return now, true
}
