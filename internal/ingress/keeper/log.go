package keeper

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"imx"
	"imx/internal/ingress/front"
)

// AccessLog returns the lines of the access logs, the oldest first: with a tail only the last of them, with follow also those to come until
// ctx ends. The caller closes it.
func (k *Keeper) AccessLog(ctx context.Context, o imx.LogOptions) (io.ReadCloser, error) {
	return k.cfg.Place.AccessLog(ctx, o)
}

// AccessLog is Keeper.AccessLog.
func (p Place) AccessLog(ctx context.Context, o imx.LogOptions) (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(p.copyLogs(ctx, w, o)) }() // who reads gets the error
	return r, nil
}

func (p Place) copyLogs(ctx context.Context, w io.Writer, o imx.LogOptions) error {
	skip := 0
	if o.Tail > 0 {
		all, err := p.count()
		if err != nil {
			return err
		}
		skip = max(0, all-o.Tail)
	}
	lines := &skipping{w: w, skip: skip}
	var newest *os.File
	for _, name := range front.AccessFiles() {
		f, err := os.Open(filepath.Join(p.Logs(), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = io.Copy(lines, f)
		if err != nil || name != front.AccessFile || !o.Follow {
			err = errors.Join(err, f.Close())
		} else {
			newest = f
		}
		if err != nil {
			return err
		}
	}
	if !o.Follow {
		return nil
	}
	return p.follow(ctx, lines, newest)
}

// count counts the lines of all access logs.
func (p Place) count() (int, error) {
	var counted skipping
	for _, name := range front.AccessFiles() {
		f, err := os.Open(filepath.Join(p.Logs(), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			_, err = io.Copy(&counted, f)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return 0, err
		}
	}
	return counted.lines, nil
}

// follow copies what is still written, to the present file and to those that take its place.
func (p Place) follow(ctx context.Context, w io.Writer, f *os.File) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		next, err := p.next(w, f)
		if err != nil {
			return err
		}
		if f = next; f != nil {
			if _, err := io.Copy(w, f); err != nil {
				return errors.Join(err, f.Close())
			}
		}
		select {
		case <-ctx.Done():
			if f != nil {
				return f.Close()
			}
			return nil
		case <-tick.C:
		}
	}
}

// next is the file that is written now. What was written to the one before it is copied first.
func (p Place) next(w io.Writer, f *os.File) (*os.File, error) {
	path := filepath.Join(p.Logs(), front.AccessFile)
	now, err := os.Stat(path)
	if err != nil {
		return f, nil //nolint:nilerr // there is none yet, or it is just being turned over
	}
	if f != nil {
		if old, err := f.Stat(); err != nil || os.SameFile(old, now) {
			return f, err
		}
		_, err := io.Copy(w, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	return os.Open(path)
}

// skipping leaves out the first lines of what is written to it, and counts them all. Without a writer it only counts.
type skipping struct {
	w     io.Writer
	skip  int
	lines int
}

// Write implements io.Writer.
func (s *skipping) Write(b []byte) (int, error) {
	n := len(b)
	for s.lines < s.skip && len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return n, nil
		}
		s.lines++
		b = b[i+1:]
	}
	s.lines += bytes.Count(b, []byte{'\n'})
	if s.w == nil || len(b) == 0 {
		return n, nil
	}
	_, err := s.w.Write(b)
	return n, err
}
