package probe

import (
	"os"
	"path/filepath"
)

// RunForeign runs the foreign program out of a folder.
func RunForeign(dir string) error {
	path := filepath.Join(dir, mark)
	if err := os.WriteFile(path, foreign(), 0o700); err != nil {
		return err
	}
	return runs(path)
}

// RunFromMemory runs it out of memory.
func RunFromMemory() error { return fromMemory() }
