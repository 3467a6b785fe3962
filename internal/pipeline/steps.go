package pipeline

import (
	"cmp"
	"fmt"
	"time"

	"imx"
	"imx/internal/rollout"
)

// standing says how far a rollout is: its step and its share of the traffic where it has any, its instances, and what it waits for.
func standing(v imx.Service, p *imx.Progress) string {
	text := fmt.Sprintf("release %d: %d of %d healthy", v.Target, p.Done, p.Total)
	if steps := len(rollout.Steps(v)); steps > 0 {
		text = fmt.Sprintf("step %d of %d, %d %% of the traffic, %s", v.Rollout.Step+1, steps+1, v.Routes[v.Target], text)
	}
	switch {
	case v.Rollout.Paused != "":
		text += fmt.Sprintf("; %s paused it", v.Rollout.Paused)
	case v.Rollout.Waits != "":
		text += "; waits: " + v.Rollout.Waits
	}
	return text
}

// steps are those that rollouts are at, by service.
type steps map[string]at

// at is a step, with the moment in which a rollout came to it.
type at struct {
	imx.Rollout

	release, of, share int
}

// tell reports the steps that a rollout has left since the last time, each as a step of its own that has ended.
func (s steps) tell(v imx.Service, r imx.Release, now time.Time, report imx.Report) {
	was, known := s[r.Service]
	is := at{v.Rollout, r.Number, len(rollout.Steps(v)), v.Routes[r.Number]}
	moved := was.release != r.Number || v.Target != r.Number || v.Target == v.Current || was.Step != is.Step
	if known && was.of > 0 && moved {
		p := imx.Progress{
			Step: fmt.Sprintf("step %d of %s", was.Step+1, r.Service), Status: imx.StepDone, Seconds: now.Sub(was.Since).Seconds(),
			Message: fmt.Sprintf("%d %% of the traffic; %s", was.share, cmp.Or(v.Rollout.Reason, "all is well")),
		}
		if now, _ := v.Release(r.Number); now.State != imx.ReleasePending && now.State != imx.ReleaseGood {
			p.Status, p.Message = imx.StepFailed, now.Reason
		}
		report(p)
		delete(s, r.Service)
	}
	if v.Target == r.Number && is.of > 0 && !is.Since.IsZero() {
		s[r.Service] = is
	}
}
