package verdict

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/attest"
)

// summary is the predicate of a verdict's statement: SLSA's verification summary
// (https://slsa.dev/spec/v1.1/verification_summary).
type summary struct {
	Verifier   verifier          `json:"verifier"`
	Verified   time.Time         `json:"timeVerified"`
	Resource   string            `json:"resourceUri"`
	Policy     resource          `json:"policy"`
	Inputs     []resource        `json:"inputAttestations,omitempty"`
	Result     string            `json:"verificationResult"`
	Levels     []string          `json:"verifiedLevels"`
	SLSA       string            `json:"slsaVersion"`
	Conditions []imx.Condition   `json:"imxConditions"` // an extension: how each condition stands
	About      map[string]string `json:"imxAbout"`      // and what exactly was judged
}

type verifier struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version"`
}

type resource struct {
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest"`
}

// VerifierID names this part of imx in its statements.
const VerifierID = "urn:imx:verdict:v1"

// level is what the builder of imx comes up to where its provenance is signed: SLSA's build level 2. What builds and what signs aren't
// kept apart as level 3 asks.
const level = "SLSA_BUILD_LEVEL_2"

func summarize(v imx.Verdict, name, version string) summary {
	s := summary{
		Verifier: verifier{VerifierID, map[string]string{"imx": version}}, Verified: v.Made, SLSA: "1.1",
		Resource: fmt.Sprintf("pkg:oci/%s@%s", url.PathEscape(strings.ToLower(name)), url.QueryEscape(string(v.Image))),
		Policy:   resource{"urn:imx:policy:" + v.Environment, sha256(v.Policy)}, Result: "FAILED", Levels: []string{}, Conditions: v.Conditions,
		About: map[string]string{"service": v.Service, "plan": string(v.Plan), "purpose": string(v.Purpose), "inputs": string(v.Inputs)},
	}
	if v.Allowed {
		s.Result = "PASSED"
	}
	var all []imx.Digest
	for _, c := range v.Conditions {
		all = append(all, c.Evidence...)
		if c.ID == "provenance" && c.Met && v.Allowed {
			s.Levels = append(s.Levels, level)
		}
	}
	slices.Sort(all)
	for _, d := range slices.Compact(all) {
		s.Inputs = append(s.Inputs, resource{"urn:imx:statement:" + d.Hex(), sha256(d)})
	}
	return s
}

func sha256(d imx.Digest) map[string]string { return map[string]string{"sha256": d.Hex()} }

// state keeps a verdict as evidence about its image.
func (j *Judge) state(ctx context.Context, by imx.Principal, name string, v imx.Verdict) error {
	says := fmt.Sprintf("%s may run in %s", v.Service, v.Environment)
	if !v.Allowed {
		says = fmt.Sprintf("%s may not run in %s: %s", v.Service, v.Environment, strings.Join(unmet(v), ", "))
	}
	_, err := j.cfg.State(ctx, by, attest.Claim{
		Repository: name, Image: v.Image, PredicateType: imx.PredicateVerdict, Predicate: summarize(v, name, j.cfg.Version), Passed: &v.Allowed, Summary: says,
	})
	if err != nil {
		return fmt.Errorf("the verdict on %s can't be kept: %w", v.Service, err)
	}
	return nil
}

// unmet are the ids of the conditions that stand in the way.
func unmet(v imx.Verdict) []string {
	var ids []string
	for _, c := range v.Conditions {
		if !c.Holds() {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// denied is the error of all verdicts that say no, nil where none does.
func denied(all []imx.Verdict) error {
	var list []error
	hint := ""
	for _, v := range all {
		if v.Allowed {
			continue
		}
		e := admission.Denied(v)
		list = append(list, e)
		if hint == "" {
			hint = e.Hint
		}
	}
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return imx.Errorf(imx.Refused, "%w", errors.Join(list...)).WithHint("%s", hint)
}

// told reports whether a verdict on a release says what an earlier one said, for the same reasons. Of what never became a release, number 0,
// the exceptions never came into being either: each try would have had others.
func told(number int, v, earlier imx.Verdict) bool {
	same := func(a, b imx.Condition) bool {
		return a.ID == b.ID && a.Met == b.Met && a.Holds() == b.Holds() && (number == 0 || a.Exception == b.Exception)
	}
	return earlier.Image == v.Image && earlier.Plan == v.Plan && earlier.Allowed == v.Allowed && earlier.Environment == v.Environment &&
		slices.EqualFunc(v.Conditions, earlier.Conditions, same)
}
