package check

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"imx"
	"imx/internal/leak"
)

// Gate lets templates pass, or not, by their findings.
type Gate struct {
	Set *Set
	// Secrets looks for them in what the template gives to instances; nil for nothing that does.
	Secrets *leak.Scanner
	// Refuse is the least level of which an unwaived finding refuses a template; "" refuses none.
	Refuse imx.Level
}

// Pass holds a template against the rules and returns what they find. Rules of others may have been asked elsewhere:
// nothing is said of waivers that excuse nothing here. The error is of kind Refused, with a Diagnostic for each finding that refuses; or
// as Set.Run.
func (g Gate) Pass(ctx context.Context, t imx.Template, now time.Time) ([]imx.Finding, error) {
	d, err := OfTemplate(t, now)
	if err != nil {
		return nil, err
	}
	found, err := g.Set.Run(ctx, d)
	if err != nil {
		return nil, err
	}
	if g.Secrets != nil {
		found = append(found, g.Secrets.Template(t)...)
	}
	found = Excuse(t.Waivers, found, nil, now)
	return found, Refusal(g.Refuse, found)
}

// Refusal is the error, of kind Refused, for the findings that refuse a template; nil where none does.
func Refusal(refuse imx.Level, found []imx.Finding) error {
	var ds imx.Diagnostics
	for _, f := range AtLeast(refuse, found) {
		hint := f.Fix
		if hint == "" {
			hint = "imx rules " + f.Rule + " says why that matters and what to write instead"
		}
		ds = append(ds, imx.Diagnostic{
			Severity: imx.SeverityError, Summary: fmt.Sprintf("%s (%s, %s)", f.Message, f.Rule, f.Level), Hint: hint, At: f.At, Source: f.Source,
		})
	}
	if len(ds) == 0 {
		return nil
	}
	refused := imx.Errorf(imx.Refused, "%w", ds.Err()).WithHint("mend it, or excuse it for a time with a waiver block")
	refused.Diagnostics = ds
	return refused
}

// Predicate is what the statement of type imx.PredicateCheck says of an image: what the rules found in the template
// that it was made from.
type Predicate struct {
	Checker  string        `json:"checker"` // "imx 1.2.3"
	Day      string        `json:"day"`     // of the check, in UTC: what rules find changes no sooner
	Template imx.Source    `json:"template"`
	Rules    []RuleLevel   `json:"rules"`            // that were asked
	Refuse   imx.Level     `json:"refuse,omitempty"` // the least level that refuses
	Findings []imx.Finding `json:"findings"`         // waived ones too, each with its waiver
	Passed   bool          `json:"passed"`
}

// RuleLevel names a rule and its level at that time.
type RuleLevel struct {
	ID    string    `json:"id"`
	Level imx.Level `json:"severity"`
}

// Attest returns the predicate of a check as JSON, whether it passed, and one line that sums it up.
func Attest(p Predicate, rules []imx.Rule) (predicate json.RawMessage, passed bool, summary string) {
	p.Rules = []RuleLevel{}
	for _, r := range rules {
		p.Rules = append(p.Rules, RuleLevel{r.ID, r.Level})
	}
	waived := 0
	p.Findings = append([]imx.Finding{}, p.Findings...)
	for i, f := range p.Findings {
		p.Findings[i].Source = "" // the template's text isn't the image's
		if f.Waived != nil {
			waived++
		}
	}
	p.Passed = len(AtLeast(p.Refuse, p.Findings)) == 0
	b, err := json.Marshal(p)
	if err != nil {
		panic("check: a predicate is made of what JSON can hold: " + err.Error())
	}
	summary = fmt.Sprintf("%d findings by %d rules, %d of them waived", len(p.Findings), len(rules), waived)
	return b, p.Passed, summary
}
