package feed

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"imx"
	"imx/internal/disk"
	"imx/internal/vuln"
)

// imagesFile remembers which packages images have. It can be made again from the images, at the cost of reading each.
const imagesFile = "packages"

// Images is the index of images' packages, kept on the disk. Its methods may be called from several goroutines at once.
type Images struct {
	mu    sync.Mutex
	file  *os.File
	index *vuln.Index
}

// OpenImages reads the index of a folder of feeds. A damaged one is begun anew.
func OpenImages(dir string) (*Images, error) {
	_ = os.Remove(filepath.Join(dir, "images")) // its older form; where it can't be removed, it is only in the way
	f, err := os.OpenFile(filepath.Join(dir, imagesFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	index, whole, err := vuln.ReadIndex(f)
	if err != nil {
		index, whole = vuln.NewIndex(), 0
	}
	err = f.Truncate(whole)
	if err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Images{file: f, index: index}, nil
}

// Close lets go of the file.
func (m *Images) Close() error { return m.file.Close() }

// Ensure adds an image, whose packages come from read, unless it is there.
func (m *Images) Ensure(image imx.Digest, read func() ([]vuln.Package, error)) error {
	m.mu.Lock()
	has := m.index.Has(image)
	m.mu.Unlock()
	if has {
		return nil
	}
	packages, err := read()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	record, err := m.index.Record(image, packages)
	if err != nil {
		return err
	}
	if _, err := m.file.Write(record); err != nil { // not synced: what a power cut takes is read out of the image again
		return disk.Error(err, "remembering the packages of an image")
	}
	return nil
}

// Keep drops the images that keep doesn't want, with the packages that no other has.
func (m *Images) Keep(keep func(imx.Digest) bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.index.Images()
	rest := slices.DeleteFunc(slices.Clone(all), func(d imx.Digest) bool { return !keep(d) })
	if len(rest) == len(all) {
		return nil
	}
	index := vuln.NewIndex()
	var whole bytes.Buffer
	for _, image := range rest {
		record, err := index.Record(image, m.index.Packages(image))
		if err != nil {
			return err
		}
		whole.Write(record)
	}
	path := m.file.Name()
	err := disk.WriteWhole(path, whole.Bytes(), 0o600)
	if err != nil {
		return disk.Error(err, "remembering the packages of images")
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_ = m.file.Close() // it has no name any more
	m.file, m.index = f, index
	return nil
}

// Use hands the index to f; nobody else has it meanwhile.
func (m *Images) Use(f func(*vuln.Index) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return f(m.index)
}
