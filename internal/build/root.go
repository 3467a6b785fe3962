package build

import (
	"archive/tar"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/build/tree"
	"imx/internal/erofs"
)

// What an image's manifest and its layers, uncompressed, may have, in bytes.
const (
	maxManifest = 4 << 20
	maxLayers   = 16 << 30
)

// rootRecord is what roots/ remembers of an image.
type rootRecord struct {
	Format int        `json:"format"`
	Root   imx.Digest `json:"root"`
}

// Root returns the EROFS file of an image that is in the blob store, by its manifest's digest, and
// the file's own digest. The file is made from the layers where it isn't there or was damaged; its
// bytes are checked by every call, because the kernel won't. Errors: NotFound for an image that
// isn't in the store; Refused for one with entries that no image may have.
func (b *Builder) Root(ctx context.Context, image imx.Digest) (string, imx.Digest, error) {
	return b.root(ctx, image, nil)
}

// root is Root for an image whose tree is at hand, as far as its files can be opened. The bytes are
// the same as from the layers, and cheaper to have.
func (b *Builder) root(ctx context.Context, image imx.Digest, t tree.Tree) (string, imx.Digest, error) {
	unlock, err := b.store.Lock(ctx, "root "+string(image))
	if err != nil {
		return "", "", err
	}
	defer unlock()
	var known rootRecord
	if b.store.Recall("roots", image, &known) && known.Format == format {
		name := b.rootFile(known.Root)
		if sum, err := sumFile(name); err == nil && sum == known.Root {
			return name, known.Root, nil
		}
	}
	root, err := b.makeRoot(ctx, image, t)
	if err != nil {
		return "", "", trouble(err, "making the root file system of image "+image.Short())
	}
	return b.rootFile(root), root, nil
}

func (b *Builder) rootFile(root imx.Digest) string { return b.store.Path("roots", root.Hex()+".erofs") }

func sumFile(name string) (imx.Digest, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return tree.Digest(f)
}

func (b *Builder) makeRoot(ctx context.Context, image imx.Digest, t tree.Tree) (imx.Digest, error) {
	dir, done, err := b.store.Scratch("root")
	if err != nil {
		return "", err
	}
	defer done()
	m, epoch, err := b.readImage(image)
	if err != nil {
		return "", err
	}
	entries, ok, err := entries(t)
	if err != nil {
		return "", err
	}
	if !ok {
		layers, err := b.unlayerAll(ctx, m, dir)
		if err != nil {
			return "", err
		}
		entries = slices.Collect(maps.Values(layers))
	}
	name := filepath.Join(dir, "root.erofs")
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	err = erofs.Write(f, entries, epoch)
	if err := errors.Join(err, f.Chmod(0o444), f.Close()); err != nil {
		return "", err
	}
	sum, err := sumFile(name)
	if err != nil {
		return "", err
	}
	if err := b.store.Publish(name, "roots", filepath.Base(b.rootFile(sum))); err != nil {
		return "", err
	}
	return sum, b.store.Remember("roots", image, rootRecord{Format: format, Root: sum})
}

// entries returns the tree as EROFS has it. It is false for a tree with files that can't be opened,
// because an earlier build had them, and for none.
func entries(t tree.Tree) ([]erofs.Entry, bool, error) {
	var list []erofs.Entry
	for _, it := range t {
		if it.Mode.IsRegular() && it.Size > 0 && it.Open == nil {
			return nil, false, nil
		}
		e := erofs.Entry{
			Path: it.Path, Mode: it.Mode, UID: it.UID, GID: it.GID, Time: time.Unix(it.Time, 0),
			Size: it.Size, Link: it.Link, Open: it.Open,
		}
		if it.Caps != "" {
			caps, err := hex.DecodeString(it.Caps)
			if err != nil {
				return nil, false, err
			}
			e.Xattrs = map[string]string{tree.CapsXattr: string(caps)}
		}
		list = append(list, e)
	}
	return list, len(list) > 0, nil
}

// unlayerAll lays the layers over each other in dir, which must stay until the entries were read.
func (b *Builder) unlayerAll(ctx context.Context, m v1.Manifest, dir string) (map[string]erofs.Entry, error) {
	u := &unlayer{entries: map[string]erofs.Entry{}, parents: map[string]bool{}, left: maxLayers}
	for i, l := range m.Layers {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := b.unlayer(ctx, u, l, filepath.Join(dir, fmt.Sprintf("layer%d", i))); err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.Digest, err)
		}
	}
	return u.entries, nil
}

// readImage returns an image's manifest and the time of what isn't dated in it.
func (b *Builder) readImage(image imx.Digest) (v1.Manifest, time.Time, error) {
	var m v1.Manifest
	var config v1.Image
	if err := b.readJSON(image, &m); err != nil {
		return m, time.Time{}, err
	}
	if err := b.readJSON(imx.Digest(m.Config.Digest), &config); err != nil {
		return m, time.Time{}, err
	}
	if config.Created == nil || config.Created.Unix() < 0 {
		return m, time.Unix(0, 0), nil
	}
	return m, *config.Created, nil
}

func (b *Builder) readJSON(d imx.Digest, v any) error {
	raw, err := b.cfg.Blobs.ReadAll(d, maxManifest)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return imx.Errorf(imx.Refused, "%s is not what an OCI image consists of: %w", d, err)
	}
	return nil
}

// unlayer lays layers over each other.
type unlayer struct {
	entries map[string]erofs.Entry
	parents map[string]bool // directories that something was below, named or not
	own     map[string]bool // what the layer at hand has, which it takes away nothing of
	left    int64           // bytes that the layers may still have
}

// unlayer writes a layer's tar archive into a file and adds what is in it: the entries' content
// stays there until the root is made.
func (b *Builder) unlayer(ctx context.Context, u *unlayer, l v1.Descriptor, name string) error {
	blob, err := b.cfg.Blobs.Reader(imx.Digest(l.Digest))
	if err != nil {
		return err
	}
	defer blob.Close()
	plain, err := decompress(ctx, layerSuffix(l.MediaType), blob)
	if err != nil {
		return err
	}
	defer plain.Close()
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, &bounded{r: plain, left: u.left})
	u.left -= n
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return u.add(name)
}

func layerSuffix(mediaType string) string {
	switch {
	case strings.HasSuffix(mediaType, "+zstd"):
		return ".zst"
	case strings.HasSuffix(mediaType, "gzip"):
		return ".gz"
	}
	return ""
}

// add adds the entries of a tar archive.
func (u *unlayer) add(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	u.own = map[string]bool{}
	return allEntries(tar.NewReader(f), func(h *tar.Header, _ io.Reader) error {
		offset, err := f.Seek(0, io.SeekCurrent) // the tar reader stands where the entry's bytes begin
		if err != nil {
			return err
		}
		return u.entry(h, name, offset)
	})
}

// entry adds one entry, whose content is in the file at the offset. Names that begin with ".wh."
// take away what lower layers have (OCI image layer specification, "Whiteouts").
func (u *unlayer) entry(h *tar.Header, file string, offset int64) error {
	p := path.Clean(h.Name)
	dir, base := path.Split(p)
	if hidden, ok := strings.CutPrefix(base, ".wh."); ok {
		u.remove(path.Join(dir, strings.TrimPrefix(hidden, ".wh..opq")), hidden == ".wh..opq")
		return nil
	}
	e := erofs.Entry{Path: p, Mode: h.FileInfo().Mode(), UID: h.Uid, GID: h.Gid, Time: time.Unix(max(0, h.ModTime.Unix()), 0)}
	switch h.Typeflag {
	case tar.TypeSymlink:
		e.Link = h.Linkname
	case tar.TypeLink:
		target, ok := u.entries[path.Clean(h.Linkname)]
		if !ok || !target.Mode.IsRegular() {
			return imx.Errorf(imx.Refused, "%q is a hard link to %q, which isn't there", h.Name, h.Linkname)
		}
		e = target
		e.Path = p
	case tar.TypeReg:
		e.Size = h.Size
		e.Open = func() (io.ReadCloser, error) { return openSection(file, offset, h.Size) }
	}
	for record, value := range h.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return imx.Errorf(imx.Refused, "%q is a sparse file", h.Name)
		}
		if attr, ok := strings.CutPrefix(record, xattrRecord); ok && attr == tree.CapsXattr {
			e.Xattrs = map[string]string{attr: value}
		}
	}
	if u.parents[p] && !e.Mode.IsDir() {
		u.remove(p, true)
	}
	for dir := path.Dir(p); dir != "." && !u.parents[dir]; dir = path.Dir(dir) {
		u.parents[dir] = true
	}
	u.entries[p], u.own[p] = e, true
	return nil
}

// remove takes away what lower layers have of a path and what is below it; with below alone, the path itself stays.
func (u *unlayer) remove(p string, below bool) {
	maps.DeleteFunc(u.entries, func(q string, _ erofs.Entry) bool {
		return !u.own[q] && (!below && q == p || strings.HasPrefix(q, p+"/"))
	})
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
