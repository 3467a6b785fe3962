// These tests exist because client and server are two halves of one contract: each route is tried
// over a real unix socket, through the client that people use, against parts that work in memory.
package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/api"
	"imx/internal/client"
)

var rewrite = flag.Bool("rewrite", false, "write docs/api.md's reference anew")

// serve starts a server of the parts and returns its client and the path of its socket.
func serve(tb testing.TB, m *memory, log io.Writer) (*client.Client, string) {
	tb.Helper()
	socket := filepath.Join(tb.TempDir(), "imx.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	registry := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "registry "+r.URL.Path) })
	server := &http.Server{ConnContext: api.ConnContext, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), Handler: api.New(api.Config{
		Applier: m, Operator: m, Healer: m, Rollouts: m, Viewer: m, Images: m, Evidence: m,
		Trust: m, Who: whose, Desk: m, Sources: followed{m}, Logs: m, Freezer: m, Scanner: m, Registrar: &rules{}, Offers: m, Registry: registry, Log: slog.New(slog.NewTextHandler(log, nil)),
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	tb.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			tb.Error(err)
		}
	})
	return client.New(socket), socket
}

// whose is a person for each account.
func whose(account string) imx.Principal { return imx.Principal("whose-login-is-" + account) }

func quiet(imx.Progress) {}

// web asks for a service called web.
func web() imx.PlanRequest {
	return imx.PlanRequest{Template: imx.Template{Services: []imx.Spec{{Name: "web", Image: "web", Replicas: 2}}}}
}

// ok returns what worked; what didn't ends the test.
func ok[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestEveryRouteThroughTheClient(t *testing.T) {
	m := newMemory()
	c, _ := serve(t, m, io.Discard)
	ctx := t.Context()
	server, _ := pair(t)
	account := ok(api.Caller(api.ConnContext(ctx, server)))(t)
	by := whose(account)

	same(t, "version", ok(c.Version(ctx))(t), m.Version())
	var progress []imx.Progress
	report := func(p imx.Progress) { progress = append(progress, p) }
	planned := ok(c.Plan(ctx, web(), report))(t)
	same(t, "plan", planned.Digest, planned.Plan.Digest())
	same(t, "progress", progress, []imx.Progress{{Step: "fetch", Status: imx.StepDone, Message: "for " + string(by)}})
	same(t, "test", ok(c.Test(ctx, imx.TestRequest{PlanRequest: web(), Only: []string{"home"}}, quiet))(t).Results, []imx.TestResult{{Test: "home", Passed: true}})
	same(t, "build", ok(c.Build(ctx, web(), quiet))(t).Images, []imx.Image{{Name: "web"}})
	for number := range 2 {
		applied := ok(c.Apply(ctx, web(), quiet))(t)
		same(t, "apply", []any{applied.Releases[0].Number, applied.Releases[0].By}, []any{number + 1, by})
		same(t, "account", applied.Candidate.Account, account)
	}

	frozen := ok(c.Freeze(ctx, imx.FreezeRequest{Lock: &imx.Lock{Packages: []imx.Package{{Name: "a"}}}, Name: "shop"}, quiet))(t)
	same(t, "frozen", frozen, imx.Frozen{Name: "shop", Tag: "lock-1", Packages: 1})
	same(t, "archives", ok(c.Archives(ctx))(t).Frozen, []imx.Frozen{frozen})

	same(t, "status", ok(c.Status(ctx, time.Time{}))(t).State.Services["web"].Current, 2)
	past := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	same(t, "past status", ok(c.Status(ctx, past))(t).State.Time, past)
	same(t, "instances", len(ok(c.Instances(ctx, ""))(t)), 2)
	same(t, "instances of web", ok(c.Instances(ctx, "web"))(t)[1].ID, "web-2-x")
	same(t, "why", ok(c.Why(ctx, "web-1-x"))(t).Release.Number, 1)
	same(t, "images", ok(c.Images(ctx))(t), ok(m.Images(ctx))(t))
	wanted := "web@" + string(imx.DigestBytes(nil))
	same(t, "image", ok(c.Image(ctx, wanted))(t), ok(m.Image(ctx, wanted))(t))
	stated := "team/web:v1"
	same(t, "evidence", ok(c.Evidence(ctx, stated))(t), ok(m.Evidence(ctx, stated))(t))
	for _, predicate := range []string{"provenance", imx.PredicateProvenance} {
		same(t, "bundle", string(ok(c.Bundle(ctx, stated, predicate))(t)), `{"signed":"provenance"}`)
		same(t, "statement", ok(c.Statement(ctx, stated, predicate))(t), ok(m.Statement(ctx, stated, "provenance"))(t))
	}
	same(t, "sbom", string(ok(c.SBOM(ctx, stated, "cyclonedx"))(t)), string(ok(m.SBOM(ctx, by, stated, imx.PredicateCycloneDX))(t)))
	same(t, "services", ok(c.Services(ctx))(t)[0].Name, "web")
	same(t, "releases", len(ok(c.Releases(ctx, "web"))(t)), 2)

	scans(ctx, t, c, m, by)
	registers(ctx, t, c, by)
	rollouts(ctx, t, c, by)
	trusts(ctx, t, c, by)
	upstreams(ctx, t, c, by)
	reviews(ctx, t, c, by)

	same(t, "rollback", ok(c.Rollback(ctx, "web", 0, quiet))(t).Number, 1)
	same(t, "rollback to 2", ok(c.Rollback(ctx, "web", 2, quiet))(t).Number, 2)
	same(t, "taint", *ok(c.Taint(ctx, "web-2-x", "it is odd"))(t).Taint, imx.Taint{By: by, Reason: "it is odd"})
	same(t, "untaint", ok(c.Untaint(ctx, "web-2-x", ""))(t).Taint == nil, true)
	same(t, "scale", ok(c.Scale(ctx, "web", imx.ScaleRequest{Replicas: new(0)}, quiet))(t).Replicas, 0)
	if err := c.Destroy(ctx, []string{"web"}, true, quiet); err != nil {
		t.Fatal(err)
	}
	same(t, "services after destroy", len(ok(c.Services(ctx))(t)), 0)
	same(t, "verify", ok(c.VerifyLog(ctx))(t).Events, int64(len(m.events)))
	var log []imx.Event
	for e, err := range c.Events(ctx, 1, false) {
		log = append(log, ok(e, err)(t))
	}
	same(t, "log", imx.DigestJSON(log), imx.DigestJSON(m.events[1:]))
	same(t, "last event", log[len(log)-1].Body, imx.Body(imx.Destroyed{Service: "web", Volumes: true}))
}

func TestLogsAreChosenAndRead(t *testing.T) {
	c, _ := serve(t, newMemory(), io.Discard)
	ok(c.Apply(t.Context(), web(), quiet))(t)
	for want, o := range map[string]imx.LogOptions{
		"one\ntwo":                        {},
		"two":                             {Tail: 1},
		"1970-01-01T00:00:00Z stdout two": {Tail: 1, Times: true},
	} {
		r := ok(c.Logs(t.Context(), "web-1-x", o))(t)
		same(t, "logs", string(ok(io.ReadAll(r))(t)), want)
		_ = r.Close()
	}
}

func TestErrorsComeBackAsTheyWere(t *testing.T) {
	c, _ := serve(t, newMemory(), io.Discard)
	ctx := t.Context()
	ok(c.Apply(ctx, web(), quiet))(t)
	_, template := c.Plan(ctx, imx.PlanRequest{}, quiet)
	_, back := c.Rollback(ctx, "web", 0, quiet)
	_, scale := c.Scale(ctx, "web", imx.ScaleRequest{Replicas: new(11)}, quiet)
	_, negative := c.Scale(ctx, "web", imx.ScaleRequest{Replicas: new(-1)}, quiet)
	_, why := c.Why(ctx, "no/such instance")
	_, image := c.Image(ctx, "no/such:image")
	_, logs := c.Logs(ctx, "gone", imx.LogOptions{})
	_, tail := c.Logs(ctx, "web-1-x", imx.LogOptions{Tail: -1})
	_, instances := c.Instances(ctx, "mail")
	_, releases := c.Releases(ctx, "mail")
	_, taint := c.Taint(ctx, "web-9-none", "it is odd")
	_, past := c.Status(ctx, time.Unix(-1, 0))
	for _, x := range []struct {
		err  error
		kind imx.Kind
		says string
	}{
		{template, imx.Invalid, "shop.imx.hcl:1: there is no service"},
		{back, imx.Conflict, "web has no release to go back to"},
		{scale, imx.Exhausted, "there is no room for 11 instances"},
		{negative, imx.Invalid, "scaling needs a number of replicas, 0 or more, or to be given back to the scale block"},
		{why, imx.NotFound, `there is no instance "no/such instance"`},
		{image, imx.NotFound, `there is no image "no/such:image"`},
		{logs, imx.NotFound, `there is no instance "gone"`},
		{tail, imx.Invalid, `tail="-1" is not a whole number from 0 on`},
		{instances, imx.NotFound, `there is no service "mail"`},
		{releases, imx.NotFound, `there is no service "mail"`},
		{taint, imx.NotFound, `there is no instance "web-9-none"`},
		{past, imx.NotFound, "the log begins at 1970-01-01 00:00:00 +0000 UTC"},
		{c.Destroy(ctx, nil, false, quiet), imx.Invalid, "which services shall be destroyed isn't said"},
	} {
		var e *imx.Error
		if !errors.As(x.err, &e) || e.Kind != x.kind || e.Message != x.says {
			t.Errorf("got %v (%s), want %s (%s)", x.err, imx.KindOf(x.err), x.says, x.kind)
		}
	}
	same(t, "hint", imx.AsError(back).Hint, "imx releases web lists them")
	same(t, "source line", imx.AsError(template).Diagnostics[0].Source, "image {}")
}

func TestPanicsBecomeErrorsAndAreNoted(t *testing.T) {
	var log syncBuffer
	c, _ := serve(t, newMemory(), &log)
	req := web()
	req.Template.Services[0].Name = "broken"
	_, err := c.Apply(t.Context(), req, quiet)
	if imx.KindOf(err) != imx.Internal || !strings.Contains(err.Error(), "unforeseen") {
		t.Errorf("a panic after progress gave %v", err)
	}
	if !strings.Contains(log.String(), "a defect") || !strings.Contains(log.String(), "world_test.go") {
		t.Errorf("the server noted %q", log.String())
	}
	ok(c.Version(t.Context()))(t)
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestRequestEndsWhenItsClientLeaves(t *testing.T) {
	m := newMemory()
	m.slow = make(chan struct{})
	c, _ := serve(t, m, io.Discard)
	ctx, leave := context.WithCancel(t.Context())
	_, err := c.Apply(ctx, web(), func(imx.Progress) { leave() })
	if imx.KindOf(err) != imx.Unavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v", err)
	}
	if err := <-m.left; !errors.Is(err, context.Canceled) {
		t.Errorf("the task's context ended with %v", err)
	}
}

func TestFollowedEventsArriveAsTheyHappen(t *testing.T) {
	m := newMemory()
	c, _ := serve(t, m, io.Discard)
	ctx, leave := context.WithCancel(t.Context())
	var seen []string
	for e, err := range c.Events(ctx, 0, true) {
		if ctx.Err() != nil {
			same(t, "the end", imx.KindOf(err), imx.Unavailable)
			break
		}
		seen = append(seen, ok(e, err)(t).Kind())
		if len(seen) == 3 {
			leave()
			continue
		}
		ok(c.Apply(ctx, web(), quiet))(t)
	}
	leave()
	same(t, "events", seen, []string{"server-started", "applied", "applied"})
}

func TestAnswersThatBreakOffDoNotLookWhole(t *testing.T) {
	m := newMemory()
	c, _ := serve(t, m, io.Discard)
	ok(c.Apply(t.Context(), web(), quiet))(t)
	m.broken = imx.Errorf(imx.Exhausted, "the disk is gone")
	r := ok(c.Logs(t.Context(), "web-1-x", imx.LogOptions{}))(t)
	defer func() { _ = r.Close() }()
	text, err := io.ReadAll(r)
	if string(text) != "one\ntwo" || imx.KindOf(err) != imx.Unavailable {
		t.Errorf("logs gave %q, then %v", text, err)
	}
	var last error
	for _, err := range c.Events(t.Context(), 0, false) {
		last = err
	}
	if imx.KindOf(last) != imx.Exhausted || last.Error() != "the disk is gone" {
		t.Errorf("events ended with %v", last)
	}
}

// A client that takes nothing must not hold up what it asked for.
func TestSlowClientDoesNotHoldUpTheTask(t *testing.T) {
	m := newMemory()
	handler := api.New(api.Config{Applier: chatty{m}, Operator: m, Viewer: m, Logs: m, Freezer: m, Scanner: m})
	server, peer := pair(t)
	body := string(ok(json.Marshal(web()))(t))
	req := ok(http.NewRequestWithContext(api.ConnContext(t.Context(), server), http.MethodPost, "/v1/plan", strings.NewReader(body)))(t)
	_ = peer.Close()
	w := &stuck{header: http.Header{}, first: make(chan struct{}), open: make(chan struct{})}
	ended := make(chan struct{})
	m.slow = make(chan struct{})
	go func() {
		defer close(ended)
		handler.ServeHTTP(w, req)
	}()
	<-w.first // the writer hangs
	<-m.slow  // and yet the task has reported everything
	close(w.open)
	<-ended
	lines := strings.Count(w.text.String(), "\n")
	if lines > 12 || !strings.Contains(w.text.String(), `"done":99999`) || !strings.Contains(w.text.String(), `"result"`) {
		t.Errorf("the client at last got %d lines: %s", lines, w.text.String())
	}
}

// chatty reports much more than a client's connection holds.
type chatty struct{ *memory }

func (c chatty) Plan(_ context.Context, _ imx.Principal, _ imx.PlanRequest, report imx.Report) (imx.PlanResult, error) {
	for i := range 100_000 {
		report(imx.Progress{Step: fmt.Sprint("step", i%5), Status: imx.StepRunning, Done: int64(i)})
	}
	close(c.slow)
	return imx.PlanResult{}, nil
}

// stuck is a writer that hangs until it is opened.
type stuck struct {
	header http.Header
	once   sync.Once
	first  chan struct{}
	open   chan struct{}
	text   bytes.Buffer
}

func (s *stuck) Header() http.Header { return s.header }

func (s *stuck) WriteHeader(int) {}

func (s *stuck) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.first) })
	<-s.open
	return s.text.Write(p)
}

func TestReferenceMatchesTheRoutes(t *testing.T) {
	const path = "../../docs/api.md"
	const mark = "<!-- The rest is made from the server's table of routes: go test ./internal/api -rewrite -->\n\n"
	text := string(ok(os.ReadFile(path))(t))
	prose, reference, found := strings.Cut(text, mark)
	if !found {
		t.Fatalf("%s has no line %q", path, strings.TrimSpace(mark))
	}
	want := strings.TrimSuffix(api.Reference(), "\n")
	if *rewrite {
		if err := os.WriteFile(path, []byte(prose+mark+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	same(t, path, reference, want)
}
