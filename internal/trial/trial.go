// Package trial tests images: it starts instances of them on a machine that is made for one test and thrown away
// after it, asks them what the template's test blocks say, and has them try what no instance may be able to do. What
// came of it is kept as evidence about the image, and not done again while nothing of it has changed.
//
// It builds nothing and releases nothing, and what runs is never touched: a trial has addresses, names and volumes of
// its own.
package trial

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"imx"
	"imx/internal/admission"
	"imx/internal/attest"
	"imx/internal/engine"
)

// Machine is where the instances of one test run: an engine with nothing else on it.
type Machine interface {
	engine.Engine
	// Exec runs a program beside an instance, as engine/local has it.
	Exec(ctx context.Context, id string, args []string, out io.Writer) (int, error)
	// ExecIn is Exec with a kit's root in place of the instance's; the pass is for the instance's release with that image.
	ExecIn(ctx context.Context, p admission.Pass, c engine.KitCommand, out io.Writer) (int, error)
	// Network is the machine's range of addresses; services have those of its lower half.
	Network() netip.Prefix
	// Gateway is the machine's own address on the way of every instance; it has it while one is there.
	Gateway() netip.Addr
	// Close ends everything on the machine and leaves no trace of it, also when ctx has ended.
	Close(ctx context.Context) error
}

// Evidence keeps what was found, and finds it again.
type Evidence interface {
	Add(ctx context.Context, by imx.Principal, c attest.Claim) (imx.Evidence, error)
	// Counted returns the newest statement of a type about an image, if it counts.
	Counted(image imx.Digest, predicateType string) (imx.Statement, error)
}

// Config is what a Tester joins.
type Config struct {
	Open     func(ctx context.Context) (Machine, error)
	Evidence Evidence
	Now      func() time.Time
	// Sandbox names what results depend on beside what a Run has: what instances are confined by, and what probes them.
	Sandbox func() (imx.Digest, error)
	// Patience is how long one probe may take; 0 means a minute.
	Patience time.Duration
}

// Tester tests images. Its methods may be called from several goroutines at once.
type Tester struct {
	cfg  Config
	turn chan struct{} // one run at a time: two would fight for the same cores

	stating sync.Mutex // held from reading what is stated to stating more
}

// New returns a Tester. It starts nothing.
func New(cfg Config) *Tester { return &Tester{cfg: cfg, turn: make(chan struct{}, 1)} }

// Subject is a planned service with the image that was built for it.
type Subject struct {
	Spec   imx.Spec
	Image  imx.Image
	Config imx.ImageSpec
}

// Run is what to test.
type Run struct {
	Plan     imx.Digest
	Services []Subject // all of the plan
	Images   []Subject // those of the plan that no service has, with a Spec of their own
	Tests    []imx.Test
	Kits     []imx.Kit // all of the plan
	// Places are the template's: of the settings of tests, where they are known.
	Places map[string]imx.Pos
	// Make builds a kit, or finds that it is built.
	Make func(ctx context.Context, k imx.Kit) (imx.Image, error)
	// Only are names of tests and services; with any, only those tests, and those of these services, are run.
	Only []string
	// Again says that what passed already is tested once more.
	Again bool
}

// Refusals is the name of the test of what every image must refuse.
const Refusals = "refusals"

// Test tests what a run has, keeps the evidence, and returns what came of each test in the order of the template, the
// refusals first. A test that fails is in the result, not an error; so is an instance that can't be started. Errors: those
// of Run.Make, too.
func (t *Tester) Test(ctx context.Context, by imx.Principal, r Run, report imx.Report) ([]imx.TestResult, error) {
	sandbox, err := t.cfg.Sandbox()
	if err != nil {
		return nil, fmt.Errorf("what tests run in: %w", err)
	}
	cases := r.cases(sandbox)
	if err := t.recall(r, cases, report); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(cases, func(c *trialCase) bool { return c.due }) {
		return results(cases), t.state(ctx, by, r, cases)
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := r.makeKits(ctx, cases); err != nil {
		return nil, err
	}
	if err := t.runAll(ctx, cases, report); err != nil {
		return nil, err
	}
	return results(cases), t.state(ctx, by, r, cases)
}

// parallelTests is how many machines there are at once: more only fight for the same cores, and a test's time runs.
const parallelTests = 3

// runAll runs what is due: the refusals of all services beside each other on one machine, each test on one of its own.
func (t *Tester) runAll(ctx context.Context, cases []*trialCase, report imx.Report) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelTests)
	var probes []*trialCase
	for _, c := range cases {
		if c.due && c.test == nil {
			probes = append(probes, c)
		}
	}
	if len(probes) > 0 {
		group.Go(func() error {
			return t.on(ctx, func(s *session) error { return s.refusals(ctx, probes, report) })
		})
	}
	for _, c := range cases {
		if c.due && c.test != nil {
			group.Go(func() error {
				return t.on(ctx, func(s *session) error {
					return s.timed(c, report, func() error { return s.test(ctx, c) })
				})
			})
		}
	}
	return group.Wait()
}

// results are those of the cases that were asked for.
func results(cases []*trialCase) []imx.TestResult {
	list := []imx.TestResult{}
	for _, c := range cases {
		if c.asked {
			list = append(list, c.result)
		}
	}
	return list
}

// Failed returns an error of kind Refused if a test failed, with what was asked and what came, by place.
func Failed(list []imx.TestResult) error {
	var bad imx.Diagnostics
	failed := 0
	for _, r := range list {
		if r.Passed {
			continue
		}
		failed++
		for _, c := range r.Checks {
			if !c.Passed {
				bad = append(bad, diagnostic(r, c))
			}
		}
	}
	if failed == 0 {
		return nil
	}
	e := imx.Errorf(imx.Refused, "%d of %d tests failed: nothing was released", failed, len(list)).
		WithHint("imx test tells more; imx apply --skip-tests REASON releases it all the same")
	e.Diagnostics = bad.First()
	return e
}

func diagnostic(r imx.TestResult, c imx.TestCheck) imx.Diagnostic {
	at := c.At
	if at.File == "" {
		at = r.At
	}
	d := imx.Diagnostic{
		Severity: imx.SeverityError, At: at,
		Summary: fmt.Sprintf("test %q of %s: %s: asked: %s; got: %s", r.Test, cmp.Or(r.Service, "the image"), c.Name, c.Asked, c.Got),
	}
	if len(r.Logs) > 0 {
		d.Hint = "its last lines: " + joined(r.Logs)
	}
	return d
}
