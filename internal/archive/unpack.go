package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"github.com/klauspost/compress/gzip"
	"github.com/ulikunitz/xz"

	"imx"
)

// unpacker hands what r holds, decompressed, to use.
type unpacker func(ctx context.Context, r io.Reader, use func(io.Reader) error) error

// decompressed makes what a decompressor complains about the bytes' fault.
type decompressed struct{ io.Reader }

// Read implements io.Reader.
func (d decompressed) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = malformed(err)
	}
	return n, err
}

func malformed(err error) error { return imx.Errorf(imx.Refused, "it can't be decompressed: %w", err) }

func asItIs(_ context.Context, r io.Reader, use func(io.Reader) error) error { return use(r) }

func gunzip(_ context.Context, r io.Reader, use func(io.Reader) error) error {
	z, err := gzip.NewReader(bufio.NewReaderSize(r, 256<<10))
	if err != nil {
		return malformed(err)
	}
	return use(decompressed{z})
}

// unxz decompresses with the xz program, which takes half of the time that Go takes, and with Go
// where there is none. So it is for the small lists of suites for updates, which come as xz alone: starting the
// program takes 2 ms of CPU time, the memory for Go's dictionary 4.
func unxz(ctx context.Context, r io.Reader, use func(io.Reader) error) error {
	program, err := exec.LookPath("xz")
	if err != nil {
		return unxzGo(r, use)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the program when use has given up
	cmd := exec.CommandContext(ctx, program, "--decompress", "--stdout", "--memlimit-decompress=1GiB")
	var complaint bytes.Buffer
	cmd.Stdin, cmd.Stderr = r, &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := use(out); err != nil {
		cancel()
		_ = cmd.Wait() // use's error is the one to tell
		return err
	}
	if err := cmd.Wait(); err != nil {
		return malformed(fmt.Errorf("xz: %w: %s", err, bytes.TrimSpace(complaint.Bytes())))
	}
	return nil
}

func unxzGo(r io.Reader, use func(io.Reader) error) error {
	z, err := xz.NewReader(r)
	if err != nil {
		return malformed(err)
	}
	return use(decompressed{z})
}
