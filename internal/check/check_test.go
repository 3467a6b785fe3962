package check_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/check"
)

const head = "# METADATA\n# title: A rule\n# custom:\n#   id: own\n#   severity: low\npackage own\n"

// asked runs one rule of the text over a small template.
func asked(tb testing.TB, text string, bounds check.Bounds) ([]imx.Finding, error) {
	tb.Helper()
	set, err := check.Load("own", []check.Module{{Name: "own.rego", Text: text}}, bounds)
	if err != nil {
		return nil, err
	}
	d, err := check.OfTemplate(parse(tb, "t.imx.hcl", []byte("image \"a\" {\n  command = [\"/a\"]\n}\n")), today())
	if err != nil {
		tb.Fatal(err)
	}
	return set.Run(tb.Context(), d)
}

func TestARuleThatTakesTooMuchIsStoppedAndNamed(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"loops in loops": {
			`n := [i | some i, _ in split("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "")]
deny contains {"message": "x"} if { some a in n; some b in n; some c in n; some d in n; some e in n; (((a+b)+c)+d)+e == -1 }`,
			"own.rego:8: the rule own was stopped: it took more steps than rules may",
		},
		"text that doubles": {
			"t0 := \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"\n" + doubling(30) +
				"deny contains {\"message\": \"x\"} if { n := [i | some i, _ in split(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\", \"\")]; some a in n; some b in n; t30 == concat(\"-\", [t29, sprintf(\"%d\", [a * b])]) }",
			"own.rego:38: the rule own was stopped: it took more memory than rules may",
		},
		"too many findings": {
			`deny contains {"message": sprintf("%d %d", [a, b])} if { n := [i | some i, _ in split("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "")]; some a in n; some b in n }`,
			"own.rego:7: the rule own found 1764 places; it may find 1000",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := asked(t, head+c.text, check.Bounds{Steps: 200_000, Memory: 32 << 20})
			if imx.KindOf(err) != imx.Exhausted || err.Error() != c.says {
				t.Errorf("%v: %v", imx.KindOf(err), err)
			}
		})
	}
}

// doubling is n rules of which each has twice the text of the one before.
func doubling(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "t%d := concat(\"\", [t%d, t%d, \"-\"])\n", i+1, i, i)
	}
	return b.String()
}

func TestTheCallersEndStopsARule(t *testing.T) {
	set, err := check.Load("own", []check.Module{{Name: "own.rego", Text: head + `n := [i | some i, _ in split("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "")]
deny contains {"message": "x"} if { some a in n; some b in n; some c in n; some d in n; some e in n; (((a+b)+c)+d)+e == -1 }`}}, check.DefaultBounds())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = set.Run(ctx, check.Document{Input: map[string]any{}, Now: today(), Locate: func([]string) (string, imx.Pos) { return "", imx.Pos{} }})
	if imx.KindOf(err) != imx.Unavailable {
		t.Error(err)
	}
}

func TestWhatIsWrongWithARuleIsSaid(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"no Rego":             {"packag own\n", "own.rego:1: "},
		"a name misspelt":     {head + `deny contains {"message": mesage} if input.images`, "own.rego:7: var mesage is unsafe"},
		"no metadata":         {"package own\ndeny contains {\"message\": \"x\"} if true", "own.rego:1: the package data.own has findings and no metadata"},
		"no id":               {strings.Replace(head, "id: own", "name: own", 1) + "deny contains {\"message\": \"x\"} if true", "own.rego:1: the rule has no id in custom"},
		"an id with capitals": {strings.Replace(head, "id: own", "id: Own", 1), `own.rego:1: the rule's id is "Own"; it must be`},
		"no level":            {strings.Replace(head, "severity: low", "severity: bad", 1), `own.rego:1: the rule own has the severity "bad"`},
		"no deny":             {head + "allow := true", "own.rego:6: the rule own has no set deny"},
		"the clock":           {head + `deny contains {"message": "x"} if time.now_ns() > 0`, "own.rego:7: there is no function time.now_ns for rules"},
		"no set":              {head + `deny := "x"`, "own.rego:7: deny of the rule own is string, not a set"},
		"no message":          {head + `deny contains {"at": ["image", "a"]} if true`, `own.rego:7: the rule own finds something without saying what: its object has no "message", but "at"`},
		"a number for it":     {head + `deny contains {"message": 5} if true`, `: its "message" is no text, or empty`},
		"a blank one":         {head + `deny contains {"message": " \n"} if true`, `: its "message" is no text, or empty`},
		"an empty object":     {head + `deny contains {} if true`, ": it gives an empty object"},
		"text for an object":  {head + `deny contains "x" if true`, ": it gives no object"},
		"no way":              {head + `deny contains {"at": "image.a", "message": "x"} if true`, `own.rego:7: the rule own gives an "at" that is no list`},
		"too large":           {head + strings.Repeat("#", 300_000), "own.rego:1: a file of rules may have 256.0 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := asked(t, c.text, check.DefaultBounds())
			if imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v: %v", imx.KindOf(err), err)
			}
			if ds := imx.AsError(err).Diagnostics; len(ds) == 0 || len(c.text) < imx.MaxSource && ds[0].Source == "" {
				t.Errorf("it shows no line: %+v", ds)
			}
		})
	}
}

func TestAFindingStandsAtTheNearestThingThatWasWritten(t *testing.T) {
	found, err := asked(t, head+`deny contains {"at": way, "message": "x", "fix": "y"} if {
	some way in [["image", "a", "command", 0], ["image", "a", "packages", 3], ["image", "b"], []]
}`, check.DefaultBounds())
	if err != nil {
		t.Fatal(err)
	}
	want := []imx.Finding{
		{Rule: "own", Level: imx.Low, Message: "x", Fix: "y"},
		{Rule: "own", Level: imx.Low, Message: "x", Fix: "y", Subject: "image.b"},
		{Rule: "own", Level: imx.Low, Message: "x", Fix: "y", Subject: "image.a", At: imx.Pos{File: "t.imx.hcl", Line: 1, Column: 1, End: 10}},
		{Rule: "own", Level: imx.Low, Message: "x", Fix: "y", Subject: "image.a", At: imx.Pos{File: "t.imx.hcl", Line: 2, Column: 14, End: 18}},
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
}

// Waivers by their end, what they are for and what they excuse.
func TestAWaiverExcusesUntilItsDayAndIsFoundItselfWhereItDoesnt(t *testing.T) {
	finding := imx.Finding{Rule: "shell", Level: imx.Medium, Message: "a shell", Subject: "image.web", At: imx.Pos{File: "Dockerfile", Line: 3}}
	rules := []imx.Rule{{ID: "shell"}, {ID: "other"}}
	in := func(days int) time.Time { return today().AddDate(0, 0, days) }
	for name, c := range map[string]struct {
		waiver imx.Waiver
		known  []imx.Rule
		waived bool
		says   string
	}{
		"everything":             {imx.Waiver{Rule: "shell", Until: in(90)}, rules, true, ""},
		"by its block":           {imx.Waiver{Rule: "shell", For: []string{"image.web"}, Until: in(90)}, rules, true, ""},
		"by both":                {imx.Waiver{Rule: "shell", For: []string{"image.web", "Dockerfile"}, Until: in(90)}, rules, true, ""},
		"and for what isn't":     {imx.Waiver{Rule: "shell", For: []string{"../x", "image.web", "a b"}, Until: in(90)}, rules, true, "waiver-unused: the waiver of shell excuses nothing in ../x; waiver-unused: the waiver of shell excuses nothing in a b"},
		"not known from here":    {imx.Waiver{Rule: "shell", For: []string{"image.web", "a b"}, Until: in(90)}, nil, true, ""},
		"by its file":            {imx.Waiver{Rule: "shell", For: []string{"Dockerfile"}, Until: in(90)}, rules, true, ""},
		"another block":          {imx.Waiver{Rule: "shell", For: []string{"image.a"}, Until: in(90)}, rules, false, "waiver-unused: the waiver of shell excuses nothing in image.a"},
		"another rule":           {imx.Waiver{Rule: "other", Until: in(90)}, rules, false, "waiver-unused: the waiver of other excuses nothing"},
		"a rule that isn't":      {imx.Waiver{Rule: "shel", Until: in(90)}, rules, false, "waiver-unknown: there is no rule shel to waive"},
		"or isn't known here":    {imx.Waiver{Rule: "shel", Until: in(90)}, nil, false, ""},
		"its last moment":        {imx.Waiver{Rule: "shell", Until: today().Add(1)}, rules, true, "waiver-expiring: the waiver of shell expires on 2026-11-22"},
		"its end":                {imx.Waiver{Rule: "shell", Until: today()}, rules, false, "waiver-expired: the waiver of shell expired on 2026-11-22"},
		"29 days before":         {imx.Waiver{Rule: "shell", Until: in(29)}, rules, true, "waiver-expiring: the waiver of shell expires on 2026-12-21"},
		"expired, and no use":    {imx.Waiver{Rule: "other", Until: in(-1)}, rules, false, "waiver-unused: the waiver of other excuses nothing"},
		"expired, not from here": {imx.Waiver{Rule: "mine", Until: in(-1)}, nil, false, "waiver-expired: the waiver of mine expired on 2026-11-21"},
	} {
		t.Run(name, func(t *testing.T) {
			all := check.Excuse([]imx.Waiver{c.waiver}, []imx.Finding{finding}, c.known, today())
			var said []string
			for _, f := range all {
				if f.Rule != "shell" {
					said = append(said, f.Rule+": "+f.Message)
				} else if (f.Waived != nil) != c.waived {
					t.Errorf("waived: %v", f.Waived)
				}
			}
			if says := strings.Join(said, "; "); says != c.says {
				t.Errorf("it says %q", says)
			}
		})
	}
}

// Whatever waivers there are, no finding is lost, and none that is excused refuses.
func TestWaiversLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.SampledFrom([]string{"a", "b", "c"})
		findings := rapid.SliceOf(rapid.Custom(func(t *rapid.T) imx.Finding {
			return imx.Finding{Rule: id.Draw(t, "rule"), Level: rapid.SampledFrom(imx.Levels()).Draw(t, "level"), Subject: id.Draw(t, "subject")}
		})).Draw(t, "findings")
		waivers := rapid.SliceOf(rapid.Custom(func(t *rapid.T) imx.Waiver {
			return imx.Waiver{Rule: id.Draw(t, "rule"), For: rapid.SliceOf(id).Draw(t, "for"), Until: today().Add(time.Duration(rapid.Int64Range(-9, 9).Draw(t, "until")))}
		})).Draw(t, "waivers")
		all := check.Excuse(waivers, findings, []imx.Rule{{ID: "a"}, {ID: "b"}}, today())
		kept := 0
		for _, f := range all {
			if !strings.HasPrefix(f.Rule, "waiver-") {
				kept++
			}
			if f.Waived != nil && (f.Waived.Rule != f.Rule || !f.Waived.Until.After(today())) {
				t.Fatalf("%+v", f)
			}
		}
		if kept != len(findings) {
			t.Fatalf("%d of %d", kept, len(findings))
		}
		for i, level := range imx.Levels() {
			for _, f := range check.AtLeast(level, all) {
				if f.Waived != nil || !slices.Contains(imx.Levels()[:i+1], f.Level) {
					t.Fatalf("%s: %+v", level, f)
				}
			}
		}
	})
}

func TestAGateRefusesWithEachPlaceAndItsPredicateSaysWhetherItPassed(t *testing.T) {
	tpl := parse(t, "t.imx.hcl", []byte("image \"a\" {\n  command = [\"/a\"]\n}\nimage \"b\" {\n  user    = \"root\"\n  command = [\"/a\"]\n}\n"))
	set := shipped(t)
	found, err := check.Gate{Set: set, Refuse: imx.High}.Pass(t.Context(), tpl, today())
	e := imx.AsError(err)
	if imx.KindOf(err) != imx.Refused || len(e.Diagnostics) != 2 || e.Diagnostics[1].At.Line != 5 || len(found) != 2 {
		t.Fatal(found, err)
	}
	if _, err := (check.Gate{Set: set}).Pass(t.Context(), tpl, today()); err != nil {
		t.Error(err)
	}
	for refuse, passes := range map[imx.Level]bool{imx.Critical: true, imx.High: false, imx.Low: false, "": true} {
		raw, passed, summary := check.Attest(check.Predicate{Day: "2026-11-22", Refuse: refuse, Findings: found}, set.Rules())
		var p check.Predicate
		if err := json.Unmarshal(raw, &p); err != nil || p.Passed != passes || passed != passes || len(p.Findings) != 2 || len(p.Rules) != len(set.Rules()) {
			t.Errorf("%q: %v, %+v", refuse, err, p)
		}
		if summary != fmt.Sprintf("2 findings by %d rules, 0 of them waived", len(set.Rules())) {
			t.Error(summary)
		}
	}
}

// A template that came as JSON, without any places, is judged the same; findings then stand at its blocks.
func TestATemplateWithoutPlacesIsStillChecked(t *testing.T) {
	tpl := parse(t, "t.imx.hcl", []byte("archive \"d\" {\n  suites = [\"stable\"]\n}\nimage \"a\" {\n  command = [\"/a\"]\n}\nservice \"s\" {\n  image = image.a\n}\n"))
	tpl.Places = nil
	lines := map[string]int{}
	for _, f := range run(t, shipped(t), tpl) {
		lines[f.Subject] = f.At.Line
	}
	if diff := cmp.Diff(map[string]int{"archive.d": 1, "image.a": 4, "service.s": 7}, lines); diff != "" {
		t.Error(diff)
	}
}

// Whatever somebody writes as a rule: it is refused or it ends, and nothing panics.
func FuzzRule(f *testing.F) {
	names, err := filepath.Glob("rules/*.rego")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(head + `deny contains {"message": "x", "at": [1, null, {}]} if walk(input, [p, v])`)
	tpl := parse(f, "t.imx.hcl", []byte("image \"a\" {\n  command = [\"/a\"]\n}\n"))
	d, err := check.OfTemplate(tpl, today())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := check.Load("own", []check.Module{{Name: "own.rego", Text: text}}, check.Bounds{Steps: 20_000, Memory: 64 << 20})
		if err != nil {
			if k := imx.KindOf(err); k != imx.Invalid {
				t.Errorf("%s: %v", k, err)
			}
			return
		}
		if _, err := set.Run(t.Context(), d); err != nil {
			if k := imx.KindOf(err); k != imx.Invalid && k != imx.Exhausted {
				t.Errorf("%s: %v", k, err)
			}
		}
	})
}
