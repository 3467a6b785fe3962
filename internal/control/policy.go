package control

import (
	"maps"

	"imx"
)

// Except excuses a condition for a while, and returns the exception with its id, owner and the moment when it was made.
// Whether it makes sense is for check to say, which sees it as it would be. Errors: those of check.
func (c *Control) Except(by imx.Principal, x imx.Exception, check func(imx.Exception) error) (imx.Exception, error) {
	return decide(c, by, func(s *imx.State) (imx.Exception, []imx.Body, error) {
		x, err := c.exception(s, by, x)
		if err == nil {
			err = check(x)
		}
		return x, []imx.Body{imx.ExceptionMade{Exception: x}}, err
	})
}

// DraftException returns an exception as Except would make it now, without making it.
func (c *Control) DraftException(by imx.Principal, x imx.Exception) (imx.Exception, error) {
	return c.exception(c.State(), by, x)
}

func (c *Control) exception(s *imx.State, by imx.Principal, x imx.Exception) (imx.Exception, error) {
	x.Owner, x.Made = by, c.now(s)
	const tries = 100
	for range tries {
		if x.ID = c.cfg.NewID(); s.Exceptions[x.ID].ID == "" {
			return x, nil
		}
	}
	return x, imx.Errorf(imx.Internal, "no new id for an exception was found in %d tries", tries)
}

// EndException ends the exception that a person means by its id, or by how that begins, before its time. Errors: as imx.Abbreviated; Conflict for one that has ended.
func (c *Control) EndException(by imx.Principal, wanted, reason string) error {
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		id, err := imx.Abbreviated("exception", wanted, "imx exception list shows those that haven't ended, imx log each that there was", maps.Keys(s.Exceptions))
		if err != nil {
			return struct{}{}, nil, err
		}
		if !s.Exceptions[id].Until.After(c.now(s)) {
			return struct{}{}, nil, imx.Errorf(imx.Conflict, "exception %s has ended already", id)
		}
		return struct{}{}, []imx.Body{imx.ExceptionEnded{Exception: id, Reason: reason}}, nil
	})
	return err
}

// Replace takes a release that may not run any more back to another that is good, if it is still what its service is to run.
// Errors: Conflict where the other's ports or connections aren't to be had.
func (c *Control) Replace(name string, denied, to int, reason string) error {
	_, err := decide(c, imx.Server, func(s *imx.State) (struct{}, []imx.Body, error) {
		v, err := service(s, name)
		if err != nil || v.Target != denied {
			return struct{}{}, nil, err
		}
		r, err := Destination(v, to)
		if err == nil {
			err = ports(s, map[string]imx.Spec{name: r.Spec})
		}
		if err == nil {
			err = connections(s, r)
		}
		if err != nil {
			return struct{}{}, nil, imx.Errorf(imx.KindOf(err), "release %d of service %s may not run any more (%s), and can't be replaced: %w", denied, name, reason, err)
		}
		return struct{}{}, []imx.Body{imx.RolledBack{Service: name, From: denied, To: to, Reason: reason}}, nil
	})
	return err
}

// Stop scales a service whose release may not run any more to none, if that is still what it is to run.
func (c *Control) Stop(name string, denied int, reason string) error {
	_, err := decide(c, imx.Server, func(s *imx.State) (struct{}, []imx.Body, error) {
		v, err := service(s, name)
		if err != nil || v.Target != denied || v.Replicas == 0 && v.CurrentReplicas == 0 {
			return struct{}{}, nil, err
		}
		return struct{}{}, []imx.Body{imx.Scaled{Service: name, Replicas: 0, Reason: reason, Denied: true}}, nil
	})
	return err
}

// Resume gives a service that the policy stopped the instances that it had, if the release is still what it is to run and nobody has
// scaled it since.
func (c *Control) Resume(name string, release int, reason string) error {
	_, err := decide(c, imx.Server, func(s *imx.State) (struct{}, []imx.Body, error) {
		v, err := service(s, name)
		if err != nil || v.Stopped == nil || v.Target != release {
			return struct{}{}, nil, err
		}
		return struct{}{}, []imx.Body{imx.Scaled{Service: name, Replicas: v.Stopped.Replicas, Reason: reason}}, nil
	})
	return err
}

// SetPolicy gives an environment a policy, if it has the one that another was made of: over is that one's digest as the state has it, which
// current returns. Errors: Conflict if it hasn't.
func (c *Control) SetPolicy(by imx.Principal, set imx.PolicySet, over imx.Digest, current func(*imx.State) imx.Policy) error {
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		if now := current(s).Digest(); over != "" && now != over {
			return struct{}{}, nil, imx.Errorf(imx.Conflict, "the policy of %s was changed meanwhile: it is %s", set.Policy.Environment, now.Short()).
				WithHint("look at it (imx policy show), and try again")
		}
		return struct{}{}, []imx.Body{set}, nil
	})
	return err
}
