package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"imx"
	"imx/internal/disk"
	"imx/internal/term"
)

// outlet is standard output: that it takes no more is no defect in imx, whichever command writes.
type outlet struct {
	io.Writer

	once   sync.Once
	failed error // why the first write that failed did; an *imx.Error of kind Exhausted
}

// watched puts an outlet before a terminal's output. A pipe that nobody reads any more is from then on an error of the
// write, where it would be the end of the process.
func watched(t *term.Terminal) *outlet {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	o := &outlet{Writer: t.Out.Writer}
	t.Out.Writer = o
	return o
}

// Write implements io.Writer.
func (o *outlet) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if err == nil {
		return n, nil
	}
	o.once.Do(func() {
		o.failed = imx.Errorf(imx.Exhausted, "standard output takes no more: %w", disk.Reason(err)).
			WithHint("free some space where it is written to, or send it elsewhere")
	})
	return n, o.failed
}

// says returns how a command ended: a write that failed is an error also of a command that passes over it, and is
// what others that come of it are about.
func (o *outlet) says(err error) error {
	switch {
	case o.failed == nil || err != nil && !errors.Is(err, o.failed):
		return err
	case errors.Is(o.failed, syscall.EPIPE): // its reader has all that it wanted
		return exit{code: exitOf(imx.Exhausted)}
	}
	return o.failed
}

// toStdout is the name that means standard output where a file's is asked for.
const toStdout = "-"

// outputMode lets everybody read what a command was told to write.
const outputMode fs.FileMode = 0o644

// writeOutput opens the file that --output names for write, and returns its error. A regular file is there whole or as
// it was before; links stay links; into a device or a pipe it is written as it comes. Errors beside those of write:
// Conflict for what can't be written, Exhausted for a full disk.
func writeOutput(ctx context.Context, name string, t *term.Terminal, write func(io.Writer) error) error {
	if name == toStdout {
		return write(t.Out)
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return replace(name, outputMode, write)
	case err != nil:
		return outputError(name, err)
	case info.IsDir():
		return outputError(name, syscall.EISDIR)
	case !info.Mode().IsRegular():
		return pour(ctx, name, write)
	}
	return replace(name, info.Mode().Perm(), write)
}

// replace puts a regular file where name, or what it links to, is.
func replace(name string, perm fs.FileMode, write func(io.Writer) error) error {
	path, err := linked(name)
	if err != nil {
		return outputError(name, err)
	}
	staged, err := os.CreateTemp(filepath.Dir(path), disk.Staged)
	if err != nil {
		return outputError(name, err)
	}
	defer os.Remove(staged.Name()) // gone where it was renamed
	defer staged.Close()
	if err := write(output{staged, name}); err != nil {
		return err
	}
	if err := errors.Join(staged.Chmod(perm), staged.Sync()); err != nil {
		return outputError(name, err)
	}
	if err := os.Rename(staged.Name(), path); err != nil {
		return outputError(name, err)
	}
	return nil
}

// linked follows symbolic links to what is no link, be it there or not.
func linked(name string) (string, error) {
	const most = 40 // as Linux follows
	for range most {
		to, err := os.Readlink(name)
		if err != nil {
			return name, nil //nolint:nilerr // it is no link
		}
		if !filepath.IsAbs(to) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(name))
			if err != nil {
				return "", err
			}
			to = filepath.Join(dir, to)
		}
		name = to
	}
	return "", syscall.ELOOP
}

// pour writes into what is no regular file. A pipe is waited for until somebody reads it, or ctx ends.
func pour(ctx context.Context, name string, write func(io.Writer) error) error {
	type opened struct {
		*os.File
		err error
	}
	got := make(chan opened, 1)
	// Opening a pipe can't be called off. When ctx ends first, the goroutine stays until the process ends.
	go func() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		got <- opened{f, err}
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case f := <-got:
		if f.err != nil {
			return outputError(name, f.err)
		}
		defer f.Close()
		return write(output{f, name})
	}
}

// output says with its errors which file couldn't be written.
type output struct {
	io.Writer

	name string
}

// Write implements io.Writer.
func (o output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if err != nil {
		err = outputError(o.name, err)
	}
	return n, err
}

func outputError(name string, err error) error {
	// The error's own path is that of the file before it got its name.
	reason := disk.Reason(err)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return imx.Errorf(imx.Exhausted, "%s can't be written: %w", name, reason).WithHint("free some space there, or choose another file for --output")
	}
	return imx.Errorf(imx.Conflict, "%s can't be written: %w", name, reason).WithHint("choose another file for --output")
}
