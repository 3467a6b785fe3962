package vuln

import (
	"path"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/purl"
)

// Excuse marks those vulnerabilities of an image that statements say don't affect it. Of several statements about one
// package the newest counts, so that "affected" takes an earlier excuse back. What several packages have, as the
// binary packages of one source, is excused where each of them is.
func Excuse(all []imx.Vulnerability, name string, image imx.Digest, pleas []Plea) {
	for i := range all {
		all[i].Excused = excuse(&all[i], name, image, pleas)
	}
	slices.SortStableFunc(all, Graver)
}

// verdict is the newest statement about one package.
type verdict struct {
	at     time.Time
	excuse *imx.Excuse // nil where it doesn't excuse
}

// excuse returns the newest of the excuses that a vulnerability has, nil unless all of its packages have one.
func excuse(v *imx.Vulnerability, name string, image imx.Digest, pleas []Plea) *imx.Excuse {
	newest := map[string]verdict{}
	for _, plea := range pleas {
		for i := range plea.VEX.Statements {
			s := &plea.VEX.Statements[i]
			if !s.names(v) {
				continue
			}
			for _, part := range s.covered(v.Package, name, image) {
				if have, ok := newest[part]; !ok || !s.Timestamp.Before(have.at) {
					newest[part] = verdict{s.Timestamp, s.excuse(plea)}
				}
			}
		}
	}
	var last verdict
	for _, part := range parts(v.Package) {
		one := newest[part]
		if one.excuse == nil {
			return nil
		}
		if last.excuse == nil || one.at.After(last.at) {
			last = one
		}
	}
	return last.excuse
}

// parts are what has to be excused each: the binary packages, or the package itself where it isn't built into others.
func parts(a imx.Affected) []string {
	if len(a.Binaries) == 0 {
		return []string{a.Name}
	}
	return a.Binaries
}

func (s *VEXStatement) excuse(p Plea) *imx.Excuse {
	if s.Status != "not_affected" && s.Status != "fixed" {
		return nil
	}
	return &imx.Excuse{
		Status: s.Status, Justification: s.Justification, Because: s.Impact, By: p.VEX.Author, Time: s.Timestamp, From: p.From,
	}
}

// names reports whether the statement is about a vulnerability.
func (s *VEXStatement) names(v *imx.Vulnerability) bool {
	named := func(id string) bool { return id != "" && Names(*v, id) }
	id := s.Vulnerability.ID[strings.LastIndexByte(s.Vulnerability.ID, '/')+1:] // a URL that ends in the name
	return named(s.Vulnerability.Name) || named(id) || slices.ContainsFunc(s.Vulnerability.Aliases, named)
}

// covered returns those of the package's parts in an image that the statement is about.
func (s *VEXStatement) covered(a imx.Affected, name string, image imx.Digest) []string {
	var all []string
	for i := range s.Products {
		p := &s.Products[i]
		all = append(all, p.covered(a)...)
		switch {
		case !p.isImage(name, image):
		case len(p.Subcomponents) == 0:
			return parts(a)
		default:
			for _, c := range p.Subcomponents {
				all = append(all, c.covered(a)...)
			}
		}
	}
	return all
}

// purls are the package URLs that the component goes by.
func (c *VEXComponent) purls() []purl.URL {
	var all []purl.URL
	for _, text := range []string{c.ID, c.Identifiers["purl"]} {
		if u, err := purl.Parse(text); err == nil {
			all = append(all, u)
		}
	}
	return all
}

// isImage reports whether the component is an image: the digest says so wherever the image is kept, and a name only in
// the repository of that name.
func (c *VEXComponent) isImage(name string, image imx.Digest) bool {
	if image != "" && (c.Hashes["sha-256"] == image.Hex() || c.ID == string(image)) {
		return true
	}
	name = strings.ToLower(name)
	return slices.ContainsFunc(c.purls(), func(u purl.URL) bool {
		if u.Type != purl.OCI || u.Version != "" {
			return u.Type == purl.OCI && u.Version == string(image)
		}
		if repository, ok := u.Qualifiers[purl.Repository]; ok {
			return repository == name && u.Name == path.Base(name)
		}
		return u.Name == name
	})
}

// covered returns the parts of a package that the component is: all, some binary packages of it, or none.
func (c *VEXComponent) covered(a imx.Affected) []string {
	var all []string
	for _, u := range c.purls() {
		switch arch := u.Qualifiers["arch"]; {
		case !isFrom(u, a):
		case isNamed(u, a) && (arch == "" || arch == "source"):
			return parts(a)
		case u.Type == purl.Debian && arch != "source" && slices.Contains(a.Binaries, u.Name):
			all = append(all, u.Name)
		}
	}
	return all
}

// isFrom reports whether a URL speaks of where a package comes from, and of its version. A repository that it names
// isn't known of any package of an image.
func isFrom(u purl.URL, a imx.Affected) bool {
	kind, release, _ := strings.Cut(a.Ecosystem, ":")
	if u.Type != urlTypes()[kind] || u.Qualifiers[purl.Repository] != "" {
		return false
	}
	if u.Type != purl.Debian {
		return u.Version == "" || strings.TrimPrefix(u.Version, "v") == strings.TrimPrefix(a.Version, "v")
	}
	distro, named := u.Qualifiers["distro"]
	// A binary package that was built again without a change of its source has "+b" and a number.
	version := u.Version
	if i := strings.LastIndex(version, "+b"); i > 0 && strings.Trim(version[i+2:], "0123456789") == "" {
		version = version[:i]
	}
	return u.Namespace == "debian" && (!named || release != "" && releaseOf(distro) == release) && (u.Version == "" || u.Version == a.Version || version == a.Version)
}

// releaseOf returns the codename of what the field calls a release: "bookworm", "debian-12", "12.5".
func releaseOf(distro string) string {
	distro = strings.TrimPrefix(strings.ToLower(distro), "debian-")
	number, _, _ := strings.Cut(distro, ".")
	if name, ok := releases()[number]; ok {
		return name
	}
	return Release(distro)
}

// isNamed reports whether a URL has the name of a package, by the rules of its type; Maven's have a colon in OSV.
func isNamed(u purl.URL, a imx.Affected) bool {
	full := a.Name
	switch u.Type {
	case purl.Debian:
		return u.Name == full
	case "maven":
		full = strings.Replace(full, ":", "/", 1)
	}
	want, err := purl.Of(u.Type, full, "").Normal()
	return err == nil && u.Namespace == want.Namespace && u.Name == want.Name
}

// urlTypes are the types of package URLs by OSV's ecosystems.
func urlTypes() map[string]string {
	return map[string]string{"Debian": purl.Debian, "Go": "golang", "npm": "npm", "PyPI": "pypi", "crates.io": "cargo", "Maven": "maven"}
}
