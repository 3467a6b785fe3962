// Package source_test follows real repositories with the real git; only what makes candidates of templates is played.
package source_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"imx"
	"imx/internal/control"
	"imx/internal/eventlog"
	"imx/internal/freeze"
	"imx/internal/plan"
	"imx/internal/source"
)

const web = `
image "web" {
  command = ["/x"]
  file "/x" {
    content = "x"
    mode    = "0755"
  }
}
service "web" {
  image       = image.web
  environment = { GREETING = %q }
}`

type world struct {
	*source.Follower
	t       *testing.T
	control *control.Control
	url     string // of the repository, bare
	tree    string // a working tree of it
	data    string
	log     bytes.Buffer

	mu       sync.Mutex
	admitted bool
	signed   bool // commits must be
	frozen   freeze.State
	broken   error // of Release
	fault    error // of Propose
	asked    []imx.PlanRequest
	released []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWithin(t, 0)
}

// newWorldWithin is a world whose copies may have so much.
func newWorldWithin(t *testing.T, limit imx.Size) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, url: filepath.Join(dir, "shop.git"), tree: filepath.Join(dir, "tree"), data: filepath.Join(dir, "data")}
	events, _, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(dir, "log"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = events.Close() })
	ids := 0
	w.control, err = control.Open(control.Config{
		Log: events, Now: time.Now, NewID: func() string { ids++; return fmt.Sprint("id", ids) }, Network: netip.MustParsePrefix("10.0.0.0/24"),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Follower = source.New(source.Config{
		Dir: w.data, Limit: limit, Control: w.control, Releaser: w, Signed: func() bool { return w.signed }, Frozen: w.Frozen,
		Now: time.Now, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	w.git("init", "--quiet", "--bare", "--initial-branch=main", w.url)
	w.git("init", "--quiet", "--initial-branch=main", w.tree)
	w.in("config", "user.name", "Ada")
	w.in("config", "user.email", "Ada@Example.com")
	w.in("remote", "add", "origin", w.url)
	return w
}

func (w *world) Propose(ctx context.Context, by imx.Principal, req imx.PlanRequest, seen source.Seen, _ imx.Report) (imx.Candidate, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, req)
	if w.fault != nil || len(req.Template.Services) == 0 {
		return imx.Candidate{}, false, w.fault
	}
	services := make([]string, 0, len(req.Template.Services))
	for _, spec := range req.Template.Services {
		services = append(services, spec.Name)
	}
	commit, err := seen(ctx, services)
	if err != nil {
		return imx.Candidate{}, false, err
	}
	d := imx.DigestJSON(req)
	c, err := w.control.Propose(by, imx.Candidate{
		Plan: d, Request: d, Environment: "test", Source: req.Template.Source, Commit: commit, By: by, Services: services,
	})
	return c, err == nil, err
}

func (w *world) Admitted(context.Context, imx.Candidate) (bool, error) {
	z, _ := w.Frozen()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.admitted && z.Window == "", nil
}

// Frozen is on until its end.
func (w *world) Frozen() (freeze.State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen.Until.After(time.Now()) {
		return w.frozen, nil
	}
	return freeze.State{}, nil
}

func (w *world) Release(_ context.Context, by imx.Principal, id string, _ imx.Report) (imx.ApplyResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.released = append(w.released, id)
	if w.broken != nil {
		return imx.ApplyResult{}, w.broken
	}
	return imx.ApplyResult{}, w.control.Record(by, imx.CandidateEnded{Candidate: id, State: imx.CandidateReleased, Why: "apply x"})
}

func (w *world) git(args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) in(args ...string) string {
	w.t.Helper()
	return w.git(append([]string{"-C", w.tree}, args...)...)
}

// push commits files below a folder, with an empty lock beside a template, and pushes them.
func (w *world) push(files map[string]string, options ...string) string {
	w.t.Helper()
	for name, text := range files {
		path := filepath.Join(w.tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.in("add", "-A")
	w.in(append([]string{"commit", "--quiet", "--allow-empty", "-m", "a change"}, options...)...)
	w.in("push", "--quiet", "--force", "origin", "main")
	return w.in("rev-parse", "HEAD")
}

func template(greeting string) map[string]string {
	return map[string]string{
		"shop/web.imx.hcl":     fmt.Sprintf(web, greeting),
		"shop/" + imx.LockFile: string(plan.FormatLock(imx.Lock{Version: imx.LockVersion})),
	}
}

func (w *world) add(change func(*imx.SourceRequest)) imx.SourceView {
	w.t.Helper()
	req := imx.SourceRequest{Source: imx.GitSource{Name: "shop", URL: w.url, Folder: "shop"}}
	if change != nil {
		change(&req)
	}
	v, err := w.Add(w.t.Context(), "root", req)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) look() imx.SourceView {
	w.t.Helper()
	if err := w.Look(w.t.Context(), "shop"); err != nil {
		w.t.Fatal(err)
	}
	return w.shop()
}

func (w *world) shop() imx.SourceView {
	w.t.Helper()
	v, err := w.Source(w.t.Context(), "shop")
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func TestANewCommitBecomesACandidateOnce(t *testing.T) {
	w := newWorld(t)
	for name, p := range map[imx.Principal]string{"ada": "ada@example.com", "bob": "bob@example.com"} {
		if err := w.control.Record("root", imx.PersonSet{Person: imx.Person{Name: name, Emails: []string{p}, Roles: []imx.Role{imx.RoleReviewer}}}); err != nil {
			t.Fatal(err)
		}
	}
	id := w.push(template("hi"))
	if v := w.add(nil); v.Branch != "main" || v.Every != imx.Duration(time.Minute) || !w.Woken("shop") || v.Status.State != "pending" {
		t.Errorf("added %+v", v)
	}
	v := w.look()
	c := w.control.State().Candidates[v.Candidate]
	if v.Seen != id || v.Fault != "" || c.Commit == nil || c.Commit.ID != id || c.Source.Commit != id || c.Source.Folder != "shop" || c.By != imx.Server {
		t.Fatalf("%+v, %+v", v, c)
	}
	if c.Commit.Author != "Ada <Ada@Example.com>" || c.Commit.Unsigned != "it isn't signed" || len(c.Commit.People) != 1 || c.Commit.People[0] != "ada" {
		t.Errorf("the commit is %+v", c.Commit)
	}
	if len(w.asked[0].Template.Services) != 1 || w.asked[0].Lock == nil {
		t.Errorf("asked for %+v", w.asked[0])
	}
	before := w.control.State().Next
	if w.look(); w.control.State().Next != before || len(w.asked) != 1 {
		t.Errorf("the same commit again: %d events, asked %d times", w.control.State().Next-before, len(w.asked))
	}
	second := w.push(template("hello"))
	if v := w.look(); v.Seen != second || w.control.State().Candidates[c.ID].State != imx.CandidateSuperseded {
		t.Errorf("after another commit: %+v", v)
	}
}

func TestWhatIsWrongWithACommitIsToldWithItsPlace(t *testing.T) {
	w := newWorld(t)
	w.add(nil)
	if v := w.look(); !strings.Contains(v.Unread, "main") || v.Status.State != "error" {
		t.Errorf("an empty repository: %+v", v)
	}
	for _, broken := range []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{"readme": "x"}, "no folder"},
		{map[string]string{"shop/web.imx.hcl": "image \"web\" {\n  comand = [\"/x\"]\n}\n"}, "web.imx.hcl:2"},
		{map[string]string{"shop/web.imx.hcl": fmt.Sprintf(web, "hi")}, "has no " + imx.LockFile},
		{map[string]string{"shop/" + imx.LockFile: "{"}, imx.LockFile},
	} {
		id := w.push(broken.files)
		v := w.look()
		if v.Seen != id || !strings.Contains(v.Fault, broken.want) || v.Status.State != "failure" || v.Unread != "" || v.Candidate != "" {
			t.Errorf("want %q: %+v", broken.want, v)
		}
	}
	if err := os.Rename(w.url, w.url+".away"); err != nil {
		t.Fatal(err)
	}
	v := w.look()
	before := w.control.State().Next
	if w.look(); v.Unread == "" || v.Fault == "" || w.control.State().Next != before {
		t.Errorf("a repository that went away: %+v, told %d times more", v, w.control.State().Next-before)
	}
	if err := os.Rename(w.url+".away", w.url); err != nil {
		t.Fatal(err)
	}
	if v := w.look(); v.Unread != "" || v.Fault == "" {
		t.Errorf("it is back: %+v", v)
	}
	w.push(template("hi"))
	if v := w.look(); v.Fault != "" || v.Candidate == "" {
		t.Errorf("mended: %+v", v)
	}
}

func TestARewrittenHistoryIsTold(t *testing.T) {
	w := newWorld(t)
	w.add(nil)
	first := w.push(template("hi"))
	w.look()
	w.in("commit", "--quiet", "--amend", "-m", "another past")
	second := w.push(template("hello"))
	v := w.look()
	if v.Seen != second || !strings.Contains(v.Notice, "rewritten") || !strings.Contains(v.Notice, first[:12]) || v.Candidate == "" {
		t.Errorf("%+v", v)
	}
	w.push(template("salve"))
	if v := w.look(); v.Notice != "" {
		t.Errorf("the next one still has %q", v.Notice)
	}
}

const two = `
image "web" {
  command = ["/x"]
  file "/x" {
    content = "x"
    mode    = "0755"
  }
}
service "web" { image = image.web }
service "db" { image = image.web }`

// runs has services run releases that were made of commits, "" for none.
func (w *world) runs(at map[string]string) {
	w.t.Helper()
	for name, commit := range at {
		number := len(w.control.State().Services[name].Releases) + 1
		r := imx.Release{Service: name, Number: number, Spec: imx.Spec{Name: name}, Source: imx.Source{Commit: commit}, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(len(name))})}
		if err := w.control.Record("root", imx.ApplyStarted{Apply: name}, imx.Applied{Apply: name, Releases: []imx.Release{r}}, imx.RolloutFinished{Service: name, Release: number}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) by(email string) string {
	w.t.Helper()
	w.in("config", "user.email", email)
	return w.push(map[string]string{"shop/web.imx.hcl": two, "shop/" + imx.LockFile: string(plan.FormatLock(imx.Lock{Version: imx.LockVersion}))})
}

// handed is who had a hand in the newest candidate.
func (w *world) handed(v imx.SourceView) string {
	w.t.Helper()
	c, ok := w.control.State().Candidates[v.Candidate]
	if !ok || c.Commit == nil {
		w.t.Fatalf("no candidate: %+v", v)
	}
	return strings.Join(c.Commit.Emails, " ")
}

// What became of a commit is brought up to date when another took its place.
func TestEarlierCommitsHaveTheirStatusToo(t *testing.T) {
	w := newWorld(t)
	w.add(func(r *imx.SourceRequest) { r.Source.Notes = true })
	first := w.push(template("hi"))
	w.look()
	w.Settle(t.Context())
	note := func(commit string) string { return w.git("-C", w.url, "notes", "--ref=imx", "show", commit) }
	if got := note(first); !strings.HasPrefix(got, "pending") {
		t.Errorf("the first: %s", got)
	}
	second := w.push(template("hello"))
	v := w.look()
	if len(v.Earlier) != 1 || v.Earlier[0].Commit != first || v.Earlier[0].State != "failure" || v.Status.State != "pending" {
		t.Fatalf("%+v", v)
	}
	w.Settle(t.Context())
	if got := note(first); !strings.HasPrefix(got, "failure") || !strings.Contains(got, "took its place") || !strings.HasPrefix(note(second), "pending") {
		t.Errorf("afterwards: %s", got)
	}
	before := w.git("-C", w.url, "rev-parse", "refs/notes/imx")
	w.Forget()
	if w.Settle(t.Context()); w.git("-C", w.url, "rev-parse", "refs/notes/imx") != before {
		t.Error("another server's start writes again what is there")
	}
}

func TestASourceReleasesByItselfWhatIsAdmitted(t *testing.T) {
	w := newWorld(t)
	w.add(func(r *imx.SourceRequest) { r.Source.Release, r.Source.Notes = true, true })
	id := w.push(template("hi"))
	c := w.look().Candidate
	w.Settle(t.Context())
	if note := w.git("-C", w.url, "notes", "--ref=imx", "show", id); len(w.released) != 0 || !strings.Contains(note, "pending imx/shop: candidate "+c+" waits") {
		t.Errorf("released %v, the note is %q", w.released, note)
	}
	w.admitted = true
	w.Settle(t.Context())
	if note := w.git("-C", w.url, "notes", "--ref=imx", "show", id); len(w.released) != 1 || !strings.HasPrefix(note, "success") {
		t.Errorf("released %v, the note is %q", w.released, note)
	}
	w.push(template("hello"))
	w.broken = imx.Errorf(imx.Conflict, "what runs has changed")
	w.look()
	w.Settle(t.Context())
	w.Settle(t.Context())
	if v := w.shop(); len(w.released) != 2 || !strings.Contains(v.Fault, "can't be released: what runs has changed") {
		t.Errorf("it was tried %d times: %+v", len(w.released), v)
	}
}

func TestACommitThatCameDuringAFreezeIsReleasedWhenThatEnds(t *testing.T) {
	w := newWorld(t)
	w.add(func(r *imx.SourceRequest) { r.Source.Release, r.Source.Every = true, imx.Duration(time.Hour) })
	w.push(template("hi"))
	w.admitted, w.frozen = true, freeze.State{Window: "weekend", Until: time.Now().Add(time.Hour)}
	c := w.look().Candidate
	w.Settle(t.Context())
	if v := w.shop(); len(w.released) != 0 || !strings.Contains(v.Status.Description, "; nothing is released before") || !strings.Contains(v.Status.Description, "freeze weekend") {
		t.Errorf("released %v: %+v", w.released, v.Status)
	}
	w.frozen.Until = time.Now().Add(300 * time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	for w.control.State().Candidates[c].State != imx.CandidateReleased {
		select {
		case <-w.control.Changed():
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("it was never released")
		}
	}
	cancel()
	if err := <-ended; err != nil || time.Now().Before(w.frozen.Until) {
		t.Errorf("it was released before the end: %v", err)
	}
}

// A rollback that a person made isn't undone by the repository: that says so, and goes on once the hold has ended.
func TestWhatIsHeldIsToldAndReleasedOnceTheHoldHasEnded(t *testing.T) {
	w := newWorld(t)
	w.add(func(r *imx.SourceRequest) { r.Source.Release, r.Source.Notes = true, true })
	release := imx.Release{Service: "web", Number: 1, Address: netip.MustParseAddr("10.0.0.1")}
	next := release
	next.Number = 2
	for _, body := range []imx.Body{
		imx.ApplyStarted{Apply: "a"},
		imx.Applied{Apply: "a", Releases: []imx.Release{release}},
		imx.RolloutFinished{Service: "web", Release: 1},
		imx.ApplyStarted{Apply: "b"},
		imx.Applied{Apply: "b", Releases: []imx.Release{next}},
		imx.RolloutFinished{Service: "web", Release: 2},
		imx.RolledBack{Service: "web", From: 2, To: 1, Reason: "it answers with errors"},
	} {
		if err := w.control.Record("ada", body); err != nil {
			t.Fatal(err)
		}
	}
	id := w.push(template("hi"))
	w.look()
	w.admitted, w.broken = true, imx.Errorf(imx.Conflict, "service web is held at release 1 by ada").WithHint("imx hold release web lets it go on")
	w.Settle(t.Context())
	w.Settle(t.Context())
	if note := w.git("-C", w.url, "notes", "--ref=imx", "show", id); len(w.released) != 1 || !strings.Contains(note, "held at release 1 by ada; imx hold release web") {
		t.Errorf("tried %d times, the note is %q", len(w.released), note)
	}
	w.broken = nil
	if err := w.control.Record("ada", imx.HoldEnded{Service: "web"}); err != nil {
		t.Fatal(err)
	}
	w.Settle(t.Context())
	w.Settle(t.Context())
	if note := w.git("-C", w.url, "notes", "--ref=imx", "show", id); len(w.released) != 2 || !strings.HasPrefix(note, "success") {
		t.Errorf("tried %d times, the note is %q", len(w.released), note)
	}
}

func TestARefreshLooksAgainAtWhatFailed(t *testing.T) {
	w := newWorld(t)
	w.add(nil)
	w.push(template("hi"))
	w.fault = imx.Errorf(imx.Refused, "the test home failed")
	if v := w.look(); v.Fault != "the test home failed" {
		t.Errorf("%+v", v)
	}
	w.fault = nil
	if v := w.look(); v.Fault == "" {
		t.Error("it was looked at again by itself")
	}
	v, err := w.Refresh(t.Context(), "root", "shop", func(imx.Progress) {})
	if err != nil || v.Fault != "" || v.Candidate == "" {
		t.Errorf("%+v, %v", v, err)
	}
	if again, err := w.Refresh(t.Context(), "root", "shop", func(imx.Progress) {}); err != nil || again.Candidate != v.Candidate || len(w.asked) != 2 {
		t.Errorf("a second time: %+v, %v, asked %d times", again, err, len(w.asked))
	}
	if _, err := w.Refresh(t.Context(), "root", "other", func(imx.Progress) {}); imx.KindOf(err) != imx.NotFound {
		t.Errorf("one that isn't there: %v", err)
	}
}

func TestASourceThatIsRemovedLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.push(template("hi"))
	w.add(func(r *imx.SourceRequest) { r.Secret = strings.Repeat("s", 32) })
	c := w.look().Candidate
	secret := filepath.Join(w.data, "shop.secret")
	if info, err := os.Stat(secret); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret's file: %v, %v", info, err)
	}
	if err := w.Remove(t.Context(), "root", "shop"); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(w.data)
	if list, _ := w.Sources(t.Context()); err != nil || len(left) != 0 || len(list) != 0 || w.control.State().Candidates[c].State != imx.CandidateOpen {
		t.Errorf("left are %v, %v, %v", left, list, err)
	}
	if err := w.Remove(t.Context(), "root", "shop"); imx.KindOf(err) != imx.NotFound {
		t.Errorf("again: %v", err)
	}
}

func TestAWebhooksSecretStaysUntilItIsTakenAway(t *testing.T) {
	w := newWorld(t)
	secret := filepath.Join(w.data, "shop.secret")
	for _, c := range []struct {
		change func(r *imx.SourceRequest)
		there  bool
	}{
		{func(r *imx.SourceRequest) { r.Secret = strings.Repeat("s", 32) }, true},
		{func(r *imx.SourceRequest) { r.Source.Notes = true }, true},
		{func(r *imx.SourceRequest) { r.Unhook = true }, false},
		{func(*imx.SourceRequest) {}, false},
	} {
		v := w.add(c.change)
		if _, err := os.Stat(secret); (err == nil) != c.there || (v.Hook != "") != c.there {
			t.Errorf("the webhook is %q, the secret's file: %v", v.Hook, err)
		}
	}
}

func TestWhatCantBeFollowedIsRefused(t *testing.T) {
	w := newWorld(t)
	for want, change := range map[string]func(r *imx.SourceRequest){
		"source's name":    func(r *imx.SourceRequest) { r.Source.Name = "../x" },
		"can't be looked":  func(r *imx.SourceRequest) { r.Source.Every = 1 },
		"no folder inside": func(r *imx.SourceRequest) { r.Source.Folder = "../x" },
		"no repository":    func(r *imx.SourceRequest) { r.Source.URL = "ext::sh -c x" },
		"no branch":        func(r *imx.SourceRequest) { r.Source.Branch = "-x" },
		"secret has":       func(r *imx.SourceRequest) { r.Secret = "short" },
		"at once":          func(r *imx.SourceRequest) { r.Secret, r.Unhook = strings.Repeat("s", 32), true },
	} {
		req := imx.SourceRequest{Source: imx.GitSource{Name: "shop", URL: w.url}}
		change(&req)
		if _, err := w.Add(t.Context(), "root", req); imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if len(w.control.State().Sources) != 0 {
		t.Error("one is followed")
	}
}

func TestTheLoopFollowsUntilItIsStopped(t *testing.T) {
	w := newWorld(t)
	w.push(template("hi"))
	w.admitted = true
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	w.add(func(r *imx.SourceRequest) { r.Source.Release = true })
	for {
		changed := w.control.Changed()
		s := w.control.State()
		if s.Candidates[s.Sources["shop"].Candidate].State == imx.CandidateReleased {
			break
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("nothing was released")
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
