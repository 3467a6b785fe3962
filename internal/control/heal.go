package control

import (
	"strings"

	"imx"
)

// Taint has an instance replaced that runs. One that is tainted already stays so, for the reason that it has.
// Errors: Invalid without a reason; NotFound; Conflict for one that stops or has ended.
func (c *Control) Taint(by imx.Principal, id, reason string) (imx.Instance, error) {
	reason = strings.TrimSpace(reason)
	return decide(c, by, func(s *imx.State) (imx.Instance, []imx.Body, error) {
		in, err := instance(s, id)
		switch {
		case reason == "":
			return in, nil, imx.Errorf(imx.Invalid, "tainting an instance needs a reason").WithHint("say why: the log keeps it")
		case err != nil:
			return in, nil, err
		case in.Phase == imx.Stopping || in.Phase == imx.Ended:
			return in, nil, imx.Errorf(imx.Conflict, "instance %s is %s already", id, in.Phase).WithHint("imx ps lists those that run")
		case in.Taint != nil:
			return in, nil, nil
		}
		in.Taint = &imx.Taint{By: by, Reason: reason}
		return in, []imx.Body{imx.InstanceTainted{Instance: id, Reason: reason}}, nil
	})
}

// Untaint takes a taint back. Errors: NotFound; Conflict for an instance that isn't tainted, or is being stopped for it already.
func (c *Control) Untaint(by imx.Principal, id, reason string) (imx.Instance, error) {
	return decide(c, by, func(s *imx.State) (imx.Instance, []imx.Body, error) {
		in, err := instance(s, id)
		switch {
		case err != nil:
			return in, nil, err
		case in.Phase == imx.Stopping || in.Phase == imx.Ended:
			return in, nil, imx.Errorf(imx.Conflict, "instance %s is %s already: its taint can't be taken back", id, in.Phase).
				WithHint("another has taken its place: imx ps")
		case in.Taint == nil:
			return in, nil, imx.Errorf(imx.Conflict, "instance %s isn't tainted", id).WithHint("imx ps shows which are")
		}
		in.Taint = nil
		return in, []imx.Body{imx.TaintEnded{Instance: id, Reason: strings.TrimSpace(reason)}}, nil
	})
}

func instance(s *imx.State, id string) (imx.Instance, error) {
	in, known := s.Instances[id]
	if !known {
		return in, imx.Errorf(imx.NotFound, "there is no instance %q", id).WithHint("imx ps lists those that run")
	}
	return in, nil
}
