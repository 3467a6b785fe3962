package build

import (
	"archive/tar"
	"context"
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

// rootFormat counts the changes to what an image's root looks like. Roots of another format are made anew.
const rootFormat = 3

// rootRecord is what roots/ remembers of an image.
type rootRecord struct {
	Format int        `json:"format"`
	Root   imx.Digest `json:"root"`
}

// Root returns the EROFS file of an image that is in the blob store, by its manifest's digest, and
// the file's own digest. Beside it are its parts: its layers' tar archives, which all images with the
// layer have in common. Both are made from the layers where they aren't there or were damaged: each file is read
// by the first call that needs it, and again when it isn't as that left it, because the kernel won't check it. Errors: NotFound
// for an image that isn't in the store; Refused for one with entries that no image may have.
func (b *Builder) Root(ctx context.Context, image imx.Digest) (string, imx.Digest, error) {
	unlock, err := b.store.Lock(ctx, "root "+string(image))
	if err != nil {
		return "", "", err
	}
	defer unlock()
	var known rootRecord
	if b.store.Recall("roots", image, &known) && known.Format == rootFormat {
		if name := b.rootFile(known.Root); b.checker.Image(name, known.Root) == nil {
			return name, known.Root, nil
		}
	}
	root, err := b.makeRoot(ctx, image)
	if err != nil {
		return "", "", trouble(err, "making the root file system of image "+image.Short())
	}
	return b.rootFile(root), root, nil
}

func (b *Builder) rootFile(root imx.Digest) string { return b.store.Path("roots", root.Hex()+".erofs") }

func (b *Builder) partFile(diffID imx.Digest) string { return erofs.PartFile(b.rootFile(""), diffID) }

func (b *Builder) makeRoot(ctx context.Context, image imx.Digest) (imx.Digest, error) {
	dir, done, err := b.store.Scratch("root")
	if err != nil {
		return "", err
	}
	defer done()
	m, err := b.readImage(image)
	if err != nil {
		return "", err
	}
	entries, parts, err := b.unlayerAll(ctx, m)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "root.erofs")
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := erofs.WriteIndex(f, slices.Collect(maps.Values(entries)), parts, m.epoch); err != nil {
		return "", err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	root, err := tree.Digest(f)
	if err != nil {
		return "", err
	}
	if err := b.publishSound(name, b.rootFile(root), root); err != nil {
		return "", err
	}
	return root, b.store.Remember("roots", image, rootRecord{Format: rootFormat, Root: root})
}

// publishSound publishes a file that was just written and has this digest, in place of one that may be locked.
func (b *Builder) publishSound(from, to string, digest imx.Digest) error {
	if err := os.Chmod(from, 0o444); err != nil {
		return err
	}
	erofs.Unlock(to)
	if err := b.store.Publish(from, "roots", filepath.Base(to)); err != nil {
		return err
	}
	return b.checker.Made(to, digest)
}

// part makes sure that a layer's tar archive is there as it should be, and returns its size, which may be limit.
func (b *Builder) part(ctx context.Context, l v1.Descriptor, diffID imx.Digest, limit int64) (int64, error) {
	unlock, err := b.store.Lock(ctx, "part "+string(diffID))
	if err != nil {
		return 0, err
	}
	defer unlock()
	name := b.partFile(diffID)
	if b.checker.Part(name, diffID) != nil {
		if err := b.expand(ctx, l, diffID, limit); err != nil {
			return 0, err
		}
	}
	st, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	if st.Size() > limit {
		return 0, errTooLarge()
	}
	return st.Size(), nil
}

// expand decompresses a layer.
func (b *Builder) expand(ctx context.Context, l v1.Descriptor, diffID imx.Digest, limit int64) error {
	dir, done, err := b.store.Scratch("part")
	if err != nil {
		return err
	}
	defer done()
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
	name := filepath.Join(dir, "part")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	got, err := tree.Digest(io.TeeReader(&bounded{r: plain, left: limit}, f))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got != diffID {
		return imx.Errorf(imx.Refused, "decompressed it is %s, and the image's configuration says %s", got, diffID)
	}
	return b.publishSound(name, b.partFile(diffID), diffID)
}

// stored is an image as far as its root is made of it.
type stored struct {
	layers  []v1.Descriptor
	diffIDs []imx.Digest
	epoch   time.Time // the time of what isn't dated
}

// unlayerAll lays an image's layers over each other. It returns what they come to, by path, and the
// parts that its files' content is in.
func (b *Builder) unlayerAll(ctx context.Context, m stored) (map[string]erofs.Entry, []erofs.Part, error) {
	u := &unlayer{entries: map[string]erofs.Entry{}, parents: map[string]bool{}}
	var parts []erofs.Part
	left := int64(maxLayers)
	for i, l := range m.layers {
		size, err := b.part(ctx, l, m.diffIDs[i], left)
		if err == nil {
			left -= size
			parts = append(parts, erofs.Part{Digest: m.diffIDs[i], Size: size})
			err = u.add(i, b.partFile(m.diffIDs[i]))
		}
		if err != nil {
			return nil, nil, fmt.Errorf("layer %s: %w", l.Digest, err)
		}
	}
	return u.entries, parts, nil
}

// readImage reads an image's manifest and configuration.
func (b *Builder) readImage(image imx.Digest) (stored, error) {
	var m v1.Manifest
	var config v1.Image
	if err := b.readJSON(image, &m); err != nil {
		return stored{}, err
	}
	if err := b.readJSON(imx.Digest(m.Config.Digest), &config); err != nil {
		return stored{}, err
	}
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		return stored{}, imx.Errorf(imx.Refused, "image %s has %d layers, and a configuration for %d", image.Short(), len(m.Layers), len(config.RootFS.DiffIDs))
	}
	s := stored{layers: m.Layers, epoch: time.Unix(0, 0)}
	for _, d := range config.RootFS.DiffIDs {
		diffID, err := imx.ParseDigest(string(d))
		if err != nil {
			return stored{}, imx.Errorf(imx.Refused, "image %s: %w", image.Short(), err)
		}
		s.diffIDs = append(s.diffIDs, diffID)
	}
	if config.Created != nil && config.Created.Unix() >= 0 {
		s.epoch = *config.Created
	}
	return s, nil
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

// add adds the entries of a tar archive, which is the part of this number.
func (u *unlayer) add(part int, name string) error {
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
		return u.entry(h, name, erofs.Place{Part: part, Offset: offset})
	})
}

// entry adds one entry, whose content is in the file at the place. Names that begin with ".wh."
// take away what lower layers have (OCI image layer specification, "Whiteouts").
func (u *unlayer) entry(h *tar.Header, file string, in erofs.Place) error {
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
