package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/build/tree"
	"imx/internal/build/untar"
	"imx/internal/changeset"
	"imx/internal/erofs"
)

// maxLayers is what an image's layers may have, uncompressed, in bytes.
const maxLayers = 16 << 30

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
func (p *Packer) Root(ctx context.Context, image imx.Digest) (string, imx.Digest, error) {
	unlock, err := p.store.Lock(ctx, "root "+string(image))
	if err != nil {
		return "", "", err
	}
	defer unlock()
	var known rootRecord
	if p.store.Recall(rootsKind, image, &known) && known.Format == rootFormat {
		if name := p.RootFile(known.Root); p.checker.Image(name, known.Root) == nil {
			return name, known.Root, nil
		}
	}
	root, err := p.makeRoot(ctx, image)
	if err != nil {
		return "", "", err
	}
	return p.RootFile(root), root, nil
}

// Recorded returns the digest of an image's root file, where the root was made before.
func (p *Packer) Recorded(image imx.Digest) (imx.Digest, bool) {
	var known rootRecord
	ok := p.store.Recall(rootsKind, image, &known)
	return known.Root, ok
}

// RootFile is where the root file with the digest is kept.
func (p *Packer) RootFile(root imx.Digest) string {
	return p.store.Path(rootsKind, root.Hex()+".erofs")
}

// PartFile is where the uncompressed layer with the digest is kept.
func (p *Packer) PartFile(diffID imx.Digest) string { return erofs.PartFile(p.RootFile(""), diffID) }

func (p *Packer) makeRoot(ctx context.Context, image imx.Digest) (imx.Digest, error) {
	dir, done, err := p.store.Scratch("root")
	if err != nil {
		return "", err
	}
	defer done()
	m, err := p.readImage(image)
	if err != nil {
		return "", err
	}
	entries, parts, err := p.unlayerAll(ctx, m)
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
	if err := p.publishSound(name, p.RootFile(root), root); err != nil {
		return "", err
	}
	return root, p.store.Remember(rootsKind, image, rootRecord{Format: rootFormat, Root: root})
}

// publishSound publishes a file that was just written and has this digest, in place of one that may be locked.
func (p *Packer) publishSound(from, to string, digest imx.Digest) error {
	if err := os.Chmod(from, 0o400); err != nil {
		return err
	}
	erofs.Unlock(to)
	if err := p.store.Publish(from, rootsKind, filepath.Base(to)); err != nil {
		return err
	}
	return p.checker.Made(to, digest)
}

// part makes sure that a layer's tar archive is there as it should be, and returns its size, which may be limit.
func (p *Packer) part(ctx context.Context, l v1.Descriptor, diffID imx.Digest, limit int64) (int64, error) {
	unlock, err := p.store.Lock(ctx, "part "+string(diffID))
	if err != nil {
		return 0, err
	}
	defer unlock()
	name := p.PartFile(diffID)
	if p.checker.Part(name, diffID) != nil {
		if err := p.expand(ctx, l, diffID, limit); err != nil {
			return 0, err
		}
	}
	st, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	if st.Size() > limit {
		return 0, untar.ErrTooLarge()
	}
	return st.Size(), nil
}

// expand decompresses a layer.
func (p *Packer) expand(ctx context.Context, l v1.Descriptor, diffID imx.Digest, limit int64) error {
	dir, done, err := p.store.Scratch("part")
	if err != nil {
		return err
	}
	defer done()
	blob, err := p.blobs.Reader(imx.Digest(l.Digest))
	if err != nil {
		return err
	}
	defer blob.Close()
	plain, err := changeset.Decompress(ctx, blob)
	if err != nil {
		return err
	}
	defer plain.Close()
	name := filepath.Join(dir, "part")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	got, err := tree.Digest(io.TeeReader(&untar.Bounded{R: plain, Left: limit}, f))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got != diffID {
		return imx.Errorf(imx.Refused, "decompressed it is %s, and the image's configuration says %s", got, diffID)
	}
	return p.publishSound(name, p.PartFile(diffID), diffID)
}

// Entries returns what the layers of an image in the blob store come to, by path.
func (p *Packer) Entries(ctx context.Context, image imx.Digest) (map[string]erofs.Entry, error) {
	m, err := p.readImage(image)
	if err != nil {
		return nil, err
	}
	entries, _, err := p.unlayerAll(ctx, m)
	return entries, err
}

// unlayerAll lays an image's layers over each other. It returns what they come to, by path, and the
// parts that its files' content is in.
func (p *Packer) unlayerAll(ctx context.Context, m stored) (map[string]erofs.Entry, []erofs.Part, error) {
	var u unlayer
	var parts []erofs.Part
	left := int64(maxLayers)
	for i, l := range m.layers {
		size, err := p.part(ctx, l, m.diffIDs[i], left)
		if err == nil {
			left -= size
			parts = append(parts, erofs.Part{Digest: m.diffIDs[i], Size: size})
			err = u.add(i, p.PartFile(m.diffIDs[i]))
		}
		if err != nil {
			return nil, nil, fmt.Errorf("layer %s: %w", l.Digest, err)
		}
	}
	return maps.Collect(u.entries.All()), parts, nil
}
