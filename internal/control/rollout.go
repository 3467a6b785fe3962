package control

import (
	"time"

	"imx"
)

// PromoteRollout lets a rollout go on past the step that it is at, or with Whole past all of them, also where a person
// had paused it. Errors: NotFound; Conflict where nothing is rolled out, or nothing waits.
func (c *Control) PromoteRollout(by imx.Principal, name string, req imx.PromoteRequest) (imx.Service, error) {
	return c.rollout(by, name, func(v imx.Service) (imx.Body, error) {
		if plain(v) && v.Rollout.Paused == "" {
			return nil, imx.Errorf(imx.Conflict, "no step of service %s waits: release %d gets all the traffic as soon as it is healthy", name, v.Target).
				WithHint("imx status shows how far it is; a deploy block with steps has what to promote")
		}
		return imx.RolloutPromoted{Service: name, Release: v.Target, Step: v.Rollout.Step, Whole: req.Whole, Reason: req.Reason}, nil
	})
}

// PauseRollout stops a rollout where it is: nothing gets more traffic until it is promoted. One that is paused stays so.
// Errors: NotFound; Conflict where nothing is rolled out.
func (c *Control) PauseRollout(by imx.Principal, name, reason string) (imx.Service, error) {
	return c.rollout(by, name, func(v imx.Service) (imx.Body, error) {
		if v.Rollout.Paused != "" {
			return nil, nil
		}
		return imx.RolloutPaused{Service: name, Release: v.Target, Reason: reason}, nil
	})
}

// AbortRollout gives a rollout up: the current release gets all the traffic back at once.
// Errors: NotFound; Conflict where nothing is rolled out.
func (c *Control) AbortRollout(by imx.Principal, name, reason string) (imx.Service, error) {
	return c.rollout(by, name, func(v imx.Service) (imx.Body, error) {
		why := "aborted by " + string(by)
		if reason != "" {
			why += ": " + reason
		}
		return imx.RolloutFailed{Service: name, Release: v.Target, Reason: why}, nil
	})
}

// rollout writes down what a person wants of a rollout that is under way, and returns the service as it was then.
func (c *Control) rollout(by imx.Principal, name string, choose func(v imx.Service) (imx.Body, error)) (imx.Service, error) {
	return decide(c, by, func(s *imx.State) (imx.Service, []imx.Body, error) {
		v, err := service(s, name)
		if err != nil {
			return v, nil, err
		}
		target, _ := v.Release(v.Target)
		switch {
		case v.Target == v.Current:
			return v, nil, imx.Errorf(imx.Conflict, "nothing is being rolled out of service %s: it is at release %d", name, v.Current).
				WithHint("imx releases %s lists what there was; imx rollback %s goes back", name, name)
		case target.State == imx.ReleaseGood:
			return v, nil, imx.Errorf(imx.Conflict, "service %s is going back to release %d, which nothing holds up", name, v.Target).
				WithHint("imx status shows how far it is; imx apply releases something else")
		}
		body, err := choose(v)
		if body == nil || err != nil {
			return v, nil, err
		}
		return v, []imx.Body{body}, nil
	})
}

// plain reports whether a service's target has no step that anybody could promote.
func plain(v imx.Service) bool {
	target, _ := v.Release(v.Target)
	how := target.Spec.How()
	return len(how.Steps) == 0 && how.Strategy != imx.Rolling && how.Preview == 0
}

// ReleaseHold lets a service go on that was held. Errors: NotFound; Conflict for one that isn't held.
func (c *Control) ReleaseHold(by imx.Principal, name, reason string) (imx.Service, error) {
	return decide(c, by, func(s *imx.State) (imx.Service, []imx.Body, error) {
		v, err := service(s, name)
		if err != nil {
			return v, nil, err
		}
		if v.Hold == nil {
			return v, nil, imx.Errorf(imx.Conflict, "service %s isn't held", name).WithHint("imx status shows which services are")
		}
		v.Hold = nil
		return v, []imx.Body{imx.HoldEnded{Service: name, Reason: reason}}, nil
	})
}

// held refuses a release of a service that is held, and says by whom, why and how that ends. What imx holds by itself a
// person or a new commit moves on with anything but the very release that turned bad; what a person holds, nothing.
func held(v imx.Service, r imx.Release) error {
	h := v.Hold
	if h == nil || v.Destroyed {
		return nil
	}
	why := ""
	if h.Reason != "" {
		why = ": " + h.Reason
	}
	since := h.Since.UTC().Format(time.RFC3339)
	if h.By != imx.Server {
		return imx.Errorf(imx.Conflict, "service %s is held at release %d by %s, who went back from release %d at %s%s", v.Name, v.Target, h.By, h.From, since, why).
			WithHint("imx hold release %s lets it go on; until then nothing else of it is released", v.Name)
	}
	if bad, ok := v.Release(h.From); ok && content(bad) == content(r) {
		return imx.Errorf(imx.Conflict, "service %s is held at release %d by imx, which went back from release %d at %s%s; this is that release again", v.Name, v.Target, h.From, since, why).
			WithHint("apply what has the fault mended, or let it go on all the same: imx hold release %s", v.Name)
	}
	return nil
}
