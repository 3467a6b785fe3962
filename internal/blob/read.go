package blob

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"imx"
	"imx/internal/disk"
)

// ReadAll returns a blob of at most limit bytes after checking its digest. Errors: NotFound;
// Refused for a damaged or a longer one.
func (s *Store) ReadAll(d imx.Digest, limit int64) ([]byte, error) {
	r, err := s.Reader(d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() > limit {
		return nil, imx.Errorf(imx.Refused, "blob %s has %d bytes, more than the %d allowed here", d, r.Size(), limit)
	}
	whole := bytes.NewBuffer(make([]byte, 0, r.Size()+bytes.MinRead)) // so that it never grows
	_, err = whole.ReadFrom(r)
	return whole.Bytes(), err
}

// Reader reads a blob and checks its digest on the way: the last bytes are given out only after all
// of them were found right, so a damaged blob never looks complete.
type Reader struct {
	f      *os.File
	want   imx.Digest
	size   int64
	left   int64
	hash   hash.Hash
	failed error
}

// Reader opens a blob for a checked read; the caller closes it. The error is NotFound where there
// is no such blob. Read's error for a damaged blob is Refused.
func (s *Store) Reader(d imx.Digest) (*Reader, error) {
	f, err := s.Open(d)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(disk.Error(err, "reading blob "+string(d)), f.Close())
	}
	return &Reader{f: f, want: d, size: st.Size(), left: st.Size(), hash: sha256.New()}, nil
}

// Size returns the size of the whole blob in bytes.
func (r *Reader) Size() int64 { return r.size }

// Close closes the blob.
func (r *Reader) Close() error { return r.f.Close() }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.failed != nil {
		return 0, r.failed
	}
	n, err := r.read(p)
	if err != nil {
		r.failed = err
	}
	return n, err
}

func (r *Reader) read(p []byte) (int, error) {
	if r.left > 0 && len(p) == 0 {
		return 0, nil
	}
	p = p[:min(int64(len(p)), r.left)]
	n, err := io.ReadFull(r.f, p)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) && len(p) > 0 {
		return 0, damaged(r.want, "it became shorter while it was read")
	}
	if err != nil {
		return 0, fmt.Errorf("reading blob %s: %w", r.want, err)
	}
	r.hash.Write(p)
	r.left -= int64(n)
	if r.left > 0 {
		return n, nil
	}
	if err := r.check(); err != nil {
		return 0, err
	}
	return n, io.EOF
}

func (r *Reader) check() error {
	if got := imx.Digest("sha256:" + hex.EncodeToString(r.hash.Sum(nil))); got != r.want {
		return damaged(r.want, "its bytes have digest "+string(got))
	}
	return nil
}

func damaged(d imx.Digest, how string) error {
	return imx.Errorf(imx.Refused, "blob %s is damaged on disk: %s", d, how).
		WithHint("imx registry fsck names all that is damaged, and repairs it from another registry")
}

// Sum returns the digest that the bytes have which are kept as a blob: another than the blob's where it is damaged.
func (s *Store) Sum(d imx.Digest) (imx.Digest, error) {
	f, err := s.Open(d)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, onlyReader{f}, make([]byte, 256<<10)); err != nil {
		return "", disk.Error(err, "reading blob "+string(d))
	}
	return imx.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))), nil
}
