package verdict

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"imx"
	"imx/internal/policy"
)

// Policy returns an environment's policy, this server's for "", and what its conditions ask for. Errors: as policy.CheckKnown.
func (j *Judge) Policy(environment string) (imx.PolicyView, error) {
	environment = cmp.Or(environment, j.cfg.Environment)
	s := j.cfg.Control.State()
	if err := policy.CheckKnown(s, environment); err != nil && environment != j.cfg.Environment {
		return imx.PolicyView{}, err
	}
	return j.view(s, environment)
}

// view is an environment's policy as a state has it.
func (j *Judge) view(s *imx.State, environment string) (imx.PolicyView, error) {
	p := policy.Of(s, environment)
	book, err := policy.Compile(p)
	if err != nil {
		return imx.PolicyView{}, err
	}
	replaced, err := policy.Replaced(p)
	if err != nil {
		return imx.PolicyView{}, err
	}
	_, set := s.Policies[environment]
	shown := imx.PolicyView{Policy: p, Digest: p.Digest(), Shipped: !set, Conditions: book.Conditions(), Notes: j.notes(s, p)}
	if changed, ok := s.PolicyChanges[environment]; ok {
		shown.Changed = &changed
	}
	for _, r := range replaced {
		if r.Firm {
			shown.Replaced = append(shown.Replaced, r.ID)
		}
		if !slices.ContainsFunc(shown.Conditions, func(c imx.ConditionView) bool { return c.ID == r.ID }) {
			shown.Notes = append(shown.Notes, fmt.Sprintf("%s takes the place of imx's condition %s, which isn't asked for any more", r.File, r.ID))
		}
	}
	return shown, nil
}

// notes say what is odd about a policy here.
func (j *Judge) notes(s *imx.State, p imx.Policy) []string {
	if p.Environment != j.cfg.Environment {
		return []string{fmt.Sprintf("nothing runs by it here: this server's environment is %s", j.cfg.Environment)}
	}
	if _, known := s.Upstreams[p.Settings.After]; p.Settings.After != "" && !known {
		return []string{fmt.Sprintf("nothing can be released: it asks for what was good in %s, whose server isn't known: imx upstream add", p.Settings.After)}
	}
	reviewers := 0
	for _, one := range s.People {
		if one.Has(imx.RoleReviewer) {
			reviewers++
		}
	}
	if p.Settings.Reviews > reviewers {
		return []string{fmt.Sprintf("it asks for %d approvals, and of those who are known %d may review: imx person add NAME --role reviewer", p.Settings.Reviews, reviewers)}
	}
	return nil
}

// SetPolicy gives an environment a policy, or imx's own again, and says whose releases that changes something for. A dry run only says it.
// Errors: Invalid, with file and line for rules that don't compile; Refused for rules in the place of a condition that nothing excuses, unless
// the request says so; Conflict where the policy isn't the one that the request is over.
func (j *Judge) SetPolicy(ctx context.Context, by imx.Principal, req imx.PolicyRequest) (imx.PolicyView, error) {
	environment := req.Policy.Environment
	if err := policy.CheckEnvironment(environment); err != nil {
		return imx.PolicyView{}, err
	}
	s := j.cfg.Control.State()
	set := imx.PolicySet{
		Policy: req.Policy, Reason: strings.TrimSpace(req.Reason), Shipped: req.Policy.Digest() == policy.Default(environment).Digest(),
	}
	next := *s
	next.Policies = map[string]imx.Policy{}
	maps.Copy(next.Policies, s.Policies)
	if next.Policies[environment] = req.Policy; set.Shipped {
		delete(next.Policies, environment)
	}
	shown, err := j.view(&next, environment)
	if err != nil {
		return shown, err
	}
	set.Replaces = shown.Replaced
	if err := mayReplace(s, req); err != nil {
		return shown, err
	}
	_, own := s.Policies[environment]
	if policy.CheckKnown(s, environment) == nil && own == !set.Shipped && policy.Of(s, environment).Digest() == req.Policy.Digest() {
		return shown, nil
	}
	if environment == j.cfg.Environment {
		if shown.Hits, err = j.hits(ctx, s, &next); err != nil {
			return shown, err
		}
	}
	if req.DryRun {
		return shown, nil
	}
	err = j.cfg.Control.SetPolicy(by, set, req.Over, func(now *imx.State) imx.Policy { return policy.Of(now, environment) })
	if err != nil {
		return shown, err
	}
	hits := shown.Hits
	shown, err = j.view(j.cfg.Control.State(), environment)
	shown.Hits = hits
	return shown, err
}

// mayReplace refuses rules that take the place of a condition that nothing excuses and didn't before, unless that is said.
func mayReplace(s *imx.State, req imx.PolicyRequest) error {
	all, err := policy.Replaced(req.Policy)
	if err != nil || req.ReplaceFirm {
		return err
	}
	before := policy.Of(s, req.Policy.Environment).Rules
	for _, r := range all {
		if r.Firm && before[r.File] != req.Policy.Rules[r.File] {
			return imx.Errorf(imx.Refused, "%s takes the place of the condition %s, which nothing excuses: what it asks for is what all others stand on", r.File, r.ID).
				WithHint("give the file another name, and it is asked for beside it; or say --replace-firm, which the log and imx policy show tell")
		}
	}
	return nil
}

// hits are the releases that run and for which the policy of another state would change something.
func (j *Judge) hits(ctx context.Context, s, next *imx.State) ([]imx.PolicyHit, error) {
	var all []imx.PolicyHit
	for _, r := range running(s) {
		for _, purpose := range []imx.Purpose{imx.ForStart, imx.ForRelease} {
			one, changes, err := j.hit(ctx, [2]*imx.State{s, next}, r, purpose)
			if err != nil {
				return nil, err
			}
			if changes {
				all = append(all, one)
			}
		}
	}
	return all, nil
}

// hit is how a release stands in the later of two states, and whether that differs from the earlier.
func (j *Judge) hit(ctx context.Context, states [2]*imx.State, r imx.Release, purpose imx.Purpose) (one imx.PolicyHit, changes bool, err error) {
	was, err := j.explained(ctx, states[0], r, purpose)
	if err != nil {
		return one, false, err
	}
	will, err := j.explained(ctx, states[1], r, purpose)
	if err != nil {
		return one, false, err
	}
	one = imx.PolicyHit{Service: r.Service, Release: r.Number, Purpose: purpose, Allowed: will.verdict.Allowed, Unmet: unmet(will.verdict)}
	changes = was.verdict.Allowed != one.Allowed
	if purpose != imx.ForStart || one.Allowed {
		return one, changes, nil
	}
	did, _, err := j.does(ctx, states[0], r)
	if err != nil {
		return one, false, err
	}
	one.Does, one.To, err = j.does(ctx, states[1], r)
	return one, changes || did != one.Does, err
}
