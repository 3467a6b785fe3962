package build

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"imx"
	"imx/internal/deb"
)

// contents are what a .deb has: the measure of what scripts changed, and the only place that knows
// when a file was made.
type contents struct {
	Format int              `json:"format"`
	Newest int64            `json:"newest"` // time of its newest entry, in seconds since 1970
	Has    map[string]*item `json:"has"`    // by path
}

// contents returns what a package that was unpacked has. The .deb's files are read once, ever.
func (b *Builder) contents(p imx.Package) (contents, error) {
	var c contents
	if b.recall("contents", p.Digest, &c) && c.Format == format {
		return c, nil
	}
	c = contents{Format: format, Has: map[string]*item{}}
	if err := eachEntry(filepath.Join(b.unpacked(p), dataTar), maxData, c.add); err != nil {
		return c, trouble(err, "reading "+p.Ref())
	}
	return c, b.remember("contents", p.Digest, c)
}

func (c *contents) add(h *tar.Header, content io.Reader) error {
	name, err := deb.CleanPath(h.Name)
	if err != nil {
		return err
	}
	at := max(0, h.ModTime.Unix())
	c.Newest = max(c.Newest, at)
	if name == "." || deb.IsMergeLink(h) {
		return nil
	}
	it := &item{Path: name, Mode: h.FileInfo().Mode(), UID: h.Uid, GID: h.Gid, Time: at}
	switch h.Typeflag {
	case tar.TypeReg:
		it.Size = h.Size
		if it.Digest, err = sum(content); err != nil {
			return err
		}
	case tar.TypeSymlink:
		it.Mode, it.Link = fs.ModeSymlink|0o777, h.Linkname
	case tar.TypeLink:
		target, err := deb.CleanPath(h.Linkname)
		if err != nil || c.Has[target] == nil {
			return errors.Join(err, fs.ErrNotExist)
		}
		linked := *c.Has[target]
		linked.Path = name
		it = &linked
	}
	c.Has[name] = it
	return nil
}

func sum(r io.Reader) (imx.Digest, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return imx.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))), nil
}

// isAs reports whether nothing changed an item since its package was unpacked, but for setuid and
// setgid, which are taken off by a rule.
func (it *item) isAs(was *item) bool {
	plain := was.Mode
	if !plain.IsDir() {
		plain &^= fs.ModeSetuid | fs.ModeSetgid
	}
	return (it.Mode == was.Mode || it.Mode == plain) && it.Caps == "" &&
		it.UID == was.UID && it.GID == was.GID && it.Link == was.Link && it.Digest == was.Digest
}

// sum fills in the digests of the tree's files.
func (t tree) sum(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, it := range t {
		if !it.Mode.IsRegular() {
			continue
		}
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r, err := it.open()
			if err != nil {
				return err
			}
			it.Digest, err = sum(r)
			return errors.Join(err, r.Close())
		})
	}
	return g.Wait()
}
