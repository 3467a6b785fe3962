package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ignored are the files that Git leaves out of its repositories, so that nobody gets them with a template: those
// that aren't in a repository and that .gitignore, or another list of Git's, names.
type ignored map[string]bool // full paths; those of folders stand for all that is in them

// maxAsked bounds one command line for Git.
const maxAsked = 500

// ignoredIn asks Git about folders, once for all of a repository. Where there is no repository, no Git, or one that
// Git doesn't trust, nothing is ignored: too much is looked at then, not too little.
func ignoredIn(ctx context.Context, dirs []string) ignored {
	of := map[string][]string{} // by repository
	for _, dir := range dirs {
		if full, err := realPath(dir); err == nil {
			if top, ok := repository(full); ok {
				of[top] = append(of[top], full)
			}
		}
	}
	all := ignored{}
	for top, dirs := range of {
		for some := range slices.Chunk(dirs, maxAsked) {
			all.ask(ctx, top, some)
		}
	}
	return all
}

// ask adds what a repository ignores in some of its folders. Of a folder that is ignored whole only its name is told: it may
// have many files. No program that the repository's configuration names is started.
func (g ignored) ask(ctx context.Context, top string, dirs []string) {
	out, err := git(ctx, top, append([]string{
		"-c", "core.fsmonitor=false", "--literal-pathspecs", "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory", "--",
	}, dirs...)...)
	if err != nil {
		return
	}
	for name := range strings.SplitSeq(out, "\x00") {
		if name != "" {
			g[filepath.Join(top, filepath.FromSlash(name))] = true
		}
	}
}

// repository is the nearest folder around a folder that Git keeps, by its .git: a folder, or a file in a further work tree.
func repository(dir string) (string, bool) {
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir, true
		}
		if dir == filepath.Dir(dir) {
			return "", false
		}
	}
}

// below reports of names in a folder whether they are ignored. None is in a folder that is ignored itself: whoever
// checks that one means it.
func (g ignored) below(dir string) func(name string) bool {
	full, err := realPath(dir)
	if err != nil {
		return func(string) bool { return false }
	}
	for up := full; !g[up]; up = filepath.Dir(up) {
		if up == filepath.Dir(up) {
			return func(name string) bool { return g[filepath.Join(full, filepath.FromSlash(name))] }
		}
	}
	return func(string) bool { return false }
}

// realPath is a path from the root without symbolic links, as Git has it.
func realPath(name string) (string, error) {
	full, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(full)
}
