package frozen

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strings"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
)

// nameAnnotation is the key under which a layout's index has the set's name.
const nameAnnotation = "vnd.imx.frozen.name"

// maxEntries bounds a tar that is read; a set has one entry a package and a handful more.
const maxEntries = 100_000

// WriteLayout writes the set as an OCI layout in a tar, the same bytes for the same set and name.
// open gives the bytes of a package; an error of it, or bytes of another size, end the writing.
func WriteLayout(w io.Writer, s Set, name string, open func(Layer) (io.ReadCloser, error)) error {
	out := layoutWriter{tar.NewWriter(w)}
	manifest := describe(ManifestType, s.Manifest)
	manifest.ArtifactType = ArtifactType
	manifest.Annotations = map[string]string{ocispec.AnnotationRefName: s.Tag(), nameAnnotation: name}
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{manifest},
	})
	if err != nil {
		return err
	}
	layout, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	err = errors.Join(
		out.file(ocispec.ImageLayoutFile, layout), out.file(ocispec.ImageIndexFile, index),
		out.blob(s.Manifest), out.blob(s.Config), out.blob(s.LockFile),
	)
	if err != nil {
		return err
	}
	for _, l := range s.Layers {
		if err := out.layer(l, open); err != nil {
			return err
		}
	}
	return out.Close()
}

type layoutWriter struct{ *tar.Writer }

func (w layoutWriter) header(name string, size int64) error {
	return w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR})
}

func (w layoutWriter) file(name string, b []byte) error {
	if err := w.header(name, int64(len(b))); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

func (w layoutWriter) blob(b []byte) error { return w.file(blobName(imx.DigestBytes(b)), b) }

func (w layoutWriter) layer(l Layer, open func(Layer) (io.ReadCloser, error)) error {
	r, err := open(l)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := w.header(blobName(l.Digest), l.Size); err != nil {
		return err
	}
	n, err := io.Copy(w, r)
	if err == nil && n != l.Size {
		err = imx.Errorf(imx.Refused, "package %s has %d bytes, wanted %d", l.Title, n, l.Size)
	}
	return err
}

func blobName(d imx.Digest) string { return path.Join("blobs", "sha256", d.Hex()) }

// Layout is an OCI layout in a tar that holds one frozen set.
type Layout struct {
	Set  Set
	Name string // "" where the layout doesn't say

	r     io.ReaderAt
	blobs map[imx.Digest]extent
}

// extent is where a blob is in the tar.
type extent struct{ at, size int64 }

// OpenLayout finds the set in a tar of size bytes, in whatever order that has its entries. The manifest and
// the lock are checked against their digests; a package is checked by whoever takes it. Errors: Refused for
// what isn't a layout with one frozen set, or lacks a part of it.
func OpenLayout(r io.ReaderAt, size int64) (*Layout, error) {
	l := &Layout{r: r, blobs: map[imx.Digest]extent{}}
	index, err := l.scan(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, err
	}
	b, err := l.bytes(index, maxManifest)
	if err != nil {
		return nil, err
	}
	var list ocispec.Index
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, notFrozen("its %s can't be read: %w", ocispec.ImageIndexFile, err)
	}
	if len(list.Manifests) != 1 {
		return nil, notFrozen("its %s names %d manifests, wanted one", ocispec.ImageIndexFile, len(list.Manifests))
	}
	first := list.Manifests[0]
	l.Name = first.Annotations[nameAnnotation]
	manifest, err := l.get(imx.Digest(first.Digest), first.Size)
	if err != nil {
		return nil, err
	}
	if l.Set, err = Read(manifest, l.get); err != nil {
		return nil, err
	}
	for _, layer := range l.Set.Layers {
		if found, ok := l.blobs[layer.Digest]; !ok || found.size != layer.Size {
			return nil, imx.Errorf(imx.Refused, "package %s (%s) is missing in the file, or has %d bytes in place of %d", layer.Title, layer.Digest, found.size, layer.Size).
				WithHint("the file may have been cut: copy it again")
		}
	}
	return l, nil
}

// scan notes where each blob is, and returns where the index is.
func (l *Layout) scan(r *io.SectionReader) (extent, error) {
	var index extent
	entries := tar.NewReader(r)
	for range maxEntries {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			if index.size == 0 {
				return index, notFrozen("it has no %s", ocispec.ImageIndexFile)
			}
			return index, nil
		}
		if err != nil {
			return index, notFrozen("it can't be read as a tar: %w", err)
		}
		at, err := r.Seek(0, io.SeekCurrent) // the tar reader stands where the entry's bytes begin
		if err != nil {
			return index, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		found := extent{at, h.Size}
		name := path.Clean(h.Name)
		if name == ocispec.ImageIndexFile {
			index = found
		}
		digits, ok := strings.CutPrefix(name, "blobs/sha256/")
		if d, err := imx.ParseDigest("sha256:" + digits); ok && err == nil {
			l.blobs[d] = found
		}
	}
	return index, notFrozen("it has more than %d entries", maxEntries)
}

func (l *Layout) bytes(e extent, limit int64) ([]byte, error) {
	if e.size > limit {
		return nil, notFrozen("a part of it has %d bytes, more than the %d that it may have", e.size, limit)
	}
	b := make([]byte, e.size)
	_, err := l.r.ReadAt(b, e.at)
	if errors.Is(err, io.EOF) {
		return nil, notFrozen("it ends too early")
	}
	return b, err
}

// get returns a small blob after checking it.
func (l *Layout) get(d imx.Digest, size int64) ([]byte, error) {
	e, ok := l.blobs[d]
	if !ok || e.size != size {
		return nil, notFrozen("blob %.80s of %d bytes isn't in it", d, size)
	}
	b, err := l.bytes(e, maxLock)
	if err != nil {
		return nil, err
	}
	if got := imx.DigestBytes(b); got != d {
		return nil, imx.Errorf(imx.Refused, "blob %s is damaged: its bytes have digest %s", d, got).
			WithHint("copy the file again")
	}
	return b, nil
}

// Check reads one package of the set; Refused if its bytes aren't those that its digest says.
func (l *Layout) Check(layer Layer) error {
	h := sha256.New()
	if _, err := io.Copy(h, l.Open(layer)); err != nil {
		return err
	}
	if got := imx.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))); got != layer.Digest {
		return imx.Errorf(imx.Refused, "its bytes have digest %s, wanted %s", got, layer.Digest).WithHint("copy the file again from where it was written")
	}
	return nil
}

// Open returns the bytes of one package of the set, unchecked.
func (l *Layout) Open(layer Layer) io.Reader {
	e := l.blobs[layer.Digest]
	return io.NewSectionReader(l.r, e.at, e.size)
}
