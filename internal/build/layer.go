package build

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
)

// layer is one layer of an image, whose bytes are in the blob store.
type layer struct {
	Descriptor v1.Descriptor `json:"descriptor"`
	DiffID     digest.Digest `json:"diffID"` // of the tar archive before compression
	CreatedBy  string        `json:"createdBy"`
}

// pack writes one part of the tree as a layer and stores it. The directories that lead to its items
// are in it too, so that each layer is whole by itself. Without items there is no layer.
func (b *Builder) pack(t tree, p part, epoch time.Time) (*layer, error) {
	items := t.ofPart(p)
	if len(items) == 0 {
		return nil, nil //nolint:nilnil // no layer is no failure
	}
	r, w := io.Pipe()
	type stored struct {
		digest imx.Digest
		size   int64
		err    error
	}
	done := make(chan stored, 1)
	go func() {
		var s stored
		s.digest, s.size, s.err = b.cfg.Blobs.Put(r, "")
		_ = r.CloseWithError(s.err) // never fails
		done <- s
	}()
	diff := sha256.New()
	err := writeLayer(w, diff, items, epoch)
	_ = w.CloseWithError(err) // never fails
	s := <-done
	if err := errors.Join(s.err, err); err != nil {
		return nil, err
	}
	return &layer{
		Descriptor: v1.Descriptor{MediaType: v1.MediaTypeImageLayerZstd, Digest: digest.Digest(s.digest), Size: s.size},
		DiffID:     digest.Digest("sha256:" + hex.EncodeToString(diff.Sum(nil))),
		CreatedBy:  p.String(),
	}, nil
}

// String says what a layer holds, for the image's history.
func (p part) String() string {
	return [...]string{"packages depended upon", "packages asked for", "files of the template"}[p]
}

// ofPart returns the part's items, each after the directories above it.
func (t tree) ofPart(p part) []*item {
	wanted := tree{}
	for name, it := range t {
		if it.part != p {
			continue
		}
		wanted[name] = it
		for dir := path.Dir(name); dir != "." && t[dir] != nil; dir = path.Dir(dir) {
			wanted[dir] = t[dir]
		}
	}
	return wanted.sorted()
}

// writeLayer writes a zstd-compressed tar archive to w, and the uncompressed one into diff. One
// thread compresses, because the bytes would depend on how many there are.
func writeLayer(w io.Writer, diff hash.Hash, items []*item, epoch time.Time) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return err
	}
	archive := tar.NewWriter(io.MultiWriter(z, diff))
	for _, it := range items {
		if err := writeItem(archive, it, epoch); err != nil {
			return fmt.Errorf("packing /%s: %w", it.Path, err)
		}
	}
	return errors.Join(archive.Close(), z.Close())
}

func writeItem(archive *tar.Writer, it *item, epoch time.Time) error {
	h := &tar.Header{
		Name: it.Path, Mode: int64(it.Mode.Perm()), Uid: it.UID, Gid: it.GID,
		ModTime: epoch.Truncate(time.Second), Typeflag: tar.TypeReg, Size: it.Size, Linkname: it.Link,
	}
	for bit, unix := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if it.Mode&bit != 0 {
			h.Mode |= unix
		}
	}
	switch {
	case it.Mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, it.Path+"/"
	case it.Mode&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
	}
	if it.Caps != "" {
		h.PAXRecords = map[string]string{xattrRecord + capsXattr: it.Caps}
	}
	if err := archive.WriteHeader(h); err != nil {
		return err
	}
	if it.Size == 0 || !it.Mode.IsRegular() {
		return nil
	}
	r, err := it.open()
	if err != nil {
		return err
	}
	_, err = io.Copy(archive, r)
	return errors.Join(err, r.Close())
}

const (
	xattrRecord = "SCHILY.xattr." // the PAX record of an extended attribute begins so
	capsXattr   = "security.capability"
)
