package trial

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"imx"
	"imx/internal/probe"
)

// trialCase is one test of one service, or what its image must refuse.
type trialCase struct {
	test    *imx.Test // nil for the refusals
	subject Subject
	others  []Subject                // what is started before it, in the order in which that is done
	after   []Subject                // what is started after it: what the test says it can't reach, with what that needs
	places  map[string]imx.Pos       // of the template
	kits    []imx.Kit                // what its commands are run in
	made    map[imx.Digest]imx.Image // kits that are built, by ImagePlan.Digest
	key     imx.Digest               // of all that the result depends on
	asked   bool                     // it is to be told
	due     bool                     // it is to be run
	stale   bool                     // what is stated of its image names another plan, or other kits than its tests have
	known   bool                     // result is what came of it, now or before
	result  imx.TestResult
}

func (c *trialCase) name() string { return c.subject.Spec.Name + "/" + c.result.Test }

// step names it among what is going on.
func (c *trialCase) step() string { return "test " + strings.ReplaceAll(c.name(), "/", " ") }

// cases are all that a run could be asked for, with the keys that they have in a sandbox.
func (r Run) cases(sandbox imx.Digest) []*trialCase {
	all := r.unkeyed()
	for _, c := range all {
		c.key = c.digest(sandbox)
	}
	return all
}

func (r Run) unkeyed() []*trialCase {
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
		c.places = r.Places
		if !test.Alone {
			c.others = r.before(nil, s)
		}
		for _, aim := range r.aimed(*test) {
			there := append(append([]Subject{s}, c.others...), c.after...)
			if c.after = append(c.after, r.before(there, aim)...); !among(append(there, c.after...), aim) {
				c.after = append(c.after, aim)
			}
		}
	}
	c.asked = len(r.Only) == 0 || slices.ContainsFunc(named, func(n string) bool { return slices.Contains(r.Only, n) })
	return c
}

func among(list []Subject, s Subject) bool {
	return slices.ContainsFunc(list, func(o Subject) bool { return o.Spec.Name == s.Spec.Name })
}

// before returns what a service connects to, and what that connects to, each after what it needs, without what is there
// already. Those that need each other come in some order.
func (r Run) before(there []Subject, s Subject) []Subject {
	var order []Subject
	seen := map[string]bool{s.Spec.Name: true}
	for _, o := range there {
		seen[o.Spec.Name] = true
	}
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
const rules = 3

// digest names all that a result depends on.
func (c *trialCase) digest(sandbox imx.Digest) imx.Digest {
	type part struct {
		Image  imx.Digest
		Config imx.ImageSpec
		Spec   imx.Spec
	}
	in := struct {
		Rules   int
		Sandbox imx.Digest
		Test    any
		Parts   []part
		Kits    []imx.Digest `json:",omitempty"`
	}{Rules: rules, Sandbox: sandbox}
	if c.test != nil {
		in.Test = placeless(*c.test)
	}
	for _, k := range c.kits {
		in.Kits = append(in.Kits, k.Plan.Digest())
	}
	for _, s := range slices.Concat([]Subject{c.subject}, c.others, c.after) {
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
