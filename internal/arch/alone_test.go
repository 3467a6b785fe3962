package arch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// source is what `go list` tells of a package.
type source struct {
	Path    string   `json:"ImportPath"`
	Dir     string   `json:"Dir"`
	Files   []string `json:"GoFiles"`
	Tests   []string `json:"TestGoFiles"`
	Outside []string `json:"XTestGoFiles"` // tests of another package in the same folder
	Deps    []string `json:"Deps"`
}

// The Makefile names packages that are tested without the race detector, since it could find nothing in them.
func TestWhatIsTestedWithoutTheRaceDetectorStartsNoGoroutine(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ALONE := (.+)$`).FindSubmatch(makefile)
	if line == nil {
		t.Fatal("the Makefile has no line ALONE")
	}
	all := packages(t)
	for name := range strings.FieldsSeq(string(line[1])) {
		p, known := all["imx/internal/"+name]
		if !known {
			t.Errorf("the Makefile names %s, which is no package", name)
			continue
		}
		for _, where := range goroutines(t, p, slices.Concat(p.Files, p.Tests, p.Outside)) {
			t.Errorf("%s is tested without the race detector, and %s starts a goroutine", name, where)
		}
		for _, dep := range p.Deps {
			for _, where := range goroutines(t, all[dep], all[dep].Files) {
				t.Errorf("%s is tested without the race detector, and %s, which it imports, starts a goroutine", name, where)
			}
		}
	}
}

// packages are those of imx, by their import paths.
func packages(t *testing.T) map[string]source {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,TestGoFiles,XTestGoFiles,Deps", "imx/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]source{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p source
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.Path] = p
	}
}

// goroutines are the places in files of a package that start a goroutine, or a test beside others.
func goroutines(t *testing.T, p source, files []string) []string {
	t.Helper()
	var places []string
	for _, name := range files {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, isCall := n.(*ast.CallExpr)
			_, starts := n.(*ast.GoStmt)
			if isCall {
				way, named := call.Fun.(*ast.SelectorExpr)
				starts = named && slices.Contains([]string{"Go", "Parallel"}, way.Sel.Name)
			}
			if starts {
				at := set.Position(n.Pos())
				places = append(places, fmt.Sprintf("%s/%s:%d", filepath.Base(p.Dir), name, at.Line))
			}
			return true
		})
	}
	return places
}
