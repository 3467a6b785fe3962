package sbom

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/zlib"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"io"
	"path"
	"slices"
	"strings"
)

const (
	// maxNested is how many archives may lie within each other: a program's own holds its libraries' as files.
	maxNested = 2
	// maxParts bounds the components of one file, and maxUnpacked what is unpacked of one part of it, in bytes.
	maxParts    = 20_000
	maxUnpacked = 64 << 20
)

// inProgram finds what a Go program says it is built from, and a Rust one that cargo-auditable built.
func inProgram(_ string, content []byte) []Component {
	if bytes.Contains(content, []byte("\xff Go buildinf:")) {
		if found := inGo(content); found != nil {
			return found
		}
	}
	if !bytes.Contains(content, []byte(auditable)) {
		return nil
	}
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil
	}
	section := f.Section(auditable)
	if section == nil || section.Type == elf.SHT_NOBITS {
		return nil
	}
	return inRust(section.Open())
}

func inGo(content []byte) []Component {
	info, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return nil
	}
	found := []Component{{Kind: KindGo, Name: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}}
	modules := append(slices.Clone(info.Deps), &info.Main)
	for _, m := range modules {
		for m.Replace != nil {
			m = m.Replace
		}
		if m.Path == "" {
			continue
		}
		version := m.Version
		if version == "(devel)" {
			version = ""
		}
		found = append(found, Component{Kind: KindGo, Name: m.Path, Version: version})
	}
	return found[:min(len(found), maxParts)]
}

// auditable is the section that cargo-auditable adds: JSON in zlib.
const auditable = ".dep-v0"

func inRust(section io.Reader) []Component {
	r, err := zlib.NewReader(section)
	if err != nil {
		return nil
	}
	var list struct {
		Packages []struct {
			Name    string `json:"name"`
			Version string `json:"version"`
			Kind    string `json:"kind"` // "build": only needed to build it
		} `json:"packages"`
	}
	if json.NewDecoder(io.LimitReader(r, maxUnpacked)).Decode(&list) != nil {
		return nil
	}
	var found []Component
	for _, p := range list.Packages[:min(len(list.Packages), maxParts)] {
		if p.Name != "" && p.Kind != "build" {
			found = append(found, Component{Kind: KindRust, Name: p.Name, Version: p.Version})
		}
	}
	return found
}

// inArchive finds what a Java archive says it is, and what those in it say.
func inArchive(name string, content []byte) []Component {
	return nested(name, content, 0)
}

func nested(name string, content []byte, depth int) []Component {
	files, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil
	}
	var found []Component
	var manifest map[string]string
	for _, f := range files.File {
		if len(found) > maxParts {
			break
		}
		switch {
		case strings.HasPrefix(f.Name, "META-INF/maven/") && path.Base(f.Name) == "pom.properties":
			if p := properties(unzip(f, maxText), "="); p["artifactId"] != "" {
				found = append(found, Component{Kind: KindJava, Group: p["groupId"], Name: p["artifactId"], Version: p["version"]})
			}
		case f.Name == "META-INF/MANIFEST.MF":
			manifest = properties(unzip(f, maxText), ":")
		case path.Ext(f.Name) == ".jar" && depth < maxNested:
			found = append(found, nested(f.Name, unzip(f, maxUnpacked), depth+1)...)
		}
	}
	if c := byManifest(name, manifest); c.Version != "" && !slices.ContainsFunc(found, func(f Component) bool { return f.Name == c.Name }) {
		found = append(found, c)
	}
	return found
}

// byManifest is what an archive without Maven's files is called, if its manifest has a version.
func byManifest(name string, manifest map[string]string) Component {
	c := Component{Kind: KindJava, Group: manifest["Implementation-Vendor-Id"]}
	for _, key := range []string{"Implementation-Version", "Bundle-Version", "Specification-Version"} {
		if c.Version == "" {
			c.Version = manifest[key]
		}
	}
	c.Name, _, _ = strings.Cut(strings.TrimSuffix(path.Base(name), path.Ext(name)), "-"+c.Version)
	return c
}

// unzip returns a part of an archive, or nil if it is damaged or too large.
func unzip(f *zip.File, limit int64) []byte {
	r, err := f.Open()
	if err != nil {
		return nil
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil || int64(len(raw)) > limit {
		return nil
	}
	return raw
}

// properties reads lines of keys and values, as far as the first empty one.
func properties(text []byte, separator string) map[string]string {
	found := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" && separator == ":" {
			break
		}
		if key, value, ok := strings.Cut(line, separator); ok {
			found[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return found
}

// inPython reads the metadata that installing a Python distribution leaves.
func inPython(_ string, content []byte) []Component {
	about := properties(content, ":")
	if about["Name"] == "" {
		return nil
	}
	name := strings.ReplaceAll(strings.ToLower(about["Name"]), "_", "-")
	return []Component{{Kind: KindPython, Name: name, Version: about["Version"]}}
}

// inNode reads a package.json, if it is an installed package's: it has a name and a version.
func inNode(_ string, content []byte) []Component {
	var about struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	if json.Unmarshal(content, &about) != nil || about.Name == "" || about.Version == "" {
		return nil
	}
	c := Component{Kind: KindNode, Name: about.Name, Version: about.Version}
	if scope, name, ok := strings.Cut(about.Name, "/"); ok && strings.HasPrefix(scope, "@") {
		c.Group, c.Name = scope, name
	}
	return []Component{c}
}
