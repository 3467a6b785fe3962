package arch_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Documents give the test of each law by its name. A test that was renamed or dropped must not leave a law that nothing proves.
func TestEachTestThatADocumentNamesIsThere(t *testing.T) {
	there := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(|^\s+(Law\w+)\b`)
	each(t, "_test.go", func(_, text string) { declare(there, declared, text) })
	each(t, ".go", func(path, text string) {
		if strings.Contains(path, "/sim/") {
			declare(there, declared, text)
		}
	})
	// The API's document names types too: TestRequest is one.
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+[a-z]|Law[A-Z]\\w+)`")
	each(t, ".md", func(path, text string) {
		if strings.HasSuffix(path, "docs/api.md") {
			return
		}
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			if !there[m[1]] {
				t.Errorf("%s names the test %s, and there is none", strings.TrimPrefix(path, "../../"), m[1])
			}
		}
	})
}

func declare(there map[string]bool, declared *regexp.Regexp, text string) {
	for _, m := range declared.FindAllStringSubmatch(text, -1) {
		there[m[1]+m[2]] = true
	}
}

// each reads the repository's own files whose names end so.
func each(t *testing.T, end string, see func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "bin" || d.Name() == ".git"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, end):
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			see(path, string(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
