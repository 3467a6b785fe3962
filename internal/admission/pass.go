// Package admission has the one thing without which no engine starts an instance: a Pass.
//
// Promise 2, "nothing runs unproved", is a matter of types here. engine.Runner.Scale starts nothing without a Pass for the
// release, and a Pass can't be made but by Issue, from a verdict that says yes to that very release, or by ForTrial,
// for the instances of a test, which nothing but the test can reach. internal/arch holds the list of who calls the two.
package admission

import (
	"cmp"
	"slices"
	"time"

	"imx"
)

// Pass allows an engine to start instances of one release. The zero Pass allows nothing.
type Pass struct {
	release imx.Digest // identity of the release; "" for the zero Pass
}

// Covers reports, as an error of kind Refused, whether the pass isn't for a release as it is.
func (p Pass) Covers(r imx.Release) error {
	switch p.release {
	case "":
		return imx.Errorf(imx.Refused, "no instance of release %d of %s starts without a verdict that allows it", r.Number, r.Service)
	case identity(r):
		return nil
	}
	return imx.Errorf(imx.Refused, "the verdict isn't on release %d of %s as it is now", r.Number, r.Service)
}

// identity names all of a release that decides what an instance of it is and may do; its State isn't part of that.
func identity(r imx.Release) imx.Digest {
	r.State, r.Reason = "", ""
	return imx.DigestJSON(r)
}

// Issue makes a Pass for a release, from a verdict on it that is valid at a moment.
// Errors: Refused, naming the conditions, for a verdict that says no; of something else; or of another time.
func Issue(v imx.Verdict, r imx.Release, now time.Time) (Pass, error) {
	switch {
	case v.Image != r.Image.Digest:
		return Pass{}, imx.Errorf(imx.Refused, "the verdict is on image %s, and release %d of %s has %s", v.Image.Short(), r.Number, r.Service, r.Image.Digest.Short())
	case v.Plan != r.Plan:
		return Pass{}, imx.Errorf(imx.Refused, "the verdict is on plan %s, and release %d of %s is of %s", v.Plan.Short(), r.Number, r.Service, r.Plan.Short())
	case v.Service != r.Service:
		return Pass{}, imx.Errorf(imx.Refused, "the verdict is on service %s, and not on %s", v.Service, r.Service)
	case !v.Allowed:
		return Pass{}, Denied(v)
	case !now.Before(v.Until) || now.Before(v.Made):
		return Pass{}, imx.Errorf(imx.Refused, "the verdict on release %d of %s holds from %s until %s, and it is %s", r.Number, r.Service,
			v.Made.Format(time.RFC3339), v.Until.Format(time.RFC3339), now.Format(time.RFC3339))
	}
	return Pass{identity(r)}, nil
}

// Denied is the error of a verdict that says no: each condition that isn't met on a line of its own, with what to do about it below it where
// there are several, and the first of that as the hint. Approvals come last: nothing can be approved while anything else is missing.
func Denied(v imx.Verdict) *imx.Error {
	unmet := slices.DeleteFunc(slices.Clone(v.Conditions), func(c imx.Condition) bool { return c.Holds() })
	slices.SortStableFunc(unmet, func(a, b imx.Condition) int { return order(a) - order(b) })
	lines, hint := "", ""
	for _, c := range unmet {
		if c.ID == approvals && len(unmet) > 1 {
			c.Hint = "when nothing else is missing, the same leaves a candidate, and imx approve says yes to it"
		}
		lines += "\n  " + c.ID + ": " + c.Says
		if len(unmet) > 1 && c.Hint != "" {
			lines += "\n    " + c.Hint
		}
		hint = cmp.Or(hint, c.Hint)
	}
	if len(v.Conditions) == 0 {
		lines = "\n  its policy asks for nothing, and so it allows nothing"
	}
	err := imx.Errorf(imx.Refused, "the policy of %s doesn't allow image %s for %s:%s", v.Environment, v.Image.Short(), v.Service, lines)
	if hint != "" {
		return err.WithHint("%s", hint)
	}
	return err
}

// approvals is the condition that is met last.
const approvals = "reviews"

func order(c imx.Condition) int {
	if c.ID == approvals {
		return 1
	}
	return 0
}

// ForTrial makes a Pass for an instance of a test, on a network of the test's own: its image has no verdict yet,
// because the test is part of what the verdict stands on.
func ForTrial(r imx.Release) Pass { return Pass{identity(r)} }
