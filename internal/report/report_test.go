package report_test

// A report of everything that there may be, in each format. After a change: go test ./internal/report -update

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/report"
)

var update = flag.Bool("update", false, "rewrite the golden files; read the diff before you keep it")

func whole() report.Report {
	waiver := imx.Waiver{Rule: "shell", For: []string{"image.b"}, Reason: "its <start> script", Until: time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)}
	return report.Report{
		Version: "1.2.3",
		Rules: []imx.Rule{
			{ID: "root-user", Title: "An image runs as root", Description: "No user.", Level: imx.High, Why: "It owns all.", Fix: "Write user.", From: "imx", Links: []string{"https://example.org/root"}},
			{ID: "shell", Title: "A shell is asked for", Level: imx.Medium, From: "imx"},
			{ID: "own", Title: "Our own", Level: imx.Low, From: "checks"},
		},
		Folders: []report.Folder{
			{Path: "a", Mistakes: imx.Diagnostics{{
				Severity: imx.SeverityError, Summary: `there is no image named "wev"`, Hint: "did you mean image.web?",
				At: imx.Pos{File: "a/a.imx.hcl", Line: 7, Column: 11, End: 20}, Source: "  image = image.wev",
			}}},
			{Path: "b c", Findings: []imx.Finding{
				// Each of the two characters before the column has several code points.
				{Rule: "root-user", Level: imx.High, Message: "image.b runs as root", Fix: "write nobody", Subject: "image.b", At: imx.Pos{File: "b c/b.imx.hcl", Line: 2, Column: 3, End: 5}, Source: "e\u0301👩‍🚀user"},
				{Rule: "shell", Level: imx.Medium, Message: "image.b asks for a shell", Subject: "image.b", At: imx.Pos{File: "b c/b.imx.hcl", Line: 3}, Waived: &waiver},
			}},
			{Path: "fine"},
		},
	}
}

func TestTheFormats(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer) error{
		"report.json":  func(b *bytes.Buffer) error { return report.JSON(b, whole()) },
		"report.sarif": func(b *bytes.Buffer) error { return report.SARIF(b, whole()) },
		"report.xml":   func(b *bytes.Buffer) error { return report.JUnit(b, whole()) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// schema is the official one, from https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile("testdata/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSARIFIsValidByTheOfficialSchema(t *testing.T) {
	s := schema(t)
	for name, r := range map[string]report.Report{"whole": whole(), "nothing": {}} {
		var b bytes.Buffer
		if err := report.SARIF(&b, r); err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The schema refuses something, or the test says nothing.
	if s.Validate(map[string]any{"version": "2.1.0"}) == nil {
		t.Error("a log without runs is valid")
	}
}

// Whatever text templates and rules hold, the reports can be read by what reads their formats.
func TestAnyTextComesOutReadable(t *testing.T) {
	s := schema(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		f := imx.Finding{
			Rule: text.Draw(t, "rule"), Level: rapid.SampledFrom(imx.Levels()).Draw(t, "level"), Message: text.Draw(t, "message"),
			Fix: text.Draw(t, "fix"), Subject: text.Draw(t, "subject"), Source: text.Draw(t, "source"),
			At: imx.Pos{File: text.Draw(t, "file"), Line: rapid.IntRange(0, 9).Draw(t, "line"), Column: rapid.IntRange(0, 9).Draw(t, "column")},
		}
		f.At.End = f.At.Column + rapid.IntRange(0, 9).Draw(t, "length")
		r := report.Report{Folders: []report.Folder{{Path: text.Draw(t, "path"), Findings: []imx.Finding{f}}}}
		var b bytes.Buffer
		if err := report.SARIF(&b, r); err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Fatal(err)
		}
		b.Reset()
		if err := report.JUnit(&b, r); err != nil {
			t.Fatal(err)
		}
		if err := xml.Unmarshal(b.Bytes(), new(struct{})); err != nil {
			t.Fatal(err)
		}
		b.Reset()
		if err := report.JSON(&b, r); err != nil {
			t.Fatal(err)
		}
		var back report.Report
		if err := json.Unmarshal(b.Bytes(), &back); err != nil || len(back.Findings()) != 1 || strings.Contains(b.String(), "null") && f.Message == "" {
			t.Fatal(err, back)
		}
	})
}
