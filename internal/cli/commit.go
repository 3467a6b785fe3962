package cli

import (
	"context"
	"crypto/sha1" //nolint:gosec // Git names what it keeps by it
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"imx"
)

// gitSource asks Git where a template comes from. read are the folder's files that the template is made of, by their names in it, as they
// were read: a commit's template is one of which each has just the bytes that the commit has. What Git was told not to look at
// (ignored, assumed unchanged, not checked out, in a repository of its own) is compared all the same.
//
// A folder outside of any repository has no commit, and neither has one on a machine without Git. Where Git refuses to answer (it doesn't
// trust repositories of other owners), a notice says so: overriding that would run what their configuration names.
func gitSource(ctx context.Context, dir string, read map[string][]byte) (imx.Source, imx.Diagnostics) {
	source := imx.Source{Folder: baseName(dir)}
	out, err := git(ctx, dir, "rev-parse", "--show-prefix", "--verify", "HEAD")
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	if err != nil || len(lines) < 2 {
		return source, gitNotice(err)
	}
	prefix := lines[0]
	source.Folder, source.Commit = path.Clean(prefix), lines[1]
	status, err := git(ctx, dir, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", ".")
	if err != nil {
		return imx.Source{Folder: baseName(dir)}, gitNotice(err)
	}
	differ := ofStatus(status, prefix)
	more, err := uncommitted(ctx, dir, source.Commit, read)
	if err != nil {
		return imx.Source{Folder: baseName(dir)}, gitNotice(err)
	}
	maps.Copy(differ, more)
	source.Dirty, source.Changes = len(differ) > 0, imx.Changes(differ)
	return source, nil
}

// In what a file differs from its commit.
const (
	notCommitted = "isn't in the commit"
	otherBytes   = "is otherwise in the commit"
	notThere     = "is missing"
)

// ofStatus reads what `git status --porcelain -z` tells of the files below a prefix.
func ofStatus(status, prefix string) map[string]string {
	differ := map[string]string{}
	for entry := range strings.SplitSeq(status, "\x00") {
		const codes = len("XY ")
		if len(entry) <= codes {
			continue
		}
		says := otherBytes
		switch code := entry[:2]; {
		case code == "??" || code[0] == 'A':
			says = notCommitted
		case strings.Contains(code, "D"):
			says = notThere
		}
		differ[strings.TrimPrefix(entry[codes:], prefix)] = says
	}
	return differ
}

// entry is a file as a commit has it.
type entry struct{ mode, object string }

const (
	modeLink = "120000" // Git's mode of symbolic links
	kindBlob = "blob"
)

// uncommitted are the files that were read and that a commit hasn't with just these bytes, and those that it has and the template, which
// reads all of their kind, didn't read.
func uncommitted(ctx context.Context, dir, commit string, read map[string][]byte) (map[string]string, error) {
	needed, err := followed(dir, read)
	if err != nil {
		return nil, err
	}
	top, err := tree(ctx, dir, commit)
	if err != nil {
		return nil, err
	}
	deeper := slices.DeleteFunc(slices.Sorted(maps.Keys(needed)), func(name string) bool { return !strings.Contains(name, "/") })
	if len(deeper) > 0 {
		more, err := tree(ctx, dir, commit, append([]string{"--"}, deeper...)...)
		if err != nil {
			return nil, err
		}
		maps.Copy(top, more)
	}
	differ := map[string]string{}
	for name, text := range needed {
		switch has, ok := top[name]; {
		case !ok:
			differ[name] = notCommitted
		case has.object != blobName(text.bytes, len(commit)) || (has.mode == modeLink) != text.link:
			differ[name] = otherBytes
		}
	}
	for name := range top {
		if _, ok := needed[name]; !ok && readBesides(name) {
			differ[name] = notThere
		}
	}
	return differ, nil
}

// readBesides reports whether a template takes a file of its folder in without naming it.
func readBesides(name string) bool {
	return name == imx.LockFile || strings.HasSuffix(name, ".imx.hcl") && !strings.HasPrefix(name, ".") && !strings.Contains(name, "/")
}

// tree lists files of a commit as they are named from a folder: those right in it, or some by name. HEAD may have moved on since.
func tree(ctx context.Context, dir, commit string, args ...string) (map[string]entry, error) {
	out, err := git(ctx, dir, append([]string{"--literal-pathspecs", "ls-tree", "-z", commit}, args...)...)
	if err != nil {
		return nil, err
	}
	found := map[string]entry{}
	for line := range strings.SplitSeq(out, "\x00") {
		what, name, ok := strings.Cut(line, "\t")
		if fields := strings.Fields(what); ok && len(fields) == 3 && fields[1] == kindBlob {
			found[name] = entry{fields[0], fields[2]}
		}
	}
	return found, nil
}

// content is what stands at a path: a file's bytes, or where a symbolic link leads.
type content struct {
	bytes []byte
	link  bool
}

// maxLinks is how many symbolic links are followed from one name: as many as Linux follows.
const maxLinks = 40

// followed are the files and symbolic links by which the files were read, by their paths in the folder.
func followed(dir string, read map[string][]byte) (map[string]content, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	found := map[string]content{}
	for name, text := range read {
		at := path.Clean(name)
		for range maxLinks {
			link, rest, ok := firstLink(root, at)
			if !ok {
				break
			}
			target, err := root.Readlink(filepath.FromSlash(link))
			if err != nil {
				return nil, err
			}
			found[link] = content{[]byte(target), true}
			at = path.Join(path.Dir(link), target, rest)
		}
		found[at] = content{text, false}
	}
	return found, nil
}

// firstLink is the first part of a path that is a symbolic link, and what comes after it.
func firstLink(root *os.Root, name string) (link, rest string, ok bool) {
	parts := strings.Split(name, "/")
	for i := range parts {
		link = path.Join(parts[:i+1]...)
		info, err := root.Lstat(filepath.FromSlash(link))
		if err != nil {
			return "", "", false
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return link, path.Join(parts[i+1:]...), true
		}
	}
	return "", "", false
}

// blobName is Git's name of a file's bytes, in a repository whose names are so long.
func blobName(text []byte, length int) string {
	sum := sha1.New() //nolint:gosec // as above
	if length == 2*sha256.Size {
		sum = sha256.New()
	}
	fmt.Fprintf(sum, "blob %d\x00", len(text))
	sum.Write(text)
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// lately reads files of a folder, as they are now. Those that are gone are left out.
func lately(dir string, names []string) map[string][]byte {
	read := map[string][]byte{}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return read
	}
	defer func() { _ = root.Close() }()
	for _, name := range names {
		if text, err := root.ReadFile(filepath.FromSlash(name)); err == nil {
			read[name] = text
		} else if !errors.Is(err, fs.ErrNotExist) {
			read[name] = nil
		}
	}
	return read
}
