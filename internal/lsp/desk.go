package lsp

import (
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"imx"
	"imx/internal/template"
)

const (
	// maxOpen is how many documents may be open, and maxOpenText how long all their texts may be.
	maxOpen              = 500
	maxOpenText imx.Size = 64 << 20
	// maxNames is how many names of a folder are looked at for those of files.
	maxNames = 2000
)

// document is the text of a file as its editor has it.
type document struct {
	uri     string // as the editor writes it
	version int
	text    string
}

// desk holds the documents that are open, by their paths. It is safe for concurrent use.
type desk struct {
	mu   sync.Mutex
	docs map[string]document
	size imx.Size
}

// put lays a document there, or in the place of its former text; false where there is no room for it.
func (d *desk) put(path string, doc document) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	old, ok := d.docs[path]
	size := d.size - imx.Size(len(old.text)) + imx.Size(len(doc.text))
	if size > maxOpenText || !ok && len(d.docs) >= maxOpen {
		return false
	}
	d.docs[path], d.size = doc, size
	return true
}

func (d *desk) take(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.size -= imx.Size(len(d.docs[path].text))
	delete(d.docs, path)
}

func (d *desk) at(path string) (document, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	doc, ok := d.docs[path]
	return doc, ok
}

// folders are those that a template is open in.
func (d *desk) folders() map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]bool{}
	for path := range d.docs {
		if template.IsTemplate(filepath.Base(path)) {
			all[filepath.Dir(path)] = true
		}
	}
	return all
}

// under returns the texts of a folder's open documents, by their names in it.
func (d *desk) under(dir string) map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	texts := map[string]string{}
	for path, doc := range d.docs {
		if name, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(name) {
			texts[filepath.ToSlash(name)] = doc.text
		}
	}
	return texts
}

// uri returns how the editor calls a file.
func (d *desk) uri(path string) string {
	if doc, ok := d.at(path); ok {
		return doc.uri
	}
	slashed := filepath.ToSlash(path)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed
	}
	u := url.URL{Scheme: "file", Path: slashed}
	return u.String()
}

// book reads a folder for a question: its templates as they are open, the others as they are on disk.
func (d *desk) book(dir string) Book {
	under := fs.FS(nothing{})
	if root, err := os.OpenRoot(dir); err == nil {
		defer func() { _ = root.Close() }()
		under = root.FS()
	}
	open := d.under(dir)
	fsys := Overlay(under, open)
	files := fileNames(fsys)
	for name := range open {
		if !slices.Contains(files, name) {
			files = append(files, name) // the folder may not be there yet
		}
	}
	slices.Sort(files)
	texts := map[string]string{}
	for _, name := range files {
		if template.IsTemplate(name) && !strings.Contains(name, "/") {
			texts[name] = textOf(fsys, name)
		}
	}
	return NewBook(texts, files)
}

// textOf reads a file as far as it may be a template; "" where it can't be read.
func textOf(fsys fs.FS, name string) string {
	info, err := fs.Stat(fsys, name)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := fsys.Open(name)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxScanned))
	if err != nil {
		return ""
	}
	return string(b)
}

// fileNames are the files of a folder and those in it, but for hidden ones.
func fileNames(fsys fs.FS) []string {
	var names []string
	looked := 0
	stop := errors.New("enough")
	err := fs.WalkDir(fsys, ".", func(path string, e fs.DirEntry, err error) error {
		looked++
		switch {
		case looked > maxNames:
			return stop
		case err != nil:
			return fs.SkipDir
		case path != "." && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return fs.SkipDir
			}
		case !e.IsDir():
			names = append(names, path)
		}
		return nil
	})
	if err != nil && !errors.Is(err, stop) {
		return nil
	}
	return names
}

// pathOf returns the path of a file that an editor names; "" for what is no file.
func pathOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" || u.Host != "" && u.Host != "localhost" || strings.ContainsRune(u.Path, 0) {
		return ""
	}
	path := u.Path
	if filepath.Separator == '\\' {
		path = strings.TrimPrefix(path, "/") // /c:/x
	}
	path = filepath.Clean(filepath.FromSlash(path))
	if !filepath.IsAbs(path) {
		return ""
	}
	return path
}
