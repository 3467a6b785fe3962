package build

import (
	"context"
	"io"
	"path/filepath"
	"time"

	"imx"
	"imx/internal/erofs"
)

// Rewrite unpacks a .deb into an empty folder, checks it and writes it without compression, as a build
// does for dpkg.
func Rewrite(ctx context.Context, dir string, out io.WriteSeeker, in io.Reader, p imx.Package) error {
	at := filepath.Join(dir, "package")
	return inOrder(
		func() error { return splitDeb(ctx, at, in) },
		func() error { _, err := decompressAll(ctx, dir); return err },
		func() error { return check(at, p) },
		func() error { return writeDeb(out, at) },
	)
}

// ArHeader returns the header of an ar member.
func ArHeader(name string, size int64) string { return arHeader(name, size) }

// Matches reports whether one pattern covers a path.
func Matches(pattern, name string) bool { return matches([]string{pattern}, name) }

// Follow resolves a path in a root of which link knows the symbolic links.
func Follow(name string, link func(string) (string, bool)) (string, error) { return follow(name, link) }

// Unlayer reads the entries of a layer's tar archive.
func Unlayer(name string) (map[string]erofs.Entry, error) {
	u := &unlayer{entries: map[string]erofs.Entry{}, parents: map[string]bool{}}
	return u.entries, u.add(name)
}

// What arrange takes and gives.
type (
	Item    = item
	Tree    = tree
	Shipped = shipped
)

// Ship returns a package with what its .deb has.
func Ship(name, source string, has map[string]*item) Shipped {
	p := imx.InventoryPackage{Package: imx.Package{Name: name}, Source: source}
	return shipped{InventoryPackage: p, has: has}
}

// Arrange returns the items of each layer, and what each is.
func Arrange(t Tree, ships []Shipped, epoch time.Time) (layers [][]*Item, says []string) {
	for _, g := range arrange(t, ships, epoch) {
		layers, says = append(layers, g.items), append(says, g.says)
	}
	return layers, says
}

// ReadProgram reads an ELF file.
func ReadProgram(r io.ReaderAt) (runs, listens bool, err error) {
	p, err := readProgram(r)
	return p.Runs, p.Listens, err
}

// Differences compares two trees.
func Differences(first, second map[string]erofs.Entry) ([]imx.PathDifference, error) {
	return differences(first, second)
}
