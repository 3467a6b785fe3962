package trial

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"imx"
	"imx/internal/attest"
	"imx/internal/probe"
)

// trialCase is one test of one service, or what its image must refuse.
type trialCase struct {
	test    *imx.Test // nil for the refusals
	subject Subject
	others  []Subject                // what is started with it, in the order in which that is done
	kits    []imx.Kit                // what its commands are run in
	made    map[imx.Digest]imx.Image // kits that are built, by ImagePlan.Digest
	key     imx.Digest               // of all that the result depends on
	asked   bool                     // it is to be told
	due     bool                     // it is to be run
	stale   bool                     // what is stated of its image names another plan, or other kits than its tests have
	result  imx.TestResult
}

func (c *trialCase) name() string { return c.subject.Spec.Name + "/" + c.result.Test }

// step names it among what is going on.
func (c *trialCase) step() string { return "test " + strings.ReplaceAll(c.name(), "/", " ") }

// cases are all that a run could be asked for.
func (r Run) cases() []*trialCase {
	var all []*trialCase
	for _, s := range slices.Concat(r.Services, r.Images) {
		all = append(all, r.make(nil, s))
	}
	for _, test := range r.Tests {
		wanted := func(s Subject) bool { return s.Spec.Name == test.Service }
		from := r.Services
		if test.Image != "" {
			wanted, from = func(s Subject) bool { return s.Spec.Image == test.Image }, r.Images
			if !slices.ContainsFunc(from, wanted) {
				from = alone(r.Services)
			}
		}
		if i := slices.IndexFunc(from, wanted); i >= 0 {
			all = append(all, r.make(&test, from[i]))
		}
	}
	return all
}

// alone are the subjects' images by themselves.
func alone(subjects []Subject) []Subject {
	var list []Subject
	for _, s := range subjects {
		list = append(list, ByItself(s.Image, s.Config))
	}
	return list
}

// ByItself is an image without a service: with its own command, and without ports, files and volumes.
func ByItself(image imx.Image, config imx.ImageSpec) Subject {
	return Subject{Spec: imx.Spec{Name: config.Name, Image: config.Name}, Image: image, Config: config}
}

func (r Run) make(test *imx.Test, s Subject) *trialCase {
	c := &trialCase{test: test, subject: s, result: imx.TestResult{Test: Refusals, Image: s.Image.Digest, Service: s.Spec.Name, Checks: []imx.TestCheck{}}}
	named := []string{Refusals, s.Spec.Name}
	if test != nil {
		c.result.Test, c.result.At, c.result.Service = test.Name, test.At, test.Service
		named[0] = test.Name
		c.kits = r.kitsOf(*test, s.Config.Name)
		if !test.Alone {
			c.others = r.before(s)
		}
	}
	c.asked = len(r.Only) == 0 || slices.ContainsFunc(named, func(n string) bool { return slices.Contains(r.Only, n) })
	c.key = c.digest()
	return c
}

// before returns what a service connects to, and what that connects to, each after what it needs. Those that need
// each other come in some order.
func (r Run) before(s Subject) []Subject {
	var order []Subject
	seen := map[string]bool{s.Spec.Name: true}
	var visit func(s Subject)
	visit = func(s Subject) {
		for _, p := range s.Spec.Connect {
			i := slices.IndexFunc(r.Services, func(o Subject) bool { return o.Spec.Name == p.Service })
			if i < 0 || seen[p.Service] {
				continue
			}
			seen[p.Service] = true
			visit(r.Services[i])
			order = append(order, r.Services[i])
		}
	}
	visit(s)
	return order
}

// rules is the version of what is tried and how: a result of others isn't this one's.
const rules = 2

// digest names all that a result depends on.
func (c *trialCase) digest() imx.Digest {
	type part struct {
		Image  imx.Digest
		Config imx.ImageSpec
		Spec   imx.Spec
	}
	in := struct {
		Rules int
		Test  any
		Parts []part
		Kits  []imx.Digest `json:",omitempty"`
	}{Rules: rules}
	if c.test != nil {
		in.Test = placeless(*c.test)
	}
	for _, k := range c.kits {
		in.Kits = append(in.Kits, k.Plan.Digest())
	}
	for _, s := range append([]Subject{c.subject}, c.others...) {
		in.Parts = append(in.Parts, part{s.Image.Digest, s.Config, settled(s.Spec)})
	}
	return imx.DigestJSON(in)
}

// settled is a spec without what a test doesn't see: how many there are, and which of the machine's ports they have.
func settled(s imx.Spec) imx.Spec {
	s.Replicas, s.Ports = 1, slices.Clone(s.Ports)
	for i := range s.Ports {
		s.Ports[i].Publish = 0
	}
	return s
}

// placeless is a test without the places of its blocks: a line more above it makes it no other.
func placeless(t imx.Test) any {
	b, err := json.Marshal(t)
	var v any
	if err != nil || json.Unmarshal(b, &v) != nil {
		return t
	}
	var strip func(v any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "at")
			delete(v, "packagesAt")
			for x := range maps.Values(v) {
				strip(x)
			}
		case []any:
			for _, x := range v {
				strip(x)
			}
		}
	}
	strip(v)
	return v
}

// predicate is a test-result of in-toto:
// https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
type predicate struct {
	Result        string       `json:"result"`
	Configuration []descriptor `json:"configuration"`
	PassedTests   []string     `json:"passedTests,omitempty"`
	FailedTests   []string     `json:"failedTests,omitempty"`
}

// descriptor is a ResourceDescriptor of in-toto. A test's is named by its key, and annotated with what came of it.
type descriptor struct {
	Name        string            `json:"name"`
	Digest      map[string]string `json:"digest"`
	Annotations *annotations      `json:"annotations,omitempty"`
}

type annotations struct {
	Result imx.TestResult `json:"result"`
}

// recall takes over what passed already, and says what is due.
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
		before, ok := stated.passed[c.key.Hex()]
		c.due = c.asked && (!ok || r.Again)
		c.stale = len(stated.passed) > 0 && stated.plan != r.Plan || !slices.Equal(stated.kits, kitsFor(image, cases))
		if !ok || c.due {
			continue
		}
		at := c.result.At
		c.result = before
		c.result.At = at
		if c.asked {
			report(imx.Progress{Step: c.step(), Status: imx.StepCached, Message: "passed before"})
		}
	}
	return nil
}

// statedTests are what the newest statement of an image's tests says.
type statedTests struct {
	passed map[string]imx.TestResult // by the hexadecimal key of each
	kits   []imx.Digest              // sorted
	plan   imx.Digest                // that all tests of the image passed under, "" if not all were asked
}

// known reads what was stated of an image's tests, if it counts.
func (t *Tester) known(image imx.Digest) (statedTests, error) {
	found := statedTests{passed: map[string]imx.TestResult{}}
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
		if d.Annotations != nil && d.Annotations.Result.Passed {
			found.passed[d.Digest["sha256"]] = d.Annotations.Result
		}
	}
	found.kits = kitsIn(st)
	return found, nil
}

// state keeps what is known now of each image of which something was tested.
func (t *Tester) state(ctx context.Context, by imx.Principal, r Run, cases []*trialCase) error {
	done := map[imx.Digest]bool{}
	for _, c := range cases {
		image := c.subject.Image
		if !c.due && !c.stale || done[image.Digest] {
			continue
		}
		done[image.Digest] = true
		if _, err := t.cfg.Evidence.Add(ctx, by, claim(r, image, cases)); err != nil {
			return fmt.Errorf("keeping the test results of %s: %w", image.Name, err)
		}
	}
	return nil
}

// planNote names, in a predicate, the plan that all tests of the image were asked for. It isn't there where some weren't.
const planNote = "plan"

func claim(r Run, image imx.Image, cases []*trialCase) attest.Claim {
	p := predicate{Result: "PASSED", Configuration: []descriptor{}}
	if !slices.ContainsFunc(cases, func(c *trialCase) bool { return c.subject.Image.Digest == image.Digest && !c.due && !c.result.Passed }) {
		p.Configuration = append(p.Configuration, descriptor{Name: planNote, Digest: map[string]string{"sha256": r.Plan.Hex()}})
	}
	for _, kit := range kitsFor(image.Digest, cases) {
		p.Configuration = append(p.Configuration, descriptor{Name: kitNote, Digest: map[string]string{"sha256": kit.Hex()}})
	}
	for _, c := range cases {
		if c.subject.Image.Digest != image.Digest || !c.due && !c.result.Passed {
			continue
		}
		p.Configuration = append(p.Configuration, descriptor{
			Name: c.name(), Digest: map[string]string{"sha256": c.key.Hex()}, Annotations: &annotations{c.result},
		})
		if c.result.Passed {
			p.PassedTests = append(p.PassedTests, c.name())
			continue
		}
		p.Result, p.FailedTests = "FAILED", append(p.FailedTests, c.name())
	}
	passed := len(p.FailedTests) == 0
	return attest.Claim{
		Repository: image.Name, Image: image.Digest, PredicateType: imx.PredicateTest, Predicate: p, Passed: &passed,
		Summary: fmt.Sprintf("%d of %d tests passed", len(p.PassedTests), len(p.PassedTests)+len(p.FailedTests)),
	}
}

// checksOf are what a probe tried, for a person.
func checksOf(attempts []probe.Attempt) []imx.TestCheck {
	checks := []imx.TestCheck{}
	for _, a := range attempts {
		checks = append(checks, imx.TestCheck{
			Name: cmp.Or(string(a.Refusal), "cannot"), Asked: "it can't " + a.Tried, Got: short(a.Got), Passed: a.Refused,
		})
	}
	return checks
}
