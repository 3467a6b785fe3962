package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"imx"
	"imx/internal/control"
)

// ImagePlan returns what an image was made from, by ImagePlan.Digest.
// Errors: NotFound if it was never planned here, Refused if its bytes were changed.
func (p *Pipeline) ImagePlan(d imx.Digest) (imx.ImagePlan, error) {
	var found imx.ImagePlan
	b, err := p.cfg.Blobs.ReadAll(d, maxPlan)
	if err != nil {
		return found, err
	}
	if err := json.Unmarshal(b, &found); err != nil {
		return found, imx.Errorf(imx.Internal, "the plan %s of an image can't be read: %w", d, err)
	}
	return found, nil
}

// maxPlan bounds the bytes of an image plan: thousands of packages fit.
const maxPlan = 16 << 20

// Rollback goes back to an earlier release, the newest good one before the current if to is 0,
// and waits until it has the traffic. Errors: as control.Rollback; Refused where the policy lets no instance of it start; Conflict if it never got healthy.
func (p *Pipeline) Rollback(ctx context.Context, by imx.Principal, service string, to int, report imx.Report) (imx.Release, error) {
	r, err := p.goBack(ctx, by, service, to)
	if err != nil {
		return r, err
	}
	done, err := p.Watch(ctx, []imx.Release{r}, report)
	if err != nil {
		return r, err
	}
	if done[0].State == imx.ReleaseFailed {
		return done[0], imx.Errorf(imx.Conflict, "service %s didn't get back to release %d: %s", service, r.Number, done[0].Reason).
			WithHint("imx status shows what has the traffic")
	}
	return done[0], nil
}

// goBack makes an earlier release the target if its image is still there.
func (p *Pipeline) goBack(ctx context.Context, by imx.Principal, service string, to int) (imx.Release, error) {
	leave, err := p.gate.enter(ctx)
	if err != nil {
		return imx.Release{}, err
	}
	defer leave()
	r, err := control.Destination(p.cfg.Control.State().Services[service], to)
	ok := err == nil // else control says what is wrong, with the service's name checked too
	if ok && r.Image.Digest != "" && !p.cfg.Blobs.Has(r.Image.Digest) {
		return r, imx.Errorf(imx.NotFound, "the image of %s release %d isn't kept any more: it is not among the last %d good ones", service, r.Number, keptReleases).
			WithHint("apply the template as it was then; imx releases %s shows its commit", service)
	}
	if ok {
		if _, err := p.cfg.Judge.Pass(ctx, r); err != nil {
			return r, err
		}
	}
	return p.cfg.Control.Rollback(by, service, to)
}

// Destroy takes services down and waits until nothing of them is left.
func (p *Pipeline) Destroy(ctx context.Context, by imx.Principal, volumes control.Volumes, services []string, report imx.Report) error {
	began := p.cfg.Now()
	services = slices.Compact(slices.Sorted(slices.Values(services)))
	if err := p.cfg.Control.Destroy(by, volumes, services...); err != nil {
		return err
	}
	told := map[string]bool{}
	for {
		changed := p.cfg.Control.Changed()
		s := p.cfg.Control.State()
		for _, name := range services {
			v := s.Services[name]
			if told[name] || v.Destroyed && !v.Removed {
				continue
			}
			told[name] = true
			report(imx.Progress{
				Step: fmt.Sprintf("destroy %s", name), Status: imx.StepDone, Seconds: p.cfg.Now().Sub(began).Seconds(),
			})
		}
		if len(told) == len(services) {
			return nil
		}
		select {
		case <-ctx.Done():
			return imx.Errorf(imx.Unavailable, "stopped watching; the services go on being taken down: %w", ctx.Err())
		case <-changed:
		}
	}
}
