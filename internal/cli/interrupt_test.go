package cli_test

// What happens in the middle of a command: Ctrl-C, a question answered with no. The server here is
// a handler that the test drives, so that the moment is the same each time.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"imx/internal/cli"
	"imx/internal/term"
)

const planned = `{"result":{"plan":{"source":{},"images":[],"services":[]},"digest":"","changes":[` +
	`{"op":"add","kind":"service","subject":"service.hello"}],"lock":{"version":1,"suites":[],"packages":[],"images":[]}}}` + "\n"

// answers makes a server of a data folder out of bodies by path. A body is sent, and then the
// answer is held open until the client goes away, unless it ends the answer by itself.
func answers(t *testing.T, bodies map[string]string) (data string) {
	t.Helper()
	data = t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(data, "imx.sock"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		body, ok := bodies[r.URL.Path]
		if !ok {
			t.Errorf("an unexpected request: %s", r.URL)
		}
		_, _ = io.WriteString(w, body)
		if !strings.Contains(body, `"result"`) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(listener) }()
	t.Cleanup(func() { _ = srv.Close(); <-ended })
	return data
}

// trigger is a writer that calls then once it has seen words.
type trigger struct {
	bytes.Buffer
	words string
	then  func()
}

func (w *trigger) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.words) {
		w.then()
	}
	return n, err
}

// hello writes the example template into a folder of its own.
func hello(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var errs strings.Builder
	p := cli.Process{Terminal: term.Plain(strings.NewReader(""), io.Discard, &errs), Env: func(string) string { return "" }}
	if code := cli.Main(t.Context(), []string{"init", dir}, p); code != 0 {
		t.Fatalf("init: exit status %d\n%s", code, &errs)
	}
	return dir
}

func TestInterruptedApplySaysWhetherAnythingWasReleased(t *testing.T) {
	for step, want := range map[string]string{
		"build image.hello": "nothing was released",
		"roll out hello":    "the server goes on rolling it out: imx status shows",
	} {
		data := answers(t, map[string]string{
			"/v1/plan":  planned,
			"/v1/apply": fmt.Sprintf(`{"progress":{"step":%q,"status":"running"}}`+"\n", step),
		})
		ctx, interrupt := context.WithCancel(t.Context())
		errs := &trigger{words: step + ": running", then: interrupt}
		code := cli.Main(ctx, []string{"apply", "--yes", "--data", data, hello(t)}, cli.Process{
			Terminal: term.Plain(strings.NewReader(""), io.Discard, errs), Env: func(string) string { return "" },
		})
		interrupt()
		if code != 130 || !strings.Contains(errs.String(), "error: interrupted\nhint: ") || !strings.Contains(errs.String(), want) {
			t.Errorf("interrupted while %q: exit status %d\n%s", step, code, errs)
		}
	}
}

func TestInterruptIsHowFollowingEnds(t *testing.T) {
	data := answers(t, map[string]string{
		"/v1/log": `{"index":0,"time":"2026-05-01T09:30:00Z","by":"imx","kind":"server-started","body":{"version":"0.1.0"}}` + "\n",
	})
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, errs := &trigger{words: "started", then: interrupt}, &strings.Builder{}
	code := cli.Main(ctx, []string{"log", "-f", "--data", data}, cli.Process{
		Terminal: term.Plain(strings.NewReader(""), out, errs), Env: func(string) string { return "" },
	})
	if code != 130 || errs.String() != "" {
		t.Errorf("exit status %d, stderr %q", code, errs)
	}
}

func TestFollowingAServiceFindsInstancesThatComeLater(t *testing.T) {
	status := `{"state":{"next":1,"services":{"web":{"name":"web","address":"","releases":[]}},"instances":{}},"version":"x","result":0}`
	data := answers(t, map[string]string{
		"/v1/instances":                 `[{"id":"web-1-aaaa","service":"web","phase":"healthy","started":"2026-05-01T09:30:00Z","reason":"\"result\""}]`,
		"/v1/status":                    status,
		"/v1/instances/web-1-aaaa/logs": "from the first\n",
		"/v1/instances/web-2-bbbb/logs": "from the second\n",
		"/v1/log": `{"index":1,"time":"2026-05-01T09:30:00Z","by":"imx","kind":"instance-started","body":{"instance":` +
			`{"id":"web-2-bbbb","service":"web","phase":"starting","started":"2026-05-01T09:30:00Z"}}}` + "\n",
	})
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var lines atomic.Int32
	out := &trigger{words: "\n"}
	out.then = func() {
		if lines.Add(1) == 2 {
			interrupt()
		}
	}
	errs := &strings.Builder{}
	code := cli.Main(ctx, []string{"logs", "-f", "web", "--data", data}, cli.Process{
		Terminal: term.Plain(strings.NewReader(""), out, errs), Env: func(string) string { return "" },
	})
	if code != 130 || errs.String() != "" {
		t.Errorf("exit status %d, stderr %q", code, errs)
	}
	for _, want := range []string{"web-1-aaaa | from the first\n", "web-2-bbbb | from the second\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q isn't in:\n%s", want, out)
		}
	}
}

func TestAnsweringNoAppliesNothing(t *testing.T) {
	data := answers(t, map[string]string{"/v1/plan": planned}) // a request for /v1/apply fails the test
	out, errs := &strings.Builder{}, &strings.Builder{}
	asked := term.Plain(strings.NewReader("no\n"), out, errs)
	asked.Asks = true
	code := cli.Main(t.Context(), []string{"apply", "--data", data, hello(t)}, cli.Process{Terminal: asked, Env: func(string) string { return "" }})
	if code != 5 || !strings.Contains(errs.String(), "Apply this? [y/N] error: not confirmed: nothing was changed") {
		t.Errorf("exit status %d\n%s", code, errs)
	}
	if !strings.Contains(out.String(), "1 service to create") {
		t.Errorf("the question came before what it is about:\n%s", out)
	}
}

func TestAPipeThatNobodyReadsIsWaitedForUntilCtrlC(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	err := cli.WriteOutput(ctx, pipe, term.Plain(strings.NewReader(""), io.Discard, io.Discard), func(io.Writer) error {
		t.Error("it was written to")
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
