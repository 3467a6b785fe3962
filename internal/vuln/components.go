package vuln

import (
	"encoding/json"
	"slices"

	"imx/internal/purl"
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
		u, err := purl.Parse(c.Purl)
		ecosystem := language(u.Type)
		if err != nil || ecosystem == "" || u.Version == "" {
			continue
		}
		for _, at := range c.Evidence.Occurrences {
			if key := [3]string{ecosystem, component(u, ecosystem), u.Version}; key[1] != "" && !brought(at.Location) {
				if key[1] == goLibrary {
					key[2] = version.Toolchain(u.Version)
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

// language is OSV's name of the ecosystem of a language that package URLs have a type for, or "".
func language(kind string) string {
	for ecosystem, t := range urlTypes() {
		if t == kind && t != purl.Debian {
			return ecosystem
		}
	}
	return ""
}

// component is the package's name as advisories of the ecosystem have it.
func component(u purl.URL, ecosystem string) string {
	switch {
	case u.Namespace == "":
		return PackageName(ecosystem, u.Name)
	case ecosystem == "Maven":
		return u.Namespace + ":" + u.Name
	}
	return PackageName(ecosystem, u.Namespace+"/"+u.Name)
}
