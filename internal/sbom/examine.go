package sbom

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // SPDX 2.3 wants a SHA-1 of each file; nothing is trusted for it
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"path"
	"slices"
	"strings"

	"imx"
	"imx/internal/inventory"
)

// Contents is what was found inside an image's files.
type Contents struct {
	SHA1       map[imx.Digest]string // hex, by the digest of a file's content
	Copyrights map[string]string     // texts of the packages' copyright files, by path
	Components []Component           // sorted
	Missed     []Missed              // sorted; the first of them
	More       int                   // files that were missed, too
	Vendor     string                // the distribution's, by os-release(5): "debian"
	Codename   string                // the release's: "bookworm"
}

// The most that is read of a file at once, in bytes: programs with all their libraries in them have some 200 MB.
const (
	maxText   = 1 << 20
	maxBinary = 512 << 20
)

// Examine reads the layers of an image once, as inventory.Scan does, and looks into its files for what they say
// of themselves. A file that isn't what its name or its first bytes promise is passed over: it says nothing. Whoever
// made the image made the files, too, so that what they can cost is bounded; what is over the bounds is in Missed.
// Errors: as inventory.Scan; ctx's.
func Examine(ctx context.Context, layers iter.Seq2[io.Reader, error]) (imx.Inventory, Contents, error) {
	x := examination{sums: map[string]string{}, texts: map[string]string{}, components: map[string][]Component{}, missed: map[string]string{}, left: imageBudget()}
	inv, err := inventory.Look(layers, func(name string, size int64, content io.Reader) error { return x.see(ctx, name, size, content) })
	if err != nil {
		return inv, Contents{}, err
	}
	return inv, x.contents(inv), nil
}

type examination struct {
	sums       map[string]string // by path, as all of these
	texts      map[string]string
	components map[string][]Component
	missed     map[string]string
	left       budget
	kept       int64        // bytes of texts and of components' names, those of replaced files too
	buffer     bytes.Buffer // of the file at hand
}

// see takes in one file.
func (x *examination) see(ctx context.Context, name string, size int64, content io.Reader) error {
	sum := sha1.New() //nolint:gosec // as above
	r := bufio.NewReaderSize(io.TeeReader(patient{ctx, content}, sum), 64<<10)
	delete(x.texts, name)
	delete(x.components, name)
	delete(x.missed, name)
	if err := x.look(ctx, name, size, r); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	x.sums[name] = hex.EncodeToString(sum.Sum(nil))
	return nil
}

func (x *examination) look(ctx context.Context, name string, size int64, r *bufio.Reader) error {
	begin, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	find, limit := finder(name, begin), int64(maxText)
	switch {
	case isCopyright(name), isRelease(name):
	case find == nil:
		return nil
	case isBinary(begin):
		limit = maxBinary
	}
	if size > limit {
		x.missed[name] = "it has more than " + imx.Size(limit).String()
		return nil
	}
	x.buffer.Reset()
	if _, err := x.buffer.ReadFrom(r); err != nil {
		return err
	}
	if find == nil {
		x.keep(name, int64(x.buffer.Len()), func() { x.texts[name] = x.buffer.String() })
		return nil
	}
	return x.search(ctx, name, find)
}

// search looks for components in the file at hand.
func (x *examination) search(ctx context.Context, name string, find finding) error {
	before := x.left.forFile()
	budget := before
	found := find(ctx, name, x.buffer.Bytes(), &budget)
	x.left.spend(before, budget)
	if budget.why != "" {
		x.missed[name] = budget.why
	}
	size := int64(0)
	for i := range found {
		found[i].Path = name
		size += int64(len(found[i].Group) + len(found[i].Name) + len(found[i].Version))
	}
	if len(found) > 0 {
		x.keep(name, size, func() { x.components[name] = found })
	}
	return ctx.Err()
}

// keep keeps something of a file, if there is room for its bytes.
func (x *examination) keep(name string, size int64, put func()) {
	if x.kept+size > imageTexts {
		x.missed[name] = "the image's copyright files and components have more text than the " + imx.Size(imageTexts).String() + " that are kept"
		return
	}
	x.kept += size
	put()
}

// finding looks for components in a file, within a budget.
type finding func(ctx context.Context, name string, content []byte, b *budget) []Component

// finder returns what looks for components in a file, or nil.
func finder(name string, begin []byte) finding {
	switch base := path.Base(name); {
	case bytes.HasPrefix(begin, []byte("\x7fELF")):
		return inProgram
	case bytes.HasPrefix(begin, []byte("PK\x03\x04")):
		if slices.Contains([]string{".jar", ".war", ".ear"}, path.Ext(base)) {
			return inArchive
		}
	case base == "package.json":
		return inNode
	case base == "METADATA" && strings.HasSuffix(path.Dir(name), ".dist-info"),
		base == "PKG-INFO" && strings.HasSuffix(path.Dir(name), ".egg-info"), strings.HasSuffix(base, ".egg-info"):
		return inPython
	}
	return nil
}

func isBinary(begin []byte) bool {
	return bytes.HasPrefix(begin, []byte("\x7fELF")) || bytes.HasPrefix(begin, []byte("PK\x03\x04"))
}

const (
	docFolder = "/usr/share/doc/"
	copyright = "/copyright"
)

func isCopyright(name string) bool {
	return strings.HasPrefix(name, docFolder) && strings.HasSuffix(name, copyright)
}

func isRelease(name string) bool { return name == "/etc/os-release" || name == "/usr/lib/os-release" }

// contents are the findings in the files that are there in the end.
func (x *examination) contents(inv imx.Inventory) Contents {
	c := Contents{SHA1: map[imx.Digest]string{}, Copyrights: map[string]string{}}
	for _, p := range inv.Paths {
		sum, ok := x.sums[p.Path]
		if p.Kind != imx.PathFile || !ok {
			continue
		}
		c.SHA1[p.Digest] = sum
		if why, ok := x.missed[p.Path]; ok && len(c.Missed) < maxMissed {
			c.Missed = append(c.Missed, Missed{p.Path, why})
		} else if ok {
			c.More++
		}
		c.Components = append(c.Components, x.components[p.Path]...)
		text, ok := x.texts[p.Path]
		switch {
		case ok && isRelease(p.Path):
			c.Vendor, c.Codename = release(text)
		case ok:
			c.Copyrights[p.Path] = text
		}
	}
	slices.SortFunc(c.Components, compareComponents)
	c.Components = slices.Compact(c.Components)
	return c
}

// release reads os-release(5).
func release(text string) (vendor, codename string) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		if strings.Trim(value, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
			continue // nothing that is of use in a name
		}
		switch key {
		case "ID":
			vendor = value
		case "VERSION_CODENAME":
			codename = value
		}
	}
	return vendor, codename
}

// Check compares what the layers of an image hold with an inventory that was kept with it. Errors: Refused, with
// the first path that differs.
func Check(kept, found imx.Inventory) error {
	differs := func(name, how string) error {
		return imx.Errorf(imx.Refused, "the image isn't what its inventory says: %s %s", name, how).
			WithHint("build it again: imx build")
	}
	there := make(map[string]imx.InventoryPath, len(found.Paths))
	for _, p := range found.Paths {
		there[p.Path] = p
	}
	for _, p := range kept.Paths {
		q, ok := there[p.Path]
		delete(there, p.Path)
		p.Origin, p.Package, p.Listens = "", "", false // what layers don't say
		switch {
		case !ok:
			return differs(p.Path, "isn't in its layers")
		case p != q:
			return differs(p.Path, "is another in its layers")
		}
	}
	for _, p := range found.Paths {
		if _, more := there[p.Path]; more {
			return differs(p.Path, "is in its layers, too")
		}
	}
	return nil
}
