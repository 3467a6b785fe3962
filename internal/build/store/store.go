// Package store keeps what was made, so that it isn't made again. A result has the digest of all that went
// into it as its name, and gets that name when it is complete and synced: whoever finds one may believe it,
// after a killed process too. What isn't done yet is in a folder apart.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/disk"
	"imx/internal/mounts"
)

const unfinished = "tmp"

// Store is a folder of results, of several kinds. No other process may use it at the same time; its
// methods may be called from several goroutines at once.
type Store struct {
	dir  string
	busy keyed
}

// Open opens the store in a folder, with a folder for each kind of results, after removing what a dead
// process left unfinished there.
func Open(dir string, kinds ...string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the folder %s: %w", dir, err)
	}
	s := &Store{dir: dir}
	if err := s.clear(); err != nil {
		return nil, disk.Error(err, "removing what a dead process left in "+dir)
	}
	for _, name := range append(kinds, unfinished) {
		if err := os.MkdirAll(s.Path(name), 0o700); err != nil {
			return nil, disk.Error(err, "making the folder "+s.Path(name))
		}
	}
	return s, nil
}

// clear removes what isn't finished. Nothing here mounts anything where others can see it: what is
// mounted there is theirs who looked into a build by hand.
func (s *Store) clear() error {
	table, err := mounts.Read()
	if err != nil {
		return err
	}
	for _, point := range table.Within(s.Path(unfinished)) {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmounting %s: %w", point, err)
		}
	}
	return os.RemoveAll(s.Path(unfinished))
}

// Path returns a path in the store's folder.
func (s *Store) Path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// Has reports whether there is a result of the name.
func (s *Store) Has(kind, name string) bool {
	_, err := os.Lstat(s.Path(kind, name))
	return !errors.Is(err, fs.ErrNotExist)
}

// Scratch makes a folder for what isn't done yet, with a name of its own after the kind; done removes it.
func (s *Store) Scratch(kind string) (dir string, done func(), err error) {
	dir, err = os.MkdirTemp(s.Path(unfinished), kind+"-*")
	if err != nil {
		return "", nil, err
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil // Open removes what is left
}

// Recall reads into v what was remembered. What can't be read was never there: it is made again.
func (s *Store) Recall(kind string, key imx.Digest, v any) bool {
	raw, err := os.ReadFile(s.Path(kind, key.Hex()))
	return err == nil && json.Unmarshal(raw, v) == nil
}

// Remember keeps a small result, as JSON, whatever there was under its key.
func (s *Store) Remember(kind string, key imx.Digest, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	dir, done, err := s.Scratch("record")
	if err != nil {
		return err
	}
	defer done()
	file := filepath.Join(dir, "record")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return err
	}
	return s.Publish(file, kind, key.Hex())
}

// Publish syncs a finished file and gives it its name, whatever file was there.
func (s *Store) Publish(file, kind, name string) error {
	if err := disk.SyncDir(file); err != nil { // which syncs a file as well
		return err
	}
	return s.rename(file, kind, name)
}

// PublishTrees syncs finished folders with all that is in them, at the price of one, and gives them their
// names, which must be free.
func (s *Store) PublishTrees(kind string, dirs map[string]string) error {
	if err := s.syncAll(); err != nil {
		return err
	}
	for name, dir := range dirs {
		if err := os.Rename(dir, s.Path(kind, name)); err != nil {
			return err
		}
	}
	return disk.SyncDir(s.Path(kind))
}

// syncAll syncs the store's file system: cheaper than each of thousands of files by itself.
func (s *Store) syncAll() error {
	f, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

func (s *Store) rename(from, kind, name string) error {
	if err := os.Rename(from, s.Path(kind, name)); err != nil {
		return err
	}
	return disk.SyncDir(s.Path(kind))
}

// Use notes that a result is wanted, as if it had just been made.
func (s *Store) Use(kind, name string) error {
	now := time.Now()
	return os.Chtimes(s.Path(kind, name), now, now)
}

// Remove removes a result, at once or, where the process is killed, not at all. One that isn't there is no error.
func (s *Store) Remove(kind, name string) error {
	dir, done, err := s.Scratch("removed")
	if err != nil {
		return err
	}
	defer done()
	// At its own name there is never half a result.
	if err := os.Rename(s.Path(kind, name), filepath.Join(dir, "result")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Lock waits until nobody else makes the thing, or for the end of ctx: of two who want the same result
// one does the work and the other finds it.
func (s *Store) Lock(ctx context.Context, thing string) (unlock func(), err error) {
	return s.busy.lock(ctx, thing)
}
