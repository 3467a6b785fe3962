package build

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"

	"imx"
)

// maxWindow bounds the memory that a compressed stream can ask its reader for, in bytes.
const maxWindow = 256 << 20

// decompress reads what r holds in the compression that a file's name ends with: ".xz", ".gz",
// ".zst" or none, as long as ctx lasts. The caller closes it; Close doesn't close r.
func decompress(ctx context.Context, name string, r io.Reader) (io.ReadCloser, error) {
	r = lasting{ctx, r}
	switch {
	case strings.HasSuffix(name, ".xz"):
		z, err := xz.ReaderConfig{DictCap: 64 << 20}.NewReader(r)
		if err != nil {
			return nil, imx.Errorf(imx.Refused, "xz can't read it: %w", err)
		}
		return io.NopCloser(z), nil
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

// lasting reads as long as its context lasts.
type lasting struct {
	ctx context.Context //nolint:containedctx // it is of one call
	r   io.Reader
}

func (l lasting) Read(p []byte) (int, error) {
	if l.ctx.Err() != nil {
		return 0, context.Cause(l.ctx)
	}
	return l.r.Read(p)
}

// hasXZ reports whether the machine has the xz program, which takes half the time of the Go one.
func hasXZ() bool {
	_, err := exec.LookPath("xz")
	return err == nil
}

// decompressAll decompresses every file */*.xz below dir with one process, and leaves each without the
// ".xz" in its name. Files rather than pipes: xz writes 8 KiB at a time, and each would wake a
// reader. On failure it says which folder of dir has the first file that couldn't be read.
func decompressAll(ctx context.Context, dir string) (failed string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*/*.xz"))
	if err != nil || len(files) == 0 {
		return "", err
	}
	// What is in the files was checked against the packages' digests: a second check is spared.
	args := []string{"--decompress", "--keep", "--no-sparse", "--ignore-check", fmt.Sprintf("--memlimit-decompress=%d", maxWindow), "--"}
	for i, f := range files {
		if files[i], err = filepath.Rel(dir, f); err != nil {
			return "", err
		}
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "xz", append(args, files...)...)
	cmd.Dir, cmd.Stderr = dir, &said
	cmd.Env = append(os.Environ(), "LC_ALL=C") // blame reads what it says
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("starting xz: %w", err)
	}
	// A file that grows without end costs a process its life, not the machine its disk. Nobody but
	// xz minds when the limit comes a moment late.
	limit := unix.Rlimit{Cur: maxData, Max: maxData}
	_ = unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil)
	err = cmd.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return "", cause
	}
	if err != nil {
		return blame(files, said.String(), err)
	}
	for _, f := range files {
		err = errors.Join(err, os.Remove(filepath.Join(dir, f)))
	}
	return "", err
}

// blame finds which of the files xz complains of: the compressed one if it can't read it, the other if it
// can't write it.
func blame(files []string, said string, err error) (string, error) {
	for line := range strings.Lines(said) {
		for _, f := range files {
			if strings.Contains(line, strings.TrimSuffix(f, ".xz")) && strings.Contains(line, "No space left") {
				return filepath.Dir(f), unix.ENOSPC
			}
			if _, why, ok := strings.Cut(line, f+": "); ok {
				return filepath.Dir(f), imx.Errorf(imx.Refused, "%s: xz can't read it: %s", filepath.Base(f), strings.TrimSpace(why))
			}
		}
	}
	return "", fmt.Errorf("xz: %w: %s", err, strings.TrimSpace(said))
}

// window reads a file through a buffer, and seeks forward without reading what it passes over.
type window struct {
	f      *os.File
	buf    []byte
	r, w   int   // what is unread is buf[r:w]
	offset int64 // of the file, at w
}

func newWindow(f *os.File) *window { return &window{f: f, buf: make([]byte, 1<<17)} }

func (w *window) Read(p []byte) (int, error) {
	if w.r == w.w {
		n, err := w.f.ReadAt(w.buf, w.offset)
		if n == 0 {
			return 0, err
		}
		w.r, w.w = 0, n
		w.offset += int64(n)
	}
	n := copy(p, w.buf[w.r:w.w])
	w.r += n
	return n, nil
}

// Seek goes forward from where reading is; there is no other way to go.
func (w *window) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekCurrent || offset < 0 {
		return 0, errors.ErrUnsupported
	}
	ahead := int64(w.w - w.r)
	if offset <= ahead {
		w.r += int(offset)
		return w.offset - ahead + offset, nil
	}
	w.offset += offset - ahead
	w.r, w.w = 0, 0
	return w.offset, nil
}
