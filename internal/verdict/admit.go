package verdict

import (
	"context"
	"maps"
	"slices"

	"imx"
	"imx/internal/policy"
)

// Allowed says whether releases may be made that are about to be, and keeps each verdict as a signed statement. excused are exceptions
// that come into being with the releases, and not before. The error is of kind Refused where one may not: it has each unmet condition,
// and what to do about it. That is then on the log, too.
// Further errors: as Release, and those of keeping.
func (j *Judge) Allowed(ctx context.Context, by imx.Principal, drafts []imx.Release, excused []imx.Exception) ([]imx.Verdict, error) {
	all := make([]imx.Verdict, 0, len(drafts))
	for _, r := range drafts {
		v, err := j.Release(ctx, r, excused...)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	refused := denied(all)
	for i, v := range all {
		if refused == nil {
			if err := j.state(ctx, by, drafts[i].Image.Name, v); err != nil {
				return nil, err
			}
			continue
		}
		if err := j.tell(ctx, by, drafts[i], 0, v); err != nil {
			return nil, err
		}
	}
	return all, refused
}

// Made returns the events that tell by which verdicts releases are made, and of the exceptions that they were given with those that
// excuse something: these come into being by it. Errors: Conflict for a release without a verdict, or if something that it stands on
// isn't any more, in the state, what it was then.
func (j *Judge) Made(s *imx.State, releases []imx.Release, all []imx.Verdict, excused []imx.Exception) ([]imx.Body, error) {
	bodies := make([]imx.Body, 0, len(releases))
	s = with(s, excused)
	p := policy.Of(s, j.cfg.Environment)
	for _, r := range releases {
		i := slices.IndexFunc(all, func(v imx.Verdict) bool { return v.Service == r.Service })
		if i < 0 || !all[i].Allowed || all[i].Inputs != inputs(s, p, r) {
			return nil, imx.Errorf(imx.Conflict, "what the verdict on %s stands on has changed since it was given", r.Service).
				WithHint("try again: it is judged anew")
		}
		for _, x := range excused {
			if slices.ContainsFunc(all[i].Conditions, func(c imx.Condition) bool { return c.Exception == x.ID }) {
				bodies = append(bodies, imx.ExceptionMade{Exception: x})
			}
		}
		bodies = append(bodies, imx.VerdictGiven{Service: r.Service, Release: r.Number, Verdict: all[i]})
	}
	return bodies, nil
}

// with is a state in which some exceptions have been made. One whose id is taken meanwhile is left out: it isn't what a verdict was given with.
func with(s *imx.State, excused []imx.Exception) *imx.State {
	next := *s
	next.Exceptions = map[string]imx.Exception{}
	for _, x := range excused {
		next.Exceptions[x.ID] = x
	}
	maps.Copy(next.Exceptions, s.Exceptions)
	return &next
}

// tell keeps a verdict and writes it down, unless the log has it already with the same reasons.
func (j *Judge) tell(ctx context.Context, by imx.Principal, r imx.Release, number int, v imx.Verdict) error {
	if told(number, v, j.cfg.Control.State().Verdicts[r.Service][number]) {
		return nil
	}
	if err := j.state(ctx, by, r.Image.Name, v); err != nil {
		return err
	}
	return j.cfg.Control.Record(by, imx.VerdictGiven{Service: r.Service, Release: number, Verdict: v})
}
