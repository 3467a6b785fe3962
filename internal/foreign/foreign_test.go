package foreign_test

// Each file in testdata is named for a rule and has a file that breaks it, a near one that doesn't, and what is found in the
// first. After a change: go test ./internal/foreign -update

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"imx"
	"imx/internal/foreign"
)

var update = flag.Bool("update", false, "rewrite the golden files; read the diff before you keep it")

func today() time.Time { return time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC) }

func find(t testing.TB, c *foreign.Checker, name string, text []byte) ([]imx.Finding, imx.Diagnostics) {
	t.Helper()
	found, notices, err := c.Check(t.Context(), name, text, today())
	if err != nil {
		t.Fatal(err)
	}
	return found, notices
}

// show writes the findings of one rule with what they are about.
func show(text []byte, rule string, all []imx.Finding) string {
	lines := strings.Split(string(text), "\n")
	var b strings.Builder
	for _, f := range all {
		if f.Rule == rule {
			line := []rune(lines[f.At.Line-1])
			fmt.Fprintf(&b, "%s: %s: %s\n    | %s\n", f.At, f.Level, f.Message, string(line[f.At.Column-1:f.At.End-1]))
		}
	}
	return b.String()
}

func TestEachRuleFindsWhatBreaksItAndNothingInANearFileThatDoesnt(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	c, tested := foreign.New(), map[string]bool{}
	for _, name := range names {
		rule := strings.TrimSuffix(filepath.Base(name), ".txtar")
		tested[rule] = true
		t.Run(rule, func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got, want := "", ""
			for _, f := range a.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				found, notices := find(t, c, f.Name, f.Data)
				text := show(f.Data, rule, found)
				if breaks := strings.HasPrefix(f.Name, "breaks"); breaks != (text != "") || len(notices) > 0 {
					t.Errorf("%s: %v\n%s", f.Name, notices, text)
				}
				got += text
			}
			if *update {
				a.Files = append(a.Files[:len(a.Files)-1:len(a.Files)-1], txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	rules, err := c.Rules()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if !tested[r.ID] && r.From != foreign.Trivy {
			t.Errorf("%s has no file in testdata", r.ID)
		}
		if r.Why == "" || r.Fix == "" || !foreign.IsRule(r.ID) {
			t.Errorf("%s: it doesn't say why it is there, or what to do", r.ID)
		}
	}
}

func TestWhatCantBeReadIsANoticeAtItsLine(t *testing.T) {
	c := foreign.New()
	for name, text := range map[string]string{
		"Dockerfile": "FROM debian\nRUN <<EOF\necho", "main.tf": "resource \"a\" \"b\" {\n  x = \n}\n",
		"pod.yaml": "apiVersion: v1\nkind: Pod\n\tx: [\n", "stack.json": "{\"AWSTemplateFormatVersion\": \"2010-09-09\",\n \"Resources\": [}",
		"deep.tf":    "x = " + strings.Repeat("[", 100_000),
		"deep.yaml":  "apiVersion: v1\nkind: " + strings.Repeat("[", 100_000),
		"bomb.yaml":  "apiVersion: v1\nkind: List\na: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
		"cycle.yaml": "apiVersion: v1\nkind: &a\n  x: *a\n",
	} {
		found, notices := find(t, c, name, []byte(text))
		if len(found) > 0 || len(notices) != 1 || notices[0].At.Line < 1 || notices[0].Severity != imx.SeverityNotice {
			t.Errorf("%s: %v %v", name, found, notices)
		}
	}
}

func TestOtherFilesArentLookedAt(t *testing.T) {
	for name, text := range map[string]string{
		"readme.md": "apiVersion kind", "values.yaml": "replicas: 1\n", "a.json": "{}", "Dockerfile": "\xff\xfe", "big.tf": strings.Repeat("#", foreign.MaxFile+1),
	} {
		if kind := foreign.Recognise(name, []byte(text)); kind != "" {
			t.Errorf("%s is taken for %s", name, kind)
		}
	}
}

// FuzzReading: whatever lies in a folder, the program goes on.
func FuzzReading(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			f.Add(file.Name, file.Data)
		}
	}
	c := foreign.New()
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		for _, as := range []string{name, "Dockerfile", "a.tf", "a.yaml"} {
			found, _, err := c.Check(t.Context(), as, text, today())
			if err != nil && imx.KindOf(err) == imx.Internal {
				t.Fatal(err)
			}
			for _, at := range found {
				if at.At.Line < 1 || at.At.End <= at.At.Column {
					t.Errorf("%+v is nowhere", at)
				}
			}
		}
	})
}
