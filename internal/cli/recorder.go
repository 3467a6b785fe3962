package cli

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"imx"
	"imx/internal/disk"
)

// recorder is a template's folder that remembers what was read in it. Reading goes no further than the folder:
// neither by ".." nor through a symbolic link.
type recorder struct {
	root  *os.Root
	fsys  fs.FS
	asked map[string]bool   // names of files, also of those that aren't there
	texts map[string][]byte // as they were read
	// unread are the files and folders that are there and can't be read, and why.
	unread map[string]error
}

func openRecorder(dir string) (*recorder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &recorder{root: root, fsys: root.FS(), asked: map[string]bool{}, texts: map[string][]byte{}, unread: map[string]error{}}, nil
}

func (r *recorder) close() { _ = r.root.Close() } // it was only read from

// Open implements fs.FS.
func (r *recorder) Open(name string) (fs.File, error) {
	r.asked[name] = true
	f, err := r.fsys.Open(name)
	if err != nil {
		r.failed(name, err)
		return nil, err
	}
	return &recorded{File: f, name: name, to: r}, nil
}

// ReadDir implements fs.ReadDirFS.
func (r *recorder) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(r.fsys, name) }

// failed remembers what can't be read, though it is there.
func (r *recorder) failed(name string, err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		r.unread[name] = disk.Reason(err)
	}
}

// unreadNames are those of all that couldn't be read up to now.
func (r *recorder) unreadNames() []string { return slices.Sorted(maps.Keys(r.unread)) }

// notices say what couldn't be read, so that nobody takes it for looked at.
func (r *recorder) notices() imx.Diagnostics {
	var ds imx.Diagnostics
	for _, name := range r.unreadNames() {
		ds = append(ds, imx.Diagnostic{
			Severity: imx.SeverityNotice, At: imx.Pos{File: name},
			Summary: "this isn't looked at, and may have secrets: it can't be read: " + r.unread[name].Error(),
			Hint:    "check as somebody who may read it, or take it out of the template's folder",
		})
	}
	return ds
}

// listing is the folder as a walk through it sees it: what can't be listed is remembered, what can isn't read by that.
type listing struct{ of *recorder }

// Open implements fs.FS.
func (l listing) Open(name string) (fs.File, error) { return l.of.fsys.Open(name) }

// Stat implements fs.StatFS.
func (l listing) Stat(name string) (fs.FileInfo, error) { return fs.Stat(l.of.fsys, name) }

// ReadDir implements fs.ReadDirFS.
func (l listing) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(l.of.fsys, name)
	if err != nil {
		l.of.failed(name, err)
	}
	return entries, err
}

// Stat implements fs.StatFS: what is no regular file must be known without opening it.
func (r *recorder) Stat(name string) (fs.FileInfo, error) {
	r.asked[name] = true
	return fs.Stat(r.fsys, name)
}

// names are those of all files that were looked for.
func (r *recorder) names() []string { return slices.Sorted(maps.Keys(r.asked)) }

// read returns what was in each file that was read.
func (r *recorder) read() map[string]imx.Digest {
	all := map[string]imx.Digest{}
	for name, text := range r.texts {
		all[name] = imx.DigestBytes(text)
	}
	return all
}

// recorded is an open file whose bytes are remembered as they are read.
type recorded struct {
	fs.File

	name string
	to   *recorder
	text bytes.Buffer
}

// Read implements fs.File.
func (f *recorded) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	f.text.Write(b[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		f.to.failed(f.name, err)
	}
	return n, err
}

// Close implements fs.File.
func (f *recorded) Close() error {
	f.to.texts[f.name] = f.text.Bytes()
	return f.File.Close()
}
