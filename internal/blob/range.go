package blob

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"imx"
	"imx/internal/disk"
)

// chunk is how many bytes of a blob a part of it is checked by.
const chunk = 1 << 20

// mostSums bounds the memory that sums take: 32 bytes each, for 128 GiB of blobs.
const mostSums = 1 << 17

// sums are the digests of the chunks of blobs that were found right as a whole, since the process began. They hold for as long as
// the digest does, whatever becomes of the file: a blob's bytes can't be others.
type sums struct {
	mu    sync.Mutex
	of    map[imx.Digest]chunks
	count int
}

type chunks struct {
	size int64
	sums [][sha256.Size]byte
}

// Range reads the bytes of a blob from one place up to, not including, another; the caller closes it. Every byte is checked
// before it is given out: the blob is read as a whole once, which tells the digests of its chunks, and from then on what a part
// lies in. Errors: NotFound; Invalid for a part that lies outside; Refused for a damaged blob, also by Read.
func (s *Store) Range(d imx.Digest, from, to int64) (*Range, error) {
	c, err := s.chunks(d)
	if err != nil {
		return nil, err
	}
	if from < 0 || to > c.size || from > to {
		return nil, imx.Errorf(imx.Invalid, "blob %s has %d bytes, not those from %d to %d", d, c.size, from, to)
	}
	f, err := s.Open(d)
	if err != nil {
		return nil, err
	}
	return &Range{f: f, d: d, chunks: c, at: from, to: to}, nil
}

// chunks returns the digests of a blob's chunks, by reading all of it where they aren't known.
func (s *Store) chunks(d imx.Digest) (chunks, error) {
	s.sums.mu.Lock()
	c, known := s.sums.of[d]
	s.sums.mu.Unlock()
	if known {
		return c, nil
	}
	r, err := s.Reader(d)
	if err != nil {
		return c, err
	}
	defer r.Close()
	c.size = r.Size()
	for buf := make([]byte, min(chunk, c.size)); ; {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			c.sums = append(c.sums, sha256.Sum256(buf[:n]))
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || len(buf) == 0 {
			break
		}
		if err != nil {
			return c, err
		}
	}
	s.sums.keep(d, c)
	return c, nil
}

func (s *sums) keep(d imx.Digest, c chunks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil || s.count+len(c.sums) > mostSums {
		s.of, s.count = map[imx.Digest]chunks{}, 0
	}
	if _, known := s.of[d]; !known {
		s.of[d] = c
		s.count += len(c.sums)
	}
}

// Range is a part of a blob on its way out.
type Range struct {
	f      *os.File
	d      imx.Digest
	chunks chunks
	at, to int64
	buf    []byte // checked bytes that weren't given out yet
}

// Close closes the blob.
func (r *Range) Close() error { return r.f.Close() }

// Read implements io.Reader.
func (r *Range) Read(p []byte) (int, error) {
	if r.at >= r.to {
		return 0, io.EOF
	}
	if len(r.buf) == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	r.at += int64(n)
	return n, nil
}

// fill reads and checks the chunk that holds the next byte.
func (r *Range) fill() error {
	i := r.at / chunk
	begin := i * chunk
	whole := make([]byte, min(chunk, r.chunks.size-begin))
	if _, err := r.f.ReadAt(whole, begin); err != nil && !errors.Is(err, io.EOF) {
		return disk.Error(err, "reading blob "+string(r.d))
	}
	if sha256.Sum256(whole) != r.chunks.sums[i] {
		return fmt.Errorf("bytes %d to %d: %w", begin, begin+int64(len(whole)), damaged(r.d, "they were others before"))
	}
	r.buf = whole[r.at-begin : min(r.to-begin, int64(len(whole)))]
	return nil
}

// Damaged returns which chunks of a blob aren't as they were, as pairs of where they begin and end, where the blob was found right
// since the process began; none otherwise, or where the file is gone.
func (s *Store) Damaged(d imx.Digest) [][2]int64 {
	s.sums.mu.Lock()
	c, known := s.sums.of[d]
	s.sums.mu.Unlock()
	if !known {
		return nil
	}
	f, err := s.Open(d)
	if err != nil {
		return nil
	}
	defer f.Close()
	var bad [][2]int64
	r := &Range{f: f, d: d, chunks: c, to: c.size}
	for ; r.at < c.size; r.at += chunk {
		if r.fill() == nil {
			continue
		}
		end := min(r.at+chunk, c.size)
		if n := len(bad); n > 0 && bad[n-1][1] == r.at {
			bad[n-1][1] = end
			continue
		}
		bad = append(bad, [2]int64{r.at, end})
	}
	return bad
}
