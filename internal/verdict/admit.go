package verdict

import (
	"context"

	"imx"
)

// Allowed says whether releases may be made that are about to be, and keeps each verdict as a signed statement. The error is of kind
// Refused where one may not: it has each unmet condition, and what to do about it. That is then on the log, too.
// Further errors: as Release, and those of keeping.
func (j *Judge) Allowed(ctx context.Context, by imx.Principal, drafts []imx.Release) ([]imx.Verdict, error) {
	all := make([]imx.Verdict, 0, len(drafts))
	for _, r := range drafts {
		v, err := j.Release(ctx, r)
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

// Made writes the verdicts down that releases were made by.
func (j *Judge) Made(by imx.Principal, releases []imx.Release, all []imx.Verdict) error {
	var bodies []imx.Body
	for _, r := range releases {
		for _, v := range all {
			if v.Service == r.Service {
				bodies = append(bodies, imx.VerdictGiven{Service: r.Service, Release: r.Number, Verdict: v})
			}
		}
	}
	return j.cfg.Control.Record(by, bodies...)
}

// tell keeps a verdict and writes it down, unless the log has it already with the same reasons.
func (j *Judge) tell(ctx context.Context, by imx.Principal, r imx.Release, number int, v imx.Verdict) error {
	if told(v, j.cfg.Control.State().Verdicts[r.Service][number]) {
		return nil
	}
	if err := j.state(ctx, by, r.Image.Name, v); err != nil {
		return err
	}
	return j.cfg.Control.Record(by, imx.VerdictGiven{Service: r.Service, Release: number, Verdict: v})
}
