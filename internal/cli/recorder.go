package cli

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"slices"

	"imx"
)

// recorder is a template's folder that remembers what was read in it. Reading goes no further than the folder:
// neither by ".." nor through a symbolic link.
type recorder struct {
	root  *os.Root
	fsys  fs.FS
	asked map[string]bool   // names of files, also of those that aren't there
	texts map[string][]byte // as they were read
}

func openRecorder(dir string) (*recorder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &recorder{root: root, fsys: root.FS(), asked: map[string]bool{}, texts: map[string][]byte{}}, nil
}

func (r *recorder) close() { _ = r.root.Close() } // it was only read from

// Open implements fs.FS.
func (r *recorder) Open(name string) (fs.File, error) {
	r.asked[name] = true
	f, err := r.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	return &recorded{File: f, name: name, to: r}, nil
}

// ReadDir implements fs.ReadDirFS.
func (r *recorder) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(r.fsys, name) }

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
	return n, err
}

// Close implements fs.File.
func (f *recorded) Close() error {
	f.to.texts[f.name] = f.text.Bytes()
	return f.File.Close()
}
