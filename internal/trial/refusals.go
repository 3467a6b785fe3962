package trial

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"imx"
	"imx/internal/probe"
)

const (
	// probeTime is how long one probe may take, on a machine that is busy with other things.
	probeTime = time.Minute
	// parallelProbes is how many are started at once.
	parallelProbes = 4
)

// refusals has a probe try, in an instance of each case's service, what none may be able to do.
func (s *session) refusals(ctx context.Context, cases []*trialCase, report imx.Report) error {
	var subjects []Subject
	for _, c := range cases {
		subjects = append(subjects, c.subject)
	}
	releases := s.releases(subjects)
	addresses, err := s.lure(ctx, releases[0])
	if err != nil {
		for _, c := range cases {
			c.cantStart(err)
			report(imx.Progress{Step: c.step(), Status: imx.StepFailed, Message: short(err.Error())})
		}
		return ctx.Err()
	}
	var group errgroup.Group
	group.SetLimit(parallelProbes)
	for i, c := range cases {
		group.Go(func() error {
			return s.timed(c, report, func() error {
				r := probing(releases[i], 1, probe.Task{Refusals: true, Reach: addresses})
				return s.probe(ctx, c, r)
			})
		})
	}
	return group.Wait()
}

// probe runs a probe for a case. Only the end of ctx is an error: what else goes wrong is the case's.
func (s *session) probe(ctx context.Context, c *trialCase, r imx.Release) error {
	limited, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	attempts, err := s.try(limited, r)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.result.Checks = append(c.result.Checks, checksOf(attempts)...)
	if err != nil {
		c.cantStart(err)
	}
	return nil
}

// cantStart says that an instance of the case didn't start.
func (c *trialCase) cantStart(err error) {
	c.result.Checks = append(c.result.Checks, notStarted(c, err))
}

// notStarted is the check that an instance of a case starts, which it didn't.
func notStarted(c *trialCase, err error) imx.TestCheck {
	return imx.TestCheck{Name: "start", Asked: "an instance of " + c.subject.Spec.Name + " starts", Got: short(imx.AsError(err).Message)}
}
