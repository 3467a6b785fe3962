// Package blob keeps bytes on disk under their own digest. It knows nothing of what they mean, who
// refers to them or when they may go: that is its callers' business.
//
// A blob is at dir/sha256/ab/<64 hex digits>, read-only and complete from the moment it has that
// name: bytes are written under dir/tmp, synced, and renamed.
package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/disk"
)

// Store is a folder of blobs. Its methods may be called from several goroutines at once. One process
// at a time may use the folder: seeing to that is its callers' business.
type Store struct {
	dir string
	ops ops
	// made says of which of the 256 folders it is known that they survive a power cut.
	made [256]atomic.Bool
	sums sums
}

// ops are the steps of Put that a disk can fail at; tests replace single ones.
type ops struct {
	create  func(dir string) (*os.File, error)
	write   func(f *os.File, p []byte) (int, error)
	sync    func(f *os.File) error
	rename  func(from, to string) error
	syncDir func(dir string) error
}

func diskOps() ops {
	return ops{
		create:  func(dir string) (*os.File, error) { return os.CreateTemp(dir, "put-*") },
		write:   (*os.File).Write,
		sync:    (*os.File).Sync,
		rename:  os.Rename,
		syncDir: disk.SyncDir,
	}
}

// Open opens the store in dir and makes it where there is none. Temporary files that a dead process
// left are removed. Those that a Put of another Store in this process is filling are held by a lock
// and stay; one that was made this very moment isn't locked yet, so a store is best opened once.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, ops: diskOps()}
	if err := s.makeDirs(); err != nil {
		return nil, disk.Error(err, "opening the blob store")
	}
	if err := s.removeStale(); err != nil {
		return nil, disk.Error(err, "removing what a dead process left in the blob store")
	}
	return s, nil
}

func (s *Store) makeDirs() error {
	if err := errors.Join(os.MkdirAll(s.tmp(), 0o700), os.MkdirAll(s.root(), 0o700)); err != nil {
		return err
	}
	return errors.Join(s.ops.syncDir(s.dir), s.ops.syncDir(filepath.Dir(s.dir)))
}

func (s *Store) removeStale() error {
	entries, err := os.ReadDir(s.tmp())
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(s.tmp(), e.Name())
		f, err := os.OpenInRoot(s.tmp(), e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if lock(f) == nil {
			err = os.Remove(path)
		}
		if err := errors.Join(err, f.Close()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Put stores what r gives, up to its end, and returns its digest and size in bytes. When it returns
// without an error the blob survives a power cut. A want other than "" is the digest that the
// bytes must have: others are Refused, with both values, and nothing is kept. A full disk is
// Exhausted. An error of r is returned wrapped. Bytes that are there already are written again,
// which mends a damaged blob.
//
// Only if the very last step fails, syncing the folder, the whole blob may stay, unconfirmed.
func (s *Store) Put(r io.Reader, want imx.Digest) (imx.Digest, int64, error) {
	f, err := s.ops.create(s.tmp())
	if err != nil {
		return "", 0, putError(err, want)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := lock(f); err != nil {
		return "", 0, putError(err, want)
	}
	d, n, err := s.fill(f, r, want)
	if err != nil {
		return "", 0, err
	}
	if err := s.publish(f, d); err != nil {
		return "", 0, putError(err, d)
	}
	return d, n, nil
}

// fill copies r into f and checks the digest. The two sorts of failure, of r and of the disk, are
// told apart here.
func (s *Store) fill(f *os.File, r io.Reader, want imx.Digest) (imx.Digest, int64, error) {
	h := sha256.New()
	out := &diskWriter{f: f, write: s.ops.write}
	n, err := io.CopyBuffer(io.MultiWriter(out, h), onlyReader{r}, make([]byte, 256<<10))
	if out.err != nil {
		return "", 0, putError(out.err, want)
	}
	if err != nil {
		return "", 0, fmt.Errorf("reading the bytes of %s: %w", subject(want), err)
	}
	d := imx.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
	if want != "" && d != want {
		return "", 0, imx.Errorf(imx.Refused, "the bytes have digest %s, wanted %s", d, want)
	}
	return d, n, nil
}

func (s *Store) publish(f *os.File, d imx.Digest) error {
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	if err := s.ops.sync(f); err != nil {
		return err
	}
	folder := filepath.Dir(s.Path(d))
	if err := s.makeFolder(folder); err != nil {
		return err
	}
	if err := s.ops.rename(f.Name(), s.Path(d)); err != nil {
		return err
	}
	return s.ops.syncDir(folder)
}

// Adopt makes a file a blob: one that the caller filled with the bytes of the digest, on the store's file system, and gives up. It
// is for bytes that came in several pieces. When it returns without an error the blob survives a power cut, and the
// file's old name is gone. Errors: as Put's for the disk.
func (s *Store) Adopt(f *os.File, d imx.Digest) error {
	if _, err := imx.ParseDigest(string(d)); err != nil {
		return err
	}
	return putError(s.publish(f, d), d)
}

// makeFolder makes one of the 256 folders, or, where somebody else has just made it, sees at least
// to it that its name is on the disk.
func (s *Store) makeFolder(folder string) error {
	i, err := strconv.ParseUint(filepath.Base(folder), 16, 8)
	if err != nil {
		return err
	}
	if s.made[i].Load() {
		return nil
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := s.ops.syncDir(s.root()); err != nil {
		return err
	}
	s.made[i].Store(true)
	return nil
}

// Open opens a blob for reading; the caller closes it. Its bytes are not checked: Reader and
// ReadAll do that. The error is NotFound where there is no such blob.
func (s *Store) Open(d imx.Digest) (*os.File, error) {
	if _, err := imx.ParseDigest(string(d)); err != nil {
		return nil, err
	}
	f, err := os.Open(s.Path(d))
	if err != nil {
		return nil, openError(err, d)
	}
	return f, nil
}

// Has reports whether the blob is there. It doesn't read it.
func (s *Store) Has(d imx.Digest) bool {
	_, err := s.Size(d)
	return err == nil
}

// Size returns the blob's size in bytes, or NotFound.
func (s *Store) Size(d imx.Digest) (int64, error) {
	if _, err := imx.ParseDigest(string(d)); err != nil {
		return 0, err
	}
	st, err := os.Stat(s.Path(d))
	if err != nil {
		return 0, openError(err, d)
	}
	return st.Size(), nil
}

// Path returns where the blob is, or would be: for mounting and for programs that want a file name.
// The file must never be written to. The digest must be well-formed, as ParseDigest has it.
func (s *Store) Path(d imx.Digest) string {
	h := d.Hex()
	return filepath.Join(s.root(), h[:min(2, len(h))], h)
}

// Delete removes a blob, or returns NotFound. Who has it open keeps it until closing.
func (s *Store) Delete(d imx.Digest) error {
	if _, err := imx.ParseDigest(string(d)); err != nil {
		return err
	}
	if err := os.Remove(s.Path(d)); err != nil {
		return openError(err, d)
	}
	return s.ops.syncDir(filepath.Dir(s.Path(d)))
}

// Blob is one entry of a Store.
type Blob struct {
	Digest imx.Digest
	Size   int64     // bytes
	Made   time.Time // when it was put last
}

// All goes over the blobs in the order of their digests. Those that come or go meanwhile may or
// may not be seen. It ends at the first error, because who collects garbage by what it yields must
// not take an unreadable folder for an empty one.
func (s *Store) All() iter.Seq2[Blob, error] {
	return func(yield func(Blob, error) bool) {
		for i := range 256 {
			entries, err := os.ReadDir(filepath.Join(s.root(), fmt.Sprintf("%02x", i)))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				yield(Blob{}, disk.Error(err, "listing blobs"))
				return
			}
			if !yieldAll(entries, yield) {
				return
			}
		}
	}
}

func yieldAll(entries []os.DirEntry, yield func(Blob, error) bool) bool {
	for _, e := range entries {
		d, err := imx.ParseDigest("sha256:" + e.Name())
		if err != nil {
			continue // not ours: no blob has such a name
		}
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			yield(Blob{}, disk.Error(err, "listing blobs"))
			return false
		}
		if !yield(Blob{Digest: d, Size: st.Size(), Made: st.ModTime()}, nil) {
			return false
		}
	}
	return true
}

func (s *Store) tmp() string  { return filepath.Join(s.dir, "tmp") }
func (s *Store) root() string { return filepath.Join(s.dir, "sha256") }

// lock marks f as in use by a living process; the kernel takes the mark off when it dies.
func lock(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}
