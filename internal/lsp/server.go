package lsp

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"path/filepath"
	"sync"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"imx"
)

// Config is what a server is told by who starts it.
type Config struct {
	Check   Check
	Version string
	// Quiet is how long nobody may type before a check.
	Quiet time.Duration
}

// Server speaks with one editor. Its methods beside Run are called by the stream that Run reads, one after the other.
type Server struct {
	config   Config
	desk     *desk
	rounds   *rounds
	snippets bool // the editor understands them
	watches  bool // the editor tells of changes of files if it is asked to
	phase    phase
}

// phase is how far the conversation is.
type phase int

const (
	waiting phase = iota // for initialize
	talking
	asked // to shut down
	over  // the editor said exit
	left  // the same, without having asked
)

// NewServer returns a server that has nothing open.
func NewServer(c Config) *Server {
	d := &desk{docs: map[string]document{}}
	return &Server{config: c, desk: d, rounds: &rounds{
		desk: d, check: c.Check, quiet: c.Quiet, wake: make(chan struct{}, 1), due: map[string]int{}, told: map[string]shown{},
	}}
}

// stream is where messages come from and go to.
type stream struct {
	io.Reader
	io.Writer

	closes []io.Closer
}

// Close ends reading, so that nothing waits for a message any more.
func (s stream) Close() error {
	for _, c := range s.closes {
		_ = c.Close() // nothing is lost: each message is written whole
	}
	return nil
}

// Run speaks with the editor until it says exit or is gone, or until ctx ends, and closes in. Errors: Unavailable for an
// editor that went without a word, Conflict for one that exits without asking for the end first, Invalid and
// Exhausted for what is no message.
func (s *Server) Run(ctx context.Context, in io.ReadCloser, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	connected := make(chan struct{})
	handler := jsonrpc2.HandlerWithError(func(ctx context.Context, c *jsonrpc2.Conn, r *jsonrpc2.Request) (any, error) {
		<-connected
		return s.answer(ctx, c, r)
	}).SuppressErrClosed()
	conn := jsonrpc2.NewConn(ctx, jsonrpc2.NewBufferedStream(stream{in, out, []io.Closer{in}}, framing{failed: failed}), handler,
		jsonrpc2.SetLogger(log.New(io.Discard, "", 0)))
	s.rounds.publish = func(ctx context.Context, p publishParams) {
		_ = conn.Notify(ctx, "textDocument/publishDiagnostics", p) // an editor that is gone ends Run
	}
	close(connected)
	var checks sync.WaitGroup
	checks.Go(func() { s.rounds.run(ctx) })
	<-conn.DisconnectNotify()
	ended := ctx.Err()
	cancel()
	checks.Wait()
	if ended != nil {
		return nil
	}
	select {
	case err := <-failed:
		return s.ending(err)
	default: // the editor said exit
		return s.ending(nil)
	}
}

// ending says how a conversation ended that nobody interrupted; failed is why reading did.
func (s *Server) ending(failed error) error {
	switch {
	case s.phase == over:
		return nil
	case s.phase == left:
		return imx.Errorf(imx.Conflict, "the editor said exit without asking to shut down first")
	case imx.KindOf(failed) == imx.Invalid || imx.KindOf(failed) == imx.Exhausted:
		return failed
	case s.phase == asked:
		return nil
	}
	return imx.Errorf(imx.Unavailable, "the editor ended without a word").WithHint("imx lsp is started by an editor; docs/editors.md says how")
}

// answer answers one message. It never fails the connection: a defect is the answer to one question.
func (s *Server) answer(ctx context.Context, c *jsonrpc2.Conn, r *jsonrpc2.Request) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &jsonrpc2.Error{Code: jsonrpc2.CodeInternalError, Message: "a defect in imx"}
		}
	}()
	switch {
	case r.Method == "exit":
		return nil, s.exit(c)
	case r.Method == "initialize":
		return s.initialize(r)
	case s.phase == waiting && !r.Notif:
		return nil, &jsonrpc2.Error{Code: -32002, Message: "the first message must be initialize"}
	case s.phase == asked && !r.Notif:
		return nil, &jsonrpc2.Error{Code: jsonrpc2.CodeInvalidRequest, Message: "nothing is answered after shutdown"}
	case s.phase != talking:
		return nil, nil
	case r.Method == "shutdown":
		s.phase = asked
		return nil, nil
	case r.Method == "initialized":
		return nil, s.watch(ctx, c)
	}
	if r.Notif {
		return nil, s.notice(r)
	}
	return s.question(r)
}

func (s *Server) exit(c *jsonrpc2.Conn) error {
	if s.phase == asked {
		s.phase = over
	} else {
		s.phase = left
	}
	return c.Close()
}

func (s *Server) initialize(r *jsonrpc2.Request) (any, error) {
	var p initializeParams
	if err := params(r, &p); err != nil {
		return nil, err
	}
	s.phase = talking
	s.snippets = p.Capabilities.TextDocument.Completion.CompletionItem.SnippetSupport
	s.watches = p.Capabilities.Workspace.DidChangeWatchedFiles.DynamicRegistration
	return map[string]any{
		"serverInfo": map[string]string{"name": "imx", "version": s.config.Version},
		"capabilities": map[string]any{
			"textDocumentSync":       map[string]any{"openClose": true, "change": 1, "save": true}, // 1: the whole text each time
			"completionProvider":     map[string]any{"triggerCharacters": []string{".", "\""}},
			"hoverProvider":          true,
			"definitionProvider":     true,
			"referencesProvider":     true,
			"renameProvider":         true,
			"documentSymbolProvider": true,
		},
	}, nil
}

// watch asks the editor to tell of files that change on disk: those that templates take in, rules, and what Git brings.
func (s *Server) watch(ctx context.Context, c *jsonrpc2.Conn) error {
	if !s.watches {
		return nil
	}
	_, err := c.DispatchCall(ctx, "client/registerCapability", map[string]any{"registrations": []any{map[string]any{
		"id": "files", "method": "workspace/didChangeWatchedFiles",
		"registerOptions": map[string]any{"watchers": []any{map[string]string{"globPattern": "**/*"}}},
	}}})
	return err
}

// notice takes in what the editor tells; what isn't known is passed over, as the protocol wants it.
func (s *Server) notice(r *jsonrpc2.Request) error {
	switch r.Method {
	case "textDocument/didOpen":
		var p openedParams
		if err := params(r, &p); err != nil {
			return err
		}
		s.put(p.TextDocument.URI, p.TextDocument.Version, p.TextDocument.Text)
	case "textDocument/didChange":
		var p changedParams
		if err := params(r, &p); err != nil {
			return err
		}
		if n := len(p.ContentChanges); n > 0 && p.ContentChanges[n-1].Range == nil {
			s.put(p.TextDocument.URI, p.TextDocument.Version, p.ContentChanges[n-1].Text)
		}
	case "textDocument/didClose", "textDocument/didSave":
		var p positionParams
		if err := params(r, &p); err != nil {
			return err
		}
		path := pathOf(p.TextDocument.URI)
		if r.Method == "textDocument/didClose" {
			dirs := s.desk.folders()
			s.desk.take(path)
			s.touch(path, dirs)
			return nil
		}
		s.touch(path, s.desk.folders())
	case "workspace/didChangeWatchedFiles":
		var p watchedParams
		if err := params(r, &p); err != nil {
			return err
		}
		for _, c := range p.Changes {
			s.touch(pathOf(c.URI), s.desk.folders())
		}
	}
	return nil
}

// put takes a document's text. Of what is no file, and of what there is no room for, nothing is known.
func (s *Server) put(uri string, version int, text string) {
	path := pathOf(uri)
	if path == "" {
		return
	}
	if !s.desk.put(path, document{uri, version, text}) {
		s.desk.take(path)
	}
	s.touch(path, s.desk.folders())
}

// touch has those of the folders checked that a file is in.
func (s *Server) touch(path string, dirs map[string]bool) {
	for dir := range dirs {
		if name, err := filepath.Rel(dir, path); path != "" && err == nil && filepath.IsLocal(name) {
			s.rounds.changed(dir)
		}
	}
}

// params reads a message's parameters.
func params(r *jsonrpc2.Request, into any) error {
	if r.Params == nil {
		return &jsonrpc2.Error{Code: jsonrpc2.CodeInvalidParams, Message: r.Method + " needs parameters"}
	}
	if err := json.Unmarshal(*r.Params, into); err != nil {
		return &jsonrpc2.Error{Code: jsonrpc2.CodeInvalidParams, Message: err.Error()}
	}
	return nil
}
