package build_test

import (
	"os"
	"path/filepath"
	"testing"

	"imx/internal/build"
	"imx/internal/erofs"
)

// An engine that was killed may leave root files locked that it doesn't know any more.
func TestAFolderWhoseRootFilesAreUnlockedCanBeRemoved(t *testing.T) {
	dir := t.TempDir()
	part := filepath.Join(dir, "roots", "one.part")
	if err := os.MkdirAll(filepath.Dir(part), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(part, []byte("x"), 0o400); err != nil {
		t.Fatal(err)
	}
	erofs.Lock(part)
	if os.Chmod(part, 0o600) == nil {
		t.Skip("this file system locks no files, or this user may not")
	}
	if err := build.Unlock(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "roots")); err != nil {
		t.Error(err)
	}
	if err := build.Unlock(filepath.Join(dir, "never made")); err != nil {
		t.Errorf("of a folder that isn't there: %v", err)
	}
}
