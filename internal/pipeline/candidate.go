package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"imx"
	"imx/internal/control"
	"imx/internal/plan"
)

// waitingError says that nothing is missing but what comes by itself or from people: approvals, the end of a freeze.
type waitingError struct {
	error

	candidate imx.Candidate
	waits     string // for what
}

// Unwrap returns why it wasn't admitted.
func (e waitingError) Unwrap() error { return e.error }

// Waiting returns the candidate that is left where nothing was missing but approvals or the end of a freeze, and for which it waits.
func Waiting(err error) (c imx.Candidate, waits string, ok bool) {
	w, ok := errors.AsType[waitingError](err)
	return w.candidate, w.waits, ok
}

// wait leaves a candidate of what wasn't admitted, if approvals or the end of a freeze are all that is missing.
func (p *Pipeline) wait(w work, images []imx.Image, verdicts []imx.Verdict, refused error) error {
	waits := awaited(verdicts)
	if w.candidate != nil || waits == "" {
		return refused
	}
	c, err := p.propose(w, images, nil)
	if err != nil {
		return errors.Join(refused, err)
	}
	if c.State == imx.CandidateRejected {
		return imx.Errorf(imx.Refused, "this plan was rejected by %s: %w", c.Why, refused).
			WithHint("change the template; or who rejected it approves it: imx approve %s", c.ID)
	}
	said := imx.Errorf(imx.Refused, "candidate %s waits for %s: %w", c.ID, waits, refused).
		WithHint("imx review %s shows what would change, imx approve %s says yes, imx release %s releases it", c.ID, c.ID, c.ID)
	return waitingError{said, c, waits}
}

// awaited says for what releases wait that nothing else keeps from being made: "approvals", "the end of a freeze", or both; "" if something
// else is missing, or nothing.
func awaited(verdicts []imx.Verdict) string {
	kinds := map[string]string{"reviews": "approvals", "freeze": "the end of a freeze"}
	missing := map[string]bool{}
	for _, v := range verdicts {
		why := slices.DeleteFunc(slices.Clone(v.Conditions), imx.Condition.Holds)
		if !v.Allowed && len(why) == 0 {
			return "" // it says no, and not why
		}
		for _, c := range why {
			if kinds[c.ID] == "" {
				return ""
			}
			missing[c.ID] = true
		}
	}
	var words []string
	for _, id := range []string{"reviews", "freeze"} {
		if missing[id] {
			words = append(words, kinds[id])
		}
	}
	return strings.Join(words, " and for ")
}

// propose keeps all that a release of built images needs, and opens a candidate.
func (p *Pipeline) propose(w work, images []imx.Image, commit *imx.Commit) (imx.Candidate, error) {
	request, err := p.keepRequest(w)
	if err != nil {
		return imx.Candidate{}, err
	}
	return p.cfg.Control.Propose(w.by, imx.Candidate{
		Plan: w.planned.Digest, Proof: w.proof(), Request: request, Origin: w.origin(), Environment: p.cfg.Judge.Environment(), Source: w.planned.Plan.Source,
		Commit: commit, By: w.by, Account: w.account, Images: images, Services: w.planned.Plan.Names(),
		Base: w.planned.Base,
	})
}

// keepRequest keeps a work's plan and what it was made of, and returns the digest of that. What was made elsewhere came with the image.
func (p *Pipeline) keepRequest(w work) (imx.Digest, error) {
	if w.candidate != nil {
		return w.candidate.Request, nil
	}
	planned, err := json.Marshal(w.planned.Plan)
	if err != nil {
		return "", err
	}
	if _, err := p.Keep(planned); err != nil || w.taken != nil {
		return w.requested(), err
	}
	raw, err := w.request()
	if err != nil {
		return "", err
	}
	return p.Keep(raw)
}

// requested is the digest of what a work was made of, as far as it is kept.
func (w work) requested() imx.Digest {
	switch {
	case w.candidate != nil:
		return w.candidate.Request
	case w.taken != nil:
		return w.taken.Request
	}
	return w.kept
}

// request is all that a release of what was planned here needs.
func (w work) request() ([]byte, error) {
	return PackRequest(imx.PlanRequest{Template: w.template, Lock: &w.planned.Lock, Expect: w.planned.Base, SkipTests: w.untested})
}

// waits returns the id of the open candidate that proposing the work would give, "" where there is none.
func (p *Pipeline) waits(w work) (string, error) {
	if w.candidate != nil {
		return "", nil
	}
	for _, c := range p.cfg.Control.State().Candidates {
		if c.State != imx.CandidateOpen || c.Plan != w.planned.Digest || c.Environment != p.cfg.Judge.Environment() {
			continue
		}
		if w.taken != nil || c.Origin != nil {
			if w.continues(c) {
				return c.ID, nil
			}
			continue
		}
		raw, err := w.request()
		if err != nil || imx.DigestBytes(raw) == c.Request {
			return c.ID, err
		}
	}
	return "", nil
}

// Propose plans, builds and tests a template and makes a candidate of it, without releasing anything; false if it would change
// nothing. seen tells what the server itself saw of the template's commit, as new to the services that would be changed. Errors: as Apply,
// but for what the policy says; those of seen.
func (p *Pipeline) Propose(
	ctx context.Context, by imx.Principal, req imx.PlanRequest, seen func(ctx context.Context, services []string) (*imx.Commit, error), report imx.Report,
) (imx.Candidate, bool, error) {
	planned, err := p.Plan(ctx, by, req, report)
	if err != nil || len(planned.Changes) == 0 {
		return imx.Candidate{}, false, err
	}
	leave, err := p.gate.enter(ctx)
	if err != nil {
		return imx.Candidate{}, false, err
	}
	defer leave()
	w := work{by: by, account: req.Account, template: req.Template, planned: planned, report: report}
	images, err := p.build(ctx, w)
	if err != nil {
		return imx.Candidate{}, false, err
	}
	drafts, err := p.admitted(ctx, w, images)
	if err != nil {
		return imx.Candidate{}, false, err
	}
	if err := p.passed(ctx, w, images); err != nil {
		return imx.Candidate{}, false, err
	}
	commit, err := seen(ctx, changed(planned, drafts))
	if err != nil {
		return imx.Candidate{}, false, err
	}
	c, err := p.propose(w, images, commit)
	return c, err == nil, err
}

// changed names the services that a plan changes in any way: that get a release, or another number of instances.
func changed(planned imx.PlanResult, drafts []imx.Release) []string {
	return slices.DeleteFunc(planned.Plan.Names(), func(name string) bool {
		drafted := slices.ContainsFunc(drafts, func(r imx.Release) bool { return r.Service == name })
		told := slices.ContainsFunc(planned.Changes, func(c imx.Change) bool { return c.Subject == "service."+name })
		return !drafted && !told
	})
}

// Release releases a candidate, if the policy admits it now, and waits as Apply does. Nothing is planned anew: what was approved
// is released. Errors: NotFound; Conflict if it isn't open, is for another environment, or if services stand elsewhere than when it was made; as Apply.
func (p *Pipeline) Release(ctx context.Context, by imx.Principal, id string, report imx.Report) (imx.ApplyResult, error) {
	c, err := control.OpenCandidate(p.cfg.Control.State(), id)
	if err != nil {
		return imx.ApplyResult{}, err
	}
	if here := p.cfg.Judge.Environment(); c.Environment != here {
		return imx.ApplyResult{}, imx.Errorf(imx.Conflict, "candidate %s is for %s, and this is %s now", id, c.Environment, here).
			WithHint("imx apply makes one for %s", here)
	}
	w, err := p.proposed(ctx, c)
	if err != nil {
		return imx.ApplyResult{}, err
	}
	w.by, w.report, w.candidate = by, report, &c
	return p.apply(ctx, w)
}

// proposed reads what a candidate was made of, and holds it against the rules of today.
func (p *Pipeline) proposed(ctx context.Context, c imx.Candidate) (work, error) {
	req, err := p.requested(c)
	if err != nil {
		return work{}, err
	}
	planned, err := p.KeptPlan(c)
	if err != nil {
		return work{}, err
	}
	found, err := p.cfg.Check(ctx, req.Template)
	if err != nil {
		return work{}, err
	}
	s := *p.cfg.Control.State()
	return work{
		template: req.Template, expect: req.Expect, untested: req.SkipTests, taken: takenBefore(c),
		planned: imx.PlanResult{
			Plan: planned, Digest: c.Plan, Lock: *req.Lock, Findings: found, Base: req.Expect, Changes: plan.Diff(released(planned, s, c.Origin), s, p.built),
		},
	}, nil
}

// requested reads what a candidate was made of, as it is asked for here: of what comes from another environment, where services stood and that tests were
// skipped was said there.
func (p *Pipeline) requested(c imx.Candidate) (imx.PlanRequest, error) {
	raw, err := p.cfg.Blobs.ReadAll(c.Request, maxRequest)
	if err != nil {
		return imx.PlanRequest{}, err
	}
	req, err := UnpackRequest(raw)
	if err != nil {
		err = imx.Errorf(imx.Internal, "what is kept of candidate %s, %s, is damaged: %w", c.ID, c.Request, err)
	}
	if c.Origin != nil {
		req.Expect, req.SkipTests = c.Base, ""
	}
	return req, err
}

// KeptPlan returns a candidate's plan. Errors: NotFound for one that isn't kept any more; Refused for changed bytes.
func (p *Pipeline) KeptPlan(c imx.Candidate) (imx.Plan, error) {
	var found imx.Plan
	err := p.kept(c.Plan, &found)
	return found, err
}

// Changes says what releasing a candidate would change now, and whether services stand elsewhere than when it was made: a
// Conflict. Further errors: as KeptPlan.
func (p *Pipeline) Changes(c imx.Candidate) (imx.Plan, []imx.Change, error) {
	planned, err := p.KeptPlan(c)
	if err != nil {
		return planned, nil, err
	}
	req, err := p.requested(c)
	if err != nil {
		return planned, nil, err
	}
	s := p.cfg.Control.State()
	changes := append([]imx.Change{}, plan.Diff(released(planned, *s, c.Origin), unbuilt(*s, planned), p.built)...)
	return planned, changes, control.Expect(s, planned.Names(), req.Expect)
}

// unbuilt is a state in which nothing of a plan's services was ever built, so that an image that nothing runs is shown with all that it has.
func unbuilt(s imx.State, planned imx.Plan) imx.State {
	s.Images = maps.Clone(s.Images)
	for _, spec := range planned.Services {
		if im, ok := planned.Image(spec.Image); ok {
			delete(s.Images, im.Digest())
		}
	}
	return s
}

// Kept returns what is kept by its digest, of at most so many bytes. Errors: NotFound; Refused for changed bytes, and for more.
func (p *Pipeline) Kept(d imx.Digest, most int64) ([]byte, error) {
	return p.cfg.Blobs.ReadAll(d, most)
}

// Keep keeps bytes, and returns their digest. They are collected unless something names them.
func (p *Pipeline) Keep(b []byte) (imx.Digest, error) {
	d := imx.DigestBytes(b)
	return d, p.put(b, d)
}

// kept reads JSON that is kept by its digest.
func (p *Pipeline) kept(d imx.Digest, v any) error {
	raw, err := p.cfg.Blobs.ReadAll(d, maxRequest)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return imx.Errorf(imx.Internal, "what is kept of a candidate, %s, can't be read: %w", d, err)
	}
	return nil
}

// Drafts returns the releases that releasing a candidate would make now. Errors: as Changes; as control.Draft.
func (p *Pipeline) Drafts(c imx.Candidate) ([]imx.Release, error) {
	planned, _, err := p.Changes(c)
	if err != nil {
		return nil, err
	}
	if len(c.Images) != len(planned.Images) {
		return nil, imx.Errorf(imx.Internal, "candidate %s has %d images, and its plan %d", c.ID, len(c.Images), len(planned.Images))
	}
	w := work{planned: imx.PlanResult{Plan: planned, Digest: c.Plan}, candidate: &c, taken: takenBefore(c)}
	return p.cfg.Control.Draft(c.By, w.promotion(c.Images))
}

// Admitted reports whether the policy admits a candidate now. Errors: Conflict if services stand elsewhere than when it was made;
// as Drafts.
func (p *Pipeline) Admitted(ctx context.Context, c imx.Candidate) (bool, error) {
	drafts, err := p.Drafts(c)
	if err != nil {
		return false, err
	}
	verdicts, err := p.Verdicts(ctx, c, drafts)
	return err == nil && !slices.ContainsFunc(verdicts, func(v imx.Verdict) bool { return !v.Allowed }), err
}

// Verdicts says of releases that releasing a candidate would make whether they could be made now. Errors: those of the Judge; as Changes.
func (p *Pipeline) Verdicts(ctx context.Context, c imx.Candidate, drafts []imx.Release) ([]imx.Verdict, error) {
	req, err := p.requested(c)
	if err != nil {
		return nil, err
	}
	excused, err := p.excused(work{untested: req.SkipTests, candidate: &c}, drafts)
	if err != nil {
		return nil, err
	}
	all := make([]imx.Verdict, 0, len(drafts))
	for _, r := range drafts {
		v, err := p.cfg.Judge.Release(ctx, r, excused...)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}
