package policy_test

import (
	"os"
	"strings"
	"testing"

	"imx"
	"imx/internal/policy"
)

// The example of docs/policy.md must be one.
func TestTheConditionInTheDocumentationSaysWhatItShould(t *testing.T) {
	text, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```rego\n")
	rego, _, _ := strings.Cut(rest, "```")
	p := policy.Default(policy.Production)
	p.Rules = map[string]string{"low.rego": rego}
	in := good()
	if c := condition(t, judge(t, p, in), "low-port"); !c.Met {
		t.Errorf("%+v", c)
	}
	in.Plan.Service.Ports = []imx.Port{{Name: "web", Publish: 80}}
	if v := judge(t, p, in); v.Allowed || !strings.Contains(condition(t, v, "low-port").Says, "80") {
		t.Errorf("%+v", condition(t, v, "low-port"))
	}
}
