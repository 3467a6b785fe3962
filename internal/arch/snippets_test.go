package arch_test

import (
	"strings"
	"testing"
)

// Each of these comes to a program, a Pass or a release past the list, and each is seen. Were one of them not, the test of the module's own
// code would prove nothing about it.
func TestWaysPastTheListAreSeen(t *testing.T) {
	c := load(t, "", "imx/...", "plugin", "net/http/cgi")
	for what, test := range map[string]struct{ text, sees string }{
		"a process by os":              {`import "os"; var f = os.StartProcess`, "os.StartProcess"},
		"a command without a context":  {`import "os/exec"; func f() { _ = exec.Command("crun").Run() }`, "os/exec.Command"},
		"a command by another name":    {`import x "os/exec"; var f = x.CommandContext`, "os/exec.CommandContext"},
		"a command without a name":     {`import . "os/exec"; var f = CommandContext`, "os/exec.CommandContext"},
		"a command as a literal":       {`import "os/exec"; func f() { _ = (&exec.Cmd{Path: "crun"}).Run() }`, "os/exec.Cmd"},
		"a command made by new":        {`import "os/exec"; func f() { c := new(exec.Cmd); _ = c.Run() }`, "os/exec.Cmd"},
		"a command as a variable":      {`import "os/exec"; var c exec.Cmd`, "os/exec.Cmd"},
		"a command inside of a struct": {`import "os/exec"; type c struct{ exec.Cmd }`, "os/exec.Cmd"},
		"a type that is a command":     {`import "os/exec"; type c = exec.Cmd`, "os/exec.Cmd"},
		"a generic new":                {`import "os/exec"; func make[T any]() *T { return new(T) }; var c = make[exec.Cmd]()`, "os/exec.Cmd"},
		"another program in its place": {`import "syscall"; func f() { _ = syscall.Exec("crun", nil, nil) }`, "syscall.Exec"},
		"the same by x/sys":            {`import "golang.org/x/sys/unix"; func f() { _ = unix.Exec("crun", nil, nil) }`, "unix.Exec"},
		"a fork":                       {`import "syscall"; var f = syscall.ForkExec`, "syscall.ForkExec"},
		"a process by syscall":         {`import "syscall"; var f = syscall.StartProcess`, "syscall.StartProcess"},
		"a system call by number":      {`import "golang.org/x/sys/unix"; func f() { unix.Syscall(59, 0, 0, 0) }`, "unix.Syscall"},
		"a system call by name":        {`import "syscall"; const c = syscall.SYS_EXECVE`, "syscall.SYS_EXECVE"},
		"a plugin":                     {`import "plugin"; var f = plugin.Open`, "plugin.Open"},
		"a program behind a page":      {`import "net/http/cgi"; var h cgi.Handler`, "cgi.Handler"},
		"memory of others":             {`import "unsafe"; var p unsafe.Pointer`, `import of "unsafe"`},
		"a function of others":         {"import _ \"embed\"\n//go:linkname f os.StartProcess\nfunc f()", "go:linkname"},
		"a pass of a verdict":          {`import "imx/internal/admission"; var f = admission.Issue`, "admission.Issue"},
		"a pass of a test":             {`import x "imx/internal/admission"; var f = x.ForTrial`, "admission.ForTrial"},
		"an engine that is called": {
			`import ("context"; "imx"; "imx/internal/admission"; "imx/internal/engine"); func f(e engine.Runner, p admission.Pass) { _ = e.Scale(context.TODO(), p, imx.Release{}, 1) }`,
			"start with a Pass",
		},
		"an engine that is handed on": {`import "imx/internal/engine"; func f(e engine.Runner) any { return e.Scale }`, "start with a Pass"},
		"an engine's own method":      {`import "imx/internal/engine/local"; var f = (*local.Engine).Scale`, "start with a Pass"},
		"a judge that is set": {
			`import ("imx"; "imx/internal/control"); func f(p *control.Promotion) { p.Judged = func(*imx.State, []imx.Release) ([]imx.Body, error) { return nil, nil } }`, judged,
		},
		"a judge in a literal":        {`import "imx/internal/control"; var p = control.Promotion{Judged: nil}`, judged},
		"a judge that is pointed at":  {`import "imx/internal/control"; func f(p *control.Promotion) any { return &p.Judged }`, judged},
		"a judge in an embedded type": {`import "imx/internal/control"; type t struct { control.Promotion }; func f(x t) { x.Judged = nil }`, judged},
		"a judge of what has the same fields": {
			`import "imx/internal/control"; type same control.Promotion; func f(s same) any { return control.Promotion(s) }`, judged,
		},
		"a judge without its name": {
			`import "imx/internal/control"; func f(q control.Promotion) any { return control.Promotion{q.Apply, q.Plan, q.Proof, q.Request, q.Source, q.Candidates, q.Ingresses, q.Expect, q.For, q.Candidate, q.Origin, nil} }`, judged,
		},
		"a pass that nobody listens to":   {covers(`p.Covers(r); return nil`), "Covers without a return"},
		"a pass whose answer is dropped":  {covers(`_ = p.Covers(r); return nil`), "Covers without a return"},
		"a pass whose answer is replaced": {covers(`err := p.Covers(r); err = nil; return err`), "Covers without a return"},
		"a pass that is only logged":      {covers(`if err := p.Covers(r); err != nil { println(err) }; return nil`), "Covers without a return"},
		"a pass that is asked backwards":  {covers(`if err := p.Covers(r); err == nil { return err }; return nil`), "Covers without a return"},
		"a pass whose no is a yes":        {covers(`if err := p.Covers(r); err != nil { return nil }; return nil`), "Covers without a return"},
		"a pass that is asked later":      {covers(`defer p.Covers(r); return nil`), "Covers without a return"},
		"a pass that is asked elsewhere":  {covers(`f := p.Covers; if err := f(r); err != nil { return err }; return nil`), "Covers without a return"},
		"a pass that nobody asks":         {covers(`startAll(); return nil`), "a Pass that isn't asked first"},
		"a pass that is asked too late":   {covers(`startAll(); if err := p.Covers(r); err != nil { return err }; return nil`), "a Pass that isn't asked first"},
	} {
		t.Run(what, func(t *testing.T) {
			u := c.snippet(t, "package snippet; "+test.text)
			found := append(refused(u.sights("imx/internal/snippet"), map[string]map[string]bool{}), u.unasked("imx/internal/snippet", starts)...)
			for _, s := range found {
				if strings.Contains(s.what, test.sees) {
					return
				}
			}
			t.Errorf("it is seen as %v", found)
		})
	}
}

// covers is an engine that is asked for instances.
func covers(body string) string {
	return `import ("imx"; "imx/internal/admission"); func startAll() {}; func Scale(p admission.Pass, r imx.Release) error { ` + body + ` }`
}

func TestWhatAsksAsItMustIsRefusedNothing(t *testing.T) {
	c := load(t, "", "imx/...")
	for what, text := range map[string]string{
		"an engine": covers(`if err := p.Covers(r); err != nil { return err }; startAll(); return nil`),
		"a pointer": `import "os/exec"; func f(c *exec.Cmd) error { return c.Wait() }`,
	} {
		u := c.snippet(t, "package snippet; "+text)
		if found := append(u.sights("imx/internal/snippet"), u.unasked("imx/internal/snippet", starts)...); len(found) > 0 {
			t.Errorf("%s: %v", what, found)
		}
	}
}
