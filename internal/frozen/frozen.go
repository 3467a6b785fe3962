// Package frozen knows the two forms of a frozen set of packages: an OCI artifact, and the same as one
// file, an OCI layout in a tar (docs/format/frozen.md). Bytes go in and come out; it keeps no file, asks no
// registry, and doesn't look into packages.
package frozen

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/deb"
	"imx/internal/plan"
)

// The media types of a frozen set.
const (
	ArtifactType = "application/vnd.imx.frozen.v1"
	LockType     = "application/vnd.imx.lock.v1+json"
	PackageType  = "application/vnd.debian.binary-package"
)

// ManifestType is that of a set's manifest, as of an image's.
const ManifestType = ocispec.MediaTypeImageManifest

// The most that a manifest and a lock may have, in bytes: the registry's limit of a manifest, and that
// of a request.
const (
	maxManifest = 4 << 20
	maxLock     = 16 << 20
)

// Set is a frozen set without the packages' bytes.
type Set struct {
	Manifest []byte // OCI
	Config   []byte // the manifest's, which says nothing
	LockFile []byte
	Lock     imx.Lock
	Layers   []Layer // the lock's packages, each digest once, sorted by file name
}

// Layer is one package's place in a set.
type Layer struct {
	Digest imx.Digest
	Size   int64
	Title  string // the package's file name
}

// Make makes the set of a lock: the same for the same lock.
func Make(lock imx.Lock) (Set, error) {
	s := Set{Lock: lock, LockFile: plan.FormatLock(lock), Config: []byte("{}"), Layers: layers(lock)}
	if len(s.Layers) == 0 {
		return Set{}, imx.Errorf(imx.Invalid, "the lock names no package, so there is nothing to freeze").
			WithHint("an image that is made of the template's files alone needs no archive")
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ManifestType, ArtifactType: ArtifactType,
		Config: describe(ocispec.MediaTypeEmptyJSON, s.Config),
		Layers: []ocispec.Descriptor{titled(describe(LockType, s.LockFile), imx.LockFile)},
	}
	for _, l := range s.Layers {
		d := ocispec.Descriptor{MediaType: PackageType, Digest: digest.Digest(l.Digest), Size: l.Size}
		m.Layers = append(m.Layers, titled(d, l.Title))
	}
	var err error
	if s.Manifest, err = json.Marshal(m); err != nil {
		return Set{}, err
	}
	if len(s.Manifest) > maxManifest {
		return Set{}, imx.Errorf(imx.Exhausted, "%d packages are more than one frozen set can hold", len(s.Layers)).
			WithHint("split the template, and freeze each part")
	}
	return s, nil
}

func layers(lock imx.Lock) []Layer {
	seen := map[imx.Digest]bool{}
	var all []Layer
	for _, p := range lock.Packages {
		if !seen[p.Digest] {
			seen[p.Digest] = true
			all = append(all, Layer{p.Digest, p.Size, path.Base(p.Path)})
		}
	}
	slices.SortFunc(all, func(a, b Layer) int {
		return cmp.Or(strings.Compare(a.Title, b.Title), strings.Compare(string(a.Digest), string(b.Digest)))
	})
	return all
}

func describe(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.Digest(imx.DigestBytes(b)), Size: int64(len(b))}
}

func titled(d ocispec.Descriptor, title string) ocispec.Descriptor {
	d.Annotations = map[string]string{ocispec.AnnotationTitle: title}
	return d
}

// CheckName refuses what can't be the name of a set: it becomes part of a repository's name.
func CheckName(name string) error {
	ok := name != "" && len(name) <= 128
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		ok = ok && (letter || c == '-' && i > 0 && i < len(name)-1)
	}
	if !ok {
		return imx.Errorf(imx.Invalid, "%.80q can't be the name of a frozen set", name).
			WithHint("lower-case letters, digits and - within: choose one with --name")
	}
	return nil
}

// Digest names the set.
func (s Set) Digest() imx.Digest { return imx.DigestBytes(s.Manifest) }

// Tag returns the set's tag: one lock has one.
func (s Set) Tag() string { return "lock-" + imx.DigestBytes(s.LockFile).Short() }

// Describe returns what people see of the set under a name.
func (s Set) Describe(name string) imx.Frozen {
	f := imx.Frozen{Name: name, Tag: s.Tag(), Digest: s.Digest(), Packages: len(s.Layers)}
	for _, l := range s.Layers {
		f.Size += imx.Size(l.Size)
	}
	return f
}

// Read reads a set back. get returns the bytes of a blob that the manifest names, of the size and digest
// that it gives. Errors: Refused for a manifest that is no frozen set, or doesn't have just the packages that
// its lock names; those of get.
func Read(manifest []byte, get func(d imx.Digest, size int64) ([]byte, error)) (Set, error) {
	m, err := parseManifest(manifest)
	if err != nil {
		return Set{}, err
	}
	s := Set{Manifest: manifest}
	if s.Config, err = get(imx.Digest(m.Config.Digest), m.Config.Size); err != nil {
		return Set{}, err
	}
	if s.LockFile, err = get(imx.Digest(m.Layers[0].Digest), m.Layers[0].Size); err != nil {
		return Set{}, err
	}
	if s.Lock, err = plan.ParseLock(s.LockFile); err != nil {
		return Set{}, imx.Errorf(imx.Refused, "the frozen set's lock: %w", err)
	}
	s.Layers = layers(s.Lock)
	found := m.Layers[1:]
	same := slices.EqualFunc(s.Layers, found, func(l Layer, d ocispec.Descriptor) bool {
		return l.Digest == imx.Digest(d.Digest) && l.Size == d.Size && d.MediaType == PackageType
	})
	if !same {
		return Set{}, imx.Errorf(imx.Refused, "the frozen set has %d packages that aren't just the %d that its lock names", len(found), len(s.Layers)).
			WithHint("freeze it anew where it came from")
	}
	return s, nil
}

func parseManifest(b []byte) (ocispec.Manifest, error) {
	var m ocispec.Manifest
	if len(b) > maxManifest {
		return m, notFrozen("its manifest has %d bytes", len(b))
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, notFrozen("its manifest can't be read: %w", err)
	}
	switch {
	case m.MediaType != ManifestType || m.ArtifactType != ArtifactType:
		return m, notFrozen("it is of the type %.60q (%.60q)", m.ArtifactType, m.MediaType)
	case len(m.Layers) == 0 || m.Layers[0].MediaType != LockType:
		return m, notFrozen("it has no lock")
	case m.Config.Size > maxLock || m.Layers[0].Size > maxLock || m.Config.Size < 0 || m.Layers[0].Size < 0:
		return m, notFrozen("its lock has %d bytes, and its configuration %d", m.Layers[0].Size, m.Config.Size)
	}
	for _, l := range append(m.Layers, m.Config) {
		if _, err := imx.ParseDigest(string(l.Digest)); err != nil || l.Size < 0 || l.Size > deb.MaxSize {
			return m, notFrozen("it names %.80q with %d bytes", l.Digest, l.Size)
		}
	}
	return m, nil
}

func notFrozen(format string, args ...any) *imx.Error {
	return imx.Errorf(imx.Refused, "this is no frozen set: %w", fmt.Errorf(format, args...)).
		WithHint("imx archive freeze --output FILE writes one")
}
