package build

import (
	"archive/tar"
	"context"
	"crypto/sha256"
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
	"imx/internal/deb"
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
	unlock, err := b.busy.lock(ctx, "root "+string(image))
	if err != nil {
		return "", "", err
	}
	defer unlock()
	var known rootRecord
	if b.recall("roots", image, &known) && known.Format == format {
		name := b.rootFile(known.Root)
		if sum, err := sumFile(name); err == nil && sum == known.Root {
			return name, known.Root, nil
		}
	}
	root, err := b.makeRoot(ctx, image)
	if err != nil {
		return "", "", trouble(err, "making the root file system of image "+image.Short())
	}
	return b.rootFile(root), root, nil
}

func (b *Builder) rootFile(root imx.Digest) string { return b.path("roots", root.Hex()+".erofs") }

func sumFile(name string) (imx.Digest, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return imx.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))), nil
}

func (b *Builder) makeRoot(ctx context.Context, image imx.Digest) (imx.Digest, error) {
	dir, done, err := b.scratch("root")
	if err != nil {
		return "", err
	}
	defer done()
	m, epoch, err := b.readImage(image)
	if err != nil {
		return "", err
	}
	u := &unlayer{entries: map[string]erofs.Entry{}, parents: map[string]bool{}, left: maxLayers}
	for i, l := range m.Layers {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if err := b.unlayer(ctx, u, l, filepath.Join(dir, fmt.Sprintf("layer%d", i))); err != nil {
			return "", fmt.Errorf("layer %s: %w", l.Digest, err)
		}
	}
	name := filepath.Join(dir, "root.erofs")
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	err = erofs.Write(f, slices.Collect(maps.Values(u.entries)), epoch)
	if err := errors.Join(err, f.Chmod(0o444), f.Close()); err != nil {
		return "", err
	}
	sum, err := sumFile(name)
	if err != nil {
		return "", err
	}
	if err := publish(name, b.rootFile(sum)); err != nil {
		return "", err
	}
	return sum, b.remember("roots", image, rootRecord{Format: format, Root: sum})
}

// readImage returns an image's manifest and the time that its files have.
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
	files := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return unreadable(err)
		}
		if n == maxEntries {
			return imx.Errorf(imx.Refused, "it has more than %d entries", maxEntries)
		}
		if err := deb.CheckTarEntry(h); err != nil {
			return err
		}
		offset, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if err := u.entry(h, name, offset); err != nil {
			return err
		}
	}
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
	e := erofs.Entry{Path: p, Mode: h.FileInfo().Mode(), UID: h.Uid, GID: h.Gid}
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
		if attr, ok := strings.CutPrefix(record, xattrRecord); ok && attr == capsXattr {
			e.Xattrs = map[string]string{attr: value}
		}
	}
	if u.parents[p] && !e.Mode.IsDir() {
		u.remove(p, true)
	}
	for dir := path.Dir(p); dir != "." && !u.parents[dir]; dir = path.Dir(dir) {
		u.parents[dir] = true
	}
	u.entries[p] = e
	return nil
}

// remove takes away a path and what is below it; with below alone, the path itself stays.
func (u *unlayer) remove(p string, below bool) {
	maps.DeleteFunc(u.entries, func(q string, _ erofs.Entry) bool {
		return !below && q == p || strings.HasPrefix(q, p+"/")
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
