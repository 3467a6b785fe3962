package acme

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/sys/unix"
)

// storage implements certmagic.Storage in a folder that is opened already: the process that uses it may have no right to come to it
// by its path. Its locks are the kernel's: those of a process that ends are free.
type storage struct {
	root *os.Root
	held sync.Map // files of the locks that this process has, by key
}

var _ certmagic.Storage = (*storage)(nil)

const (
	locks = "locks"
	// wait is how often a lock that another process has is asked for again.
	wait = 200 * time.Millisecond
)

func name(key string) string { return path.Clean(strings.TrimPrefix(key, "/")) }

// Store implements certmagic.Storage. A key has its old value or its new one, never half of it.
func (s *storage) Store(_ context.Context, key string, value []byte) error {
	file := name(key)
	if err := s.root.MkdirAll(path.Dir(file), 0o700); err != nil {
		return err
	}
	staged := file + ".new"
	f, err := s.root.OpenFile(staged, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(value)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = s.root.Rename(staged, file)
	}
	if err != nil {
		return errors.Join(err, s.root.Remove(staged))
	}
	return nil
}

// Load implements certmagic.Storage.
func (s *storage) Load(_ context.Context, key string) ([]byte, error) {
	return s.root.ReadFile(name(key))
}

// Delete implements certmagic.Storage.
func (s *storage) Delete(_ context.Context, key string) error { return s.root.RemoveAll(name(key)) }

// Exists implements certmagic.Storage.
func (s *storage) Exists(_ context.Context, key string) bool {
	_, err := s.root.Stat(name(key))
	return err == nil
}

// List implements certmagic.Storage.
func (s *storage) List(ctx context.Context, prefix string, recursive bool) ([]string, error) { //nolint:revive // flag-parameter: the signature is certmagic's
	var keys []string
	top := name(prefix)
	err := fs.WalkDir(s.root.FS(), top, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || ctx.Err() != nil:
			return errors.Join(err, ctx.Err())
		case p == top:
			return nil
		}
		keys = append(keys, p)
		if d.IsDir() && !recursive {
			return fs.SkipDir
		}
		return nil
	})
	return keys, err
}

// Stat implements certmagic.Storage.
func (s *storage) Stat(_ context.Context, key string) (certmagic.KeyInfo, error) {
	info, err := s.root.Stat(name(key))
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	return certmagic.KeyInfo{Key: key, Modified: info.ModTime(), Size: info.Size(), IsTerminal: !info.IsDir()}, nil
}

// Lock implements certmagic.Locker.
func (s *storage) Lock(ctx context.Context, key string) error {
	if err := s.root.MkdirAll(locks, 0o700); err != nil {
		return err
	}
	file := lockName(key)
	for {
		f, err := s.root.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		switch err := flock(f); {
		case err == nil:
			s.held.Store(key, f)
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			return errors.Join(err, f.Close())
		}
		_ = f.Close() // another has it
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

func flock(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) })
	return errors.Join(err, failed)
}

// Unlock implements certmagic.Locker.
func (s *storage) Unlock(_ context.Context, key string) error {
	held, ok := s.held.LoadAndDelete(key)
	f, isFile := held.(*os.File)
	if !ok || !isFile {
		return fs.ErrNotExist
	}
	return f.Close() // which frees it
}

func lockName(key string) string { return path.Join(locks, certmagic.StorageKeys.Safe(key)) }
