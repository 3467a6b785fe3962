package inventory

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"imx"
	"imx/internal/changeset"
	"imx/internal/deb"
)

const (
	// maxPaths bounds how many paths a scan takes in: the largest images have some 500,000.
	maxPaths = 2_000_000
	// maxPath is how long a path may be, in bytes: Linux takes no longer ones.
	maxPath = 4096
	// maxFile bounds the files that a scan keeps to read: dpkg's status of a full desktop has 5 MB.
	maxFile = 32 << 20
	// maxKept bounds them together: some builders write a file for each package.
	maxKept = 128 << 20
)

// Scan makes do without an inventory: it reads the layers of an image, as tar archives without
// compression, the lowest first. Packages are those of dpkg's status files. What layers don't
// say (who brought a path, what listens, what was asked for) is left empty.
//
// Errors: Invalid for what is no layer or is absurdly large; those that layers yields.
func Scan(layers iter.Seq2[io.Reader, error]) (imx.Inventory, error) {
	return Look(layers, func(string, int64, io.Reader) error { return nil })
}

// Look is Scan, and shows each file of each layer to see on the way: its path, size and content, of which see
// may read as much as it wants. A later layer may replace or remove what was shown.
func Look(layers iter.Seq2[io.Reader, error], see func(name string, size int64, content io.Reader) error) (imx.Inventory, error) {
	s := scan{kept: map[string][]byte{}, see: see}
	number := 0
	for layer, err := range layers {
		number++
		if err == nil {
			err = s.layer(layer)
		}
		if err != nil {
			return imx.Inventory{}, fmt.Errorf("layer %d: %w", number, err)
		}
	}
	inv := imx.Inventory{Version: imx.InventoryVersion}
	for _, p := range s.paths.All() {
		inv.Paths = append(inv.Paths, p)
	}
	slices.SortFunc(inv.Paths, func(a, b imx.InventoryPath) int { return cmp.Compare(a.Path, b.Path) })
	inv.Users = imx.ReadUsers(string(s.kept["/etc/passwd"]))
	var err error
	inv.Packages, err = s.packages()
	return inv, err
}

type scan struct {
	paths changeset.Stack[imx.InventoryPath]
	kept  map[string][]byte // contents of the few files that say more
	size  int64             // of those
	see   func(name string, size int64, content io.Reader) error
}

// layer lays one layer over those before it.
func (s *scan) layer(r io.Reader) error {
	entries := tar.NewReader(r)
	s.paths.Layer()
	for {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return imx.Errorf(fault(err), "the layer can't be read: %w", err)
		}
		name := path.Join("/", h.Name) //nolint:gosec // G305: nothing is extracted, names are only listed
		if len(name) > maxPath {
			return imx.Errorf(imx.Invalid, "the layer has a path of %d bytes, %q and so on: Linux takes no more than %d", len(name), name[:64], maxPath)
		}
		if s.paths.Whiteout(name) || name == "/" {
			continue
		}
		if err := s.entry(name, h, entries); err != nil {
			return err
		}
		if s.paths.Names() > maxPaths {
			return imx.Errorf(imx.Invalid, "the image is absurdly large: more than %d paths", maxPaths)
		}
	}
}

// entry takes one entry of a layer in. Devices and the like, which no engine makes, are left out.
func (s *scan) entry(name string, h *tar.Header, content io.Reader) error {
	p := imx.InventoryPath{Path: name, Mode: imx.Mode(h.Mode & 0o7777), UID: h.Uid, GID: h.Gid}
	if raw := h.PAXRecords["SCHILY.xattr.security.capability"]; raw != "" {
		p.Capabilities = hex.EncodeToString([]byte(raw))
	}
	switch h.Typeflag {
	case tar.TypeDir:
		p.Kind = imx.PathDirectory
	case tar.TypeSymlink:
		p.Kind, p.Target, p.Mode = imx.PathLink, h.Linkname, 0o777
	case tar.TypeLink:
		other, ok := s.paths.Get(h.Linkname)
		if !ok {
			return imx.Errorf(imx.Invalid, "%s is a link to %s, which isn't there", name, h.Linkname)
		}
		p, p.Path = other, name
	case tar.TypeReg:
		if sparse(h) {
			return imx.Errorf(imx.Invalid, "%s is a sparse file, which no layer may have", name)
		}
		p.Kind, p.Size = imx.PathFile, h.Size
		var err error
		if p.Digest, err = s.read(name, h.Size, content); err != nil {
			return err
		}
	default:
		s.paths.Remove(name)
		return nil
	}
	if p.Kind == imx.PathDirectory {
		s.paths.Put(name, p)
	} else {
		s.paths.PutLeaf(name, p)
	}
	return nil
}

// fault is whose a layer's error is: that of whoever gives out its bytes, or the layer's own.
func fault(err error) imx.Kind {
	if e, ok := errors.AsType[*imx.Error](err); ok {
		return e.Kind
	}
	return imx.Invalid
}

// sparse reports whether a file is longer than what the archive holds of it, by any amount that a few
// bytes can say: reading it would never end.
func sparse(h *tar.Header) bool {
	for record := range h.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// read returns the digest of a file's content, and keeps that where it says more.
func (s *scan) read(name string, size int64, content io.Reader) (imx.Digest, error) {
	sum := sha256.New()
	content = io.TeeReader(content, sum)
	if telling(name) {
		if size > maxFile {
			return "", imx.Errorf(imx.Invalid, "%s has %s, more than the %s that it may have", name, imx.Size(size), imx.Size(maxFile))
		}
		if s.size += size - int64(len(s.kept[name])); s.size > maxKept {
			return "", imx.Errorf(imx.Invalid, "the lists of packages have more than the %s that they may have together", imx.Size(maxKept))
		}
		raw, err := io.ReadAll(content)
		if err != nil {
			return "", imx.Errorf(fault(err), "the layer breaks off in %s: %w", name, err)
		}
		s.kept[name], content = raw, bytes.NewReader(raw)
	}
	if err := s.see(name, size, content); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if _, err := io.Copy(io.Discard, content); err != nil {
		return "", imx.Errorf(fault(err), "the layer breaks off in %s: %w", name, err)
	}
	return imx.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil))), nil
}

const (
	statusFile   = "/var/lib/dpkg/status"
	statusFolder = "/var/lib/dpkg/status.d/"
)

// telling reports whether a file tells of users or packages. Beside the stanzas in status.d some
// builders keep checksums, under names with an ending.
func telling(name string) bool {
	return name == "/etc/passwd" || name == statusFile || strings.HasPrefix(name, statusFolder) && !strings.HasSuffix(name, ".md5sums")
}

// packages reads the installed packages, sorted by name. A name that several architectures have
// stands once.
func (s *scan) packages() ([]imx.InventoryPackage, error) {
	found := map[string]imx.InventoryPackage{}
	for _, name := range slices.Sorted(maps.Keys(s.kept)) {
		if _, there := s.paths.Get(name); !there || name == "/etc/passwd" {
			continue
		}
		stanzas := deb.ReadStanzas(strings.NewReader(string(s.kept[name])), name)
		for {
			stanza, err := stanzas.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, imx.Errorf(imx.Invalid, "%s: %w", name, err)
			}
			if p := packageOf(stanza); p.Name != "" {
				found[p.Name] = p
			}
		}
	}
	list := make([]imx.InventoryPackage, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		list = append(list, found[name])
	}
	return list, nil
}

// packageOf reads a stanza of dpkg's status; the result has no name where its package isn't installed.
func packageOf(s *deb.Stanza) imx.InventoryPackage {
	if status := s.Field("status"); status != "" && !strings.HasSuffix(status, " installed") {
		return imx.InventoryPackage{}
	}
	return s.Inventory()
}
