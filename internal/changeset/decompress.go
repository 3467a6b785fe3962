package changeset

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"imx"
)

// maxWindow is how many bytes back a compressed layer may refer to: zstd's own highest level has as many.
const maxWindow = 128 << 20

// Decompress takes the compression off a layer, gzip or zstd or none, by how its bytes begin: pushed manifests
// err about it. It reads as long as ctx lasts. The caller closes the result; that doesn't close r. Invalid: bytes that
// only begin as if.
func Decompress(ctx context.Context, r io.Reader) (io.ReadCloser, error) {
	r = lasting{ctx, r}
	begin := make([]byte, 4)
	n, err := io.ReadFull(r, begin)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	plain := io.MultiReader(bytes.NewReader(begin[:n]), r)
	switch {
	case bytes.HasPrefix(begin, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(plain)
		return z, unreadable(err)
	case bytes.Equal(begin, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, unreadable(err)
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(plain), nil
}

func unreadable(err error) error {
	if err == nil {
		return nil
	}
	return imx.Errorf(imx.Invalid, "its compression can't be read: %w", err)
}

// lasting reads as long as its context lasts.
type lasting struct {
	ctx context.Context //nolint:containedctx // a reader has no other way to learn that nobody waits any more
	r   io.Reader
}

// Read implements io.Reader.
func (l lasting) Read(p []byte) (int, error) {
	if l.ctx.Err() != nil {
		return 0, context.Cause(l.ctx)
	}
	return l.r.Read(p)
}
