// Package disk writes small files whole or not at all, makes names last, and tells a full disk apart
// from every other failure. What the files mean is its callers' business.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"imx"
)

// Staged is the pattern, as filepath.Match has it, of the names of files that Stage makes: whoever
// owns the folder removes what a dead process left.
const Staged = ".new-*"

// WriteWhole puts a file with the bytes and the permissions at path, whatever was there. A reader, a
// crash and a power cut find the old file or the new one, never a part. When it returns without an
// error the file survives a power cut; if it fails, what was there before is still there, but for one
// case: where only the very last step failed, the new file is in place, unconfirmed. An error names
// path, never the file that is renamed to it.
func WriteWhole(path string, b []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	staged, err := stage(dir, b, perm)
	if err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: Reason(err)}
	}
	if err := os.Rename(staged, path); err != nil {
		return errors.Join(&fs.PathError{Op: "write", Path: path, Err: Reason(err)}, os.Remove(staged))
	}
	return SyncDir(dir)
}

// Reason returns why a file couldn't be used, "read-only file system" for example, without the
// operation and the name that the error has it with.
func Reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// Stage writes the bytes to a new file in dir, synced, that only its owner can read and write, and
// returns its path. The caller renames or removes it.
func Stage(dir string, b []byte) (path string, err error) { return stage(dir, b, 0o600) }

func stage(dir string, b []byte, perm fs.FileMode) (string, error) {
	f, err := os.CreateTemp(dir, Staged)
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// SyncDir makes the names in a folder survive a power cut. Windows can't be asked for that.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Error says what was being done when err happened, "storing a blob" for example; nil stays nil. A
// full disk is Exhausted, with a hint. Every other error is wrapped and keeps its kind.
func Error(err error, doing string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return imx.Errorf(imx.Exhausted, "%s: no space left on the disk: %w", doing, err).
			WithHint("free some space in the data folder's file system, then do the same again")
	}
	return fmt.Errorf("%s: %w", doing, err)
}
