package vuln

import (
	"encoding/json"
	"slices"

	"imx/internal/version"
)

// Components returns the packages of languages that a CycloneDX document of an image names, sorted, each with the files
// that it is in. Of those in files that brought returns true for, only the package that brought them is to be asked
// about: what a distribution mends, it mends without giving it another version. A component without a version is left
// out. Errors: Refused for what is no such document.
func Components(document []byte, brought func(file string) bool) ([]Package, error) {
	var d struct {
		Format     string `json:"bomFormat"`
		Components []struct {
			Purl     string `json:"purl"`
			Evidence struct {
				Occurrences []struct {
					Location string `json:"location"`
				} `json:"occurrences"`
			} `json:"evidence"`
		} `json:"components"`
	}
	if err := json.Unmarshal(document, &d); err != nil || d.Format != "CycloneDX" {
		return nil, refused("it is no CycloneDX document")
	}
	files := map[[3]string][]string{} // by ecosystem, name and version
	for _, c := range d.Components {
		p, ok := parsePurl(c.Purl)
		ecosystem := languages()[p.kind]
		if !ok || ecosystem == "" || p.version == "" {
			continue
		}
		for _, at := range c.Evidence.Occurrences {
			if key := [3]string{ecosystem, p.component(ecosystem), p.version}; key[1] != "" && !brought(at.Location) {
				if key[1] == goLibrary {
					key[2] = version.Toolchain(p.version)
				}
				files[key] = append(files[key], at.Location)
			}
		}
	}
	all := make([]Package, 0, len(files))
	for key, paths := range files {
		slices.Sort(paths)
		all = append(all, Package{Ecosystem: key[0], Name: key[1], Version: key[2], Files: slices.Compact(paths)})
	}
	slices.SortFunc(all, comparePackages)
	return all, nil
}

// goLibrary is what advisories call Go's standard library.
const goLibrary = "stdlib"

// languages are OSV's names of the ecosystems that package URLs have types for.
func languages() map[string]string {
	return map[string]string{"golang": "Go", "npm": "npm", "pypi": "PyPI", "cargo": "crates.io", "maven": "Maven"}
}

// component is the package's name as advisories of the ecosystem have it.
func (p purl) component(ecosystem string) string {
	switch {
	case p.namespace == "":
		return PackageName(ecosystem, p.name)
	case ecosystem == "Maven":
		return p.namespace + ":" + p.name
	}
	return PackageName(ecosystem, p.namespace+"/"+p.name)
}
