package lsp_test

// A whole server, spoken to over pipes, with a clock that only moves when everybody waits: when a check is made, what
// ends one, and what a defect in one does.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"imx"
	"imx/internal/lsp"
)

const quiet = 100 * time.Millisecond

// editor is the other end of a server's stream.
type editor struct {
	t     *testing.T
	conn  *jsonrpc2.Conn
	heard chan string // each publication as "FILE: message, message"
	ended chan error
}

func start(t *testing.T, check lsp.Check) *editor {
	t.Helper()
	e := &editor{t: t, heard: make(chan string, 100), ended: make(chan error, 1)}
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	server := lsp.NewServer(lsp.Config{Check: check, Quiet: quiet})
	go func() {
		e.ended <- server.Run(t.Context(), in, out)
		_ = out.Close()
	}()
	stream := struct {
		io.Reader
		io.WriteCloser
	}{fromServer, toServer}
	e.conn = jsonrpc2.NewConn(t.Context(), jsonrpc2.NewBufferedStream(stream, jsonrpc2.VSCodeObjectCodec{}),
		jsonrpc2.HandlerWithError(func(_ context.Context, _ *jsonrpc2.Conn, r *jsonrpc2.Request) (any, error) {
			var p struct {
				URI         string `json:"uri"`
				Diagnostics []struct {
					Message string `json:"message"`
				} `json:"diagnostics"`
			}
			if err := json.Unmarshal(*r.Params, &p); err != nil {
				return nil, err
			}
			var all []string
			for _, d := range p.Diagnostics {
				all = append(all, d.Message)
			}
			e.heard <- p.URI[strings.LastIndexByte(p.URI, '/')+1:] + ": " + strings.Join(all, ", ")
			return nil, nil
		}))
	e.ask("initialize", map[string]any{})
	return e
}

func (e *editor) ask(method string, params any) {
	e.t.Helper()
	var result any
	if err := e.conn.Call(e.t.Context(), method, params, &result); err != nil {
		e.t.Fatalf("%s: %v", method, err)
	}
}

func (e *editor) tell(method string, params any) {
	e.t.Helper()
	if err := e.conn.Notify(e.t.Context(), method, params); err != nil {
		e.t.Fatalf("%s: %v", method, err)
	}
}

func (e *editor) typed(method, file, text string) {
	e.t.Helper()
	e.tell("textDocument/"+method, map[string]any{
		"textDocument":   map[string]any{"uri": "file:///nowhere/" + file, "version": 1, "text": text},
		"contentChanges": []any{map[string]any{"text": text}},
	})
}

// hears fails unless these are the next publications, after which there is none.
func (e *editor) hears(want ...string) {
	e.t.Helper()
	for _, w := range want {
		if got := <-e.heard; got != w {
			e.t.Fatalf("heard %q, not %q", got, w)
		}
	}
	synctest.Wait()
	select {
	case more := <-e.heard:
		e.t.Fatalf("heard %q too", more)
	default:
	}
}

func (e *editor) leave() {
	e.t.Helper()
	e.ask("shutdown", nil)
	_ = e.conn.Notify(e.t.Context(), "exit", nil)
	if err := <-e.ended; err != nil {
		e.t.Errorf("the server ended by %v", err)
	}
	_ = e.conn.Close()
}

// echo finds as a mistake what is in the file a.imx.hcl.
func echo(_ context.Context, _ string, over func(fs.FS) fs.FS) (lsp.Verdict, error) {
	text, err := fs.ReadFile(over(none{}), "a.imx.hcl")
	if err != nil || len(text) == 0 {
		return lsp.Verdict{}, err
	}
	return lsp.Verdict{Said: imx.Diagnostics{{Severity: imx.SeverityError, Summary: string(text), At: imx.Pos{File: "a.imx.hcl", Line: 1}}}}, nil
}

type none struct{}

func (none) Open(string) (fs.File, error) { return nil, fs.ErrNotExist }

func TestACheckWaitsUntilNobodyTypes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := start(t, echo)
		began := time.Now()
		e.typed("didOpen", "a.imx.hcl", "1")
		for i := range 5 {
			synctest.Wait()
			time.Sleep(quiet / 2) // the bubble's clock: a person's pause
			e.typed("didChange", "a.imx.hcl", fmt.Sprint(i+2))
		}
		e.hears("a.imx.hcl: 6")
		if took, want := time.Since(began), 5*quiet/2+quiet; took != want {
			t.Errorf("it was checked after %v, not %v", took, want)
		}
		e.leave()
	})
}

func TestNewerTextEndsACheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := make(chan struct{}, 10)
		e := start(t, func(ctx context.Context, dir string, over func(fs.FS) fs.FS) (lsp.Verdict, error) {
			begun <- struct{}{}
			v, err := echo(ctx, dir, over)
			if len(v.Said) > 0 && v.Said[0].Summary == "slow" {
				<-ctx.Done()
				return lsp.Verdict{}, ctx.Err()
			}
			return v, err
		})
		e.typed("didOpen", "a.imx.hcl", "slow")
		<-begun
		e.typed("didChange", "a.imx.hcl", "quick")
		e.hears("a.imx.hcl: quick")
		e.leave()
	})
}

func TestWhatIsMendedIsTakenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := start(t, echo)
		e.typed("didOpen", "a.imx.hcl", "wrong")
		e.hears("a.imx.hcl: wrong")
		e.typed("didChange", "a.imx.hcl", "")
		e.hears("a.imx.hcl: ")
		e.typed("didChange", "a.imx.hcl", "wrong again")
		e.hears("a.imx.hcl: wrong again")
		e.typed("didClose", "a.imx.hcl", "")
		e.hears("a.imx.hcl: ")
		e.leave()
	})
}

func TestADefectInACheckIsADiagnostic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(context.Context, string, func(fs.FS) fs.FS) (lsp.Verdict, error) { panic("x") })
		e.typed("didOpen", "a.imx.hcl", "")
		e.hears("a.imx.hcl: the check failed by a defect in imx: x")
		e.leave()
	})
}

func TestOtherFilesAreNoTemplates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := start(t, echo)
		e.typed("didOpen", "main.tf", "x")
		time.Sleep(2 * quiet)
		e.hears()
		for _, uri := range []string{"file:///nowhere/main.tf", "untitled:1", "::", "file://host/x.imx.hcl"} {
			e.ask("textDocument/completion", map[string]any{"textDocument": map[string]any{"uri": uri}})
		}
		e.leave()
	})
}

func TestMessagesThatMakeNoSenseAreAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := start(t, echo)
		for method, params := range map[string]any{
			"textDocument/hover": []int{1}, "textDocument/completion": nil, "no/such": map[string]any{},
		} {
			var result any
			if err := e.conn.Call(t.Context(), method, params, &result); err == nil {
				t.Errorf("%s was answered by %v", method, result)
			}
		}
		e.tell("textDocument/didChange", map[string]any{})
		e.tell("textDocument/didOpen", "x")
		e.leave()
	})
}

func TestAnEditorThatIsGoneEndsItsServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := start(t, echo)
		e.typed("didOpen", "a.imx.hcl", "1")
		_ = e.conn.Close()
		if err := <-e.ended; imx.KindOf(err) != imx.Unavailable {
			t.Errorf("%v", err)
		}
	})
}

func TestAnEditorThatExitsUnaskedIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := start(t, echo)
		e.tell("exit", nil)
		if err := <-e.ended; imx.KindOf(err) != imx.Conflict {
			t.Errorf("%v", err)
		}
		_ = e.conn.Close()
	})
}
