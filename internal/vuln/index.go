package vuln

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"imx"
)

// Index remembers which packages images have, so that a feed is matched against all of them without looking into an
// image again. Images share most packages: each different one is kept, and matched, once. One goroutine at a time may
// use an Index.
type Index struct {
	packages []Package
	number   map[string]uint32 // of a package, by its key
	images   map[imx.Digest][]uint32
}

// NewIndex returns an Index without images.
func NewIndex() *Index {
	return &Index{number: map[string]uint32{}, images: map[imx.Digest][]uint32{}}
}

// Add puts an image with its packages into the index, in place of what it had of it.
func (x *Index) Add(image imx.Digest, packages []Package) {
	numbers := make([]uint32, 0, len(packages))
	for _, p := range packages {
		numbers = append(numbers, x.intern(p))
	}
	slices.Sort(numbers)
	x.images[image] = slices.Compact(numbers)
}

func (x *Index) intern(p Package) uint32 {
	key := packageKey(p)
	if n, ok := x.number[key]; ok {
		return n
	}
	n := uint32(len(x.packages)) //nolint:gosec // fewer than a machine's memory holds
	x.packages = append(x.packages, p)
	x.number[key] = n
	return n
}

func packageKey(p Package) string {
	b := make([]byte, 0, 128)
	add := func(text string) { b = append(binary.AppendUvarint(b, uint64(len(text))), text...) }
	add(p.Ecosystem)
	add(p.Name)
	add(p.Version)
	for _, one := range p.Binaries {
		add(one.Name)
		add(one.Version)
	}
	for _, file := range p.Files {
		add("")
		add(file)
	}
	return string(b)
}

// Has reports whether the image was added.
func (x *Index) Has(image imx.Digest) bool { _, ok := x.images[image]; return ok }

// Size returns the numbers of images and of different packages.
func (x *Index) Size() (images, packages int) { return len(x.images), len(x.packages) }

// Images returns the images that were added, sorted.
func (x *Index) Images() []imx.Digest { return slices.Sorted(maps.Keys(x.images)) }

// Packages returns the packages of an image.
func (x *Index) Packages(image imx.Digest) []Package {
	all := make([]Package, 0, len(x.images[image]))
	for _, n := range x.images[image] {
		all = append(all, x.packages[n])
	}
	slices.SortFunc(all, comparePackages)
	return all
}

// Matches is what feeds say of every image of an Index.
type Matches struct {
	x     *Index
	found [][]imx.Vulnerability // by the package's number
}

// Match matches feeds against every package of the images, or of all of them where none is named, once.
// Errors: as Find.
func (x *Index) Match(feeds []Feed, images ...imx.Digest) (*Matches, error) {
	m := &Matches{x: x, found: make([][]imx.Vulnerability, len(x.packages))}
	wanted := make([]bool, len(x.packages))
	for _, image := range images {
		for _, n := range x.images[image] {
			wanted[n] = true
		}
	}
	byName := map[[2]string][]uint32{} // so that the feeds are asked of each name once
	for n, p := range x.packages {
		if len(images) == 0 || wanted[n] {
			name := [2]string{p.Ecosystem, p.Name}
			byName[name] = append(byName[name], uint32(n))
		}
	}
	for name, numbers := range byName {
		said, err := ask(name[0], name[1], feeds)
		if err != nil {
			return nil, err
		}
		for _, n := range numbers {
			if said == nil {
				break
			}
			if m.found[n], err = said.find(x.packages[n], feeds); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// Image returns the vulnerabilities of one image, the gravest first: what Scan returns for its packages.
func (m *Matches) Image(image imx.Digest) []imx.Vulnerability {
	all := []imx.Vulnerability{}
	for _, n := range m.x.images[image] {
		all = append(all, m.found[n]...)
	}
	slices.SortStableFunc(all, Graver)
	return all
}

// Count returns how many vulnerabilities an image has.
func (m *Matches) Count(image imx.Digest) int {
	n := 0
	for _, p := range m.x.images[image] {
		n += len(m.found[p])
	}
	return n
}

// With returns the images that have a vulnerability by the name, sorted.
func (m *Matches) With(id string) []imx.Digest {
	has := make([]bool, len(m.found))
	for n, found := range m.found {
		has[n] = slices.ContainsFunc(found, func(v imx.Vulnerability) bool { return Names(v, id) })
	}
	var all []imx.Digest
	for image, packages := range m.x.images {
		if slices.ContainsFunc(packages, func(n uint32) bool { return has[n] }) {
			all = append(all, image)
		}
	}
	slices.Sort(all)
	return all
}

// Names reports whether a vulnerability goes by the name, in small letters or capitals.
func Names(v imx.Vulnerability, id string) bool {
	same := func(name string) bool { return strings.EqualFold(name, id) }
	return same(v.ID) || slices.ContainsFunc(v.Aliases, same) || slices.ContainsFunc(v.Advisories, same)
}

// All returns every different package that images of the index have, in no order.
func (x *Index) All() []Package { return x.packages }

// line is one line of an index as it is kept: a package, which gets the next number, or an image with its packages'
// numbers.
type line struct {
	Package *Package   `json:"package,omitempty"`
	Image   imx.Digest `json:"image,omitempty"`
	Has     []uint32   `json:"has,omitempty"`
}

// Record adds an image and returns the lines that ReadIndex needs to know of it.
func (x *Index) Record(image imx.Digest, packages []Package) ([]byte, error) {
	known := len(x.packages)
	x.Add(image, packages)
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	for i := range x.packages[known:] {
		if err := out.Encode(line{Package: &x.packages[known+i]}); err != nil {
			return nil, err
		}
	}
	err := out.Encode(line{Image: image, Has: x.images[image]})
	return b.Bytes(), err
}

// ReadIndex reads what Record wrote, and returns how many bytes of it are whole: a crash leaves a part of the last
// record. Errors: Refused for anything else; r's own.
func ReadIndex(r io.Reader) (x *Index, whole int64, err error) {
	x = NewIndex()
	lines := bufio.NewReaderSize(r, 1<<20)
	packages := 0 // those that whole records brought
	for at := int64(0); ; {
		text, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			x.forget(packages)
			return x, whole, nil
		}
		if err != nil {
			return nil, 0, err
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, 0, refused("the index of images is damaged: %w", err)
		}
		at += int64(len(text))
		switch {
		case l.Package != nil:
			if int(x.intern(*l.Package))+1 != len(x.packages) {
				return nil, 0, refused("the index of images is damaged: %s stands in it twice", clip(l.Package.Name))
			}
		case slices.ContainsFunc(l.Has, func(n uint32) bool { return int(n) >= len(x.packages) }):
			return nil, 0, refused("the index of images is damaged: %s has packages that it doesn't know", l.Image.Short())
		default:
			x.images[l.Image] = l.Has
			whole, packages = at, len(x.packages)
		}
	}
}

// forget drops all packages but the first n, which no image has.
func (x *Index) forget(n int) {
	for _, p := range x.packages[n:] {
		delete(x.number, packageKey(p))
	}
	x.packages = x.packages[:n]
}
