package build

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"imx"
	"imx/internal/build/tree"
	"imx/internal/deb"
)

// contents are what a .deb has: the measure of what scripts changed, and the only place that knows
// when a file was made.
type contents struct {
	Format int                   `json:"format"`
	Newest int64                 `json:"newest"` // time of its newest entry, in seconds since 1970
	Has    map[string]*tree.Item `json:"has"`    // by path
}

// contents returns what a package that was unpacked has. The .deb's files are read once, ever.
func (b *Builder) contents(p imx.Package) (contents, error) {
	var c contents
	if b.store.Recall("contents", p.Digest, &c) && c.Format == format {
		return c, nil
	}
	c = contents{Format: format, Has: map[string]*tree.Item{}}
	if err := eachEntry(filepath.Join(b.unpacked(p), dataTar), maxData, c.add); err != nil {
		return c, trouble(err, "reading "+p.Ref())
	}
	return c, b.store.Remember("contents", p.Digest, c)
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
	it := &tree.Item{Path: name, Mode: h.FileInfo().Mode(), UID: h.Uid, GID: h.Gid, Time: at}
	switch h.Typeflag {
	case tar.TypeReg:
		it.Size = h.Size
		if it.Digest, err = tree.Digest(content); err != nil {
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
