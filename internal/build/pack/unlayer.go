package pack

import (
	"archive/tar"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"imx"
	"imx/internal/build/tree"
	"imx/internal/build/untar"
	"imx/internal/changeset"
	"imx/internal/erofs"
)

// unlayer lays layers over each other.
type unlayer struct {
	entries changeset.Stack[erofs.Entry]
}

// add adds the entries of a tar archive, which is the part of this number.
func (u *unlayer) add(part int, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	u.entries.Layer()
	return untar.Each(tar.NewReader(f), func(h *tar.Header, _ io.Reader) error {
		offset, err := f.Seek(0, io.SeekCurrent) // the tar reader stands where the entry's bytes begin
		if err != nil {
			return err
		}
		return u.entry(h, name, erofs.Place{Part: part, Offset: offset})
	})
}

// entry adds one entry, whose content is in the file at the place. Some only take away
// what lower layers have.
func (u *unlayer) entry(h *tar.Header, file string, in erofs.Place) error {
	p := path.Clean(h.Name)
	if u.entries.Whiteout(p) {
		return nil
	}
	e := erofs.Entry{Path: p, Mode: h.FileInfo().Mode(), UID: h.Uid, GID: h.Gid, Time: time.Unix(max(0, h.ModTime.Unix()), 0)}
	switch h.Typeflag {
	case tar.TypeSymlink:
		e.Link = h.Linkname
	case tar.TypeLink:
		target, ok := u.entries.Get(h.Linkname)
		if !ok || !target.Mode.IsRegular() {
			return imx.Errorf(imx.Refused, "%q is a hard link to %q, which isn't there", h.Name, h.Linkname)
		}
		e = target
		e.Path = p
	case tar.TypeReg:
		e.Size, e.In = h.Size, &in
		e.Open = func() (io.ReadCloser, error) { return openSection(file, in.Offset, h.Size) }
	}
	for record, value := range h.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return imx.Errorf(imx.Refused, "%q is a sparse file", h.Name)
		}
		if attr, ok := strings.CutPrefix(record, xattrRecord); ok && attr == tree.CapsXattr {
			e.Xattrs = map[string]string{attr: value}
		}
	}
	if e.Mode.IsDir() {
		u.entries.Put(p, e)
	} else {
		u.entries.PutLeaf(p, e)
	}
	return nil
}

func openSection(name string, offset, size int64) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return section{io.NewSectionReader(f, offset, size), f}, nil
}

type section struct {
	io.Reader
	io.Closer
}
