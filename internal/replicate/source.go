package replicate

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"

	"imx"
)

// attempts is how often in a row a blob is asked for again without getting any further.
const attempts = 3

// source is a blob on its way from a registry. Its last byte is given out only when all were found right. Where the
// connection breaks it goes on where it was.
type source struct {
	ctx     context.Context //nolint:containedctx // of the one copy that the source is made for
	from    Side
	repo    string
	desc    ociregistry.Descriptor
	body    io.ReadCloser
	sum     hash.Hash
	came    int64
	held    []byte // the last byte that came
	resumed bool
	tries   int
	failed  error
}

func newSource(ctx context.Context, from Side, repo string, desc ociregistry.Descriptor) (*source, error) {
	s := &source{ctx: ctx, from: from, repo: repo, desc: desc, sum: sha256.New()}
	if strings.HasPrefix(string(desc.Digest), "sha512:") {
		s.sum = sha512.New()
	}
	body, err := from.GetBlob(ctx, repo, desc.Digest)
	if err != nil {
		return nil, wrap(from, err, "reading blob %s of %s", desc.Digest, repo)
	}
	s.body = body
	if got := body.Descriptor().Size; got != desc.Size {
		return nil, errors.Join(s.otherSize(got), body.Close())
	}
	return s, nil
}

func (s *source) otherSize(got int64) error {
	return imx.Errorf(imx.Refused, "registry %s serves other bytes than asked for: blob %s of %s comes with %d bytes, and its manifest says %d",
		s.from.Name, s.desc.Digest, s.repo, got, s.desc.Size).
		WithHint("nothing of it was kept; tell who runs that registry, and copy from another")
}

// Close implements io.Closer.
func (s *source) Close() error { return s.body.Close() }

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if s.failed != nil {
		return 0, s.failed
	}
	n, err := s.read(p)
	s.failed = err
	return n, err
}

func (s *source) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for s.came < s.desc.Size {
		out, err := s.more(p)
		if out > 0 || err != nil {
			return out, err
		}
	}
	if len(s.held) > 0 {
		n := copy(p, s.held)
		s.held = s.held[:0]
		return n, nil
	}
	return 0, io.EOF
}

// more reads once, and returns how many bytes of it may be given out: none where the last one is kept back, or where the body broke
// off and another was asked for.
func (s *source) more(p []byte) (int, error) {
	if left := s.desc.Size - s.came; int64(len(p)) > left {
		p = p[:left]
	}
	n, err := s.body.Read(p)
	if n == 0 && err != nil {
		return 0, s.resume(err)
	}
	if n == 0 {
		return 0, nil
	}
	s.sum.Write(p[:n])
	s.came += int64(n)
	s.tries = 0
	out := s.hold(p[:n])
	if s.came == s.desc.Size {
		if err := s.check(); err != nil {
			return 0, err
		}
	}
	return out, nil
}

// hold keeps back the last byte of what came, gives out the one that it kept before, and returns how many bytes that is.
func (s *source) hold(came []byte) int {
	last := came[len(came)-1]
	if len(s.held) == 0 {
		s.held = append(s.held, last)
		return len(came) - 1
	}
	copy(came[1:], came[:len(came)-1])
	came[0] = s.held[0]
	s.held[0] = last
	return len(came)
}

// check compares the digest, now that all bytes have come.
func (s *source) check() error {
	algorithm, _, _ := strings.Cut(string(s.desc.Digest), ":")
	got := imx.Digest(algorithm + ":" + hex.EncodeToString(s.sum.Sum(nil)))
	if got == imx.Digest(s.desc.Digest) {
		return nil
	}
	if s.resumed { // not every registry knows how to go on
		return imx.Errorf(imx.Unavailable, "blob %s of %s broke off, and where it went on registry %s gave other bytes", s.desc.Digest, s.repo, s.from.Name).
			WithHint("run it again: it goes on with what is missing")
	}
	return lies(s.from, fmt.Sprintf("blob %s of %s", s.desc.Digest, s.repo), got)
}

// resume asks for the rest, after a failure.
func (s *source) resume(cause error) error {
	s.tries++
	if s.tries > attempts || s.ctx.Err() != nil {
		return wrap(s.from, cause, "blob %s of %s broke off after %d of %d bytes", s.desc.Digest, s.repo, s.came, s.desc.Size)
	}
	_ = s.body.Close() // it has failed
	body, err := s.from.GetBlobRange(s.ctx, s.repo, s.desc.Digest, s.came, -1)
	if err != nil {
		s.body = io.NopCloser(failing{err})
		return nil //nolint:nilerr // the next read returns it, and counts as an attempt
	}
	s.body, s.resumed = body, s.came > 0
	return nil
}

// failing is a body that couldn't be had.
type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) { return 0, f.err }
