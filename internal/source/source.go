// Package source follows Git repositories: it fetches their branches, makes a candidate of each new commit, releases candidates of
// those that want it as soon as they are admitted, and writes back what became of a commit. What a repository says is data: its
// templates go the way that all templates go, and whether something may be released the policy says.
package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"imx"
	"imx/internal/control"
	"imx/internal/disk"
	"imx/internal/freeze"
	"imx/internal/git"
)

// Releaser makes candidates and releases them: the pipeline.
type Releaser interface {
	// Propose makes a candidate of a template; false if it would change nothing. It asks seen for the template's commit, as new to the
	// services that would be changed.
	Propose(ctx context.Context, by imx.Principal, req imx.PlanRequest, seen Seen, report imx.Report) (imx.Candidate, bool, error)
	Release(ctx context.Context, by imx.Principal, id string, report imx.Report) (imx.ApplyResult, error)
	// Admitted reports whether a candidate would be released now. Errors: Conflict if it never will.
	Admitted(ctx context.Context, c imx.Candidate) (bool, error)
}

// Seen tells what the server itself saw of a commit, with all who had a hand in what of it is new to any of some services.
type Seen = func(ctx context.Context, services []string) (*imx.Commit, error)

// Config is what a Follower joins.
type Config struct {
	Dir      string   // of the copies and the secrets
	Limit    imx.Size // of what each copy may have; 0 means usualSize
	Control  *control.Control
	Releaser Releaser
	// Signed reports whether the policy admits nothing of a commit that nobody known signed.
	Signed func() bool
	// Frozen says until when nothing new is released, and why; the zero State while something may be.
	Frozen func() (freeze.State, error)
	Now    func() time.Time
	Log    *slog.Logger
}

// Follower follows repositories. Its methods may be called from several goroutines at once.
type Follower struct {
	cfg Config

	work sync.Mutex // held while a source is looked at: its copy is used by one at a time

	mu      sync.Mutex
	looks   looks
	tried   map[string]string           // candidates that couldn't be released though they were admitted, and the holds of that moment
	noted   map[string]imx.CommitStatus // by source and commit, with a blank between
	refused map[string]int64
	rang    chan struct{}
}

// New returns a Follower. It starts nothing.
func New(cfg Config) *Follower {
	return &Follower{
		cfg: cfg, looks: looks{last: map[string]time.Time{}, woken: map[string]bool{}},
		tried: map[string]string{}, noted: map[string]imx.CommitStatus{}, refused: map[string]int64{}, rang: make(chan struct{}, 1),
	}
}

// The bounds of what can be asked for.
const (
	usualEvery = imx.Duration(time.Minute)
	leastEvery = imx.Duration(time.Second)
	mostEvery  = imx.Duration(24 * time.Hour)
	usualSize  = imx.Size(2 << 30)
	leastBytes = 16 // of a webhook's secret
	mostBytes  = 4 << 10
)

// Add follows a repository, or changes how. It is looked at soon afterwards.
// Errors: Invalid for a name, an address, a branch, an interval or a secret that can't be one.
func (f *Follower) Add(ctx context.Context, by imx.Principal, req imx.SourceRequest) (imx.SourceView, error) {
	src, err := complete(req)
	if err != nil {
		return imx.SourceView{}, err
	}
	f.work.Lock()
	defer f.work.Unlock()
	old, known := f.cfg.Control.State().Sources[src.Name]
	if known && old.URL != src.URL {
		if err := os.RemoveAll(f.copyDir(src.Name)); err != nil {
			return imx.SourceView{}, disk.Error(err, "removing the copy of the old repository")
		}
	}
	if _, err := f.repository(ctx, src); err != nil {
		return imx.SourceView{}, err
	}
	switch {
	case bool(req.Unhook):
	case req.Secret != "":
		src.Hook = imx.DigestBytes([]byte(req.Secret))
		if err := disk.WriteWhole(f.secretFile(src.Name), []byte(req.Secret), 0o600); err != nil {
			return imx.SourceView{}, disk.Error(err, "keeping the webhook's secret")
		}
	case known:
		src.Hook = old.Hook
	}
	if err := f.cfg.Control.Record(by, imx.SourceAdded{Source: src}); err != nil {
		return imx.SourceView{}, err
	}
	if src.Hook == "" {
		if err := os.RemoveAll(f.secretFile(src.Name)); err != nil {
			return imx.SourceView{}, disk.Error(err, "removing the webhook's secret")
		}
	}
	f.wake(src.Name)
	return f.view(f.cfg.Control.State(), src.Name)
}

// complete fills in what isn't said, and refuses what can't be followed.
func complete(req imx.SourceRequest) (imx.GitSource, error) {
	asked := req.Source
	src := imx.GitSource{
		Name: asked.Name, URL: asked.URL, Branch: asked.Branch, Folder: asked.Folder, Every: asked.Every, Release: asked.Release, Notes: asked.Notes,
	}
	if src.Branch == "" {
		src.Branch = "main"
	}
	if src.Every == 0 {
		src.Every = usualEvery
	}
	if src.Folder = filepath.ToSlash(filepath.Clean(src.Folder)); src.Folder == "." {
		src.Folder = ""
	}
	switch {
	case !regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`).MatchString(src.Name):
		return src, imx.Errorf(imx.Invalid, "%q can't be a source's name", src.Name).WithHint("take lower-case letters, digits, and . _ - between them")
	case src.Every < leastEvery || src.Every > mostEvery:
		return src, imx.Errorf(imx.Invalid, "a source can't be looked at every %s", src.Every).WithHint("take %s to %s", leastEvery, mostEvery)
	case src.Folder != "" && !filepath.IsLocal(src.Folder):
		return src, imx.Errorf(imx.Invalid, "%q is no folder inside a repository", src.Folder)
	case req.Secret != "" && bool(req.Unhook):
		return src, imx.Errorf(imx.Invalid, "a webhook's secret can't be given and taken away at once")
	case req.Secret != "" && (len(req.Secret) < leastBytes || len(req.Secret) > mostBytes):
		return src, imx.Errorf(imx.Invalid, "the webhook's secret has %d bytes", len(req.Secret)).
			WithHint("take %d or more, which nobody can guess: openssl rand -hex 32", leastBytes)
	}
	return src, nil
}

// Remove stops following a repository. Its candidates stay. Errors: NotFound.
func (f *Follower) Remove(_ context.Context, by imx.Principal, name string) error {
	f.work.Lock()
	defer f.work.Unlock()
	if _, err := f.find(name); err != nil {
		return err
	}
	if err := f.cfg.Control.Record(by, imx.SourceRemoved{Source: name}); err != nil {
		return err
	}
	return disk.Error(errors.Join(os.RemoveAll(f.copyDir(name)), os.RemoveAll(f.secretFile(name))), "removing what was kept of the source")
}

// Sources lists those that are followed, sorted by name.
func (f *Follower) Sources(context.Context) ([]imx.SourceView, error) {
	s := f.cfg.Control.State()
	list := []imx.SourceView{}
	for _, name := range slices.Sorted(maps.Keys(s.Sources)) {
		v, err := f.view(s, name)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// Source returns one. Errors: NotFound.
func (f *Follower) Source(_ context.Context, name string) (imx.SourceView, error) {
	return f.view(f.cfg.Control.State(), name)
}

func (f *Follower) view(s *imx.State, name string) (imx.SourceView, error) {
	src, ok := s.Sources[name]
	if !ok {
		return imx.SourceView{}, noSource(name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	is := Status(s, src)
	if z, err := f.cfg.Frozen(); err == nil && z.Window != "" && src.Release && s.Candidates[src.Candidate].State == imx.CandidateOpen && is.State == pending {
		is.Description += fmt.Sprintf("; nothing is released before %s: freeze %s", z.Until.Format(time.RFC3339), z.Window)
	}
	return imx.SourceView{GitSource: src, Status: is, Earlier: earlier(s, src), Refused: f.refused[name]}, nil
}

func noSource(name string) error {
	return imx.Errorf(imx.NotFound, "there is no source %q", name).WithHint("imx source list shows those that there are")
}

func (f *Follower) find(name string) (imx.GitSource, error) {
	src, ok := f.cfg.Control.State().Sources[name]
	if !ok {
		return src, noSource(name)
	}
	return src, nil
}

func (f *Follower) copyDir(name string) string    { return filepath.Join(f.cfg.Dir, name+".git") }
func (f *Follower) secretFile(name string) string { return filepath.Join(f.cfg.Dir, name+".secret") }

// repository opens a source's copy.
func (f *Follower) repository(ctx context.Context, src imx.GitSource) (*git.Repository, error) {
	return git.Open(ctx, git.Config{Dir: f.copyDir(src.Name), URL: src.URL, Branch: src.Branch, Limit: cmp.Or(f.cfg.Limit, usualSize)})
}

// sweep removes what is left of sources that aren't followed any more, and of copies that weren't finished.
func (f *Follower) sweep() error {
	f.work.Lock()
	defer f.work.Unlock()
	files, err := os.ReadDir(f.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimSuffix(file.Name(), ".git"), ".secret")
		if _, missing := f.find(name); missing != nil || name == file.Name() {
			err = errors.Join(err, os.RemoveAll(filepath.Join(f.cfg.Dir, file.Name())))
		}
	}
	return disk.Error(err, "removing what is left of sources")
}

func readSecret(path string) ([]byte, error) {
	secret, err := os.ReadFile(path)
	if err != nil {
		return nil, imx.Errorf(imx.NotFound, "the webhook's secret is gone: %w", err)
	}
	return secret, nil
}

// wake has a source looked at soon.
func (f *Follower) wake(name string) {
	f.mu.Lock()
	f.looks.woken[name] = true
	f.mu.Unlock()
	select {
	case f.rang <- struct{}{}:
	default: // it rings already
	}
}

func (f *Follower) count(name string) {
	if _, err := f.find(name); err != nil {
		return // names that somebody made up are no reason to remember more and more
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused[name]++
}
