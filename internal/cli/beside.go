package cli

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/term"
)

// Bounds of what is looked at beside a template: nobody keeps more of their own there.
const (
	maxBeside      = 2000
	maxBesideBytes = 32 << 20
)

// beside are the files of a folder and those below it that a check looks at without the template naming them.
type beside struct {
	names []string // sorted, with slashes
	large []large  // by name
	more  string   // the first of those beyond what is looked at
}

// listBeside lists a folder's regular files. Symbolic links aren't followed; folders that tools fill aren't looked
// into, nor are those with templates of their own, which are checked as such. What Git ignores nobody gets with the template,
// unless that names it.
func listBeside(fsys fs.FS, ignored func(name string) bool) beside {
	var b beside
	var size int64
	_ = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // what can't be read can't be taken in either
		case d.IsDir():
			if name != "." && (filledByTools(d.Name()) || ignored(name) || hasTemplate(fsys, name)) {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular() || d.Name() == imx.LockFile || d.Name() == ".git" || ignored(name):
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it has just gone
		}
		isLarge := info.Size() > maxTemplate
		if !isLarge {
			size += info.Size()
		}
		switch {
		case len(b.names)+len(b.large) == maxBeside || size > maxBesideBytes:
			b.more = name
			return fs.SkipAll
		case isLarge:
			b.large = append(b.large, large{name, info.Size(), info.ModTime()})
			return nil
		}
		b.names = append(b.names, name)
		return nil
	})
	slices.Sort(b.names)
	return b
}

// filledByTools tells folders by name whose files nobody writes.
func filledByTools(name string) bool {
	return slices.Contains([]string{".git", ".hg", ".svn", ".terraform", ".venv", "__pycache__", "node_modules", "target", "venv", "vendor"}, name)
}

func hasTemplate(fsys fs.FS, dir string) bool {
	found, err := fs.Glob(fsys, path.Join(escaped(dir), "*.imx.hcl"))
	return err == nil && len(found) > 0
}

// escaped is a folder's name as a pattern that fits nothing else.
func escaped(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// read reads the files, so that they are remembered, but for the large ones.
func (b beside) read(r *recorder) {
	for _, name := range b.names {
		if _, ok := r.texts[name]; !ok {
			_, _ = fs.ReadFile(r, name) // one that can't be read has no text
		}
	}
}

// notices say what wasn't looked at.
func (b beside) notices() imx.Diagnostics {
	if b.more == "" {
		return nil
	}
	return imx.Diagnostics{{
		Severity: imx.SeverityNotice,
		Summary:  "only the first " + term.Count(int64(len(b.names)+len(b.large)), "file") + " beside the template were looked at: none from " + b.more + " on",
		Hint:     "keep the template in a folder of its own",
	}}
}

// beside holds what lies beside a template against the rules for its kind.
func (e *examiner) beside(ctx context.Context, files *recorder, near beside, now time.Time) ([]imx.Finding, imx.Diagnostics, error) {
	var found []imx.Finding
	var notices imx.Diagnostics
	for _, name := range near.names {
		if files.unread[name] != nil {
			continue // its notice says so
		}
		more, unread, err := e.foreign.Check(ctx, name, files.texts[name], now)
		if err != nil {
			return nil, nil, err
		}
		found, notices = append(found, more...), append(notices, unread...)
	}
	more, unread, err := e.large(ctx, files, near)
	return append(found, more...), append(notices, unread...), err
}
