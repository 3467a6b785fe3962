package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"imx"
	"imx/internal/check"
)

const (
	// rulesFolder is the folder beside a template whose rules hold for it without being named.
	rulesFolder = "checks"
	// maxRules is how many files of rules a folder may have.
	maxRules = 1000
)

// ownRules are the files of rules in a folder of the user.
type ownRules struct {
	dir     string
	modules []check.Module
}

// digest names the rules by what is in their files.
func (o ownRules) digest() imx.Digest { return imx.DigestJSON(o.modules) }

// readRules reads the *.rego files of a folder, but for tests of rules. Errors: NotFound for a folder that isn't
// there, Invalid for one that has none or too many.
func readRules(dir string) (ownRules, error) {
	o := ownRules{dir: dir}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return o, rulesError(dir, err)
	}
	defer func() { _ = root.Close() }()
	names, err := fs.Glob(root.FS(), "*.rego")
	if err != nil {
		return o, rulesError(dir, err)
	}
	if len(names) > maxRules {
		return o, imx.Errorf(imx.Invalid, "%s has %d files of rules; it may have %d", dir, len(names), maxRules)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.rego") {
			continue
		}
		if info, err := root.Stat(name); err != nil || !info.Mode().IsRegular() {
			return o, imx.Errorf(imx.Invalid, "%s is no file that can be read", filepath.Join(dir, name)).
				WithHint("a link may not lead out of the folder")
		}
		text, err := root.ReadFile(name)
		if err != nil {
			return o, rulesError(filepath.Join(dir, name), err)
		}
		o.modules = append(o.modules, check.Module{Name: filepath.Join(dir, name), Text: string(text)})
	}
	return o, nil
}

func rulesError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return imx.Errorf(imx.NotFound, "there is no folder of rules %s", path).WithHint("docs/check.md shows how to write some")
	}
	return imx.Errorf(imx.Invalid, "the rules in %s can't be read: %w", path, err)
}
