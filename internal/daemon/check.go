package daemon

import (
	"context"
	"sync"
	"time"

	"imx"
	"imx/internal/attest"
	"imx/internal/check"
	"imx/internal/leak"
)

// checks holds templates against imx's own rules, and states of images what they found.
type checks struct {
	// set compiles the rules when the first template comes: a server that only runs instances needs none.
	set      func() (*check.Set, error)
	secrets  func() *leak.Scanner
	refuse   imx.Level
	version  string
	attester func() *attest.Attester // which is made later
}

func newChecks(s *server) checks {
	return checks{
		set: sync.OnceValues(check.Shipped), secrets: sync.OnceValue(leak.New), refuse: s.refuse, version: s.version,
		attester: func() *attest.Attester { return s.attester },
	}
}

// pass returns what the rules find in a template. Errors: as check.Gate.
func (c checks) pass(ctx context.Context, t imx.Template) ([]imx.Finding, error) {
	set, err := c.set()
	if err != nil {
		return nil, err
	}
	return check.Gate{Set: set, Secrets: c.secrets(), Refuse: c.refuse}.Pass(ctx, t, time.Now())
}

// state makes what the rules found in a plan's template into evidence of an image.
func (c checks) state(ctx context.Context, by imx.Principal, image imx.Image, planned imx.PlanResult) error {
	set, err := c.set()
	if err != nil {
		return err
	}
	predicate, passed, summary := check.Attest(check.Predicate{
		Checker: "imx " + c.version, Day: time.Now().UTC().Format(time.DateOnly), Template: planned.Plan.Source, Refuse: c.refuse, Findings: planned.Findings,
	}, set.Rules())
	_, err = c.attester().Add(ctx, by, attest.Claim{
		Repository: image.Name, Image: image.Digest, PredicateType: imx.PredicateCheck, Predicate: predicate, Passed: &passed, Summary: summary,
	})
	return err
}
