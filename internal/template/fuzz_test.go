package template_test

// The template is text that anybody may have written, and the package under it is large: whatever
// comes in, Parse returns, and what it returns keeps the laws.

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"imx"
	"imx/internal/template"
)

func FuzzParse(f *testing.F) {
	names, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for i, file := range a.Files[:len(a.Files)-1] {
			f.Add(string(file.Data), string(a.Files[(i+1)%len(a.Files)].Data))
		}
	}
	f.Add(template.Samples(), "x")
	f.Fuzz(func(t *testing.T, text, other string) {
		folder := fstest.MapFS{"main.imx.hcl": {Data: []byte(text)}}
		for _, name := range []string{"nginx.conf", "app.conf", "web.conf", "keys.asc", "archive.asc", "x", "decomposed"} {
			folder[name] = &fstest.MapFile{Data: []byte(other)}
		}
		got, ds := template.Parse(folder)
		checkLaws(t, folder, got, ds)
		for _, d := range ds {
			template.Underline(d)
		}
	})
}

// FuzzCheck gives the server's side whatever a client may send.
func FuzzCheck(f *testing.F) {
	for _, name := range []string{"check/mistakes", "check/fine", "value/whole"} {
		a, err := txtar.ParseFile("testdata/" + name + ".txtar")
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var v imx.Template
		if json.Unmarshal(text, &v) != nil {
			return
		}
		for _, d := range template.Check(v) {
			if d.Summary == "" || d.Severity != imx.SeverityError {
				t.Errorf("%+v", d)
			}
		}
	})
}
