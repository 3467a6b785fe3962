package eventlog

import (
	"bytes"
	"io"
	"io/fs"
	"os"

	"golang.org/x/mod/sumdb/tlog"
)

// Outcome is what becomes of one call to the disk.
type Outcome struct {
	Err   error // what the call returns; nil lets it happen as it should
	After bool  // the call does its work and fails all the same
	Short bool  // a write writes the first half of what it should
}

// OpenOn opens a log with segments of some size, on a disk on which judge decides what becomes
// of each call. Calls are named mkdir, create, write, sync, truncate, rename and remove; path is
// the file that they change. Nothing is really synced.
func OpenOn(cfg Config, segment int64, judge func(call, path string) Outcome) (*Log, Recovery, error) {
	return open(cfg, judged(judge), segment)
}

// Sound is a disk on which nothing fails.
func Sound(string, string) Outcome { return Outcome{} }

func judged(judge func(call, path string) Outcome) disk {
	host := hostDisk()
	do := func(call, path string, work func() error) error {
		o := judge(call, path)
		if o.Err != nil && !o.After {
			return o.Err
		}
		if err := work(); err != nil {
			return err
		}
		return o.Err
	}
	return disk{
		mkdir: func(path string) error { return do("mkdir", path, func() error { return host.mkdir(path) }) },
		create: func(path string, perm fs.FileMode) (f *os.File, err error) {
			err = do("create", path, func() error {
				f, err = host.create(path, perm)
				return err
			})
			return f, err
		},
		write: func(f *os.File, b []byte) (int, error) {
			o := judge("write", f.Name())
			if o.Short {
				n, _ := host.write(f, b[:len(b)/2])
				return n, o.Err
			}
			if o.Err != nil && !o.After {
				return 0, o.Err
			}
			n, err := host.write(f, b)
			if err == nil {
				err = o.Err
			}
			return n, err
		},
		sync: func(f *os.File) error { return do("sync", f.Name(), func() error { return nil }) },
		truncate: func(f *os.File, size int64) error {
			return do("truncate", f.Name(), func() error { return host.truncate(f, size) })
		},
		rename: func(from, to string) error {
			return do("rename", to, func() error { return host.rename(from, to) })
		},
		remove: func(path string) error { return do("remove", path, func() error { return host.remove(path) }) },
	}
}

// ReadFrame reads one frame from bytes. It returns its records and how many bytes it took.
func ReadFrame(b []byte, first int64) ([][]byte, int64, error) {
	f, err := readFrame(bytes.NewReader(b), first)
	if err == io.EOF { //nolint:errorlint // readFrame promises io.EOF itself
		return nil, 0, io.EOF
	}
	return f.records, f.size, err
}

// Frame returns the bytes of a frame.
func Frame(first int64, records ...[]byte) []byte {
	p := payload(records)
	return appendFrame(nil, first, len(records), p, checksum(p))
}

// Tree is a growing tree.
type Tree struct{ tree }

// Add appends a hash and returns the paths of the tiles that it made full.
func (t *Tree) Add(h tlog.Hash) []string { return paths(t.add(h)) }

// Partial returns the paths of the tiles that aren't full.
func (t *Tree) Partial() []string { return paths(t.partial()) }

// Root is the root hash.
func (t *Tree) Root() tlog.Hash { return t.root() }

func paths(tiles []tile) []string {
	var list []string
	for _, t := range tiles {
		list = append(list, t.path(""))
	}
	return list
}
