package verdict

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/freeze"
	"imx/internal/policy"
)

// Verify judges an image, the current release of a service, or an instance's, as it is now, and tells all that the answer stands on.
// Errors: NotFound; Invalid for an unknown purpose; as Release.
func (j *Judge) Verify(ctx context.Context, req imx.VerifyQuery) (imx.Verification, error) {
	s := j.cfg.Control.State()
	r, says, err := j.subject(ctx, s, req.Subject)
	if err != nil {
		return imx.Verification{}, err
	}
	switch {
	case req.Purpose == "" && r.Number == 0:
		req.Purpose = imx.ForRelease
	case req.Purpose == "":
		req.Purpose = imx.ForStart
	case req.Purpose != imx.ForRelease && req.Purpose != imx.ForStart:
		return imx.Verification{}, imx.Errorf(imx.Invalid, "nothing can be verified for %q", req.Purpose).WithHint("release or start")
	}
	x, err := j.explained(ctx, s, r, req.Purpose)
	if err != nil {
		return imx.Verification{}, err
	}
	found := imx.Verification{Subject: says, Release: r.Number, Verdict: x.verdict, Evidence: views(x.input)}
	if !req.Detail {
		return found, nil
	}
	found.Looked = map[string]json.RawMessage{}
	for id := range x.looked {
		if found.Looked[id], err = x.looked.JSON(id); err != nil {
			return found, err
		}
	}
	found.Input, err = json.Marshal(x.input)
	return found, err
}

// views are the evidence of an input for a person.
func views(in policy.Input) []imx.EvidenceView {
	list := []imx.EvidenceView{}
	for _, name := range slices.Sorted(maps.Keys(in.Evidence)) {
		e := in.Evidence[name]
		list = append(list, imx.EvidenceView{
			Name: name, Statement: e.Statement, Signer: e.Signer, Role: e.Role, Made: e.Made, Counts: e.Counts, Why: e.Why, Summary: e.Summary,
		})
	}
	for _, r := range in.Reviews {
		list = append(list, imx.EvidenceView{
			Name: "review", Statement: r.Bundle, Signer: string(r.By), Role: imx.RoleReviewer, Made: r.Made, Counts: r.Counts, Why: r.Why,
			Summary: fmt.Sprintf("of plan %s", r.Plan.Short()),
		})
	}
	return list
}

// subject is the release that a person means, and what to call it: an instance's, a service's, or one that an image could have.
func (j *Judge) subject(ctx context.Context, s *imx.State, wanted string) (imx.Release, string, error) {
	if in, ok := s.Instances[wanted]; ok {
		if r, ok := s.Services[in.Service].Release(in.Release); ok {
			return r, fmt.Sprintf("instance %s of service %s, release %d", in.ID, in.Service, in.Release), nil
		}
	}
	name := strings.TrimPrefix(wanted, "service.")
	if v, ok := s.Services[name]; ok && !v.Destroyed {
		r, ok := v.Release(cmp.Or(v.Current, v.Target))
		if ok {
			return r, fmt.Sprintf("service %s, release %d", name, r.Number), nil
		}
	}
	view, err := j.cfg.Find(ctx, wanted)
	if err != nil {
		return imx.Release{}, "", err
	}
	r, as := j.ofImage(s, view.Image)
	return r, "image " + view.Name + as, nil
}

// ofImage is the release that an image is judged as, and what to call it: of the open candidate or the release that has it, whichever is
// newer; where there is neither, one that it could have: of the plan and the template that it was built from.
func (j *Judge) ofImage(s *imx.State, image imx.Image) (imx.Release, string) {
	r, as := imx.Release{Image: image}, ""
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		for _, has := range s.Services[name].Releases {
			if has.Image.Digest == image.Digest && has.Made.After(r.Made) {
				r, as = has, fmt.Sprintf(", as release %d of %s has it", has.Number, name)
			}
		}
	}
	if draft, c, ok := j.proposed(s, image, r.Made); ok {
		r, as = draft, fmt.Sprintf(", as candidate %s has it", c.ID)
	}
	if as != "" {
		r.Number = 0 // it isn't that release that is asked about, but one like it
		return r, as
	}
	if f, ok := j.evidence(s, r)["provenance"].Facts.(provenanceFacts); ok {
		r.Plan, r.Source = f.Plan, imx.Source{Commit: f.Commit, Dirty: f.Dirty}
	}
	return r, ""
}

// proposed is the release that the newest open candidate with an image would make, if it was made after some moment.
func (j *Judge) proposed(s *imx.State, image imx.Image, after time.Time) (r imx.Release, c imx.Candidate, ok bool) {
	for _, id := range slices.Sorted(maps.Keys(s.Candidates)) {
		one := s.Candidates[id]
		if one.State != imx.CandidateOpen || one.Environment != j.cfg.Environment || !one.Made.After(after) {
			continue
		}
		drafts, err := j.cfg.Drafts(one)
		i := slices.IndexFunc(drafts, func(d imx.Release) bool { return d.Image.Digest == image.Digest })
		if err == nil && i >= 0 { // one that can't be released any more says nothing of its image
			r, c, ok, after = drafts[i], one, true, one.Made
		}
	}
	return r, c, ok
}

// AsksSigned reports whether nothing is released of a followed repository's commit that nobody known signed.
func (j *Judge) AsksSigned() bool {
	s := j.cfg.Control.State()
	p := policy.Of(s, j.cfg.Environment).Settings
	excused := slices.ContainsFunc(j.Exceptions(), func(x imx.Exception) bool { return x.Condition == "source" })
	return (p.SignedCommits || p.SignedSources) && !excused && !slices.Contains(p.Warn, "source")
}

// Frozen says how it stands now with the policy's freezes. Errors: Internal.
func (j *Judge) Frozen() (freeze.State, error) {
	s := j.cfg.Control.State()
	return freeze.At(policy.Of(s, j.cfg.Environment).Settings.Freezes, j.now(s))
}

// Except excuses a condition for a while. Errors: Invalid for a condition that there isn't or that nothing excuses, and for an
// exception without a reason, without an end, with one in the past, or one too far away.
func (j *Judge) Except(by imx.Principal, x imx.Exception) (imx.Exception, error) {
	s := j.cfg.Control.State()
	book, _, err := j.compiled(s)
	if err != nil {
		return x, err
	}
	if v, ok := s.Services[x.Service]; x.Service != "" && (!ok || v.Destroyed) {
		return x, imx.Errorf(imx.NotFound, "there is no service %q", x.Service).WithHint("imx status lists the services")
	}
	return j.cfg.Control.Except(by, x, book.CheckException)
}

// EndException ends one. Errors: NotFound; Conflict for one that has ended.
func (j *Judge) EndException(by imx.Principal, id, reason string) error {
	return j.cfg.Control.EndException(by, id, reason)
}

// Exceptions are those that haven't ended, in the order of their ends.
func (j *Judge) Exceptions() []imx.Exception {
	s := j.cfg.Control.State()
	now := j.now(s)
	list := []imx.Exception{}
	for _, x := range s.Exceptions {
		if now.Before(x.Until) {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b imx.Exception) int { return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.ID, b.ID)) })
	return list
}
