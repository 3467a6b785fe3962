package policy_test

import (
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/policy"
)

func TestARuleOfOnesOwnThatIsNoConditionIsAMistake(t *testing.T) {
	const body = "met if false\n\nsays := \"never\"\n"
	notes := "# METADATA\n# title: Never\n# custom:\n#   id: never\n"
	for what, test := range map[string]struct{ text, says string }{
		"without metadata":           {"package team.x\n\n" + body, "x.rego:1: data.team.x defines met, and is no condition"},
		"says alone":                 {"package team.x\n\nsays := \"never\"\n", "x.rego:1: data.team.x defines says, and is no condition"},
		"metadata of a rule":         {"package team.x\n\n" + notes + body, "x.rego:1: data.team.x defines met, and is no condition"},
		"metadata without an id":     {"# METADATA\n# title: Never\npackage team.x\n\n" + body, "x.rego:1: the condition has no id"},
		"nothing":                    {"# here would be something\n", "x.rego: empty module"},
		"not a byte":                 {"", "x.rego: empty module"},
		"nothing that anybody needs": {"package team.x\n\nlow := 1024\n", "x.rego:1: there is no condition in x.rego"},
		"a rule of imx's package":    {"package imx.policy\n\nsigned.met if true\n", "x.rego:"},
		"more of imx's package":      {"package imx.policy.signed\n\nfine := true\n", "is in two files"},
	} {
		t.Run(what, func(t *testing.T) {
			p := policy.Default(policy.Production)
			p.Rules = map[string]string{"x.rego": test.text}
			if _, err := policy.Compile(p); imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), test.says) {
				t.Errorf("err = %v", err)
			}
		})
	}
	p := policy.Default(policy.Production)
	p.Rules = map[string]string{
		"x.rego":      notes + "package team.x\n\nmet if data.team.lib.low > 5\n\nsays := \"never\"\n",
		"lib.rego":    "package team.lib\n\nimport data.team.deep\n\nlow := deep.low\n",
		"deeper.rego": "package team.deep\n\nlow := 5\n",
	}
	if v := judge(t, p, good()); v.Allowed || condition(t, v, "never").Met {
		t.Errorf("%+v", v)
	}
	p.Rules = map[string]string{"x.rego": notes + "\n\n# a word more\n\npackage team.x\n\n" + body}
	if v := judge(t, p, good()); v.Allowed || condition(t, v, "never").Met {
		t.Errorf("metadata that are apart from their package: %+v", v)
	}
}

func TestWhereNobodyLookedForVulnerabilitiesNobodyKnows(t *testing.T) {
	for what, test := range map[string]struct {
		in   policy.Input
		says string
	}{
		"nobody looked":            {with(func(in *policy.Input) { delete(in.Evidence, "scan") }), "nobody looked for any"},
		"who looked doesn't count": {evidence("scan", func(e *policy.Evidence) { e.Counts, e.Why = false, "a bit was flipped" }), "the scan doesn't count: a bit was flipped"},
	} {
		t.Run(what, func(t *testing.T) {
			c := condition(t, judge(t, policy.Default(policy.Production), test.in), "vulnerabilities")
			if c.Met || !c.Refuses || c.Says != test.says || c.Hint != "imx scan web --keep" {
				t.Errorf("%+v", c)
			}
			c = condition(t, judge(t, policy.Default(policy.Development), test.in), "vulnerabilities")
			if c.Met || c.Refuses {
				t.Errorf("where scans are only warned of: %+v", c)
			}
		})
	}
	critical := said("scan", "vulnerabilities", []any{facts{"id": "CVE-1", "severity": "critical", "fixed": "2"}})
	if c := condition(t, judge(t, policy.Default(policy.Development), critical), "vulnerabilities"); c.Met || !c.Refuses {
		t.Errorf("what somebody found: %+v", c)
	}
}

func TestAFirmConditionCantOnlyWarn(t *testing.T) {
	p := policy.Default(policy.Production)
	p.Rules = map[string]string{"own.rego": "# METADATA\n# title: Own\n# custom:\n#   id: own\n#   firm: true\npackage own\n\nmet if false\n\nwarns := true\n\nsays := \"x\"\n"}
	if c := condition(t, judge(t, p, good()), "own"); !c.Refuses {
		t.Errorf("%+v", c)
	}
	p.Rules["own.rego"] = strings.Replace(p.Rules["own.rego"], "firm: true", "firm: false", 1)
	if c := condition(t, judge(t, p, good()), "own"); c.Refuses || c.Met {
		t.Errorf("%+v", c)
	}
}

func TestWhatIsExcusedIsToldAtAStartToo(t *testing.T) {
	in := with(func(in *policy.Input) {
		in.Purpose, in.Reviews = imx.ForStart, nil
		in.Exceptions = []imx.Exception{{ID: "x1", Condition: "reviews", Owner: "bob", Reason: "the moon", Made: now(), Until: now().Add(time.Hour)}}
	})
	if c := condition(t, judge(t, policy.Default(policy.Production), in), "reviews"); c.Exception != "x1" || !strings.Contains(c.Says, "excused by bob") {
		t.Errorf("%+v", c)
	}
}

func TestAScansAgeIsToldInWhatItIsReadIn(t *testing.T) {
	for age, says := range map[time.Duration]string{59 * time.Second: "59 s ago", 90 * time.Minute: "90 min ago", 5 * time.Hour: "5 h ago"} {
		in := evidence("scan", func(e *policy.Evidence) {
			e.Made, told(e)["finished"] = now().Add(-age), now().Add(-age).Format(time.RFC3339)
		})
		if c := condition(t, judge(t, policy.Default(policy.Production), in), "scan"); !strings.HasSuffix(c.Says, says) {
			t.Errorf("%v: %s", age, c.Says)
		}
	}
}

const own = "# METADATA\n# title: No shells\n# custom:\n#   id: no-shell\npackage team.shell\n"

func TestOwnConditionsAreAddedAndTakeThePlaceOfThoseOfTheirName(t *testing.T) {
	p := policy.Default(policy.Production)
	p.Rules = map[string]string{
		"shell.rego":   own + "met if not input.plan.service.command\nsays := \"no shell\" if met\nelse := \"a shell\"\n",
		"reviews.rego": "# METADATA\n# title: Any review\n# custom:\n#   id: reviews\npackage imx.policy.reviews\nmet if true\nsays := sprintf(\"%d\", [data.settings.reviews])\n",
	}
	in := with(func(in *policy.Input) { in.Reviews = nil })
	v := judge(t, p, in)
	if !v.Allowed || len(v.Conditions) != 13 || condition(t, v, "reviews").Says != "1" {
		t.Errorf("%+v", v)
	}
	in.Plan.Service.Command = []string{"/bin/sh"}
	if v = judge(t, p, in); v.Allowed || condition(t, v, "no-shell").Says != "a shell" {
		t.Errorf("%+v", v)
	}
}

func TestAPolicyThatDoesntCompileIsRefusedWithFileAndLine(t *testing.T) {
	for what, c := range map[string]struct{ text, says string }{
		"no Rego":           {"packag x", "own.rego:1: "},
		"an unknown name":   {own + "met if inputs\nsays := \"x\"", "own.rego:6: var inputs is unsafe"},
		"the clock":         {own + "met if time.now_ns() > 0\nsays := \"x\"", "own.rego:6: there is no function time.now_ns"},
		"the network":       {own + "met if http.send({})\nsays := \"x\"", "own.rego:6: there is no function http.send"},
		"nothing said":      {own + "met if true", "own.rego:1: the condition no-shell doesn't have both rules met and says"},
		"no id":             {strings.Replace(own, "id: no-shell", "x: y", 1) + "met if true\nsays := \"\"", "own.rego:1: the condition has no id"},
		"an id twice":       {strings.Replace(own, "no-shell", "tests", 1) + "met if true\nsays := \"\"", "there are two conditions named tests"},
		"imx's own package": {"package imx.policy.tests\nmet if true\n", "the package data.imx.policy.tests is in two files"},
		"a wrong start":     {strings.Replace(own, "id: no-shell", "id: no-shell\n#   start: maybe", 1) + "met if true\nsays := \"\"", `start of the condition no-shell is "maybe"`},
	} {
		t.Run(what, func(t *testing.T) {
			p := policy.Default(policy.Production)
			p.Rules = map[string]string{"own.rego": c.text}
			_, err := policy.Compile(p)
			wantError(t, err, c.says)
		})
	}
}

func TestAConditionThatLoopsOrFailsIsNotMet(t *testing.T) {
	n := `n := [i | some i, _ in split("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "")]` + "\n"
	for what, c := range map[string]struct{ text, says string }{
		"loops":      {n + "met if { some a in n; some b in n; some c in n; some d in n; some e in n; (((a+b)+c)+d)+e == -1 }\nsays := \"x\"", "own.rego:5: the condition no-shell was stopped: it took more steps"},
		"fails":      {"met := 1 if true\nsays := \"x\" if true\nsays := \"y\" if true", "the condition no-shell failed: "},
		"nonsense":   {"met := 3\nsays := \"x\"", "gives what can't be read"},
		"says not":   {"met if true\nsays := \"x\" if false", "it doesn't say why"},
		"says a lot": {"met if false\nsays := concat(\"\", [x | some x in numbers])\nnumbers := [\"" + strings.Repeat("x", 5000) + "\"]", strings.Repeat("x", 2000)},
	} {
		t.Run(what, func(t *testing.T) {
			p := policy.Default(policy.Production)
			p.Rules = map[string]string{"own.rego": own + c.text + "\n"}
			v := judge(t, p, good())
			got := condition(t, v, "no-shell")
			if v.Allowed != (what == "says not") || !strings.Contains(got.Says, c.says) || len(got.Says) > 2000 {
				t.Errorf("allowed %t: %+v", v.Allowed, got)
			}
		})
	}
}
