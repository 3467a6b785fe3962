package build

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/deb"
)

// baseInput is all that decides a base.
type baseInput struct {
	Format int           `json:"format"`
	Base   []imx.Package `json:"base"`
}

// baseEpoch is the time that bases are told: the plan's would make a base for each.
func baseEpoch() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// base returns the folder of the configured build root of p's Base packages, making it where it
// isn't there yet.
func (b *Builder) base(ctx context.Context, p imx.ImagePlan, s steps) (string, error) {
	key := imx.DigestJSON(baseInput{Format: format, Base: p.Base})
	name := b.path("base", key.Hex())
	unlock, err := b.busy.lock(ctx, "base "+string(key))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(name) {
		return name, nil
	}
	if err := b.unpackAll(ctx, p.Base, s); err != nil {
		return "", err
	}
	dir, done, err := b.scratch("base")
	if err != nil {
		return "", err
	}
	defer done()
	if err := b.bootstrap(ctx, dir, p, s); err != nil {
		return "", trouble(err, "making the build root")
	}
	return name, publishTree(filepath.Join(dir, "upper"), name)
}

// publishTree syncs a folder with all that is in it, then renames it.
func publishTree(tree, name string) error {
	f, err := os.Open(tree)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Syncfs(int(f.Fd())), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tree, name); err != nil {
		return err
	}
	return syncPath(filepath.Dir(name))
}

// bootstrap extracts the packages, so that there is a dpkg to run, and lets that install them all
// properly. No order of installing them one by one is without circles: dpkg is told to warn of
// dependencies only.
func (b *Builder) bootstrap(ctx context.Context, dir string, p imx.ImagePlan, s steps) error {
	upper := filepath.Join(dir, "upper")
	if err := b.extractAll(ctx, upper, p.Base, s); err != nil {
		return err
	}
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil { //nolint:gosec // a file system's root
		return err
	}
	return b.enter(ctx, dir, empty, baseEpoch(), func(ctx context.Context, box *sandbox) error {
		d := &dpkg{box: box, steps: s, total: len(p.Base), force: []string{"--force-depends"}}
		args := []string{"--install"}
		for _, pkg := range p.Base {
			args = append(args, path.Join("/", packagesDir, pkg.Digest.Hex()+".deb"))
		}
		return d.run(ctx, args...)
	})
}

func (b *Builder) extractAll(ctx context.Context, dir string, packages []imx.Package, s steps) error {
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // a file system's root
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // whatever the umask
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := furnish(root); err != nil {
		return err
	}
	for i, p := range packages {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.count(i, len(packages), "extracting %s", p.Name)
		if err := b.extract(root, p); err != nil {
			return trouble(err, "extracting "+p.Ref())
		}
	}
	return nil
}

// furnish makes what must be there before the first package.
func furnish(root *os.Root) error {
	for _, dir := range mergedDirs() {
		if err := errors.Join(mkdir(root, path.Join("usr", dir)), root.Symlink("usr/"+dir, dir)); err != nil {
			return err
		}
	}
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/lib/dpkg/alternatives"} {
		if err := mkdir(root, dir); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"var/lib/dpkg/status":    "",
		"var/lib/dpkg/available": "",
		// No script may start a service: this answers "forbidden by policy" to all who ask.
		"usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
	} {
		if err := mkdir(root, path.Dir(name)); err != nil {
			return err
		}
		if err := root.WriteFile(name, []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// mkdir makes a directory and its parents with 0755, whatever the umask.
func mkdir(root *os.Root, name string) error {
	if name == "." {
		return nil
	}
	if _, err := root.Stat(name); err == nil {
		return nil
	}
	if err := mkdir(root, path.Dir(name)); err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o755); err != nil {
		return err
	}
	return root.Chmod(name, 0o755)
}

// extract puts a package's files into root. os.Root keeps every step inside, whatever links
// earlier packages left.
func (b *Builder) extract(root *os.Root, p imx.Package) error {
	f, err := os.Open(b.unpacked(p))
	if err != nil {
		return err
	}
	defer f.Close()
	ar := deb.ReadAr(bufio.NewReaderSize(f, 1<<18))
	for {
		h, err := ar.Next()
		if err != nil {
			return err
		}
		if h.Name == "data.tar" {
			break
		}
	}
	files := tar.NewReader(ar)
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if deb.IsMergeLink(h) {
			continue
		}
		if err := extractEntry(root, h, files); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

func extractEntry(root *os.Root, h *tar.Header, content io.Reader) error {
	name, err := deb.CleanPath(h.Name)
	if err != nil || name == "." || matches(forPeople(), name) {
		return err
	}
	if err := mkdir(root, path.Dir(name)); err != nil {
		return err
	}
	mode := h.FileInfo().Mode()
	if h.Typeflag == tar.TypeDir {
		if st, err := root.Stat(name); err == nil && st.IsDir() {
			return nil // the first package decides, as with dpkg
		}
		return inOrder(
			func() error { return root.Mkdir(name, 0o700) },
			func() error { return root.Chown(name, h.Uid, h.Gid) },
			func() error { return root.Chmod(name, mode.Perm()|mode&(fs.ModeSetgid|fs.ModeSticky)) },
		)
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		return errors.Join(root.Symlink(h.Linkname, name), root.Lchown(name, h.Uid, h.Gid))
	case tar.TypeLink:
		target, err := deb.CleanPath(h.Linkname)
		if err != nil {
			return err
		}
		return root.Link(target, name)
	}
	return extractFile(root, name, h, content)
}

func extractFile(root *os.Root, name string, h *tar.Header, content io.Reader) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	mode := h.FileInfo().Mode()
	return errors.Join(err, f.Chown(h.Uid, h.Gid), f.Chmod(mode&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid)), f.Close())
}
