package feed

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"imx"
	"imx/internal/deb"
	"imx/internal/disk"
	"imx/internal/vuln"
)

const (
	maxChangelog = 64 << 20 // bytes without compression; the longest has 8 MB
	maxDebData   = 8 << 30  // bytes of a package's files that are passed over at most
	maxDebWindow = 128 << 20
)

// Log is what a .deb says of its source package's past.
type Log struct {
	Changes []vuln.Change `json:"changes"`
	// Elsewhere names the package that has the changelog, where this one only points to it.
	Elsewhere string `json:"elsewhere,omitempty"`
}

// Changelog returns what a .deb of the source package says, and remembers it by the .deb's digest. open is called only
// where it isn't known yet. Errors: Refused for a .deb that can't be read; NotFound for one without a changelog.
func (s *Store) Changelog(name, source string, d imx.Digest, open func() (io.ReadCloser, error)) (Log, error) {
	file := s.changelogFile(d)
	if raw, err := os.ReadFile(file); err == nil {
		var known Log
		if json.Unmarshal(raw, &known) == nil {
			return known, nil
		}
	}
	r, err := open()
	if err != nil {
		return Log{}, err
	}
	defer func() { _ = r.Close() }() // it was only read from
	found, err := readChangelog(r, name, source)
	if err != nil {
		return Log{}, err
	}
	raw, err := json.Marshal(found)
	if err != nil {
		return Log{}, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return Log{}, err
	}
	return found, disk.Error(disk.WriteWhole(file, raw, 0o600), "remembering a changelog")
}

func (s *Store) changelogFile(d imx.Digest) string {
	return filepath.Join(s.dir, changelogs, d.Hex()+metadata)
}

// KeepChangelogs forgets those of all other .debs.
func (s *Store) KeepChangelogs(used map[imx.Digest]bool) error {
	entries, err := os.ReadDir(filepath.Join(s.dir, changelogs))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		d, bad := imx.ParseDigest("sha256:" + strings.TrimSuffix(e.Name(), metadata))
		if bad != nil || !used[d] {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, changelogs, e.Name())))
		}
	}
	return err
}

const changelogs = "changelogs"

// readChangelog finds the Debian changelog in a .deb. Native packages have only changelog.gz, and rebuilt ones one
// more for their architecture, which says nothing of fixes.
func readChangelog(r io.Reader, name, source string) (Log, error) {
	files, err := dataTar(r)
	if err != nil {
		return Log{}, err
	}
	folder := "usr/share/doc/" + name
	var native *Log
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Log{}, imx.Errorf(imx.Refused, "package %s can't be read: %w", name, err)
		}
		at, err := deb.CleanPath(h.Name)
		switch {
		case err != nil:
			return Log{}, err
		case at == folder && h.Typeflag == tar.TypeSymlink:
			return Log{Elsewhere: path.Base(h.Linkname)}, nil
		case at == folder+"/changelog.Debian.gz" && h.Typeflag == tar.TypeReg:
			return gunzipChangelog(files, source)
		case at == folder+"/changelog.gz" && h.Typeflag == tar.TypeReg:
			if found, err := gunzipChangelog(files, source); err == nil {
				native = &found // an upstream's changelog isn't of the form, a native package's is
			}
		}
	}
	if native != nil {
		return *native, nil
	}
	return Log{}, imx.Errorf(imx.NotFound, "package %s has no changelog", name)
}

func gunzipChangelog(r io.Reader, source string) (Log, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return Log{}, imx.Errorf(imx.Refused, "the changelog can't be decompressed: %w", err)
	}
	changes, err := vuln.ParseChangelog(io.LimitReader(z, maxChangelog), source)
	return Log{Changes: changes}, err
}

// dataTar returns the files of a .deb.
func dataTar(r io.Reader) (*tar.Reader, error) {
	members := deb.ReadAr(r)
	for {
		h, err := members.Next()
		if errors.Is(err, io.EOF) {
			return nil, imx.Errorf(imx.Refused, "the package has no data.tar")
		}
		if err != nil {
			return nil, err
		}
		if ending, ok := strings.CutPrefix(h.Name, "data.tar"); ok {
			plain, err := decompress(bufio.NewReaderSize(members, 256<<10), ending)
			if err != nil {
				return nil, imx.Errorf(imx.Refused, "the package's files can't be decompressed: %w", err)
			}
			return tar.NewReader(io.LimitReader(plain, maxDebData)), nil
		}
	}
}

func decompress(r io.Reader, ending string) (io.Reader, error) {
	switch ending {
	case "":
		return r, nil
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		return xz.ReaderConfig{DictCap: maxDebWindow}.NewReader(r)
	case ".zst":
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxDebWindow))
	}
	return nil, imx.Errorf(imx.Refused, "its compression %q isn't known", ending)
}
