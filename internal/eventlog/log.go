package eventlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"imx"
)

// Config says where a log is.
type Config struct {
	Dir string           // made if it doesn't exist
	Now func() time.Time // for the time in checkpoints; nil means time.Now
}

// Recovery is what opening a log had to do.
type Recovery struct {
	Records int64 // on the log now
	Cut     int64 // bytes of an unfinished batch that were cut off; nobody was told that it was kept
	// Tiles is the number of hash tiles that were missing or differed from what the records give,
	// and were written anew.
	Tiles int
}

// Log is an open log. Its methods may be called from several goroutines at once.
type Log struct {
	dir  string
	disk disk
	now  func() time.Time
	lock *os.File

	queue queue

	write  sync.Mutex // held while appending; guards all below up to read
	sign   note.Signer
	tree   tree
	signed imx.Checkpoint // of tree
	tail   tail
	broken error // why nothing can be appended any more

	read view
}

// view is what readers see: only what a signed checkpoint on the disk covers.
type view struct {
	sync.RWMutex
	checkpoint imx.Checkpoint
	index      []place
	grown      chan struct{} // closed and replaced at each growth, closed for good by Close
	closed     bool
}

// Open opens the log in a folder, or begins one. It reads all records and refuses a log that
// isn't what its checkpoint says. What a crash left unfinished behind the checkpoint is cut off;
// whole batches there are kept.
//
// Errors: Conflict where another process has the log open, naming it; Refused for a damaged log,
// naming the first bad event; Exhausted where the disk is full.
func Open(cfg Config) (*Log, Recovery, error) { return open(cfg, hostDisk(), segmentSize) }

func open(cfg Config, d disk, segment int64) (*Log, Recovery, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := d.mkdir(filepath.Join(cfg.Dir, "records")); err != nil {
		return nil, Recovery{}, trouble("making the log's folder", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, Recovery{}, err
	}
	l := &Log{dir: cfg.Dir, disk: d, now: cfg.Now, lock: lock, tail: tail{limit: segment}}
	l.read.grown = make(chan struct{})
	rec, err := l.load()
	if err != nil {
		return nil, Recovery{}, errors.Join(err, l.tail.close(), lock.Close())
	}
	return l, rec, nil
}

// load brings the log from its files to a state in which it can be appended to.
func (l *Log) load() (Recovery, error) {
	key, s, err := keys(l.disk, l.dir, l.fresh)
	if err != nil {
		return Recovery{}, err
	}
	l.sign = s
	if err := l.first(key); err != nil {
		return Recovery{}, err
	}
	c, err := readCheckpoint(l.dir, key)
	if err != nil {
		return Recovery{}, damaged(0, fmt.Errorf("its checkpoint: %w", err))
	}
	a := &audit{dir: l.dir, limit: -1, proven: []imx.Checkpoint{c}, each: func(int64, []byte) error { return nil }}
	if err := a.run(); err != nil {
		if f, ok := errors.AsType[*finding](err); ok {
			return Recovery{}, damaged(f.first, f.cause)
		}
		return Recovery{}, trouble("reading the log", err)
	}
	return l.recover(a, c)
}

// fresh reports whether there never was a log here.
func (l *Log) fresh() (bool, error) {
	list, err := segments(l.dir)
	if err != nil {
		return false, trouble("reading the log", err)
	}
	_, err = os.Stat(checkpointPath(l.dir))
	return len(list) == 0 && errors.Is(err, fs.ErrNotExist), nil
}

// first signs the empty log, so that a log without a checkpoint is always a damaged one.
func (l *Log) first(key string) error {
	isNew, err := l.fresh()
	if err != nil || !isNew {
		return err
	}
	c, err := sign(l.sign, key, &tree{}, l.now())
	if err != nil {
		return err
	}
	if err := l.disk.replace(checkpointPath(l.dir), []byte(c.Note), 0o644); err != nil {
		return trouble("beginning the log", err)
	}
	return nil
}

// recover cuts off what is behind the last whole batch, mends the tiles and signs what is there.
func (l *Log) recover(a *audit, c imx.Checkpoint) (Recovery, error) {
	rec := Recovery{Records: a.tree.size}
	var err error
	if rec.Cut, err = l.cut(a.end); err != nil {
		return rec, trouble("cutting off an unfinished batch", err)
	}
	if rec.Tiles, err = l.mend(a); err != nil {
		return rec, trouble("writing the log's hashes", err)
	}
	l.tree = a.tree
	if a.tree.size > c.Size {
		if c, err = sign(l.sign, c.Key, &l.tree, l.now()); err != nil {
			return rec, err
		}
		if err := l.disk.replace(checkpointPath(l.dir), []byte(c.Note), 0o644); err != nil {
			return rec, trouble("writing the checkpoint", err)
		}
	}
	l.signed, l.read.checkpoint, l.read.index = c, c, a.index
	if err := l.tail.open(l.dir, a.end); err != nil {
		return rec, trouble("opening the log's last segment", err)
	}
	return rec, nil
}

// cut removes all that is behind a place in the records, and returns how many bytes that were.
func (l *Log) cut(end place) (int64, error) {
	list, err := segments(l.dir)
	if err != nil {
		return 0, err
	}
	var cut int64
	for _, first := range list {
		path := segmentPath(l.dir, first)
		info, err := os.Stat(path)
		if err != nil {
			return cut, err
		}
		switch {
		case first > end.segment || end.offset == 0:
			cut += info.Size()
			if err := l.disk.remove(path); err != nil {
				return cut, err
			}
		case first == end.segment && info.Size() > end.offset:
			cut += info.Size() - end.offset
			if err := l.truncate(first, end.offset); err != nil {
				return cut, err
			}
		}
	}
	if cut == 0 {
		return 0, nil
	}
	return cut, l.disk.syncDir(filepath.Join(l.dir, "records"))
}

func (l *Log) truncate(segment, size int64) error {
	f, err := os.OpenFile(segmentPath(l.dir, segment), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(l.disk.truncate(f, size), l.disk.sync(f), f.Close())
}

// mend writes the tiles that aren't what the records give, and removes those of a commit that
// never came about.
func (l *Log) mend(a *audit) (int, error) {
	extra, err := beyond(l.dir, &a.tree)
	if err != nil {
		return 0, err
	}
	for _, path := range extra {
		if err := l.disk.remove(path); err != nil {
			return 0, err
		}
	}
	n := 0
	for _, f := range a.flaws {
		if f.data == nil {
			continue // one of the extra ones
		}
		if err := l.putTile(f.path, f.data); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (l *Log) putTile(path string, data []byte) error {
	if err := l.disk.mkdir(filepath.Dir(path)); err != nil {
		return err
	}
	return l.disk.put(path, data)
}

// Size returns the number of records on the log.
func (l *Log) Size() int64 { return l.Checkpoint().Size }

// Checkpoint returns the newest signed checkpoint. Whoever keeps a copy elsewhere can prove later
// that the log was never changed or cut back behind it.
func (l *Log) Checkpoint() imx.Checkpoint {
	l.read.RLock()
	defer l.read.RUnlock()
	return l.read.checkpoint
}

// Close ends the log's use. Whoever waits gets an error.
func (l *Log) Close() error {
	l.write.Lock()
	defer l.write.Unlock()
	l.read.Lock()
	defer l.read.Unlock()
	if l.read.closed {
		return nil
	}
	l.read.closed = true
	close(l.read.grown)
	l.broken = errClosed()
	return errors.Join(l.tail.close(), l.lock.Close())
}

func errClosed() error { return imx.Errorf(imx.Conflict, "the log is closed") }
