// These tests are here because locks, names and indices are files that somebody reads while they are
// written: half of one must never be seen, and a full disk must be called that.

package disk_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"imx"
	"imx/internal/disk"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestAFileIsReplacedWholeAndNothingIsLeftBesideIt(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, content := range []string{"first", "", "the third one is longer"} {
		if err := disk.WriteWhole(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("the file has %q (%v), want %q", got, err, content)
		}
		st, err := os.Stat(path)
		if err != nil || st.Mode() != 0o640 {
			t.Errorf("mode %v, %v", st.Mode(), err)
		}
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("files: %q", left)
	}
}

func TestAFileThatCannotBePutInPlaceLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "folder"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteWhole(taken, []byte("x"), 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("files: %q", left)
	}
	if err := disk.WriteWhole(filepath.Join(dir, "none", "file"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
}

func TestAStagedFileHasAllBytesAndItsOwnersRightsAlone(t *testing.T) {
	dir := t.TempDir()
	path, err := disk.Stage(dir, []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, disk.Staged))
	if err != nil || len(found) != 1 || found[0] != path {
		t.Errorf("the pattern finds %q (%v), want %s", found, err, path)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode() != 0o600 || st.Size() != 7 {
		t.Errorf("stat: %v, %v", st, err)
	}
}

func TestARealFullDiskKeepsTheOldFileAndIsCalledThat(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("this test mounts a tmpfs of 64 KiB, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "file")
	if err := disk.WriteWhole(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := disk.Error(disk.WriteWhole(path, make([]byte, 1<<20), 0o600), "writing the file")
	if imx.KindOf(err) != imx.Exhausted || imx.AsError(err).Hint == "" || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("err = %v, want Exhausted with a hint", err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, []byte("old")) {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("files: %q", left)
	}
}

func TestOtherErrorsKeepTheirKind(t *testing.T) {
	if err := disk.Error(nil, "doing"); err != nil {
		t.Errorf("nil became %v", err)
	}
	err := disk.Error(imx.Errorf(imx.Conflict, "taken"), "doing")
	if imx.KindOf(err) != imx.Conflict || err.Error() != "doing: taken" {
		t.Errorf("err = %v (%s)", err, imx.KindOf(err))
	}
}

// Whoever reads the error knows the file, and has never heard of the one that is renamed to it.
func TestAnErrorNamesTheFileThatWasToBeWritten(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("this test mounts a file system that can't be written to, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "imx.lock")
	err := disk.WriteWhole(path, nil, 0o600)
	if err == nil || err.Error() != "write "+path+": read-only file system" || !errors.Is(disk.Reason(err), syscall.EROFS) {
		t.Errorf("err = %v", err)
	}
}
