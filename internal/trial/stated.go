package trial

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"imx"
	"imx/internal/attest"
)

// predicate is a test-result of in-toto:
// https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
//
// It is PASSED only if every test of the image passed, and WARNED if none failed, but some weren't run.
type predicate struct {
	Result        string       `json:"result"`
	Configuration []descriptor `json:"configuration"`
	PassedTests   []string     `json:"passedTests,omitempty"`
	WarnedTests   []string     `json:"warnedTests,omitempty"` // not run
	FailedTests   []string     `json:"failedTests,omitempty"`
}

// passed is the Result of an image all of whose tests did.
const passed = "PASSED"

// descriptor is a ResourceDescriptor of in-toto. A test's is named by its key, and annotated with what came of it.
type descriptor struct {
	Name        string            `json:"name"`
	Digest      map[string]string `json:"digest"`
	Annotations *annotations      `json:"annotations,omitempty"`
}

// annotations have a Result, or say that there is none.
type annotations struct {
	Result *imx.TestResult `json:"result,omitempty"`
	NotRun bool            `json:"notRun,omitempty"`
}

// planNote names, in a predicate, the plan whose tests of the image were all run. It isn't there where some weren't.
const planNote = "plan"

// keptOthers is how many results of other plans' tests a statement hands on: templates take turns over an image, and none
// may make another's failure forgotten.
const keptOthers = 64

// recall takes over what is known already, and says what is due: what passed isn't.
func (t *Tester) recall(r Run, cases []*trialCase, report imx.Report) error {
	known := map[imx.Digest]statedTests{}
	for _, c := range cases {
		image := c.subject.Image.Digest
		stated, ok := known[image]
		if !ok {
			var err error
			if stated, err = t.known(image); err != nil {
				return err
			}
			known[image] = stated
		}
		before, ok := stated.result(c)
		c.due = c.asked && (!ok || !before.Passed || r.Again)
		c.stale = stated.plan != r.Plan || !slices.Equal(stated.kits, kitsFor(image, cases))
		if !ok || c.due {
			continue
		}
		c.takeOver(before)
		if c.asked {
			report(imx.Progress{Step: c.step(), Status: imx.StepCached, Message: "passed before"})
		}
	}
	return nil
}

// takeOver makes an earlier result the case's. The test may stand elsewhere in its file by now.
func (c *trialCase) takeOver(before imx.TestResult) {
	before.At = c.result.At
	c.result, c.known = before, true
}

// statedTests are what the newest statement of an image's tests says.
type statedTests struct {
	results []descriptor // of tests, those with a result, in the statement's order
	kits    []imx.Digest // sorted
	plan    imx.Digest   // whose tests of the image were all run, "" if not all were
	outcome string       // predicate.Result
}

// result returns what is stated of a case.
func (s statedTests) result(c *trialCase) (imx.TestResult, bool) {
	i := slices.IndexFunc(s.results, func(d descriptor) bool { return d.Digest["sha256"] == c.key.Hex() })
	if i < 0 {
		return imx.TestResult{}, false
	}
	return *s.results[i].Annotations.Result, true
}

// known reads what was stated of an image's tests, if it counts.
func (t *Tester) known(image imx.Digest) (statedTests, error) {
	var found statedTests
	st, err := t.cfg.Evidence.Counted(image, imx.PredicateTest)
	if kind := imx.KindOf(err); kind == imx.NotFound || kind == imx.Refused {
		return found, nil // then it is tested again
	}
	if err != nil {
		return found, err
	}
	var p predicate
	if err := json.Unmarshal(st.Predicate, &p); err != nil {
		return found, nil //nolint:nilerr // then it is tested again
	}
	for _, d := range p.Configuration {
		if d.Name == planNote {
			found.plan = imx.Digest("sha256:" + d.Digest["sha256"])
		}
		if d.Annotations != nil && d.Annotations.Result != nil {
			found.results = append(found.results, d)
		}
	}
	found.kits, found.outcome = kitsIn(st), p.Result
	return found, nil
}

// Passed reports whether it is stated that all tests of an image passed, as a plan has them, and that counts: whoever's tester stated it.
func (t *Tester) Passed(image, plan imx.Digest) (bool, error) {
	stated, err := t.known(image)
	return err == nil && stated.plan == plan && stated.outcome == passed, err
}

// state keeps what is known now of each image of which something was tested, or of which all is known, and not stated.
func (t *Tester) state(ctx context.Context, by imx.Principal, r Run, cases []*trialCase) error {
	t.stating.Lock()
	defer t.stating.Unlock()
	done := map[imx.Digest]bool{}
	for _, c := range cases {
		image := c.subject.Image
		if done[image.Digest] {
			continue
		}
		done[image.Digest] = true
		its := slices.DeleteFunc(slices.Clone(cases), func(o *trialCase) bool { return o.subject.Image.Digest != image.Digest })
		ran := slices.ContainsFunc(its, func(o *trialCase) bool { return o.due })
		whole := !slices.ContainsFunc(its, func(o *trialCase) bool { return !o.known })
		if !ran && (!whole || !c.stale) {
			continue
		}
		// Another run may have stated something since: what didn't run now is as it says.
		stated, err := t.known(image.Digest)
		if err != nil {
			return err
		}
		if _, err := t.cfg.Evidence.Add(ctx, by, claim(r, image, its, stated)); err != nil {
			return fmt.Errorf("keeping the test results of %s: %w", image.Name, err)
		}
	}
	return nil
}

// claim is what is to be stated of an image whose cases are given, and of which something was stated before.
func claim(r Run, image imx.Image, its []*trialCase, before statedTests) attest.Claim {
	p := predicate{Result: passed}
	var tests []descriptor
	for _, c := range its {
		d := descriptor{Name: c.name(), Digest: map[string]string{"sha256": c.key.Hex()}, Annotations: &annotations{NotRun: true}}
		result, known := c.result, c.due
		if !c.due {
			result, known = before.result(c)
			result.At = c.result.At
		}
		switch {
		case !known:
			p.WarnedTests = append(p.WarnedTests, d.Name)
		case result.Passed:
			p.PassedTests = append(p.PassedTests, d.Name)
		default:
			p.FailedTests = append(p.FailedTests, d.Name)
		}
		if known {
			d.Annotations = &annotations{Result: &result}
		}
		tests = append(tests, d)
	}
	switch {
	case len(p.FailedTests) > 0:
		p.Result = "FAILED"
	case len(p.WarnedTests) > 0:
		p.Result = "WARNED"
	}
	if len(p.WarnedTests) == 0 {
		p.Configuration = append(p.Configuration, descriptor{Name: planNote, Digest: map[string]string{"sha256": r.Plan.Hex()}})
	}
	for _, kit := range kitsFor(image.Digest, its) {
		p.Configuration = append(p.Configuration, descriptor{Name: kitNote, Digest: map[string]string{"sha256": kit.Hex()}})
	}
	p.Configuration = append(append(p.Configuration, tests...), before.others(its)...)
	good := p.Result == passed
	return attest.Claim{
		Repository: image.Name, Image: image.Digest, PredicateType: imx.PredicateTest, Predicate: p, Passed: &good, Summary: p.summary(),
	}
}

// others are the results of tests that none of an image's cases is, the newest first.
func (s statedTests) others(its []*trialCase) []descriptor {
	all := slices.DeleteFunc(slices.Clone(s.results), func(d descriptor) bool {
		return slices.ContainsFunc(its, func(c *trialCase) bool { return c.key.Hex() == d.Digest["sha256"] })
	})
	return all[:min(len(all), keptOthers)]
}

func (p predicate) summary() string {
	text := fmt.Sprintf("%d of %d tests passed", len(p.PassedTests), len(p.PassedTests)+len(p.WarnedTests)+len(p.FailedTests))
	if n := len(p.WarnedTests); n > 0 {
		text += fmt.Sprintf("; %d not run", n)
	}
	return text
}
