package template_test

// The files in testdata/parse are the list of what can go wrong in a template, each with the text
// that a person would have written and all that imx says about it. They are the contract of the
// messages: read them before changing one, and after `go test ./internal/template -update`.

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"imx"
	"imx/internal/template"
)

var update = flag.Bool("update", false, "rewrite the golden files and docs/template.md")

const wanted = "want"

func TestParseSaysWhatIsWrong(t *testing.T) {
	golden(t, "testdata/parse", func(t *testing.T, files []txtar.File) string {
		t.Helper()
		folder := folderOf(files)
		got, ds := template.Parse(folder)
		checkLaws(t, folder, got, ds)
		if ds.Err() == nil {
			return show(ds) + "usable\n"
		}
		return show(ds)
	})
}

// TestParseGivesTheWholeTemplate shows the value that a template becomes, with every default.
func TestParseGivesTheWholeTemplate(t *testing.T) {
	golden(t, "testdata/value", func(t *testing.T, files []txtar.File) string {
		t.Helper()
		folder := folderOf(files)
		got, ds := template.Parse(folder)
		if err := ds.Err(); err != nil {
			t.Fatal(err)
		}
		checkLaws(t, folder, got, ds)
		return indented(t, got)
	})
}

// TestCheckTrustsNoClient gives Check what no Parse would have returned.
func TestCheckTrustsNoClient(t *testing.T) {
	golden(t, "testdata/check", func(t *testing.T, files []txtar.File) string {
		t.Helper()
		var v imx.Template
		if err := json.Unmarshal(files[0].Data, &v); err != nil {
			t.Fatal(err)
		}
		return show(template.Check(v))
	})
}

func golden(t *testing.T, folder string, run func(*testing.T, []txtar.File) string) {
	t.Helper()
	names, err := filepath.Glob(folder + "/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var in []txtar.File
			want := ""
			for _, f := range a.Files {
				if f.Name == wanted {
					want = string(f.Data)
					continue
				}
				in = append(in, f)
			}
			got := run(t, in)
			if *update {
				a.Files = append(in, txtar.File{Name: wanted, Data: []byte(got)})
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
}

func folderOf(files []txtar.File) fstest.MapFS {
	m := fstest.MapFS{}
	for _, f := range files {
		m[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return m
}

// show writes diagnostics as the command line does, without colours.
func show(ds imx.Diagnostics) string {
	var b strings.Builder
	for _, d := range ds {
		fmt.Fprintf(&b, "%s\n", strings.TrimPrefix(fmt.Sprintf("%v: %s: %s", d.At, d.Severity, d.Summary), ": "))
		if u := template.Underline(d); u != "" {
			b.WriteString("    | " + strings.ReplaceAll(u, "\n", "\n    | ") + "\n")
		}
		if d.Hint != "" {
			fmt.Fprintf(&b, "    = %s\n", d.Hint)
		}
	}
	return b.String()
}

func indented(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

// checkLaws holds for any text at all: diagnostics point into the files, a second run says the
// same, and what can be used passes Check after its way through JSON.
func checkLaws(t *testing.T, folder fs.FS, got imx.Template, ds imx.Diagnostics) {
	t.Helper()
	for _, d := range ds {
		if d.Summary == "" || strings.HasSuffix(d.Summary, ".") {
			t.Errorf("not one sentence without a full stop: %+v", d)
		}
		if d.At != (imx.Pos{}) && (d.At.File == "" || d.At.Line < 1 || d.At.Column < 1 || d.At.End <= d.At.Column) {
			t.Errorf("no valid position: %+v", d)
		}
		if d.At != (imx.Pos{}) {
			text, err := fs.ReadFile(folder, d.At.File)
			if err != nil || d.At.Line > strings.Count(string(text), "\n")+1 {
				t.Errorf("points out of the file: %+v %v", d, err)
			}
		}
	}
	again, ds2 := template.Parse(folder)
	if diff := cmp.Diff(got, again) + cmp.Diff(ds, ds2); diff != "" {
		t.Errorf("a second run differs: %s", diff)
	}
	if ds.Err() != nil {
		return
	}
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var back imx.Template
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if ds := template.Check(back); len(ds) > 0 {
		t.Errorf("Check of what Parse returned: %s", show(ds))
	}
	if imx.DigestJSON(back) != imx.DigestJSON(got) {
		t.Errorf("the way through JSON changed it: %s", cmp.Diff(got, back))
	}
}
