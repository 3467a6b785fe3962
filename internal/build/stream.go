package build

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"imx"
)

// maxWindow bounds the memory that a compressed stream can ask its reader for, in bytes.
const maxWindow = 256 << 20

// decompress reads what r holds in the compression that a file's name ends with: ".xz", ".gz",
// ".zst" or none. The caller closes it; Close doesn't close r.
func decompress(ctx context.Context, name string, r io.Reader) (io.ReadCloser, error) {
	switch {
	case strings.HasSuffix(name, ".xz"):
		return openXZ(ctx, r)
	case strings.HasSuffix(name, ".gz"):
		return gzip.NewReader(r)
	case strings.HasSuffix(name, ".zst"):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// openXZ prefers the xz program, which takes half the time of the Go one.
func openXZ(ctx context.Context, r io.Reader) (io.ReadCloser, error) {
	program, err := exec.LookPath("xz")
	if err != nil {
		z, err := xz.ReaderConfig{DictCap: 64 << 20}.NewReader(r)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(z), nil
	}
	ctx, stop := context.WithCancel(ctx)
	p := &pipe{stop: stop, cause: func() error { return context.Cause(ctx) }}
	p.cmd = exec.CommandContext(ctx, program, "-dc", fmt.Sprintf("--memlimit-decompress=%d", maxWindow))
	p.cmd.Stdin, p.cmd.Stderr = r, &p.errors
	p.out, err = p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("starting xz: %w", err)
	}
	return p, nil
}

// pipe reads a program's output; its failure comes out in place of the end.
type pipe struct {
	cmd    *exec.Cmd
	out    io.ReadCloser
	errors bytes.Buffer
	stop   context.CancelFunc
	cause  func() error // why it was stopped, nil if it wasn't
	ended  bool
}

func (p *pipe) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if errors.Is(err, io.EOF) && !p.ended {
		p.ended = true
		waited := p.cmd.Wait()
		if cause := p.cause(); cause != nil {
			return n, cause
		}
		if waited != nil {
			return n, imx.Errorf(imx.Refused, "xz can't read it: %s", firstLine(p.errors.String()))
		}
	}
	return n, err
}

func (p *pipe) Close() error {
	p.stop()
	if !p.ended {
		p.ended = true
		_ = p.cmd.Wait() // it was killed: its status says nothing
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
