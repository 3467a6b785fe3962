package pack

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"imx"
	"imx/internal/build/tree"
)

// Layer is one layer of an image, whose bytes are in the blob store.
type Layer struct {
	Descriptor v1.Descriptor `json:"descriptor"`
	DiffID     digest.Digest `json:"diffID"` // of the tar archive before compression
	Says       string        `json:"says"`   // what it holds, for the image's history
	// Programs are the programs and libraries in it, by path.
	Programs map[string]tree.Program `json:"programs,omitempty"`
}

// format counts the changes to what a layer looks like. Those of another format are made anew.
const format = 2

// layerInput is all that decides a layer's bytes.
type layerInput struct {
	Format      int         `json:"format"`
	Compression string      `json:"compression"`
	Items       []tree.Item `json:"items"`
}

// Pack returns the groups as layers, in their order; a group without items has none. Those that an
// earlier build packed aren't packed again.
func (p *Packer) Pack(ctx context.Context, groups []Group, compression string) ([]Layer, error) {
	layers := make([]Layer, len(groups))
	free := make(chan compressor, runtime.GOMAXPROCS(0))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cap(free))
	for i, group := range groups {
		if len(group.Items) == 0 {
			continue
		}
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			var err error
			layers[i], err = p.packOne(ctx, group, compression, free)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	packed := layers[:0]
	for i, group := range groups {
		if len(group.Items) > 0 {
			packed = append(packed, layers[i])
		}
	}
	return packed, nil
}

// packOne packs a group unless that was done. Compressors that are free are used again.
func (p *Packer) packOne(ctx context.Context, g Group, compression string, free chan compressor) (Layer, error) {
	in := layerInput{Format: format, Compression: compression}
	for _, it := range g.Items {
		plain := *it
		plain.Origin, plain.Owner = "", "" // these aren't in the layer
		in.Items = append(in.Items, plain)
	}
	key := imx.DigestJSON(in)
	unlock, err := p.store.Lock(ctx, "layer "+string(key))
	if err != nil {
		return Layer{}, err
	}
	defer unlock()
	var l Layer
	if !p.store.Recall(layersKind, key, &l) || !p.blobs.Has(imx.Digest(l.Descriptor.Digest)) {
		if l, err = p.packAnew(ctx, g.Items, compression, free); err != nil {
			return l, err
		}
		if err := p.store.Remember(layersKind, key, l); err != nil {
			return l, err
		}
	}
	l.Says = g.Says
	return l, nil
}

func (p *Packer) packAnew(ctx context.Context, items []*tree.Item, compression string, free chan compressor) (Layer, error) {
	programs, err := tree.Programs(items)
	if err != nil {
		return Layer{}, err
	}
	var z compressor
	select {
	case z = <-free:
	default:
		if z, err = newCompressor(compression); err != nil {
			return Layer{}, err
		}
	}
	dir, done, err := p.store.Scratch("part")
	if err != nil {
		return Layer{}, err
	}
	defer done()
	plain, err := newPlain(filepath.Join(dir, "part"))
	if err != nil {
		return Layer{}, err
	}
	defer plain.file.Close()
	l := Layer{Programs: programs, Descriptor: v1.Descriptor{MediaType: mediaType(compression)}}
	d, size, err := p.put(func(w io.Writer) error {
		z.Reset(w)
		return writeLayer(z, plain, items)
	})
	if err != nil {
		return l, err
	}
	free <- z
	l.Descriptor.Digest, l.Descriptor.Size = digest.Digest(d), size
	diffID, err := plain.end()
	if err != nil {
		return l, err
	}
	l.DiffID = digest.Digest(diffID)
	return l, p.keepPart(ctx, plain.file.Name(), diffID)
}

// keepPart publishes a layer's tar archive for the roots of images that have the layer, unless it is there.
func (p *Packer) keepPart(ctx context.Context, name string, diffID imx.Digest) error {
	unlock, err := p.store.Lock(ctx, "part "+string(diffID))
	if err != nil {
		return err
	}
	defer unlock()
	if p.checker.Part(p.PartFile(diffID), diffID) == nil {
		return nil
	}
	return p.publishSound(name, p.PartFile(diffID), diffID)
}

// plain is a layer before compression: a file, and its digest.
type plain struct {
	file *os.File
	buf  *bufio.Writer
	sum  hash.Hash
}

func newPlain(name string) (*plain, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	return &plain{file: f, buf: bufio.NewWriterSize(f, 256<<10), sum: sha256.New()}, nil
}

func (p *plain) Write(b []byte) (int, error) {
	p.sum.Write(b) // never fails
	return p.buf.Write(b)
}

// end completes the file and returns its digest.
func (p *plain) end() (imx.Digest, error) {
	return imx.Digest("sha256:" + hex.EncodeToString(p.sum.Sum(nil))), p.buf.Flush()
}

// put stores what write writes.
func (p *Packer) put(write func(io.Writer) error) (imx.Digest, int64, error) {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(w)
		_ = w.CloseWithError(err) // never fails
		written <- err
	}()
	d, size, err := p.blobs.Put(r, "")
	_ = r.CloseWithError(err) // never fails
	// Where storing failed, writing did because of it.
	if failed := <-written; err == nil {
		err = failed
	}
	return d, size, err
}

// compressor is a writer that can be used again. The same bytes come out the same each time.
type compressor interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// newCompressor returns one for "zstd", which "" stands for, or "gzip". Each uses one thread: with
// more, the bytes would depend on how many there are. The levels are those from which on a little
// smaller layers cost a lot: zstd's next makes them 6 % smaller in seven times the time.
func newCompressor(compression string) (compressor, error) {
	switch compression {
	case "gzip":
		return gzip.NewWriterLevel(nil, gzip.DefaultCompression) // its header has neither name nor time
	case "", "zstd":
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	}
	return nil, imx.Errorf(imx.Invalid, "layers can't be compressed by %q", compression).WithHint("write \"zstd\" or \"gzip\"")
}

func mediaType(compression string) string {
	if compression == "gzip" {
		return v1.MediaTypeImageLayerGzip
	}
	return v1.MediaTypeImageLayerZstd
}

// writeLayer writes a tar archive through z, and as it is into plain.
func writeLayer(z io.WriteCloser, plain io.Writer, items []*tree.Item) error {
	archive := tar.NewWriter(io.MultiWriter(z, plain))
	for _, it := range items {
		if err := writeItem(archive, it); err != nil {
			return fmt.Errorf("packing /%s: %w", it.Path, err)
		}
	}
	return errors.Join(archive.Close(), z.Close())
}

func writeItem(archive *tar.Writer, it *tree.Item) error {
	h := &tar.Header{
		Name: it.Path, Mode: tree.Octal(it.Mode), Uid: it.UID, Gid: it.GID,
		ModTime: time.Unix(it.Time, 0), Typeflag: tar.TypeReg, Size: it.Size, Linkname: it.Link,
	}
	switch {
	case it.Mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, it.Path+"/"
	case it.Mode&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
	}
	if it.Caps != "" {
		caps, err := hex.DecodeString(it.Caps)
		if err != nil {
			return err
		}
		h.PAXRecords = map[string]string{xattrRecord + tree.CapsXattr: string(caps)}
	}
	if err := archive.WriteHeader(h); err != nil {
		return err
	}
	if it.Size == 0 || !it.Mode.IsRegular() {
		return nil
	}
	r, err := it.Open()
	if err != nil {
		return err
	}
	_, err = io.Copy(archive, r)
	return errors.Join(err, r.Close())
}

const xattrRecord = "SCHILY.xattr." // the PAX record of an extended attribute begins so
