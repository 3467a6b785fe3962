package eventlog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// tilePath is where a tile of some width lies. C2SP's paths are those of package tlog without the
// height, which is always 8.
func tilePath(dir string, level int, number int64, width int) string {
	path := tlog.Tile{H: tileHeight, L: level, N: number, W: width}.Path()
	return filepath.Join(dir, "tile", filepath.FromSlash(strings.TrimPrefix(path, "tile/8/")))
}

// partials is the folder of a tile's partial forms.
func partials(dir string, level int, number int64) string {
	return tilePath(dir, level, number, tileWidth) + ".p"
}

func (t tile) data() []byte {
	b := make([]byte, 0, len(t.hashes)*tlog.HashSize)
	for _, h := range t.hashes {
		b = append(b, h[:]...)
	}
	return b
}

func (t tile) path(dir string) string { return tilePath(dir, t.level, t.number, len(t.hashes)) }

// covers is the first event that the hash at a position of the tile covers.
func (t tile) covers(position int) int64 {
	return (t.number<<tileHeight + int64(position)) << (tileHeight * t.level)
}

// flaw is a tile file that isn't what the records say. It names the first event that is covered
// by what differs.
type flaw struct {
	level int
	first int64
	path  string
	data  []byte // what should be there; nil where the file should go
	why   string
}

// inspect compares all files of a tile with what it should hold, as far as the tree goes, and
// asks for one of them that holds all of it. A server may be writing wider ones and deleting
// narrower ones at the same time.
func (t tile) inspect(dir string) ([]flaw, error) {
	const attempts = 3 // between two looks a wider tile took the place of all narrower ones
	var flaws []flaw
	for range attempts {
		var whole bool
		var err error
		if flaws, whole, err = t.look(dir); err != nil || whole {
			return flaws, err
		}
	}
	path := t.path(dir)
	return append(flaws, flaw{level: t.level, first: t.covers(0), path: path, data: t.data(), why: "it is missing"}), nil
}

// look compares the files that are there, and reports whether one of them is wide enough.
func (t tile) look(dir string) (flaws []flaw, whole bool, err error) {
	widths := []int{tileWidth}
	entries, err := os.ReadDir(partials(dir, t.level, t.number))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	for _, e := range entries {
		if w, err := strconv.Atoi(e.Name()); err == nil && w > 0 && w < tileWidth {
			widths = append(widths, w)
		}
	}
	want := t.data()
	for _, w := range widths {
		got, err := os.ReadFile(tilePath(dir, t.level, t.number, w))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		whole = whole || w >= len(t.hashes)
		known := min(w, len(t.hashes)) * tlog.HashSize
		if len(got) == w*tlog.HashSize && bytes.Equal(got[:known], want[:known]) {
			continue
		}
		position := min(differ(got, want[:known])/tlog.HashSize, w-1, len(t.hashes)-1)
		f := flaw{level: t.level, first: t.covers(position), path: tilePath(dir, t.level, t.number, w), why: "it differs from what the records give"}
		if w <= len(t.hashes) {
			f.data = want[:known]
		}
		flaws = append(flaws, f)
	}
	return flaws, whole, nil
}

// differ is the position of the first byte in which two texts differ.
func differ(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// beyond returns the tile files that hold more than the tree has: a commit that failed left them.
func beyond(dir string, t *tree) ([]string, error) {
	var extra []string
	top := filepath.Join(dir, "tile")
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == top {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		at, err := tlog.ParseTilePath("tile/8/" + filepath.ToSlash(rel))
		if err != nil || at.L < 0 {
			extra = append(extra, path)
			return nil //nolint:nilerr // no tile has that name: it is a temporary file
		}
		hashes := t.size >> (tileHeight * at.L)
		if at.N<<tileHeight+int64(at.W) > hashes {
			extra = append(extra, path)
		}
		return nil
	})
	return extra, err
}

// tileFiles reads tiles for proofs. It implements tlog.TileReader.
type tileFiles struct{ dir string }

// Height implements tlog.TileReader.
func (tileFiles) Height() int { return tileHeight }

// SaveTiles implements tlog.TileReader. The tiles came from the disk.
func (tileFiles) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles implements tlog.TileReader. Where the tile grew meanwhile, it takes it from the full one.
func (r tileFiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	list := make([][]byte, 0, len(tiles))
	for _, t := range tiles {
		data, err := os.ReadFile(tilePath(r.dir, t.L, t.N, t.W))
		if errors.Is(err, fs.ErrNotExist) {
			data, err = os.ReadFile(tilePath(r.dir, t.L, t.N, tileWidth))
		}
		if err != nil {
			return nil, err
		}
		if len(data) < t.W*tlog.HashSize {
			return nil, fmt.Errorf("tile %s is cut short", t.Path())
		}
		list = append(list, data[:t.W*tlog.HashSize])
	}
	return list, nil
}
