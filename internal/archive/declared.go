package archive

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"

	"imx"
	"imx/internal/disk"
)

// declaredDir has the declaration of each archive that was fetched, but for the host's, which its sources declare.
func (a *Archive) declaredDir() string { return filepath.Join(a.cfg.Dir, "declared") }

// remember keeps a declaration in place of the last one by its name.
func (a *Archive) remember(decl imx.Archive) error {
	if decl.Name == imx.HostArchive || decl.Name == "" {
		return nil
	}
	decl.At = imx.Pos{}
	raw, err := json.Marshal(decl)
	if err != nil {
		return err
	}
	file := filepath.Join(a.declaredDir(), url.PathEscape(decl.Name)+".json")
	if known, err := os.ReadFile(file); err == nil && bytes.Equal(known, raw) {
		return nil
	}
	if err := os.MkdirAll(a.declaredDir(), 0o700); err != nil {
		return disk.Error(err, "remembering an archive")
	}
	return disk.Error(disk.WriteWhole(file, raw, 0o600), "remembering an archive")
}

// Declared returns the archives that templates declared and that were fetched, each as it was declared last, sorted by
// name. A declaration that can't be read any more is none.
func (a *Archive) Declared() ([]imx.Archive, error) {
	entries, err := os.ReadDir(a.declaredDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var all []imx.Archive
	for _, e := range entries {
		var decl imx.Archive
		if raw, err := os.ReadFile(filepath.Join(a.declaredDir(), e.Name())); err == nil && json.Unmarshal(raw, &decl) == nil && decl.Name != "" {
			all = append(all, decl)
		}
	}
	return all, err
}
