package arch_test

// No path in the code starts an instance without a verdict. What starts one takes an admission.Pass, and here is the whole list of who
// makes passes, who hands one to an engine, who runs programs at all, and who says what a release was judged by. Whoever adds a path
// fails this test, and has to say here why it is one.

import (
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

// allowed says what may be where, and why.
func allowed() map[string]map[string]string {
	return map[string]map[string]string{
		"imx/internal/admission.Issue": {"internal/verdict.Judge.Pass": "from a verdict that says yes"},
		"imx/internal/admission.ForTrial": {
			"internal/engine/enginetest.passNeeded":    "the suite of engines",
			"internal/engine/enginetest.session.scale": "the suite of engines",
			"internal/trial.session.start":             "instances that nothing but a test reaches",
			"internal/sim.pass":                        "a simulated world, which starts nothing",
			"internal/trial.trialCase.way":             "a program beside such an instance",
		},
		"start with a Pass": {
			"internal/reconcile.Loop.scale":            "what is wanted, with a Pass of the judge",
			"internal/engine/enginetest.passNeeded":    "the suite of engines",
			"internal/engine/enginetest.session.scale": "the suite of engines",
			"internal/engine/enginetest.thawNeedsPass": "the suite of engines: an empty Pass, which is refused",
			"internal/trial.session.start":             "an instance of a test",
			"internal/trial.trialCase.way":             "a program beside such an instance",
			"internal/sim.mortal.Scale":                "an engine in memory, with a Pass that was asked for",
			"internal/daemon.roomyEngine.Scale":        "what is wanted, with the Pass of who calls it",
		},
		"a Pass that isn't asked first": {"internal/daemon.roomyEngine.Scale": "the engine asks, to which it is handed on"},
		judged: {
			"internal/sim.World.Release":         "releases of a simulated world, which start nothing",
			"internal/control.Control.Promote":   "no release without it",
			"internal/pipeline.Pipeline.release": "the judge's verdicts on the very drafts",
		},
		"os/exec.CommandContext":           programsThatRun(),
		"os/exec.Command":                  {"internal/check/apart.start": "imx itself, for rules that nobody vouches for"},
		"syscall.ForkExec":                 {"internal/probe.spawn": "inside an instance of a test: it tries what mustn't run there"},
		"syscall.Exec":                     {"internal/ingress/front.confine": "the ingress' process begins anew without rights"},
		"golang.org/x/sys/unix.RawSyscall": {"internal/probe.call": "inside an instance of a test: it tries what mustn't be called there"},
		`import of "unsafe"`:               {"internal/ingress/front": "the kernel takes a filter of system calls by its address"},
		"golang.org/x/sys/unix.Syscall":    {"internal/ingress/front.confineCalls": "seccomp: the ingress' process gives system calls up"},
		"golang.org/x/sys/unix.SYS_CLONE":  {"internal/ingress/front.filter": "what such a filter lets through for threads alone"},
		"golang.org/x/sys/unix.SYS_CLONE3": {"internal/ingress/front.filter": "what it refuses"},
	}
}

// programsThatRun are those that imx runs, by who runs them.
func programsThatRun() map[string]string {
	return map[string]string{
		"internal/engine/local.launcher.conmon": "an instance: TestEnginesComeToAProcessOnlyByWhatAsksForAPass has the way to it",
		"internal/engine/local.launcher.goOn":   "the same",
		"internal/engine/local.beside.run":      "a program beside an instance that runs, by Exec and ExecIn",
		"internal/build.sandbox.start":          "a build's scripts, in a sandbox without a network",
		"internal/build.decompressAll":          "xz",
		"internal/archive.unxz":                 "xz",
		"internal/ingress/keeper.Place.start":   "imx itself, to answer requests from outside: it starts nothing",
		"internal/git.Repository.command":       "git, on the server",
		"internal/cli.git":                      "git, where people type",
		"internal/demo.stage.imx":               "imx itself, as people type it",
		"internal/demo.stage.findings":          "imx itself, as people type it",
		"internal/demo.stage.serve":             "imx itself, as a server",
		"internal/demo.stage.git":               "git, for the demo's repository",
	}
}

// refused are what isn't allowed, of what a package has; what is allowed is noted in used.
func refused(found []sight, used map[string]map[string]bool) []sight {
	var list []sight
	for _, s := range found {
		if _, ok := allowed()[s.what][s.where]; !ok {
			list = append(list, s)
			continue
		}
		note(used, s.what, s.where)
	}
	return list
}

func TestNothingStartsOrIsJudgedButWhereTheListSaysSo(t *testing.T) {
	used, read := map[string]map[string]bool{}, map[string]bool{}
	for tags, packages := range map[string]string{"": "imx/...", "client": "imx/cmd/imx"} {
		c := load(t, tags, packages)
		for _, p := range c.packages {
			u := c.unit(t, p)
			for _, s := range refused(append(u.sights(p.ImportPath), u.unasked(p.ImportPath, starts)...), used) {
				t.Errorf("%s: it isn't in the list", s)
			}
			for _, file := range p.GoFiles {
				read[filepath.Join(p.ImportPath, file)] = true
			}
		}
	}
	for file := range sources(t) {
		if path := filepath.Join("imx", file); !read[path] && unread()[path] == "" {
			t.Errorf("%s is in none of the builds that are looked at", file)
		}
	}
	for what, places := range allowed() {
		for place := range places {
			if !used[what][place] {
				t.Errorf("%s has no %s: take it off the list", place, what)
			}
		}
	}
}

// unread are files of builds that aren't looked at here, and why.
func unread() map[string]string {
	return map[string]string{
		"imx/bench/grype/main.go":              "a module of its own",
		"imx/internal/keyring/token.go":        "needs cgo and a build tag; keys alone",
		"imx/internal/client/shorten_other.go": "of other systems than Linux, where nothing runs",
		"imx/internal/raced/with.go":           "one constant, under the race detector",
	}
}

// starts reports whether something by a name is on an engine's way to a process.
func starts(name string) bool {
	for _, way := range ways() {
		if way[name] != nil {
			return true
		}
	}
	return false
}

// ways are, of each engine, who may call what on the way to a process: from the exported method that asks the Pass down to the
// program that is run.
func ways() map[string]map[string][]string {
	return map[string]map[string][]string{
		"internal/engine/local": {
			"startAll": {"Scale"}, "startMade": {"startAll"}, "startOne": {"startMade"}, "launch": {"startOne"}, "startHidden": {"launch"},
			"create": {"startHidden"}, "conmon": {"create"}, "goOn": {"startHidden"}, "unblock": {"goOn"},
			"CommandContext": {"conmon", "goOn", "run"}, // run: a program beside an instance that runs, by Exec and ExecIn
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
				}
			}
		}
		if diff := cmp.Diff(way, sorted(found)); diff != "" {
			t.Errorf("%s: who calls what starts (-may +does):\n%s", engine, diff)
		}
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
