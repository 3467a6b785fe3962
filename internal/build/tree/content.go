package tree

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"runtime"

	"golang.org/x/sync/errgroup"

	"imx"
)

// Text is a file of root's with the content.
func Text(name string, content []byte) *Item {
	return &Item{
		Path: name, Mode: 0o644, Size: int64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
}

// maxContent bounds the files that are read into memory: accounts, stanzas, lists. Debian's largest have 100 KiB.
const maxContent = 16 << 20

// Content returns what is in a small file; a large one is Refused.
func (it *Item) Content() ([]byte, error) {
	if it.Size == 0 {
		return nil, nil
	}
	if it.Size > maxContent {
		return nil, imx.Errorf(imx.Refused, "/%s has %s, more than the %s that it may have", it.Path, imx.Size(it.Size), imx.Size(maxContent))
	}
	r, err := it.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// FirstLine returns what a file begins with: its first line, or as much of it as the kernel would read.
func (it *Item) FirstLine() (string, error) {
	if it.Size == 0 {
		return "", nil
	}
	r, err := it.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	line, _, err := bufio.NewReaderSize(r, 256).ReadLine()
	return string(line), err
}

// SameContent reports whether two files have the same bytes. Neither is read whole into memory: scripts make databases.
func (it *Item) SameContent(other *Item) (bool, error) {
	if it.Size != other.Size || it.Size == 0 {
		return it.Size == other.Size, nil
	}
	a, err := it.Open()
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := other.Open()
	if err != nil {
		return false, err
	}
	defer b.Close()
	one, two := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, errA := io.ReadFull(a, one)
		m, errB := io.ReadFull(b, two)
		ended := errors.Is(errA, io.EOF) || errors.Is(errA, io.ErrUnexpectedEOF)
		switch {
		case errA != nil && !ended:
			return false, errA
		case errB != nil && !errors.Is(errB, io.EOF) && !errors.Is(errB, io.ErrUnexpectedEOF):
			return false, errB
		case !bytes.Equal(one[:n], two[:m]):
			return false, nil
		case ended:
			return true, nil
		}
	}
}

// Digest is the digest of all that r gives.
func Digest(r io.Reader) (imx.Digest, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return imx.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))), nil
}

// IsAs reports whether nothing changed an item since its package was unpacked, but for setuid and
// setgid, which are taken off by a rule.
func (it *Item) IsAs(was *Item) bool {
	plain := was.Mode
	if !plain.IsDir() {
		plain &^= fs.ModeSetuid | fs.ModeSetgid
	}
	return (it.Mode == was.Mode || it.Mode == plain) && it.Caps == "" &&
		it.UID == was.UID && it.GID == was.GID && it.Link == was.Link && it.Digest == was.Digest
}

// Sum fills in the digests of the tree's files.
func (t Tree) Sum(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, it := range t {
		if !it.Mode.IsRegular() {
			continue
		}
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r, err := it.Open()
			if err != nil {
				return err
			}
			it.Digest, err = Digest(r)
			return errors.Join(err, r.Close())
		})
	}
	return g.Wait()
}

// Inventory is what an inventory says of the item.
func (it *Item) Inventory() imx.InventoryPath {
	kind := imx.PathFile
	switch {
	case it.Mode.IsDir():
		kind = imx.PathDirectory
	case it.Mode&fs.ModeSymlink != 0:
		kind = imx.PathLink
	}
	return imx.InventoryPath{
		Path: "/" + it.Path, Kind: kind, Mode: imx.Mode(Octal(it.Mode)), UID: it.UID, GID: it.GID, //nolint:gosec // at most 07777
		Size: it.Size, Digest: it.Digest, Target: it.Link, Capabilities: it.Caps, Origin: it.Origin, Package: it.Owner,
	}
}
