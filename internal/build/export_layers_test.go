package build

import (
	"io"
	"time"

	"imx"
	"imx/internal/erofs"
)

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
