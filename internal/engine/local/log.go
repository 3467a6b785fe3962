package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// rotateAt is the size from which on a log is begun anew; the one before is kept as log.1.
const rotateAt = 8 << 20

// Logs implements engine.Engine.
func (e *Engine) Logs(ctx context.Context, id string, o imx.LogOptions) (io.ReadCloser, error) {
	e.mu.Lock()
	in := e.instances[id]
	e.mu.Unlock()
	if in == nil {
		return nil, unknown(id)
	}
	dir := e.store.instance(id)
	s, err := openLog(dir, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return in.record.Instance.Phase == imx.Ended
	})
	if err != nil {
		return nil, fmt.Errorf("reading the log of %s: %w", id, err)
	}
	reader, writer := io.Pipe()
	p := &logPrinter{out: writer, options: o, partial: map[string][]byte{}}
	s.follow, s.caughtUp = o.Follow, p.flush
	stop := context.AfterFunc(ctx, func() { _ = s.watch.Close() })
	go func() { // ends with the log, with ctx, or when the reader is closed
		defer stop()
		writer.CloseWithError(errors.Join(p.print(io.MultiReader(strings.NewReader(gap(dir)), s)), s.close()))
	}()
	return &logReader{reader, s}, nil
}

type logReader struct {
	*io.PipeReader
	source *logSource
}

// Close ends the reading, also of a log that is being followed.
func (r *logReader) Close() error {
	_ = r.source.watch.Close() // wakes a waiting Read
	return r.PipeReader.Close()
}

// logSource reads the bytes of log.1 and log as one, across rotations. With follow set it waits
// at the end for more until the instance has ended.
type logSource struct {
	dir      string
	file     *os.File // nil while there is none yet
	watch    *os.File // inotify on dir
	follow   bool
	ended    func() bool
	caughtUp func() error // called whenever all that was written has been read

	drained bool // file isn't the newest, and was at its end when that was found out
	last    bool // the instance had ended before the last look
}

func openLog(dir string, ended func() bool) (*logSource, error) {
	// Watch first, look later: no change falls in between.
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	watch := os.NewFile(uintptr(fd), "inotify")
	const changes = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE_SELF
	if _, err := unix.InotifyAddWatch(fd, dir, changes); err != nil {
		return nil, errors.Join(err, watch.Close())
	}
	s := &logSource{dir: dir, watch: watch, ended: ended}
	s.file, err = os.Open(filepath.Join(dir, "log.1"))
	if ignoreMissing(err) != nil {
		return nil, errors.Join(err, watch.Close())
	}
	return s, nil
}

func (s *logSource) close() error {
	_ = s.watch.Close() // may be closed already
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Read implements io.Reader.
func (s *logSource) Read(p []byte) (int, error) {
	for {
		if s.file != nil {
			n, err := s.file.Read(p)
			if n > 0 || !errors.Is(err, io.EOF) {
				return n, err
			}
		}
		more, err := s.advance()
		if err != nil {
			return 0, err
		}
		if more {
			continue
		}
		if err := s.caughtUp(); err != nil {
			return 0, err
		}
		if !s.follow || s.last {
			return 0, io.EOF
		}
		if s.last = s.ended(); !s.last && !s.wait() {
			return 0, io.EOF
		}
	}
}

// advance is called at the end of file. It reports whether there is more to read: once more in
// the same file, for what was written just before the next began, or in the next.
func (s *logSource) advance() (bool, error) {
	newest, err := os.Stat(filepath.Join(s.dir, "log"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if s.file != nil {
		mine, err := s.file.Stat()
		if err != nil || os.SameFile(mine, newest) {
			return false, err
		}
		if !s.drained {
			s.drained = true
			return true, nil
		}
	}
	next, err := os.Open(filepath.Join(s.dir, "log"))
	if err != nil {
		return false, ignoreMissing(err)
	}
	if s.file != nil {
		_ = s.file.Close() // read-only
	}
	s.file, s.drained = next, false
	return true, nil
}

// wait returns true when something in the folder has changed, false when the reading is to end.
func (s *logSource) wait() bool {
	_, err := s.watch.Read(make([]byte, 4096))
	return err == nil
}

// logPrinter turns conmon's k8s-file lines, "TIME STREAM TAG TEXT", into what a reader asked for.
type logPrinter struct {
	out     io.Writer
	options imx.LogOptions

	partial map[string][]byte // by stream: the parts of a line (tag P) up to its end (tag F)
	tail    [][]byte
	flushed bool
}

func (p *logPrinter) print(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line, ok := p.line(lines.Bytes())
		if !ok {
			continue
		}
		if p.options.Tail == 0 || p.flushed {
			if _, err := p.out.Write(line); err != nil {
				return err
			}
			continue
		}
		if p.tail = append(p.tail, slices.Clone(line)); len(p.tail) > p.options.Tail {
			p.tail = p.tail[1:]
		}
	}
	return lines.Err()
}

// flush writes the last lines of those that were there when the reading began.
func (p *logPrinter) flush() error {
	p.flushed = true
	for _, line := range p.tail {
		if _, err := p.out.Write(line); err != nil {
			return err
		}
	}
	p.tail = nil
	return nil
}

// line returns a finished line as it is printed, or false if raw doesn't finish one.
func (p *logPrinter) line(raw []byte) ([]byte, bool) {
	f := bytes.SplitN(raw, []byte(" "), 4)
	if len(f) < 4 {
		return nil, false // not conmon's
	}
	stream := string(f[1])
	whole, begun := p.partial[stream]
	if !begun && p.options.Times {
		whole = fmt.Appendf(nil, "%s %s ", f[0], f[1])
	}
	whole = append(whole, f[3]...)
	if string(f[2]) == "P" && len(whole) < 1<<20 {
		p.partial[stream] = whole
		return nil, false
	}
	delete(p.partial, stream)
	return append(whole, '\n'), true
}

// rotateLogs begins logs anew that have grown large.
func (e *Engine) rotateLogs(ctx context.Context) {
	for _, in := range e.all() {
		e.mu.Lock()
		alive := runs(in.record.Instance.Phase) && !in.starting
		id := in.record.Instance.ID
		e.mu.Unlock()
		if !alive {
			continue
		}
		if err := rotate(e.store.instance(id), rotateAt); err != nil {
			logFailure(ctx, e.cfg.Log, "a log could not be rotated", err)
		}
	}
}

// rotate renames a log of at least size bytes and tells conmon to begin a new one.
func rotate(dir string, size int64) error {
	log := filepath.Join(dir, "log")
	info, err := os.Stat(log)
	if err != nil || info.Size() < size {
		return ignoreMissing(err)
	}
	// Non-blocking: without a conmon at its other end there is nobody to tell.
	ctl, err := os.OpenFile(filepath.Join(dir, "ctl"), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err = countDropped(dir); err == nil {
		err = os.Rename(log, log+".1")
	}
	if err == nil {
		_, err = ctl.WriteString("2 0 0\n") // conmon's REOPEN_LOGS_EVENT; the zeros are not used
	}
	return errors.Join(err, ctl.Close())
}

// countDropped adds what a rotation is about to drop to the count in file "dropped" of the folder.
func countDropped(dir string) error {
	info, err := os.Stat(filepath.Join(dir, "log.1"))
	if err != nil {
		return ignoreMissing(err)
	}
	path := filepath.Join(dir, "dropped")
	return writeAtomic(path, strconv.AppendInt(nil, dropped(path)+info.Size(), 10))
}

// dropped reads what countDropped wrote, 0 where it wrote nothing.
func dropped(path string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(text), 10, 64) // 0 where it is no number
	return n
}

// gap returns a line, as conmon would write it, that tells a reader what is missing before the
// first that is kept; nothing where nothing is.
func gap(dir string) string {
	path := filepath.Join(dir, "dropped")
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s stderr F imx: %d bytes of earlier lines were dropped\n", info.ModTime().Format(time.RFC3339Nano), dropped(path))
}
