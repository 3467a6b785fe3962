package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"imx"
	"imx/internal/disk"
)

// layout is the registry's folder:
//
//	repositories/team+app/blobs/<key>               the repository has this blob; a mark
//	repositories/team+app/manifests/<key>           it has this manifest; a mark
//	repositories/team+app/referrers/<key>.<key>     the second manifest's subject is the first
//	repositories/team+app/tags/<tag>                the manifest's digest, and whose the tag is
//	uploads/<id>                                    bytes that came of an unfinished upload
//	tmp/                                            files on their way to one of the above
//
// "+" stands for "/" and can't be in a repository's name. Each file with something in it is written under tmp, synced and renamed; an
// empty one is whole as soon as it has its name.
type layout struct {
	dir  string
	ops  ops
	repo sync.Mutex // held while a repository's folder is made
}

// The folders of a repository.
const (
	blobNames     = "blobs"
	manifestNames = "manifests"
	referrerNames = "referrers"
	tagNames      = "tags"
)

// ops are the steps of a push that a disk can fail at, or a crash can come before; tests replace them.
type ops struct {
	stage   func(dir string, content []byte) (path string, err error) // makes, fills and syncs a file
	create  func(path string) error                                   // makes an empty file, where there is none
	link    func(from, to string) error                               // gives a file a second name, where there is none
	rename  func(from, to string) error
	syncDir func(dir string) error
	write   func(f *os.File, p []byte) (int, error) // of an upload
}

func diskOps() ops {
	return ops{stage: disk.Stage, create: create, link: os.Link, rename: os.Rename, syncDir: disk.SyncDir, write: (*os.File).Write}
}

func create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (l *layout) uploadDir() string     { return filepath.Join(l.dir, "uploads") }
func (l *layout) tmpDir() string        { return filepath.Join(l.dir, "tmp") }
func (l *layout) repositoryDir() string { return filepath.Join(l.dir, "repositories") }

// folder returns where a repository's names of one sort are. The repository's name must have been
// checked: that is what keeps the path inside.
func (l *layout) folder(repo, sort string) string {
	return filepath.Join(l.repositoryDir(), strings.ReplaceAll(repo, "/", "+"), sort)
}

// name is a file that is staged, and where it goes.
type name struct{ staged, folder, file string }

// stageName prepares a name that commit then makes visible. It makes the repository if need be.
func (l *layout) stageName(repo, sort, file string, content []byte) (name, error) {
	if err := l.makeRepository(repo); err != nil {
		return name{}, err
	}
	staged, err := l.ops.stage(l.tmpDir(), content)
	return name{staged, l.folder(repo, sort), file}, err
}

// commit makes staged names visible, in their order, and returns when they survive a power cut.
func (l *layout) commit(names []name) error {
	for _, n := range names {
		if err := l.ops.rename(n.staged, filepath.Join(n.folder, n.file)); err != nil {
			return err
		}
		if err := l.ops.syncDir(n.folder); err != nil {
			return err
		}
	}
	return nil
}

// drop removes staged files that were not committed.
func drop(names []name) {
	for _, n := range names {
		_ = os.Remove(n.staged) // gone if it was committed; else New removes it
	}
}

// addName makes one name, unless it is there, and reports whether it did.
func (l *layout) addName(repo, sort, file string, content []byte) (made bool, err error) {
	made, err = l.makeName(repo, sort, file, content)
	if err == nil {
		// Also where somebody else made it: they may not have synced it yet, and this push is going to rely on it.
		err = l.ops.syncDir(l.folder(repo, sort))
	}
	return made, disk.Error(err, "storing a name in repository "+repo)
}

func (l *layout) makeName(repo, sort, file string, content []byte) (made bool, err error) {
	path := filepath.Join(l.folder(repo, sort), file)
	if err := l.makeRepository(repo); err != nil {
		return false, err
	}
	if len(content) == 0 {
		err = l.ops.create(path)
	} else {
		var staged string
		if staged, err = l.ops.stage(l.tmpDir(), content); err != nil {
			return false, err
		}
		defer os.Remove(staged)
		err = l.ops.link(staged, path)
	}
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// makeRepository makes a repository whole or not at all.
func (l *layout) makeRepository(repo string) error {
	l.repo.Lock()
	defer l.repo.Unlock()
	final := filepath.Dir(l.folder(repo, tagNames))
	if _, err := os.Stat(final); err == nil {
		return nil
	}
	fresh, err := os.MkdirTemp(l.tmpDir(), "repository-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	for _, sort := range []string{blobNames, manifestNames, referrerNames, tagNames} {
		if err := os.Mkdir(filepath.Join(fresh, sort), 0o700); err != nil {
			return err
		}
	}
	if err := l.ops.syncDir(fresh); err != nil {
		return err
	}
	if err := l.ops.rename(fresh, final); err != nil {
		return err
	}
	return l.ops.syncDir(l.repositoryDir())
}

// read returns a name's content, or the fault that it is missing with.
func (l *layout) read(repo, sort, file string, missing code) (string, error) {
	b, err := fs.ReadFile(os.DirFS(l.folder(repo, sort)), file)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(l.folder(repo, sort)); errors.Is(err, fs.ErrNotExist) {
			missing = codeNameUnknown
		}
		return "", faultf(missing, "repository %s has no %s %s", repo, strings.TrimSuffix(sort, "s"), file)
	}
	if err != nil {
		return "", disk.Error(err, "reading repository "+repo)
	}
	return string(b), nil
}

// list returns the names of one sort, sorted; none for a repository that isn't there.
func (l *layout) list(repo, sort string) ([]string, error) {
	return listDir(l.folder(repo, sort))
}

func listDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, disk.Error(err, "listing the registry")
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// repositories returns the names of all repositories, sorted.
func (l *layout) repositories() ([]string, error) {
	names, err := listDir(l.repositoryDir())
	for i := range names {
		names[i] = strings.ReplaceAll(names[i], "+", "/")
	}
	slices.Sort(names) // "+" sorts elsewhere than "/"
	return names, err
}

// tag returns the digest that a tag names.
func (l *layout) tag(repo, tag string) (imx.Digest, error) {
	if err := errors.Join(checkRepository(repo), checkTag(tag)); err != nil {
		return "", err
	}
	text, err := l.read(repo, tagNames, tag, codeManifestUnknown)
	if err != nil {
		return "", err
	}
	d, _, err := parseTag(text)
	if err != nil {
		return "", imx.Errorf(imx.Internal, "the tag %s:%s is damaged on disk: it names %.80q", repo, tag, text)
	}
	return d, nil
}

// tagText is what a tag's file says: what it names and, on a line of its own, the owner of the token that it was pushed with.
func tagText(d imx.Digest, owner imx.Principal) string {
	if owner == "" {
		return string(d) + "\n"
	}
	return string(d) + "\n" + string(owner) + "\n"
}

func parseTag(text string) (imx.Digest, imx.Principal, error) {
	first, rest, _ := strings.Cut(strings.TrimSpace(text), "\n")
	d, err := imx.ParseDigest(first)
	return d, imx.Principal(rest), err
}

// manifestMark returns what a repository says of a manifest that it has, and the digest of its bytes.
func (l *layout) manifestMark(repo string, d imx.Digest) (mark, imx.Digest, error) {
	return l.markOf(repo, manifestNames, d, codeManifestUnknown)
}

// blobMark is manifestMark for a blob.
func (l *layout) blobMark(repo string, d imx.Digest) (mark, imx.Digest, error) {
	return l.markOf(repo, blobNames, d, codeBlobUnknown)
}

func (l *layout) markOf(repo, sort string, d imx.Digest, missing code) (mark, imx.Digest, error) {
	if err := errors.Join(checkRepository(repo), checkDigest(d)); err != nil {
		return mark{}, "", err
	}
	text, err := l.read(repo, sort, fileKey(d), missing)
	if err != nil {
		return mark{}, "", err
	}
	m := parseMark(text)
	bytes, err := m.bytesOf(d)
	return m, bytes, err
}
