package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/sourcegraph/jsonrpc2"
)

// editor FILE plays an editor that starts `imx lsp`: it does what each line of the file says and writes what it said
// and heard to stdout, with the work folder's name as $WORK. The lines are
//
//	ask METHOD JSON         sends a request and shows the answer
//	tell METHOD JSON        sends a notification
//	open FILE VERSION       tells that a file is open, with its text
//	change FILE VERSION AS  tells that the text is that of the file AS now
//	hear METHOD             waits for a notification and shows it
//	gone                    waits for the end of the process and shows its exit status
func editor(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) != 1 {
		ts.Fatalf("usage: editor FILE")
	}
	e := startEditor(ts)
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			e.do(os.Expand(line, func(string) string { return e.work }), line)
		}
	}
	_, err := io.WriteString(ts.Stdout(), strings.ReplaceAll(e.said.String(), e.work, "$WORK"))
	ts.Check(err)
}

type editing struct {
	ts    *testscript.TestScript
	work  string
	said  bytes.Buffer
	conn  *jsonrpc2.Conn
	heard chan *jsonrpc2.Request
	cmd   *exec.Cmd
}

// patience is how long an editor waits: a machine may be busy with much else.
const patience = time.Minute

func startEditor(ts *testscript.TestScript) *editing {
	e := &editing{ts: ts, work: ts.Getenv("WORK"), heard: make(chan *jsonrpc2.Request, 100)}
	e.cmd = exec.Command(ts.Getenv("IMX"), "lsp")
	e.cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+ts.Getenv("XDG_CACHE_HOME"))
	e.cmd.Stderr = ts.Stderr()
	in, err := e.cmd.StdinPipe()
	ts.Check(err)
	out, err := e.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(e.cmd.Start())
	ts.Defer(func() { _ = e.cmd.Process.Kill() })
	stream := struct {
		io.Reader
		io.WriteCloser
	}{out, in}
	e.conn = jsonrpc2.NewConn(context.Background(), jsonrpc2.NewBufferedStream(stream, jsonrpc2.VSCodeObjectCodec{}),
		jsonrpc2.HandlerWithError(func(_ context.Context, _ *jsonrpc2.Conn, r *jsonrpc2.Request) (any, error) {
			e.heard <- r
			return nil, nil
		}))
	return e
}

func (e *editing) do(line, shown string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	word, rest, _ := strings.Cut(line, " ")
	fmt.Fprintln(&e.said, "> "+shown)
	args := strings.Fields(rest)
	switch word {
	case "ask":
		method, params, _ := strings.Cut(rest, " ")
		var result json.RawMessage
		if err := e.conn.Call(ctx, method, json.RawMessage(params), &result); err != nil {
			fmt.Fprintln(&e.said, err)
			return
		}
		e.show(result)
	case "tell":
		method, params, _ := strings.Cut(rest, " ")
		e.ts.Check(e.conn.Notify(ctx, method, json.RawMessage(params)))
	case "open":
		e.ts.Check(e.conn.Notify(ctx, "textDocument/didOpen", map[string]any{"textDocument": map[string]any{
			"uri": "file://" + e.ts.MkAbs(args[0]), "languageId": "hcl", "version": json.Number(args[1]), "text": e.ts.ReadFile(args[0]),
		}}))
	case "change":
		e.ts.Check(e.conn.Notify(ctx, "textDocument/didChange", map[string]any{
			"textDocument":   map[string]any{"uri": "file://" + e.ts.MkAbs(args[0]), "version": json.Number(args[1])},
			"contentChanges": []any{map[string]any{"text": e.ts.ReadFile(args[2])}},
		}))
	case "hear":
		e.hear(ctx, rest)
	case "gone":
		<-e.conn.DisconnectNotify()
		_ = e.cmd.Wait()
		fmt.Fprintln(&e.said, "exit status", e.cmd.ProcessState.ExitCode())
	default:
		e.ts.Fatalf("an editor doesn't know what %q is", word)
	}
}

func (e *editing) hear(ctx context.Context, method string) {
	select {
	case r := <-e.heard:
		if r.Method != method {
			e.ts.Fatalf("heard %s, not %s", r.Method, method)
		}
		e.show(*r.Params)
	case <-ctx.Done():
		e.ts.Fatalf("%s wasn't heard in %v", method, patience)
	case <-e.conn.DisconnectNotify():
		e.ts.Fatalf("imx lsp ended before it said %s", method)
	}
}

// show writes JSON so that a person can read it: a place is one word, line:character.
func (e *editing) show(v json.RawMessage) {
	var value any
	e.ts.Check(json.Unmarshal(v, &value))
	text, err := json.MarshalIndent(placed(value), "", "  ")
	e.ts.Check(err)
	e.said.Write(append(text, '\n'))
}

func placed(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = placed(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = placed(v[k])
		}
		if line, ok := v["line"]; ok && len(v) == 2 {
			return fmt.Sprint(line, ":", v["character"])
		}
		if start, ok := v["start"]; ok && len(v) == 2 {
			return fmt.Sprint(start, "-", v["end"])
		}
	}
	return v
}
