package pack

import "imx/internal/erofs"

// Unlayer reads the entries of a layer's tar archive.
func Unlayer(name string) (map[string]erofs.Entry, error) {
	u := &unlayer{entries: map[string]erofs.Entry{}, parents: map[string]bool{}}
	return u.entries, u.add(0, name)
}
