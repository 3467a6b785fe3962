package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"imx"
	"imx/internal/deb"
	"imx/internal/disk"
)

// listMemory is how many bytes of memory the lists that are kept open may take: those of the three
// suites of a Debian release take 5 MB.
const listMemory = 48 << 20

// listCache keeps lists in a folder (docs/format/registry.md), by the digest of their plain text, and
// those used last in memory. Its methods may be called from several goroutines at once.
type listCache struct {
	dir  string
	mu   sync.Mutex
	held []held // the one used last comes last
}

// held is a list in memory. Its file stays open until nobody uses the list any more: the garbage
// collector closes it.
type held struct {
	digest imx.Digest
	list   *deb.List
}

// newListCache opens the folder, makes it where there is none, and removes what a dead process left in it.
func newListCache(dir string) (*listCache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &listCache{dir: dir}, removeStaged(dir)
}

// removeStaged removes files that a process began and never finished.
func removeStaged(dir string) error {
	halves, err := filepath.Glob(filepath.Join(dir, disk.Staged))
	for _, half := range halves {
		err = errors.Join(err, os.Remove(half))
	}
	return err
}

func (c *listCache) path(d imx.Digest) string { return filepath.Join(c.dir, d.Hex()) }

// open returns a list. It fails for one that isn't there or is damaged, or was written by another imx.
func (c *listCache) open(d imx.Digest) (*deb.List, error) {
	if l := c.recall(d); l != nil {
		return l, nil
	}
	f, err := os.Open(c.path(d))
	if err != nil {
		return nil, err
	}
	var l *deb.List
	st, err := f.Stat()
	if err == nil {
		l, err = deb.OpenList(f, st.Size(), d)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	c.remember(d, l)
	return l, nil
}

func (c *listCache) recall(d imx.Digest) *deb.List {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.held, func(h held) bool { return h.digest == d })
	if i < 0 {
		return nil
	}
	h := c.held[i]
	c.held = append(slices.Delete(c.held, i, i+1), h)
	return h.list
}

func (c *listCache) remember(d imx.Digest, l *deb.List) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = append(slices.DeleteFunc(c.held, func(h held) bool { return h.digest == d }), held{d, l})
	total := int64(0)
	for i, h := range slices.Backward(c.held) {
		if total += h.list.Memory(); total > listMemory {
			c.held = slices.Clone(c.held[i+1:])
			return
		}
	}
}

// forget empties the memory, so that lists are read and checked anew.
func (c *listCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = nil
}

// write stores a list that fill writes. It isn't synced: a list that a power cut damages is found out
// when it is opened, and fetched again.
func (c *listCache) write(d imx.Digest, fill func(io.Writer) error) (*deb.List, error) {
	t, err := c.temporary()
	if err != nil {
		return nil, err
	}
	defer t.discard()
	out := &diskWriter{w: t.File}
	err = fill(out)
	if out.err == nil && err == nil {
		out.err = os.Rename(t.Name(), c.path(d))
	}
	if out.err != nil {
		return nil, disk.Error(out.err, "storing an archive's index")
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.held = slices.DeleteFunc(c.held, func(h held) bool { return h.digest == d })
	c.mu.Unlock()
	return c.open(d)
}

// keep removes every list but the used ones, and whatever else is in the folder but for files that are
// being written.
func (c *listCache) keep(used map[imx.Digest]bool) error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if staged, _ := filepath.Match(disk.Staged, e.Name()); staged {
			continue
		}
		d, err := imx.ParseDigest("sha256:" + e.Name())
		if err == nil && used[d] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(c.dir, e.Name())); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = slices.DeleteFunc(c.held, func(h held) bool { return !used[h.digest] })
	return nil
}

// temporary is a file of the cache that isn't a list yet.
type temporary struct{ *os.File }

func (c *listCache) temporary() (*temporary, error) {
	f, err := os.CreateTemp(c.dir, disk.Staged)
	if err != nil {
		return nil, disk.Error(err, "storing an archive's index")
	}
	return &temporary{f}, nil
}

// discard closes the file and removes it, if it wasn't renamed.
func (t *temporary) discard() {
	_ = t.Close() // what was written is in the page cache, which is all that is asked for
	_ = os.Remove(t.Name())
}

// fill replaces the file's content by a transfer's, which must have the digest.
func (t *temporary) fill(r *response, want imx.Digest) error {
	if _, err := t.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := t.Truncate(0); err != nil {
		return err
	}
	h, out := sha256.New(), &diskWriter{w: t.File}
	_, err := io.CopyBuffer(io.MultiWriter(h, out), onlyReader{r}, make([]byte, 256<<10))
	if out.err != nil {
		return disk.Error(out.err, "storing an archive's index")
	}
	if err != nil {
		return err
	}
	if got := imx.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))); got != want {
		return imx.Errorf(imx.Refused, "the bytes have digest %s, wanted %s", got, want).WithHint(hintMismatch)
	}
	return nil
}

// onlyReader hides what else a reader can do, so that io.CopyBuffer uses its buffer.
type onlyReader struct{ io.Reader }

// diskWriter remembers that writing failed, which an error of whoever reads and writes doesn't tell.
type diskWriter struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (d *diskWriter) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if err != nil {
		d.err = err
	}
	return n, err
}

// namedDigests returns the digests that a kept InRelease lists. It verified when it was kept, and
// here nothing but what is deleted from the cache hangs on it.
func namedDigests(raw []byte) []imx.Digest {
	var all []imx.Digest
	for line := range bytes.Lines(raw) {
		words := bytes.Fields(line)
		if len(words) != 3 {
			continue
		}
		if d, err := imx.ParseDigest("sha256:" + string(words[0])); err == nil {
			all = append(all, d)
		}
	}
	return all
}
