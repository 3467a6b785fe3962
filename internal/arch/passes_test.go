package arch_test

// No path in the code starts an instance without a verdict. What starts one takes an admission.Pass, and here is the whole list of who
// makes passes, and of who hands one to an engine. Whoever adds a path fails this test, and has to say here why it is one.

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// passes says which packages may use what of package admission.
func passes() map[string][]string {
	return map[string][]string{
		"Issue":    {"internal/verdict"},                             // from a verdict that says yes
		"ForTrial": {"internal/engine/enginetest", "internal/trial"}, // for instances that nothing but a test reaches
	}
}

// starters are the only functions that lead to a process of an instance: Scale of engines, and what of each engine Scale alone calls.
// Tests of images run a program beside an instance that has a pass of its own.
func starters() map[string][]string {
	return map[string][]string{
		"Scale":  {"internal/control", "internal/daemon", "internal/engine/enginetest", "internal/reconcile", "internal/trial"},
		"ExecIn": {"internal/trial"},
	}
}

func TestOnlyTheseMakePasses(t *testing.T) {
	used := map[string]map[string]bool{}
	for file, parsed := range sources(t) {
		ast.Inspect(parsed, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if x, isName := base(s, ok); isName && x == "admission" && passes()[s.Sel.Name] != nil {
				note(used, s.Sel.Name, filepath.Dir(file))
			}
			return true
		})
		for _, imp := range parsed.Imports {
			if imp.Path.Value == `"imx/internal/admission"` && imp.Name != nil {
				t.Errorf("%s imports admission by another name, so that nobody sees what it makes", file)
			}
		}
	}
	if diff := cmp.Diff(passes(), sorted(used)); diff != "" {
		t.Errorf("who makes passes (-may +does):\n%s", diff)
	}
}

func base(s *ast.SelectorExpr, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return "", false
	}
	return x.Name, true
}

// A method by one of these names may be another's (control.Scale changes what is wanted): it is in the list all the same.
func TestOnlyTheseStartInstances(t *testing.T) {
	called := map[string]map[string]bool{}
	for file, parsed := range sources(t) {
		ast.Inspect(parsed, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && starters()[s.Sel.Name] != nil && !isType(parsed, s) {
				note(called, s.Sel.Name, filepath.Dir(file))
			}
			return true
		})
	}
	for name, may := range starters() {
		for dir := range called[name] {
			if !slices.Contains(may, dir) && !outside(dir) {
				t.Errorf("%s calls %s: a path to an instance that isn't in the list", dir, name)
			}
		}
	}
}

// outside are packages that reach no engine: people's side of the socket, and what has a word by the same name.
func outside(dir string) bool {
	return slices.Contains([]string{"internal/api", "internal/cli", "internal/client", "internal/demo", "internal/rollout", "internal/term"}, dir)
}

// isType reports whether a selector is rollout's action, a type by the same name.
func isType(_ *ast.File, s *ast.SelectorExpr) bool {
	x, ok := base(s, true)
	return ok && x == "rollout"
}

// ways are, of each engine, who may call what on the way to a process: from the exported method that asks the Pass down to the
// program that is run. "Command" is exec's.
func ways() map[string]map[string][]string {
	return map[string]map[string][]string{
		"internal/engine/local": {
			"startAll": {"Scale"}, "startMade": {"startAll"}, "startOne": {"startMade"}, "launch": {"startOne"}, "startHidden": {"launch"},
			"create": {"startHidden"}, "conmon": {"create"},
			"CommandContext": {"conmon", "run", "startHidden"}, // run: a program beside an instance that runs, by Exec and ExecIn
			"kitBundle":      {"ExecIn"},
		},
		"internal/engine/fake": {"newInstance": {"Scale"}},
	}
}

func TestEnginesComeToAProcessOnlyByWhatAsksForAPass(t *testing.T) {
	for engine, way := range ways() {
		found := map[string]map[string]bool{}
		for file, parsed := range sources(t) {
			if filepath.Dir(file) != engine {
				continue
			}
			for _, d := range parsed.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
					for name := range calls(f) {
						if way[name] != nil {
							note(found, name, f.Name.Name)
						}
					}
					asks(t, engine, f)
				}
			}
		}
		if diff := cmp.Diff(way, sorted(found)); diff != "" {
			t.Errorf("%s: who calls what starts (-may +does):\n%s", engine, diff)
		}
	}
}

// asks fails for a function that takes a Pass and doesn't return when it doesn't cover what would start.
func asks(t *testing.T, engine string, f *ast.FuncDecl) {
	t.Helper()
	if strings.Contains(signature(f), "admission.Pass") && !calls(f)["Covers"] {
		t.Errorf("%s: %s takes a Pass and doesn't ask it", engine, f.Name.Name)
	}
}

// calls are the names that a function calls, or hands on to be called.
func calls(f *ast.FuncDecl) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			names[n.Sel.Name] = true
		case *ast.CallExpr:
			if x, ok := n.Fun.(*ast.Ident); ok {
				names[x.Name] = true
			}
		}
		return true
	})
	return names
}

func signature(f *ast.FuncDecl) string {
	var b strings.Builder
	for _, p := range f.Type.Params.List {
		if s, ok := p.Type.(*ast.SelectorExpr); ok {
			x, _ := base(s, true)
			fmt.Fprintf(&b, "%s.%s ", x, s.Sel.Name)
		}
	}
	return b.String()
}

func note(m map[string]map[string]bool, name, dir string) {
	if m[name] == nil {
		m[name] = map[string]bool{}
	}
	m[name][dir] = true
}

func sorted(m map[string]map[string]bool) map[string][]string {
	list := map[string][]string{}
	for name, dirs := range m {
		list[name] = slices.Sorted(maps.Keys(dirs))
	}
	return list
}

// sources are the module's Go files that aren't tests, by their path below its root.
func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	const root = "../.."
	found := map[string]*ast.File{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(root, path)
		switch {
		case err != nil || relErr != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && name != ".", d.IsDir() && d.Name() == "testdata":
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		found[name], err = parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
