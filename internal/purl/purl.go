// Package purl reads and writes package URLs (https://github.com/package-url/purl-spec): the names by which SBOMs and
// VEX documents speak of packages. What is the same by the rules of a type is the same value here.
package purl

import (
	"path"
	"strings"

	"github.com/package-url/packageurl-go"

	"imx"
)

// Kinds of packages that imx speaks of, and a qualifier of several.
const (
	Debian     = "deb"
	OCI        = "oci"
	Repository = "repository_url"
)

// maxLength is how long a package URL may be, in bytes: none that means something is nearly as long.
const maxLength = 8 << 10

// URL is a package URL, without its encoding. One that Parse or Normal returned is in its canonical form.
type URL struct {
	Type       string
	Namespace  string // with slashes between its parts
	Name       string
	Version    string
	Qualifiers map[string]string // those with an empty value aren't there
	Subpath    string
}

// Parse reads a package URL, and brings it into the canonical form. Errors: Invalid.
func Parse(text string) (URL, error) {
	if len(text) > maxLength {
		return URL{}, imx.Errorf(imx.Invalid, "a package URL of %d bytes is none", len(text))
	}
	p, err := packageurl.FromString(text)
	if err != nil {
		return URL{}, imx.Errorf(imx.Invalid, "%q is no package URL: %w", text, err)
	}
	return of(p).Normal()
}

// Of is the URL of a package whose namespace is written before its name: "github.com/google/go-cmp", "@scope/name".
func Of(kind, full, version string) URL {
	namespace, name := path.Split(strings.Trim(full, "/"))
	if name == "" {
		name = full
	}
	return URL{Type: kind, Namespace: strings.Trim(namespace, "/"), Name: name, Version: version}
}

// Image is the URL of an image, by its name in a registry. Where that has several parts, the URL's name is the last
// one, and the whole is its repository.
func Image(name string, digest imx.Digest) URL {
	u := URL{Type: OCI, Name: strings.ToLower(path.Base(name)), Version: string(digest)}
	if strings.Contains(name, "/") {
		u.Qualifiers = map[string]string{Repository: strings.ToLower(name)}
	}
	return u
}

// Normal returns the canonical form by the rules of the URL's type. Errors: Invalid where there is none: the type, the
// name, or something that its type asks for is missing.
func (u URL) Normal() (URL, error) {
	if strings.EqualFold(u.Type, OCI) {
		u.Name = strings.ToLower(u.Name)
	}
	var parts []string
	for part := range strings.SplitSeq(u.Namespace, "/") {
		if part != "" {
			parts = append(parts, part)
		}
	}
	u.Namespace = strings.Join(parts, "/")
	p := u.packageURL()
	if err := p.Normalize(); err != nil {
		return URL{}, imx.Errorf(imx.Invalid, "a package URL of type %q and name %q: %w", u.Type, u.Name, err)
	}
	return of(p), nil
}

// String returns the canonical form, or "" where there is none.
func (u URL) String() string {
	u, err := u.Normal()
	if err != nil {
		return ""
	}
	p := u.packageURL()
	return p.ToString()
}

func (u URL) packageURL() packageurl.PackageURL {
	return *packageurl.NewPackageURL(u.Type, u.Namespace, u.Name, u.Version, packageurl.QualifiersFromMap(u.Qualifiers), u.Subpath)
}

func of(p packageurl.PackageURL) URL {
	u := URL{Type: p.Type, Namespace: p.Namespace, Name: p.Name, Version: p.Version, Subpath: p.Subpath}
	if len(p.Qualifiers) > 0 {
		u.Qualifiers = p.Qualifiers.Map()
	}
	return u
}
