package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"imx"
	"imx/internal/erofs"
)

// layer collects the files and directories that a release lays over its image.
type layer struct {
	image    tree
	accounts accounts
	entries  map[string]erofs.Entry
}

// configLayer decides what the release's layer holds: its own files, what tells an instance its
// name and the names that it may use, and a directory for everything that is mounted.
func configLayer(r imx.Release, image tree, open func(imx.Digest) (io.ReadCloser, error)) ([]erofs.Entry, error) {
	as, err := image.accounts()
	if err != nil {
		return nil, err
	}
	l := layer{image: image, accounts: as, entries: map[string]erofs.Entry{}}
	if err := l.directory("/"); err != nil {
		return nil, err
	}
	for _, p := range mountPoints(r) {
		if err := l.directory(p); err != nil {
			return nil, err
		}
	}
	for _, t := range []struct{ path, text string }{
		{"/etc/hosts", hosts(r)},
		{"/etc/hostname", r.Service + "\n"},
		{"/etc/resolv.conf", "# no DNS: the names that this service may use are in /etc/hosts\n"},
	} {
		if err := l.text(t.path, t.text); err != nil {
			return nil, err
		}
	}
	for _, f := range r.Spec.Files {
		if err := l.file(f, func() (io.ReadCloser, error) { return open(f.Digest) }); err != nil {
			return nil, err
		}
	}
	return slices.Collect(maps.Values(l.entries)), nil
}

// mountPoints are the directories that instances of the release have something mounted on.
func mountPoints(r imx.Release) []string {
	points := []string{"/proc", "/sys", "/dev", "/tmp"}
	for _, t := range r.Spec.Tmpfs {
		points = append(points, t.Path)
	}
	for _, v := range r.Spec.Volumes {
		points = append(points, v.Path)
	}
	return points
}

func hosts(r imx.Release) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n")
	if !slices.ContainsFunc(r.Hosts, func(h imx.Host) bool { return h.Name == r.Service }) {
		fmt.Fprintf(&b, "127.0.1.1 %s\n", r.Service)
	}
	for _, h := range r.Hosts {
		fmt.Fprintf(&b, "%s %s\n", h.Address, h.Name)
	}
	return b.String()
}

func (l layer) text(p, content string) error {
	file := imx.File{Path: p, Size: int64(len(content))}
	return l.file(file, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil })
}

func (l layer) file(f imx.File, open func() (io.ReadCloser, error)) error {
	owner, err := l.accounts.resolve(f.Owner)
	if err != nil {
		return fmt.Errorf("file %s: %w", f.Path, err)
	}
	resolved, err := l.image.resolve(f.Path)
	if err != nil {
		return err
	}
	if err := l.directory("/" + path.Dir(resolved)); err != nil {
		return err
	}
	mode := fs.FileMode(f.Mode) & fs.ModePerm
	if f.Mode == 0 {
		mode = 0o644
	}
	if len(f.Content) > 0 {
		open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.Content)), nil }
	}
	l.entries[resolved] = erofs.Entry{
		Path: resolved, Mode: mode, UID: int(owner.UID), GID: int(owner.GID), Size: f.Size, Open: open,
	}
	return nil
}

// directory adds a directory and its parents. Those that the image has keep their attributes: in
// an overlay the uppermost layer's count.
func (l layer) directory(p string) error {
	resolved, err := l.image.resolve(p + "/")
	if err != nil {
		return err
	}
	for ; ; resolved = path.Dir(resolved) {
		if _, done := l.entries[resolved]; done {
			return nil
		}
		entry := erofs.Entry{Path: resolved, Mode: fs.ModeDir | 0o755}
		info, err := os.Lstat(l.image.at(resolved))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("reading the image: %w", err)
		case !info.IsDir():
			return imx.Errorf(imx.Invalid, "/%s is a file in the image, so nothing can lie below it or be mounted on it", resolved)
		default:
			stat, ok := info.Sys().(*syscall.Stat_t)
			if ok {
				entry.Mode, entry.UID, entry.GID = info.Mode(), int(stat.Uid), int(stat.Gid)
			}
		}
		l.entries[resolved] = entry
		if resolved == "." {
			return nil
		}
	}
}
