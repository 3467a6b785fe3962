package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"imx"
)

const head = "refs/imx/head"

// TooLargeError says that what is to be fetched doesn't fit into what a copy may have.
type TooLargeError struct {
	Size  imx.Size // of the copy, without it
	Limit imx.Size
}

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("its copy has %s, and with what is new it would have more than %s", e.Size, e.Limit)
}

// Fetch brings the branch and the tags up to date, and returns the branch's commit. Of larger files it fetches only those that are
// read, where the repository's server knows how to. What was fetched before stays whole, whatever becomes of it.
// Errors: Unavailable if the repository can't be reached or has no such branch, with what git says; a TooLargeError.
func (r *Repository) Fetch(ctx context.Context) (string, error) {
	if err := r.tidy(); err != nil {
		return "", err
	}
	if err := r.refused(ctx); err != nil {
		return "", err
	}
	err := r.fetch(ctx)
	if _, over := errors.AsType[*TooLargeError](err); over {
		if err = r.collect(ctx); err == nil { // what nobody needs any more makes room
			err = r.fetch(ctx)
		}
		r.remember(ctx, err)
	}
	if err == nil && r.crowded() {
		err = r.collect(ctx)
	}
	if err != nil {
		return "", err
	}
	out, err := r.run(ctx, nil, "rev-parse", "--verify", head+"^{commit}")
	return strings.TrimSpace(string(out)), err
}

// fetch fetches, and undoes it if that is too much.
func (r *Repository) fetch(ctx context.Context) error {
	refs, err := r.refs(ctx)
	if err != nil {
		return err
	}
	packs, err := r.packs()
	if err != nil {
		return err
	}
	bound, err := r.bound()
	if err != nil {
		return err
	}
	err = r.bounded(ctx, bound, io.Discard, r.lazy("fetch", "--quiet", "--atomic", "--no-write-fetch-head", "--no-auto-maintenance", "--prune", "--no-tags",
		"--no-recurse-submodules", "--filter="+filter, remote, "+refs/heads/"+r.cfg.Branch+":"+head, "+refs/tags/*:refs/tags/*")...)
	over, tooLarge := errors.AsType[*TooLargeError](err)
	switch {
	case tooLarge:
	case err != nil:
		return imx.Errorf(imx.Unavailable, "the branch %s of %s can't be fetched: %w", r.cfg.Branch, r.cfg.URL, err)
	default: // with its index a pack is larger than what bounded it
		if over, err = r.over(bound); over == nil {
			return err
		}
	}
	return errors.Join(over, r.undo(ctx, refs, packs))
}

const (
	remote = "imx" // the repository's name in its copy
	// filter leaves out files that a template hardly has; whichever it has are fetched when they are read.
	filter = "blob:limit=1m"
)

// lazy are arguments of git for what may fetch files that were left out.
func (r *Repository) lazy(args ...string) []string {
	// Each fetch makes a pack, whose file the bound is for.
	settings := []string{
		"-c", "fetch.unpackLimit=1", "-c", "remote." + remote + ".url=" + r.cfg.URL,
		"-c", "remote." + remote + ".promisor=true", "-c", "remote." + remote + ".partialCloneFilter=" + filter,
	}
	if filepath.IsAbs(r.cfg.URL) || strings.HasPrefix(r.cfg.URL, "file:") { // no server's administrator was asked whether it may leave files out
		settings = append(settings, "-c", "remote."+remote+".uploadpack=git -c uploadpack.allowFilter=true upload-pack")
	}
	return append(settings, args...)
}

// bound is how much the copy has, and how much more it may have.
type bound struct {
	size, room int64 // room < 0 means without bound
}

func (r *Repository) bound() (bound, error) {
	size, err := r.size()
	if r.cfg.Limit == 0 {
		return bound{size, -1}, err
	}
	return bound{size, max(0, int64(r.cfg.Limit)-size)}, err
}

// over returns a TooLargeError if the copy has more than it may.
func (r *Repository) over(before bound) (*TooLargeError, error) {
	size, err := r.size()
	if r.cfg.Limit == 0 || err != nil || size <= int64(r.cfg.Limit) {
		return nil, err
	}
	return r.tooLarge(before), nil
}

func (r *Repository) tooLarge(before bound) *TooLargeError {
	return &TooLargeError{imx.Size(before.size), r.cfg.Limit}
}

// bounded runs git so that none of its processes writes a file larger than there is room for: the kernel stops it there.
func (r *Repository) bounded(ctx context.Context, b bound, out io.Writer, args ...string) error {
	if b.room < 0 {
		return r.into(ctx, out, nil, args...)
	}
	const block = 512 // bytes, by POSIX
	script := `trap "" XFSZ; ulimit -f "$0" && exec git "$@"`
	blocks := strconv.FormatInt(b.room/block, 10)
	err := r.say(r.command(ctx, "sh", append([]string{"-c", script, blocks}, settings(args)...)...), out, nil)
	if said, ok := errors.AsType[saidError](err); ok && strings.Contains(said.all, "File too large") {
		return r.tooLarge(b)
	}
	return err
}

// size is how many bytes the copy's files have.
func (r *Repository) size() (int64, error) {
	var all int64
	err := filepath.WalkDir(r.cfg.Dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all += info.Size()
		}
		return err
	})
	return all, err
}

func (r *Repository) packFolder() string { return filepath.Join(r.cfg.Dir, "objects", "pack") }

// packs names the files of what was fetched.
func (r *Repository) packs() (map[string]bool, error) {
	files, err := os.ReadDir(r.packFolder())
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, f := range files {
		names[f.Name()] = true
	}
	return names, nil
}

// tidy removes what a fetch left that was stopped.
func (r *Repository) tidy() error {
	packs, err := r.packs()
	for name := range packs {
		if strings.HasPrefix(name, "tmp_") || strings.HasPrefix(name, ".tmp-") {
			err = errors.Join(err, os.Remove(filepath.Join(r.packFolder(), name)))
		}
	}
	return err
}

// refs are the names that the copy has, each with what it points at, as git update-ref takes them.
func (r *Repository) refs(ctx context.Context) (string, error) {
	out, err := r.run(ctx, nil, "for-each-ref", "--format=update %(refname) %(objectname)", "refs/imx", "refs/tags")
	return string(out), err
}

// undo brings the copy's names back to what they were, and removes all packs but those that were there.
func (r *Repository) undo(ctx context.Context, refs string, packs map[string]bool) error {
	now, err := r.refs(ctx)
	if err != nil {
		return err
	}
	if now != refs {
		var back strings.Builder
		for line := range strings.Lines(now) {
			back.WriteString("delete " + strings.Fields(line)[1] + "\n")
		}
		for _, step := range []string{back.String(), refs} {
			if _, err := r.run(ctx, strings.NewReader(step), "update-ref", "--stdin"); err != nil {
				return err
			}
		}
	}
	found, err := r.packs()
	for name := range found {
		if !packs[name] {
			err = errors.Join(err, os.Remove(filepath.Join(r.packFolder(), name)))
		}
	}
	return err
}

// The most packs and, of each two hundred and fifty-six, loose objects that a copy has before they are packed together.
const (
	mostPacks = 20
	mostLoose = 8
)

// crowded reports whether there are too many.
func (r *Repository) crowded() bool {
	packs, err := filepath.Glob(filepath.Join(r.packFolder(), "*.pack"))
	loose, missing := os.ReadDir(filepath.Join(r.cfg.Dir, "objects", "17"))
	return err == nil && len(packs) > mostPacks || missing == nil && len(loose) > mostLoose
}

// collect packs all that the copy's names lead to into one, and drops the rest. It isn't git gc, which drops nothing that a server gave who
// may leave files out.
func (r *Repository) collect(ctx context.Context) error {
	old, err := r.packs()
	if err != nil {
		return err
	}
	out, err := r.run(ctx, nil, r.lazy("pack-objects", "--quiet", "--all", "--missing=allow-any", "--delta-base-offset", "--threads=1", "--window-memory=64m",
		filepath.Join(r.packFolder(), "pack"))...)
	if err != nil {
		return err
	}
	fresh := "pack-" + strings.TrimSpace(string(out))
	if err := os.WriteFile(filepath.Join(r.packFolder(), fresh+".promisor"), nil, 0o600); err != nil {
		return err
	}
	for name := range old {
		if !strings.HasPrefix(name, fresh+".") {
			err = errors.Join(err, os.Remove(filepath.Join(r.packFolder(), name)))
		}
	}
	_, pruned := r.run(ctx, nil, "prune-packed", "--quiet")
	return errors.Join(err, pruned)
}

// refusal is the file that tells what was too large, and for which limit.
func (r *Repository) refusal() string { return filepath.Join(r.cfg.Dir, "imx-too-large") }

// refused returns the error of the last fetch, if that was for its size and the repository is as it was then: it isn't read again and again
// only to be refused each time.
func (r *Repository) refused(ctx context.Context) error {
	was, err := os.ReadFile(r.refusal())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	switch r.offered(ctx) {
	case "":
		return nil // why it can't be read, the fetch tells
	case string(was):
		b, err := r.bound()
		return errors.Join(r.tooLarge(b), err)
	}
	return os.Remove(r.refusal())
}

// remember keeps that what is offered is too large. Without that it is fetched once more.
func (r *Repository) remember(ctx context.Context, err error) {
	if _, over := errors.AsType[*TooLargeError](err); !over {
		return
	}
	if now := r.offered(ctx); now != "" {
		_ = os.WriteFile(r.refusal(), []byte(now), 0o600)
	}
}

// offered names what the repository has, and how much of it may be taken; nothing if it can't be read.
func (r *Repository) offered(ctx context.Context) string {
	out, err := r.run(ctx, nil, "ls-remote", "--quiet", r.cfg.URL, "refs/heads/"+r.cfg.Branch, "refs/tags/*")
	if err != nil {
		return ""
	}
	return string(imx.DigestJSON(struct {
		Offered string
		Limit   imx.Size
	}{string(out), r.cfg.Limit}))
}
