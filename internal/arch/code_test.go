package arch_test

// The module's code with its types, and what in it bears on who starts programs, makes passes and judges releases. By types, and not by
// names: an import by another name, a method that is handed on, a literal or a copy shows all the same.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unit is a package, with its types.
type unit struct {
	fset  *token.FileSet
	files []*ast.File
	info  *types.Info
}

// sight is one thing that somebody has to allow.
type sight struct {
	what  string // "os/exec.Command"
	where string // "internal/git.run": the function, or "internal/git" beside them all
	at    token.Position
}

// listed is what `go list` says of a package.
type listed struct {
	ImportPath string   `json:"ImportPath"`
	Dir        string   `json:"Dir"`
	Export     string   `json:"Export"`
	GoFiles    []string `json:"GoFiles"`
}

// code has the module's packages as `go list` names them, and what they import as the compiler left it.
type code struct {
	packages []listed
	fset     *token.FileSet
	imports  types.Importer
}

// load lists packages of the module, and those of the module that they need, under build tags.
func load(t *testing.T, tags string, packages ...string) code {
	t.Helper()
	args := []string{"list", "-tags", tags, "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles"}
	cmd := exec.CommandContext(t.Context(), "go", append(args, packages...)...)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, failed.Bytes())
	}
	c := code{fset: token.NewFileSet()}
	exports := map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if name(p.ImportPath) != "" {
			c.packages = append(c.packages, p)
		}
	}
	c.imports = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	return c
}

// unit reads a package of the module.
func (c code) unit(t *testing.T, p listed) unit {
	t.Helper()
	var files []*ast.File
	for _, file := range p.GoFiles {
		parsed, err := parser.ParseFile(c.fset, filepath.Join(p.Dir, file), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, parsed)
	}
	return c.typed(t, p.ImportPath, files)
}

func (c code) typed(t *testing.T, path string, files []*ast.File) unit {
	t.Helper()
	u := unit{fset: c.fset, files: files, info: &types.Info{
		Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{},
	}}
	config := types.Config{Importer: c.imports}
	if _, err := config.Check(path, c.fset, files, u.info); err != nil {
		t.Fatal(err)
	}
	return u
}

// sights are all that a package has of what somebody must allow.
func (u unit) sights(path string) []sight {
	var found []sight
	for _, f := range u.files {
		for _, imp := range f.Imports {
			if imp.Path.Value == `"unsafe"` || imp.Path.Value == `"C"` {
				found = append(found, sight{"import of " + imp.Path.Value, short(path), u.fset.Position(imp.Pos())})
			}
		}
		for _, group := range f.Comments {
			if strings.Contains("\n"+group.Text()+group.List[0].Text, "go:linkname") {
				found = append(found, sight{"go:linkname", short(path), u.fset.Position(group.Pos())})
			}
		}
		var way []ast.Node // from the file down to the node
		ast.Inspect(f, func(n ast.Node) bool {
			if n == nil {
				way = way[:len(way)-1]
				return true
			}
			way = append(way, n)
			if what := u.sees(way); what != "" {
				found = append(found, sight{what, short(path) + inside(way), u.fset.Position(n.Pos())})
			}
			return true
		})
	}
	return found
}

func short(path string) string { return strings.TrimPrefix(path, "imx/") }

// inside is the function that a node is in: ".run", ".engine.Scale", "" for none.
func inside(way []ast.Node) string {
	for _, n := range way {
		f, ok := n.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if f.Recv == nil {
			return "." + f.Name.Name
		}
		of := f.Recv.List[0].Type
		if star, ok := of.(*ast.StarExpr); ok {
			of = star.X
		}
		return "." + types.ExprString(of) + "." + f.Name.Name
	}
	return ""
}

// sees is what the last node of a way is of what somebody must allow, "" for nothing.
func (u unit) sees(way []ast.Node) string {
	switch n := way[len(way)-1].(type) {
	case *ast.Ident:
		obj := u.info.Uses[n]
		if obj == nil || obj.Pkg() == nil {
			return ""
		}
		return u.object(obj, way)
	case *ast.CompositeLit:
		if of(u.info.TypeOf(n)) == promotion && len(n.Elts) > 0 {
			if _, named := n.Elts[0].(*ast.KeyValueExpr); !named {
				return judged
			}
		}
	case *ast.CallExpr:
		if tv := u.info.Types[n.Fun]; tv.IsType() && of(tv.Type) == promotion {
			return judged // a conversion of what has the same fields
		}
	}
	return ""
}

const (
	promotion = "imx/internal/control.Promotion"
	judged    = promotion + ".Judged"
	pass      = "imx/internal/admission.Pass"
	command   = "os/exec.Cmd"
)

// of names a type, "" for one without a name.
func of(t types.Type) string {
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.Obj().Pkg() == nil {
		return ""
	}
	return named.Obj().Pkg().Path() + "." + named.Obj().Name()
}

// object is what the use of an object is, as sees has it.
func (u unit) object(obj types.Object, way []ast.Node) string {
	named := obj.Pkg().Path() + "." + obj.Name()
	switch o := obj.(type) {
	case *types.Var:
		if o.IsField() && named == "imx/internal/control.Judged" {
			return judged
		}
	case *types.TypeName:
		if named == command && !pointed(way) {
			return command // a value of it is a program that nobody has to ask exec for
		}
		if named == "net/http/cgi.Handler" {
			return named
		}
	case *types.Const:
		if slices.Contains(systemCalls(), obj.Name()) {
			return named
		}
	case *types.Func:
		return u.function(o, named, way)
	}
	return ""
}

// systemCalls are those that come to a program.
func systemCalls() []string {
	return []string{"SYS_EXECVE", "SYS_EXECVEAT", "SYS_FORK", "SYS_VFORK", "SYS_CLONE", "SYS_CLONE3"}
}

// programs are the functions that do, and those that make any system call.
func programs() []string {
	list := []string{"os.StartProcess", "os/exec.Command", "os/exec.CommandContext", "plugin.Open", "golang.org/x/sys/unix.Exec"}
	for _, f := range []string{"Exec", "ForkExec", "StartProcess", "AllThreadsSyscall", "AllThreadsSyscall6"} {
		list = append(list, "syscall."+f)
	}
	for _, f := range []string{"Syscall", "Syscall6", "RawSyscall", "RawSyscall6", "SyscallNoError", "RawSyscallNoError"} {
		list = append(list, "syscall."+f, "golang.org/x/sys/unix."+f)
	}
	return list
}

func (u unit) function(f *types.Func, named string, way []ast.Node) string {
	signature := f.Signature()
	switch {
	case slices.Contains(programs(), named):
		return named
	case named == "imx/internal/admission.Issue", named == "imx/internal/admission.ForTrial":
		return named
	case f.Name() == "Covers" && signature.Recv() != nil && of(signature.Recv().Type()) == pass:
		if !refuses(way) {
			return pass + ".Covers without a return"
		}
		return ""
	}
	for v := range signature.Params().Variables() {
		if of(v.Type()) == pass {
			return "start with a Pass"
		}
	}
	return ""
}

// pointed reports whether a type's name is that of what a pointer points at.
func pointed(way []ast.Node) bool {
	i := len(way) - 2
	if _, ok := way[i].(*ast.SelectorExpr); ok {
		i--
	}
	_, ok := way[i].(*ast.StarExpr)
	return ok
}

// refuses reports whether the call at the end of a way, of Covers, is in the one form in which its answer can't be lost:
//
//	if err := p.Covers(r); err != nil {
//		return ..., err
//	}
func refuses(way []ast.Node) bool {
	const above = 5 // Covers, p.Covers, the call, err := ..., if
	if len(way) < above {
		return false
	}
	call, isCall := way[len(way)-3].(*ast.CallExpr)
	assign, isAssign := way[len(way)-4].(*ast.AssignStmt)
	check, isIf := way[len(way)-5].(*ast.IfStmt)
	if !isCall || !isAssign || !isIf || check.Init != assign || call.Fun != way[len(way)-2] || len(assign.Lhs) != 1 {
		return false
	}
	err := types.ExprString(assign.Lhs[0])
	if err == "_" || types.ExprString(check.Cond) != err+" != nil" {
		return false
	}
	last, ok := check.Body.List[len(check.Body.List)-1].(*ast.ReturnStmt)
	return ok && len(check.Body.List) == 1 && len(last.Results) > 0 && types.ExprString(last.Results[len(last.Results)-1]) == err
}

// unasked are the functions that take a Pass and don't ask it before anything that starts: calls of the names that are given, in the
// order of the text.
func (u unit) unasked(path string, starts func(name string) bool) []sight {
	var found []sight
	for _, f := range u.files {
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil && u.takesPass(d) && !u.asksFirst(d, starts) {
				found = append(found, sight{"a Pass that isn't asked first", short(path) + inside([]ast.Node{d}), u.fset.Position(d.Pos())})
			}
		}
	}
	return found
}

func (u unit) takesPass(d *ast.FuncDecl) bool {
	for _, p := range d.Type.Params.List {
		if of(u.info.TypeOf(p.Type)) == pass {
			return true
		}
	}
	return false
}

// asksFirst reports whether a function calls Covers, and before it nothing that starts.
func (u unit) asksFirst(d *ast.FuncDecl, starts func(name string) bool) bool {
	asked, first := token.NoPos, d.Body.End()
	ast.Inspect(d.Body, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok {
			return true
		}
		f, ok := u.info.Uses[id].(*types.Func)
		switch {
		case !ok:
		case f.Name() == "Covers" && asked == token.NoPos:
			asked = id.Pos()
		case starts(f.Name()) && id.Pos() < first:
			first = id.Pos()
		}
		return true
	})
	return asked != token.NoPos && asked < first
}

// snippet is a package of one file, by its text.
func (c code) snippet(t *testing.T, text string) unit {
	t.Helper()
	parsed, err := parser.ParseFile(c.fset, "snippet.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return c.typed(t, "imx/internal/snippet", []*ast.File{parsed})
}

func (s sight) String() string { return fmt.Sprintf("%s: %s in %s", s.at, s.what, s.where) }
