package template_test

// docs/template.md is written from the table that decodes templates. These tests keep the page, the
// examples in it and the help true.

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/template"
)

const page = "../../docs/template.md"

func TestTheReferencePageIsUpToDate(t *testing.T) {
	want := template.Reference()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("docs/template.md differs; run go test ./internal/template -update (-page +table):\n%s", diff)
	}
}

func TestTheExampleOfTheReferenceIsATemplate(t *testing.T) {
	_, text, _ := strings.Cut(template.Reference(), "```hcl\n")
	text, _, _ = strings.Cut(text, "```")
	_, ds := template.Parse(fstest.MapFS{
		"main.imx.hcl": {Data: []byte(text)}, "app.py": {Data: []byte("print()")}, "store.conf": {Data: []byte("port ${port}")},
	})
	if err := ds.Err(); err != nil {
		t.Error(show(ds))
	}
}

// TestEveryExampleOfTheTableIsAValue puts all settings' examples into one template.
func TestEveryExampleOfTheTableIsAValue(t *testing.T) {
	text := strings.NewReplacer(
		"replicas    = 3", "replicas    = 1", // for its volume's sake
		"  max         = 10", "  max         = 1", "  min  = 4\n  max  = 20", "  min  = 1\n  max  = 1",
		"  requests    = 200\n", "", // which a judge of its deploy block would count
		"  service = service.web\n  image   = image.web\n", "  service = service.web\n", // a test has one of them
		"absent   = true", "absent   = false",
		"  surge       = 2\n", "", // of rolling alone
	).Replace(template.Samples()) +
		`
service "app" {
  image = image.web
  port "http" {
    container = 8000
  }
}
`
	_, ds := template.Parse(fstest.MapFS{
		"main.imx.hcl": {Data: []byte(text)}, "archive.asc": {Data: []byte("keys")}, "nginx.conf": {Data: []byte("daemon off;")}, "roots.pem": {Data: []byte("keys")},
	})
	if err := ds.Err(); err != nil {
		t.Errorf("%s\nof\n%s", show(ds), text)
	}
}

func TestHelpExplainsOneSettingOrBlock(t *testing.T) {
	for path, want := range map[string]string{
		"":                     "service {}",
		"service.health.every": `every = "2s"`,
		"service.port":         "the port inside the instance",
		"image.packages":       "list of strings",
	} {
		got, err := template.Help(path)
		if err != nil || !strings.Contains(strings.ToLower(got), strings.ToLower(want)) || strings.Contains(got, "`") {
			t.Errorf("%s: %v\n%s", path, err, got)
		}
	}
	_, err := template.Help("service.prot")
	if e := imx.AsError(err); e == nil || e.Kind != imx.NotFound || e.Hint != "did you mean service.port?" {
		t.Errorf("%+v", e)
	}
}

func TestCompleteOffersWhatCanFollow(t *testing.T) {
	for prefix, want := range map[string][]string{
		"ser":               {"service", "service."},
		"service.re":        {"service.resources", "service.resources.", "service.replicas"},
		"service.health.ht": {"service.health.http", "service.health.http."},
		"service.nothing.x": nil,
		"image.user.x":      nil,
	} {
		var got []string
		for _, c := range template.Complete(prefix) {
			name, doc, ok := strings.Cut(c, "\t")
			if !ok || doc == "" {
				t.Errorf("no description: %q", c)
			}
			got = append(got, name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", prefix, diff)
		}
	}
}

func TestUnderlineKeepsTabsAndWidths(t *testing.T) {
	for _, c := range []struct {
		source      string
		column, end int
		want        string
	}{
		{"a = 1", 5, 6, "a = 1\n    ^"},
		{"\ta = 1", 2, 3, "\ta = 1\n\t^"},
		{"x\ty", 1, 4, "x\ty\n^^\t^"},
		{"\"日本\" x", 2, 4, "\"日本\" x\n ^^^^"},
		{"e\u0301 = é", 5, 6, "e\u0301 = é\n    ^"},
		{"a = [", 6, 7, "a = [\n     ^"},
		{"a \x1b[31m", 1, 2, "a \ufffd[31m\n^"},
		{"", 1, 2, ""},
		{"a", 0, 0, ""},
	} {
		got := template.Underline(imx.Diagnostic{Source: c.source, At: imx.Pos{Column: c.column, End: c.end}})
		if got != c.want {
			t.Errorf("%q %d-%d: got\n%s\nwant\n%s", c.source, c.column, c.end, got, c.want)
		}
	}
}
