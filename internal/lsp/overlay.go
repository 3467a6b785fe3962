package lsp

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Overlay is a folder with other texts in the place of some files', and with files that aren't there yet. Its names
// are slash-separated, as those of fs.FS.
func Overlay(under fs.FS, texts map[string]string) fs.FS { return overlay{under, texts} }

type overlay struct {
	under fs.FS
	texts map[string]string
}

// Open implements fs.FS.
func (o overlay) Open(name string) (fs.File, error) {
	if text, ok := o.texts[name]; ok {
		return &openText{Reader: bytes.NewReader([]byte(text)), info: textInfo{path.Base(name), int64(len(text))}}, nil
	}
	f, err := o.under.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.IsDir() {
		return f, nil //nolint:nilerr // who reads it meets the error
	}
	entries, err := o.ReadDir(name)
	if err != nil {
		_ = f.Close() // it was only looked at
		return nil, err
	}
	return &openFolder{File: f, left: entries}, nil
}

// Stat implements fs.StatFS.
func (o overlay) Stat(name string) (fs.FileInfo, error) {
	if text, ok := o.texts[name]; ok {
		return textInfo{path.Base(name), int64(len(text))}, nil
	}
	return fs.Stat(o.under, name)
}

// ReadDir implements fs.ReadDirFS.
func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.under, name)
	if err != nil && name != "." {
		return entries, err
	}
	for file, text := range o.texts {
		if path.Dir(file) != name {
			continue
		}
		mine := fs.FileInfoToDirEntry(textInfo{path.Base(file), int64(len(text))})
		if i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return e.Name() == mine.Name() }); i >= 0 {
			entries[i] = mine
			continue
		}
		entries = append(entries, mine)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// nothing is the folder of a template that hasn't been saved anywhere.
type nothing struct{}

// Open implements fs.FS.
func (nothing) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

type openFolder struct {
	fs.File

	left []fs.DirEntry
}

// ReadDir implements fs.ReadDirFile.
func (f *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(f.left) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(f.left) {
		n = len(f.left)
	}
	entries := f.left[:n:n]
	f.left = f.left[n:]
	return entries, nil
}

type openText struct {
	*bytes.Reader

	info textInfo
}

func (f *openText) Stat() (fs.FileInfo, error) { return f.info, nil }

func (*openText) Close() error { return nil }

// textInfo tells of a text that it is a regular file.
type textInfo struct {
	name string
	size int64
}

func (i textInfo) Name() string     { return i.name }
func (i textInfo) Size() int64      { return i.size }
func (textInfo) Mode() fs.FileMode  { return 0o444 }
func (textInfo) ModTime() time.Time { return time.Time{} }
func (textInfo) IsDir() bool        { return false }
func (textInfo) Sys() any           { return nil }
