// Package sbom says what an image is made of in the forms of the field: SPDX 2.3 and CycloneDX 1.6. An inventory
// and what was found inside the files go in, a document comes out: the same image gives the same bytes. It opens no
// blob, asks no archive, and judges nothing that it names.
package sbom

import (
	"cmp"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"imx"
	"imx/internal/purl"
)

// Subject is an image and what was found in it.
type Subject struct {
	Name      string
	Image     imx.Digest // of its manifest
	Created   time.Time  // of the image: the documents have no time of their own
	Tool      string     // the version of imx
	Inventory imx.Inventory
	Contents  Contents
}

// Component is a piece of software that a file says it holds, apart from the package that brings the file.
type Component struct {
	Kind    Kind
	Group   string // Maven's group, npm's scope
	Name    string // Go's module path, else the name
	Version string // "" where the file doesn't say it
	Path    string // the file
}

// Kind is where a Component comes from, as a package URL's type.
type Kind string

// The kinds of components.
const (
	KindGo     Kind = "golang"
	KindJava   Kind = "maven"
	KindPython Kind = "pypi"
	KindNode   Kind = "npm"
	KindRust   Kind = "cargo"
)

// URL returns the component's package URL (https://github.com/package-url/purl-spec).
func (c Component) URL() string {
	if c.Group == "" {
		return purl.Of(string(c.Kind), c.Name, c.Version).String()
	}
	return purl.URL{Type: string(c.Kind), Namespace: c.Group, Name: c.Name, Version: c.Version}.String()
}

func compareComponents(a, b Component) int {
	return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Group, b.Group),
		cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
}

// debURL returns the package URL of a binary package, or of a source one if architecture is "source".
func (s Subject) debURL(name, version, architecture, suite string) string {
	vendor := cmp.Or(s.Contents.Vendor, "debian")
	return purl.URL{
		Type: purl.Debian, Namespace: vendor, Name: name, Version: version,
		Qualifiers: map[string]string{"arch": architecture, "distro": s.distribution(suite)},
	}.String()
}

// missed says of each file that the documents don't say all of why.
func (s Subject) missed() []string {
	var all []string
	for _, m := range s.Contents.Missed {
		all = append(all, "what is in "+m.Path+" isn't all known: "+m.Why)
	}
	if n := s.Contents.More; n > 0 {
		all = append(all, fmt.Sprintf("so it is with %d files more", n))
	}
	return all
}

// distribution returns the code name of the release that a suite belongs to. What fixes a release, and what is
// meant for it later, is a suite of its own: "NAME-security".
func (s Subject) distribution(suite string) string {
	release, _, _ := strings.Cut(suite, "-")
	return cmp.Or(release, s.Contents.Codename)
}

// source is a source package.
type source struct{ name, version, suite string }

// sources returns the source packages of an image, sorted, each once.
func (s Subject) sources() []source {
	seen := map[[2]string]bool{}
	var all []source
	for _, p := range s.Inventory.Packages {
		key := [2]string{p.Source, p.SourceVersion}
		if p.Source != "" && !seen[key] {
			seen[key] = true
			all = append(all, source{p.Source, p.SourceVersion, p.Suite})
		}
	}
	slices.SortFunc(all, func(a, b source) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.version, b.version)) })
	return all
}

// files yields the image's regular files, in the order of their paths.
func (s Subject) files() iter.Seq[*imx.InventoryPath] {
	return func(yield func(*imx.InventoryPath) bool) {
		for i := range s.Inventory.Paths {
			if p := &s.Inventory.Paths[i]; p.Kind == imx.PathFile && !yield(p) {
				return
			}
		}
	}
}

// stamp is the one time of a document.
func (s Subject) stamp() string {
	created := s.Created
	if created.IsZero() {
		created = time.Unix(0, 0)
	}
	return created.UTC().Truncate(time.Second).Format(time.RFC3339)
}

// names gives out identifiers, each once: those of SPDX have letters, digits, "." and "-" alone.
type names map[string]bool

func (n names) unique(wanted string) string {
	name := wanted
	for i := 2; n[name]; i++ {
		name = wanted + "-" + strconv.Itoa(i)
	}
	n[name] = true
	return name
}

func identifier(words ...string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte('-')
		}
		for _, c := range w {
			switch {
			case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-':
				b.WriteRune(c)
			case c == '+':
				b.WriteString("plus")
			default:
				b.WriteByte('-')
			}
		}
	}
	return b.String()
}

// escapePath makes a path a relative reference (RFC 3986): what isn't allowed in one is percent-encoded.
func escapePath(p string) string { return (&url.URL{Path: p}).EscapedPath() }
