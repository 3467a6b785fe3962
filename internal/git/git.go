// Package git follows repositories with the git program: it fetches a branch into a bare copy, reads commits and their
// files as values, and writes notes back. It runs nothing that a repository brings: hooks, filters and
// attributes of it have no effect, and no file of it is ever written to disk by name.
//
// The program, and not a library: people's ssh configuration and credential helpers work with it as they do by hand.
package git

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"imx"
)

// Config says which repository is followed, and where its copy is.
type Config struct {
	Dir    string // the bare copy; made where there is none, used by one Repository at a time
	URL    string // a path, file://, ssh:// or https://, or HOST:PATH as ssh takes it
	Branch string
	Limit  imx.Size // of what the copy may have; 0 bounds nothing
}

// Repository is a copy of a repository. Its methods may not be called at the same time.
type Repository struct {
	cfg Config
}

// Limits of what is read of a repository that somebody else writes.
const (
	maxObject = 1 << 20  // bytes of a commit or tag
	maxFiles  = 64 << 20 // bytes of a commit's files, compressed
	maxOutput = 16 << 20 // bytes that git prints of anything else
)

// Open makes the copy in cfg.Dir where there is none; it fetches nothing.
// Errors: Invalid for an address or a branch that can't be one.
func Open(ctx context.Context, cfg Config) (*Repository, error) {
	if err := checkURL(cfg.URL); err != nil {
		return nil, err
	}
	if cfg.Branch == "" || strings.HasPrefix(cfg.Branch, "-") {
		return nil, imx.Errorf(imx.Invalid, "%q is no branch", cfg.Branch)
	}
	r := &Repository{cfg}
	if _, err := r.run(ctx, nil, "check-ref-format", "refs/heads/"+cfg.Branch); err != nil {
		return nil, imx.Errorf(imx.Invalid, "%q is no branch", cfg.Branch)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "HEAD")); err == nil {
		return r, nil
	}
	return r, r.make(ctx)
}

// make makes an empty copy, whole or not at all.
func (r *Repository) make(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(r.cfg.Dir), 0o700); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(r.cfg.Dir), ".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	if _, err := (&Repository{Config{Dir: fresh}}).run(ctx, nil, "init", "--quiet", "--bare", "--template=", fresh); err != nil {
		return err
	}
	// These come before a repository's own .gitattributes: files are read as they were committed.
	plain := []byte("* -text -eol -ident -filter -export-ignore -export-subst -working-tree-encoding\n")
	if err := os.MkdirAll(filepath.Join(fresh, "info"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(fresh, "info", "attributes"), plain, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, r.cfg.Dir)
}

// checkURL lets nothing through that git would take for an option, a command or a transport that runs one.
func checkURL(url string) error {
	path := filepath.IsAbs(url)
	scheme := regexp.MustCompile(`^(file:///|(ssh|https)://[A-Za-z0-9_.\[])`).MatchString(url)
	scp := regexp.MustCompile(`^([A-Za-z0-9_.][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*:[^:-]`).MatchString(url) && !strings.Contains(url, "://")
	if path || scheme || scp {
		return nil
	}
	return imx.Errorf(imx.Invalid, "%q is no repository that can be followed", url).
		WithHint("give an absolute path, file://, ssh:// or https://, or USER@HOST:PATH")
}

// Commit returns a commit that was fetched.
func (r *Repository) Commit(ctx context.Context, id string) (Object, error) {
	raw, err := r.object(ctx, "commit", id)
	if err != nil {
		return Object{}, err
	}
	return ParseCommit(raw)
}

// Tags returns the annotated tags that point at a commit.
func (r *Repository) Tags(ctx context.Context, commit string) ([]Object, error) {
	out, err := r.run(ctx, nil, "for-each-ref", "--format=%(objecttype) %(objectname)", "--points-at", commit, "refs/tags/")
	if err != nil {
		return nil, err
	}
	var tags []Object
	for line := range strings.Lines(string(out)) {
		kind, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if kind != "tag" {
			continue
		}
		raw, err := r.object(ctx, "tag", name)
		if err != nil {
			return nil, err
		}
		tag, target, err := ParseTag(raw)
		if err == nil && target == commit { // a tag of a tag says nothing of the commit by itself
			tags = append(tags, tag)
		}
	}
	return tags, nil
}

// Leads reports whether an earlier commit is one of those that lead to another.
func (r *Repository) Leads(ctx context.Context, earlier, commit string) bool {
	if named(earlier) != nil || named(commit) != nil {
		return false
	}
	_, err := r.run(ctx, nil, "merge-base", "--is-ancestor", earlier, commit)
	return err == nil
}

// Files returns a commit's files below a folder, as they were committed.
// Errors: NotFound if the commit has no such folder; Refused for more than 64 MiB.
func (r *Repository) Files(ctx context.Context, commit, folder string) (fs.FS, error) {
	if err := named(commit); err != nil {
		return nil, err
	}
	tree := commit
	if folder != "" {
		if !fs.ValidPath(folder) {
			return nil, imx.Errorf(imx.Invalid, "%q is no folder inside a repository", folder)
		}
		tree += ":" + folder
	}
	if out, err := r.run(ctx, nil, "cat-file", "-t", tree); err != nil || (folder != "" && strings.TrimSpace(string(out)) != "tree") {
		return nil, imx.Errorf(imx.NotFound, "commit %.12s has no folder %q", commit, folder)
	}
	var out bounded
	out.limit = maxFiles
	bound, err := r.bound()
	if err != nil {
		return nil, err
	}
	if err := r.bounded(ctx, bound, &out, r.lazy("archive", "--format=zip", "-1", tree)...); err != nil {
		if out.over {
			return nil, imx.Errorf(imx.Refused, "commit %.12s has more than %d MiB of files in %q", commit, maxFiles>>20, folder)
		}
		return nil, err
	}
	return zip.NewReader(bytes.NewReader(out.kept.Bytes()), int64(out.kept.Len()))
}

// Note writes a note of imx's own onto a commit, in the repository itself, in the place of one that it has.
// Errors: Unavailable if it takes none, with what git says.
func (r *Repository) Note(ctx context.Context, commit, text string) error {
	const ref = "refs/notes/imx"
	if err := named(commit); err != nil {
		return err
	}
	has := func() bool {
		out, err := r.run(ctx, nil, "notes", "--ref="+ref, "show", commit)
		return err == nil && string(out) == text
	}
	if has() {
		return nil
	}
	// What others wrote meanwhile stays: their newest notes are the ground, and the push is refused if there are newer ones.
	b, err := r.bound()
	if err != nil {
		return err
	}
	_ = r.bounded(ctx, b, io.Discard, r.lazy("fetch", "--quiet", "--no-write-fetch-head", remote, "+"+ref+":"+ref)...) // there may be none yet
	if has() {
		return nil
	}
	before, none := r.run(ctx, nil, "rev-parse", "--verify", ref)
	who := []string{"-c", "user.name=imx", "-c", "user.email=imx@localhost", "-c", "commit.gpgSign=false"}
	if _, err := r.run(ctx, strings.NewReader(text), append(who, "notes", "--ref="+ref, "add", "-f", "-F", "-", commit)...); err != nil {
		return err
	}
	if _, err := r.run(ctx, nil, "push", "--quiet", "--no-verify", r.receiver(), r.cfg.URL, ref+":"+ref); err != nil {
		undo := []string{"update-ref", ref, strings.TrimSpace(string(before))}
		if none != nil {
			undo = []string{"update-ref", "-d", ref}
		}
		if _, failed := r.run(ctx, nil, undo...); failed != nil { // the copy mustn't say that the repository has it
			err = errors.Join(err, failed)
		}
		return imx.Errorf(imx.Unavailable, "%s doesn't take a note on commit %.12s: %w", r.cfg.URL, commit, err).
			WithHint("let the server push %s there, or follow the source without notes", ref)
	}
	return nil
}

// receiver is the option that says what takes a push. Where the repository is on this machine that would run its hooks with this
// process's rights.
func (r *Repository) receiver() string {
	if filepath.IsAbs(r.cfg.URL) || strings.HasPrefix(r.cfg.URL, "file:") {
		return "--receive-pack=git -c core.hooksPath=/dev/null receive-pack"
	}
	return "--receive-pack=git-receive-pack"
}

// named refuses what is no full object name: git would read others as options or expressions.
func named(id string) error {
	if regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`).MatchString(id) {
		return nil
	}
	return imx.Errorf(imx.Invalid, "%q is no full name of a commit", id)
}

func (r *Repository) object(ctx context.Context, kind, id string) ([]byte, error) {
	if err := named(id); err != nil {
		return nil, err
	}
	var out bounded
	out.limit = maxObject
	if err := r.into(ctx, &out, nil, "cat-file", kind, id); err != nil {
		return nil, imx.Errorf(imx.NotFound, "the %s %.12s can't be read: %w", kind, id, err)
	}
	return out.kept.Bytes(), nil
}

func (r *Repository) run(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	var out bounded
	out.limit = maxOutput
	err := r.into(ctx, &out, in, args...)
	return out.kept.Bytes(), err
}

// into runs git. Its error is what git said, in one line.
func (r *Repository) into(ctx context.Context, out io.Writer, in io.Reader, args ...string) error {
	return r.say(r.command(ctx, "git", settings(args)...), out, in)
}

// settings are arguments of git, behind those by which it heeds nothing that a repository brings.
func settings(args []string) []string {
	// A repository's configuration is imx's own; what a person has set up for ssh and passwords stays in force.
	safe := []string{
		"-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never", "-c", "protocol.file.allow=always",
		"-c", "protocol.ssh.allow=always", "-c", "protocol.https.allow=always", "-c", "gc.auto=0", "-c", "fetch.fsckObjects=true",
	}
	return append(safe, args...)
}

func (r *Repository) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "GIT_DIR="+r.cfg.Dir, "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=", "LC_ALL=C", "GIT_NO_REPLACE_OBJECTS=1")
	if os.Getenv("GIT_SSH_COMMAND") == "" {
		cmd.Env = append(cmd.Env, "GIT_SSH_COMMAND=ssh -oBatchMode=yes -oConnectTimeout=20")
	}
	return cmd
}

// say runs a command. Its error is the first line that it said of its own.
func (r *Repository) say(cmd *exec.Cmd, out io.Writer, in io.Reader) error {
	var said bounded
	said.limit = 64 << 10
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &said
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		return imx.Errorf(imx.Unavailable, "the program git is missing").WithHint("apt-get install git")
	}
	all := said.kept.String()
	for line := range strings.Lines(all) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "warning: ") && !strings.HasPrefix(line, "remote:") {
			return saidError{line, all}
		}
	}
	return saidError{err.Error(), all}
}

// saidError is why git failed, by what it said.
type saidError struct {
	line, all string
}

// Error implements error.
func (e saidError) Error() string { return e.line }

// bounded keeps what is written to it up to a limit and then refuses more.
type bounded struct {
	kept  bytes.Buffer // not embedded: its ReadFrom would go around the limit
	limit int
	over  bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.kept.Len()+len(p) > b.limit {
		b.over = true
		return 0, errors.New("git prints more than is taken")
	}
	return b.kept.Write(p)
}
