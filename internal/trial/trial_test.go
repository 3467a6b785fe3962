// Package trial_test tests the decisions of a trial on an engine in memory: what is due, what is started in which
// order, what a failure says, what is kept. That instances really refuse what they must is tested by the end-to-end
// scripts, with real ones.
package trial_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/attest"
	"imx/internal/engine"
	"imx/internal/engine/fake"
	"imx/internal/statement"
	"imx/internal/trial"
)

// world is a Tester whose machines are in memory.
type world struct {
	*trial.Tester

	mu      sync.Mutex
	fates   map[string]fake.Behaviour // by service
	command func(ctx context.Context, out io.Writer) (int, error)
	program func(ctx context.Context, args []string, out io.Writer) (int, error) // in place of command
	sandbox imx.Digest
	at      netip.Addr     // of all instances, in place of addresses that would be somebody's
	second  fake.Behaviour // of app's second release, the probe of its cannot
	opened  []*machine
	kits    []string // that commands were run in
	claims  map[imx.Digest]attest.Claim
}

// machine is an engine in memory whose time passes by itself.
type machine struct {
	*fake.Engine

	w       *world
	mu      sync.Mutex
	started []string
	closed  bool
}

func newWorld() *world {
	w := &world{at: netip.MustParseAddr("127.0.0.1"), fates: map[string]fake.Behaviour{}, claims: map[imx.Digest]attest.Claim{}}
	w.command = func(_ context.Context, out io.Writer) (int, error) {
		_, err := io.WriteString(out, "PONG")
		return 0, err
	}
	w.Tester = trial.New(trial.Config{Now: time.Now, Evidence: w, Patience: 2 * time.Second, Sandbox: func() (imx.Digest, error) { return w.sandbox, nil }, Open: func(context.Context) (trial.Machine, error) {
		m := &machine{Engine: fake.New(time.Now), w: w}
		for service, fate := range w.fates {
			m.Behave(service, 1, fate)
		}
		m.Behave("app", 2, w.second)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.opened = append(w.opened, m)
		return m, nil
	}})
	return w
}

func (m *machine) Network() netip.Prefix { return netip.MustParsePrefix("198.19.0.0/22") }

func (m *machine) Gateway() netip.Addr { return netip.MustParseAddr("127.0.0.1") }

func (m *machine) Run(ctx context.Context, changed func()) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			m.Tick()
			changed()
		}
	}
}

func (m *machine) Scale(ctx context.Context, p admission.Pass, r imx.Release, n int) error {
	m.mu.Lock()
	m.started = append(m.started, r.Service)
	m.mu.Unlock()
	return m.Engine.Scale(ctx, p, r, n)
}

func (m *machine) Observe(ctx context.Context) (imx.Seen, error) {
	seen, err := m.Engine.Observe(ctx)
	for i := range seen.Instances {
		seen.Instances[i].Address = m.w.at
	}
	return seen, err
}

func (m *machine) Exec(ctx context.Context, _ string, args []string, out io.Writer) (int, error) {
	m.w.mu.Lock()
	program := m.w.program
	m.w.mu.Unlock()
	if program != nil {
		return program(ctx, args, out)
	}
	return m.w.command(ctx, out)
}

func (m *machine) ExecIn(ctx context.Context, _ admission.Pass, c engine.KitCommand, out io.Writer) (int, error) {
	m.w.mu.Lock()
	m.w.kits = append(m.w.kits, c.Kit.Name)
	m.w.mu.Unlock()
	return m.w.command(ctx, out)
}

func (m *machine) Close(context.Context) error {
	m.closed = true
	return nil
}

func (w *world) Add(_ context.Context, _ imx.Principal, c attest.Claim) (imx.Evidence, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claims[c.Image] = c
	return imx.Evidence{}, nil
}

func (w *world) Counted(image imx.Digest, _ string) (imx.Statement, error) {
	w.mu.Lock()
	c, ok := w.claims[image]
	w.mu.Unlock()
	if !ok {
		return imx.Statement{}, imx.Errorf(imx.NotFound, "nothing is known of %s", image)
	}
	return statement.Make(c.Repository, c.Image, c.PredicateType, c.Predicate)
}

func subject(name string, connect ...string) trial.Subject {
	spec := imx.Spec{Name: name, Image: name, Ports: []imx.Port{{Name: "main", Container: 80, Publish: 8080}}}
	for _, c := range connect {
		spec.Connect = append(spec.Connect, imx.PortRef{Service: c, Port: "main"})
	}
	return trial.Subject{Spec: spec, Image: imx.Image{Name: name, Digest: imx.DigestBytes([]byte(name))}, Config: imx.ImageSpec{Name: name, Command: []string{"/x"}}}
}

// pings is a run of one test of web, which stands on app and db.
func pings() trial.Run {
	return trial.Run{
		Services: []trial.Subject{subject("app", "db"), subject("db"), subject("web", "app", "db")},
		Tests: []imx.Test{{
			Name: "pings", Service: "web", Timeout: imx.Duration(2 * time.Second), At: imx.Pos{File: "t.imx.hcl", Line: 7},
			Commands: []imx.CommandTest{{Name: "ping", Command: []string{"/ping"}, Contains: "PONG", At: imx.Pos{File: "t.imx.hcl", Line: 9}}},
		}},
		Only: []string{"pings"},
	}
}

func quiet(imx.Progress) {}

func (w *world) one(t *testing.T, r trial.Run) imx.TestResult {
	t.Helper()
	results, err := w.Test(t.Context(), "root", r, quiet)
	if err != nil || len(results) != 1 {
		t.Fatalf("%+v, %v", results, err)
	}
	for _, m := range w.opened {
		if !m.closed {
			t.Error("a machine is left")
		}
	}
	return results[0]
}

func TestAServiceIsStartedAfterWhatItStandsOn(t *testing.T) {
	w := newWorld()
	if r := w.one(t, pings()); !r.Passed {
		t.Errorf("%+v", r)
	}
	if got := w.opened[0].started; !slices.Equal(got, []string{"db", "app", "web"}) {
		t.Errorf("started %v", got)
	}
	alone := pings()
	alone.Tests[0].Alone = true
	if r := w.one(t, alone); !r.Passed || !slices.Equal(w.opened[1].started, []string{"web"}) {
		t.Errorf("alone: %v, %+v", w.opened[1].started, r)
	}
}

func TestWhatPassedIsTestedAgainOnlyWhenSomethingOfItChanged(t *testing.T) {
	for name, change := range map[string]struct {
		of   func(r *trial.Run)
		anew bool
	}{
		"nothing":                 {func(*trial.Run) {}, false},
		"a line above the test":   {func(r *trial.Run) { r.Tests[0].At.Line++; r.Tests[0].Commands[0].At.Line++ }, false},
		"the number of instances": {func(r *trial.Run) { r.Services[2].Spec.Replicas = 7 }, false},
		"a published port":        {func(r *trial.Run) { r.Services[2].Spec.Ports[0].Publish = 9 }, false},
		"what is asked":           {func(r *trial.Run) { r.Tests[0].Commands[0].Contains = "PON" }, true},
		"the image":               {func(r *trial.Run) { r.Services[2].Image.Digest = imx.DigestBytes(nil) }, true},
		"the user":                {func(r *trial.Run) { r.Services[2].Config.User = "1" }, true},
		"what it stands on":       {func(r *trial.Run) { r.Services[1].Image.Digest = imx.DigestBytes(nil) }, true},
		"a wish to see it again":  {func(r *trial.Run) { r.Again = true }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.one(t, pings())
			r := pings()
			change.of(&r)
			if again := w.one(t, r); !again.Passed || len(again.Checks) != 1 || (len(w.opened) == 2) != change.anew {
				t.Errorf("%d machines, %+v", len(w.opened), again)
			}
		})
	}
}

func TestAFailureSaysWhatWasAskedWhatCameAndWhatTheInstanceWrote(t *testing.T) {
	w := newWorld()
	w.fates["web"] = fake.Behaviour{Says: "I am ready"}
	w.command = func(_ context.Context, out io.Writer) (int, error) {
		for range 1 << 14 { // a gigabyte, of which little is kept
			_, _ = out.Write(make([]byte, 1<<16))
		}
		return 3, nil
	}
	r := w.one(t, pings())
	if r.Passed || len(r.Checks) != 1 || r.Checks[0].Got != "it ended with 3" || len(r.Checks[0].Output) > 16<<10 {
		t.Errorf("%d bytes of output, %q", len(r.Checks[0].Output), r.Checks[0].Got)
	}
	err := imx.AsError(trial.Failed([]imx.TestResult{r}))
	if err == nil || err.Kind != imx.Refused || len(err.Diagnostics) != 1 {
		t.Fatalf("%v", err)
	}
	d := err.Diagnostics[0]
	if d.At.Line != 9 || !strings.Contains(d.Summary, "/ping ends with 0") || !strings.Contains(d.Summary, "it ended with 3") || !strings.Contains(d.Hint, "I am ready") {
		t.Errorf("%+v", d)
	}
	if again := w.one(t, pings()); again.Passed || len(w.opened) != 2 {
		t.Error("a test that failed wasn't done again")
	}
}

func TestAServiceThatNeverGetsHealthyOrEndsFailsTheTest(t *testing.T) {
	for name, c := range map[string]struct {
		service string
		fate    fake.Behaviour
		asked   string
	}{
		"never healthy":                {"web", fake.Behaviour{Never: true}, "web gets healthy"},
		"ends before it is healthy":    {"web", fake.Behaviour{Ticks: 5, CrashAfter: 1, Exit: 4}, "web gets healthy"},
		"what it stands on has no use": {"db", fake.Behaviour{Never: true}, "db gets healthy"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.fates[c.service] = c.fate
			run := pings()
			run.Tests[0].Timeout = imx.Duration(300 * time.Millisecond)
			if r := w.one(t, run); r.Passed || r.Checks[0].Asked != c.asked {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestACommandThatHangsEndsWithTheTestsTime(t *testing.T) {
	w := newWorld()
	w.command = func(ctx context.Context, _ io.Writer) (int, error) {
		<-ctx.Done()
		return -1, context.Cause(ctx)
	}
	run := pings()
	run.Tests[0].Timeout = imx.Duration(300 * time.Millisecond)
	if r := w.one(t, run); r.Passed || !strings.Contains(r.Checks[0].Got, "the test's time of 300ms is over") {
		t.Errorf("%+v", r)
	}
}

func TestWhoGoesAwayLeavesNoMachineAndNoEvidence(t *testing.T) {
	w := newWorld()
	ctx, cancel := context.WithCancel(t.Context())
	w.command = func(ctx context.Context, _ io.Writer) (int, error) {
		cancel()
		<-ctx.Done()
		return -1, context.Cause(ctx)
	}
	_, err := w.Test(ctx, "root", pings(), quiet)
	if !errors.Is(err, context.Canceled) || !w.opened[0].closed || len(w.claims) != 0 {
		t.Errorf("%v, closed %v, %d claims", err, w.opened[0].closed, len(w.claims))
	}
}

func TestTheEvidenceIsATestResultOfInToto(t *testing.T) {
	w := newWorld()
	run := pings()
	run.Plan = imx.DigestBytes([]byte("plan"))
	run.Tests = append(run.Tests, run.Tests[0])
	run.Tests[1].Name, run.Only = "fails", append(run.Only, "fails")
	run.Tests[1].Commands = []imx.CommandTest{{Name: "ping", Command: []string{"/ping"}, Exit: 9}}
	if _, err := w.Test(t.Context(), "root", run, quiet); err != nil {
		t.Fatal(err)
	}
	c, got := w.stated(t, run.Services[2].Image.Digest)
	want := `{FAILED [{web/refusals} {web/pings} {web/fails}] [web/pings] [web/refusals] [web/fails]}` // no plan: not all were run
	if fmt.Sprint(got) != want || c.PredicateType != imx.PredicateTest || *c.Passed || c.Summary != "1 of 3 tests passed; 1 not run" {
		t.Errorf("%v, %+v", got, c)
	}
}

// A rollout gives a service up at its deadline, and so does a test: nobody waits for the rest of the test's time.
func TestAServiceIsGivenUpAtItsDeadline(t *testing.T) {
	w := newWorld()
	w.fates["db"] = fake.Behaviour{Never: true}
	run := pings()
	run.Tests[0].Timeout = imx.Duration(time.Minute)
	run.Services[1].Spec.Deadline = imx.Duration(200 * time.Millisecond)
	r := w.one(t, run)
	if r.Passed || r.Checks[0].Asked != "db gets healthy" || !strings.Contains(r.Checks[0].Got, "its deadline of 200ms is over") || r.Seconds > 30 {
		t.Errorf("%+v", r)
	}
}
