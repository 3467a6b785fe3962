package pack

import (
	"maps"

	"imx/internal/erofs"
)

// Unlayer reads the entries of a layer's tar archive.
func Unlayer(name string) (map[string]erofs.Entry, error) {
	var u unlayer
	err := u.add(0, name)
	return maps.Collect(u.entries.All()), err
}
