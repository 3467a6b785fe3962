package verdict

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"imx"
	"imx/internal/check"
	"imx/internal/policy"
	"imx/internal/provenance"
	"imx/internal/vuln"
)

// The facts of each type of statement, as rules see them; docs/policy.md describes them.
type (
	provenanceFacts struct {
		Builder   string     `json:"builder"`
		Version   string     `json:"version"`
		ImagePlan imx.Digest `json:"imagePlan"`
		Plan      imx.Digest `json:"plan"`
		Source    string     `json:"source"`
		Commit    string     `json:"commit,omitempty"`
		Dirty     bool       `json:"dirty,omitempty"`
		// Bytes say how the builder came by the image's bytes.
		Bytes provenance.Bytes `json:"bytes,omitzero"`
	}
	testFacts struct {
		Result string     `json:"result"`
		Plan   imx.Digest `json:"plan"`
		Passed int        `json:"passed"`
		Failed []string   `json:"failed,omitempty"`
	}
	scanFacts struct {
		Finished        time.Time           `json:"finished"`
		Vulnerabilities []vulnerabilityFact `json:"vulnerabilities"`
		Incomplete      []string            `json:"incomplete,omitempty"` // what of the image no scan has seen

		found []imx.Vulnerability
	}
	vulnerabilityFact struct {
		ID        string    `json:"id"`
		Severity  imx.Level `json:"severity,omitempty"`
		Package   string    `json:"package"`
		Version   string    `json:"version"`
		Fixed     string    `json:"fixed"`
		Exploited bool      `json:"exploited,omitempty"`
		Excused   bool      `json:"excused,omitempty"`
	}
	checkFacts struct {
		Refuse   imx.Level     `json:"refuse,omitempty"`
		Findings []findingFact `json:"findings"`
	}
	findingFact struct {
		Rule     string    `json:"rule"`
		Severity imx.Level `json:"severity"`
		Message  string    `json:"message"`
		Until    time.Time `json:"until,omitzero"` // of the waiver that excuses it
	}
	vexFacts struct {
		Statements int `json:"statements"`
	}
)

// facts returns what conditions may ask of a statement, by its type. Errors: Refused for a predicate that isn't of its type.
func facts(name string, predicate json.RawMessage) (any, error) {
	read := map[string]func(json.RawMessage) (any, error){
		"provenance": ofProvenance, "test": ofTests, "scan": ofScan, "check": ofCheck, "vex": ofVEX,
	}[name]
	if read == nil {
		return nil, nil
	}
	f, err := read(predicate)
	if err != nil {
		return nil, imx.Errorf(imx.Refused, "it doesn't say what a statement of its type says: %w", err)
	}
	return f, nil
}

func ofProvenance(raw json.RawMessage) (any, error) {
	var p provenance.Predicate
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	from := p.Definition.External.Template
	return provenanceFacts{
		Builder: p.Run.Builder.ID, Version: p.Run.Builder.Version["imx"], ImagePlan: p.Definition.Internal.ImagePlan, Plan: p.Definition.Internal.Plan,
		Source: from.String(), Commit: from.Commit, Dirty: from.Dirty, Bytes: p.Definition.Internal.Bytes,
	}, nil
}

func ofTests(raw json.RawMessage) (any, error) {
	var p struct {
		Result        string `json:"result"`
		Configuration []struct {
			Name   string            `json:"name"`
			Digest map[string]string `json:"digest"`
		} `json:"configuration"`
		Passed []string `json:"passedTests"`
		Failed []string `json:"failedTests"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	f := testFacts{Result: p.Result, Passed: len(p.Passed), Failed: p.Failed}
	for _, c := range p.Configuration {
		if c.Name == "plan" {
			f.Plan = imx.Digest("sha256:" + c.Digest["sha256"])
		}
	}
	return f, nil
}

func ofScan(raw json.RawMessage) (any, error) {
	var p struct {
		Scanner struct {
			Result []struct {
				Annotations []imx.Vulnerability `json:"annotations"`
			} `json:"result"`
			Incomplete []string `json:"incomplete"`
		} `json:"scanner"`
		Metadata struct {
			Finished time.Time `json:"scanFinishedOn"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	f := &scanFacts{Finished: p.Metadata.Finished, Incomplete: p.Scanner.Incomplete}
	for _, r := range p.Scanner.Result {
		f.found = append(f.found, r.Annotations...)
	}
	f.tell()
	return f, nil
}

// tell makes facts of what was found.
func (f *scanFacts) tell() {
	f.Vulnerabilities = make([]vulnerabilityFact, 0, len(f.found))
	for _, v := range f.found {
		f.Vulnerabilities = append(f.Vulnerabilities, vulnerabilityFact{
			v.ID, v.Level, v.Package.Name, v.Package.Version, v.Package.Fixed, !v.Exploited.IsZero(), v.Excused != nil,
		})
	}
}

func ofCheck(raw json.RawMessage) (any, error) {
	var p check.Predicate
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	f := checkFacts{Refuse: p.Refuse, Findings: []findingFact{}}
	for _, found := range p.Findings {
		one := findingFact{Rule: found.Rule, Severity: found.Level, Message: found.Message}
		if found.Waived != nil {
			one.Until = found.Waived.Until
		}
		f.Findings = append(f.Findings, one)
	}
	return f, nil
}

func ofVEX(raw json.RawMessage) (any, error) {
	doc, err := vuln.ParseVEX(bytes.NewReader(raw))
	return vexFacts{len(doc.Statements)}, err
}

// excuse applies the statement of what doesn't affect an image to what its scan found. Only one that counts does: what the scan took
// over from one that doesn't any more is no excuse.
func excuse(all map[string]policy.Evidence, vex json.RawMessage, image imx.Image) {
	scan := all["scan"]
	stated, ok := scan.Facts.(*scanFacts)
	if !ok {
		return
	}
	f := new(scanFacts)
	*f = *stated
	f.found = slices.Clone(stated.found)
	for i, v := range f.found {
		if v.Excused != nil && v.Excused.From == "evidence" {
			f.found[i].Excused = nil
		}
	}
	if all["vex"].Counts {
		if doc, err := vuln.ParseVEX(bytes.NewReader(vex)); err == nil { // facts has read it before
			vuln.Excuse(f.found, image.Name, image.Digest, []vuln.Plea{{From: "evidence", VEX: doc}})
		}
	}
	f.tell()
	scan.Facts = f
	all["scan"] = scan
}
