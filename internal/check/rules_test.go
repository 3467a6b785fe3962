package check_test

// Each shipped rule has a file in rules/testdata with a template that breaks it and a near one that doesn't.
// The first shows all that the rule says of it. After a change: go test ./internal/check -update

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"imx"
	"imx/internal/check"
	"imx/internal/foreign"
	"imx/internal/leak"
	"imx/internal/template"
)

var update = flag.Bool("update", false, "rewrite the golden files and docs/rules.md; read the diff before you keep it")

const (
	breaks = "breaks.imx.hcl"
	fine   = "fine.imx.hcl"
	wanted = "want"
)

// today is when the templates of the tests are looked at.
func today() time.Time { return time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC) }

func shipped(tb testing.TB) *check.Set {
	tb.Helper()
	set, err := check.Shipped()
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func parse(tb testing.TB, name string, text []byte) imx.Template {
	tb.Helper()
	tpl, ds := template.Parse(fstest.MapFS{name: {Data: text}})
	if err := ds.Err(); err != nil {
		tb.Fatal(err)
	}
	return tpl
}

func run(tb testing.TB, set *check.Set, tpl imx.Template) []imx.Finding {
	tb.Helper()
	d, err := check.OfTemplate(tpl, today())
	if err != nil {
		tb.Fatal(err)
	}
	found, err := set.Run(tb.Context(), d)
	if err != nil {
		tb.Fatal(err)
	}
	return found
}

func of(rule string, all []imx.Finding) []imx.Finding {
	var some []imx.Finding
	for _, f := range all {
		if f.Rule == rule {
			some = append(some, f)
		}
	}
	return some
}

// show writes findings with the text that they are about underlined.
func show(text []byte, found []imx.Finding) string {
	lines := strings.Split(string(text), "\n")
	var b strings.Builder
	for _, f := range found {
		d := imx.Diagnostic{At: f.At}
		if f.At.Line > 0 {
			d.Source = lines[f.At.Line-1]
		}
		fmt.Fprintf(&b, "%d: %s: %s\n", f.At.Line, f.Subject, f.Message)
		if u := template.Underline(d); u != "" {
			b.WriteString("    | " + strings.ReplaceAll(u, "\n", "\n    | ") + "\n")
		}
	}
	return b.String()
}

func TestEachRuleFindsWhatBreaksItAndNothingInANearTemplateThatDoesnt(t *testing.T) {
	set := shipped(t)
	for _, r := range set.Rules() {
		t.Run(r.ID, func(t *testing.T) {
			name := filepath.Join("rules", "testdata", r.ID+".txtar")
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files := map[string][]byte{}
			for _, f := range a.Files {
				files[f.Name] = f.Data
			}
			found := of(r.ID, run(t, set, parse(t, breaks, files[breaks])))
			if len(found) == 0 {
				t.Errorf("%s doesn't break the rule", breaks)
			}
			for _, f := range found {
				if f.At.Line == 0 || f.At.Column == 0 || strings.HasSuffix(f.Message, ".") {
					t.Errorf("a finding without its place, or with a full stop: %+v", f)
				}
			}
			if found := of(r.ID, run(t, set, parse(t, fine, files[fine]))); len(found) > 0 {
				t.Errorf("%s breaks the rule:\n%s", fine, show(files[fine], found))
			}
			got := show(files[breaks], found)
			if *update {
				a.Files = []txtar.File{{Name: breaks, Data: files[breaks]}, {Name: fine, Data: files[fine]}, {Name: wanted, Data: []byte(got)}}
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(files[wanted]), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEachRuleSaysWhyItIsThereAndWhatToDo(t *testing.T) {
	for _, r := range append(shipped(t).Rules(), check.WaiverRules()...) {
		for name, text := range map[string]string{"description": r.Description, "why": r.Why, "fix": r.Fix} {
			if len(text) < 20 || !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %s is %q", r.ID, name, text)
			}
		}
	}
}

func TestTheReferenceIsUpToDate(t *testing.T) {
	const file = "../../docs/rules.md"
	beside, err := foreign.New().Rules()
	if err != nil {
		t.Fatal(err)
	}
	own, others := append(shipped(t).Rules(), check.WaiverRules()...), leak.New().Rules()
	for _, r := range beside {
		if r.From == check.Own {
			own = append(own, r)
		} else {
			others = append(others, r)
		}
	}
	got := check.Reference(own, others)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s isn't up to date; run the test with -update (-file +now):\n%s", file, diff)
	}
}

// The example of docs/check.md must be one.
func TestTheRuleInTheDocumentationFindsWhatItSays(t *testing.T) {
	text, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```rego\n")
	rego, _, _ := strings.Cut(rest, "```")
	set, err := check.Load("own", []check.Module{{Name: "team.rego", Text: rego}}, check.DefaultBounds())
	if err != nil {
		t.Fatal(err)
	}
	shop, err := os.ReadFile("../../examples/shop/shop.imx.hcl")
	if err != nil {
		t.Fatal(err)
	}
	folder := os.DirFS("../../examples/shop")
	tpl, ds := template.Parse(folder)
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	want := "31: service.web: service.web is published and names no team\n    | service \"web\" {\n    | ^^^^^^^^^^^^^\n"
	if diff := cmp.Diff(want, show(shop, run(t, set, tpl))); diff != "" {
		t.Error(diff)
	}
}
