package trial_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"imx"
	"imx/internal/attest"
	"imx/internal/trial"
)

// predicate is what others read of a statement of tests.
type predicate struct {
	Result        string `json:"result"`
	Configuration []struct {
		Name string `json:"name"`
	} `json:"configuration"`
	PassedTests []string `json:"passedTests"`
	WarnedTests []string `json:"warnedTests"`
	FailedTests []string `json:"failedTests"`
}

func (w *world) stated(t *testing.T, image imx.Digest) (attest.Claim, predicate) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.claims[image]
	b, err := json.Marshal(c.Predicate)
	if err != nil {
		t.Fatal(err)
	}
	var p predicate
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	return c, p
}

func (p predicate) hasPlan() bool {
	for _, d := range p.Configuration {
		if d.Name == "plan" {
			return true
		}
	}
	return false
}

// commands is a run of a test of db for each name; only some are asked. A command is named as its test.
func commands(only []string, names ...string) trial.Run {
	r := trial.Run{Plan: imx.DigestJSON(names), Services: []trial.Subject{subject("db")}, Only: only}
	for _, name := range names {
		r.Tests = append(r.Tests, imx.Test{
			Name: name, Service: "db", Commands: []imx.CommandTest{{Name: name, Command: []string{"/" + name}, Contains: "PONG"}},
		})
	}
	return r
}

func (w *world) run(t *testing.T, r trial.Run) []imx.TestResult {
	t.Helper()
	results, err := w.Test(t.Context(), "root", r, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestARunOfSomeTestsNeverReplacesAFailureByAPass(t *testing.T) {
	w := newWorld()
	w.fail("/bad")
	db := subject("db").Image.Digest
	both := []string{"good", "bad"}
	w.run(t, commands(both, both...))
	for _, again := range []bool{true, false} {
		r := commands([]string{"good"}, both...)
		r.Again = again
		if results := w.run(t, r); len(results) != 1 || !results[0].Passed {
			t.Errorf("%+v", results)
		}
		c, p := w.stated(t, db)
		if *c.Passed || p.Result != "FAILED" || !slices.Equal(p.FailedTests, []string{"db/bad"}) || !slices.Equal(p.WarnedTests, []string{"db/refusals"}) || p.hasPlan() {
			t.Errorf("again %v: %q, %+v", again, c.Summary, p)
		}
	}
	w.fail()
	w.run(t, commands([]string{"bad"}, both...))
	if _, p := w.stated(t, db); p.Result != "WARNED" || !slices.Equal(p.PassedTests, []string{"db/good", "db/bad"}) {
		t.Errorf("mended: %+v", p)
	}
}

func TestATestThatWasNotRunIsNoPass(t *testing.T) {
	w := newWorld()
	w.run(t, commands([]string{"good"}, "good", "unasked"))
	c, p := w.stated(t, subject("db").Image.Digest)
	if *c.Passed || p.Result != "WARNED" || !slices.Equal(p.WarnedTests, []string{"db/refusals", "db/unasked"}) || p.hasPlan() || c.Summary != "1 of 3 tests passed; 2 not run" {
		t.Errorf("%q, %+v", c.Summary, p)
	}
}

func TestTemplatesThatTakeTurnsOverAnImageKeepEachOthersResults(t *testing.T) {
	w := newWorld()
	w.fail("/bad")
	db := subject("db").Image.Digest
	ones := []string{"good", "bad"}
	w.run(t, commands(ones, ones...))
	w.run(t, commands([]string{"other"}, "other"))
	if _, p := w.stated(t, db); len(p.FailedTests) != 0 || !slices.Equal(p.PassedTests, []string{"db/other"}) {
		t.Errorf("the second template: %+v", p)
	}
	opened := len(w.opened)
	w.run(t, commands([]string{"good"}, ones...))
	if len(w.opened) != opened {
		t.Error("what passed was tested again")
	}
	r := commands([]string{"good"}, ones...)
	r.Again = true
	w.run(t, r)
	if c, p := w.stated(t, db); *c.Passed || !slices.Equal(p.FailedTests, []string{"db/bad"}) {
		t.Errorf("the first template's failure is forgotten: %+v", p)
	}
}

func TestRunsAtTheSameTimeLoseNoResult(t *testing.T) {
	w := newWorld()
	w.fail("/t0", "/t3")
	names := []string{"t0", "t1", "t2", "t3", "t4", "t5"}
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			if _, err := w.Test(t.Context(), "root", commands([]string{name}, names...), quiet); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	_, p := w.stated(t, subject("db").Image.Digest)
	if got := fmt.Sprint(p.PassedTests, p.FailedTests, p.WarnedTests); got != "[db/t1 db/t2 db/t4 db/t5] [db/t0 db/t3] [db/refusals]" {
		t.Error(got)
	}
	for _, m := range w.opened {
		if !m.closed {
			t.Error("a machine is left")
		}
	}
}

// fail makes these programs fail, and all others answer.
func (w *world) fail(programs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.program = func(_ context.Context, args []string, out io.Writer) (int, error) {
		if slices.Contains(programs, strings.Join(args, " ")) {
			return 1, nil
		}
		_, err := io.WriteString(out, "PONG")
		return 0, err
	}
}
