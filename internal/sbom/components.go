package sbom

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"io"
	"math"
	"path"
	"slices"
	"strings"

	"imx"
)

const (
	// maxNested is how many archives may lie within each other: a program's own holds its libraries' as files.
	maxNested = 2
	// maxList bounds a list of crates, in bytes, as those who read it otherwise do.
	maxList = 8 << 20
)

// inProgram finds what a Go program says it is built from, and a Rust one that cargo-auditable built.
func inProgram(ctx context.Context, _ string, content []byte, b *budget) []Component {
	isGo, isRust := bytes.Contains(content, []byte("\xff Go buildinf:")), bytes.Contains(content, []byte(auditable))
	if !isGo && !isRust || !b.isParsable(content) {
		return nil
	}
	if isGo {
		if found := inGo(content, b); found != nil {
			return found
		}
	}
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil
	}
	section := f.Section(auditable)
	if section == nil || section.Type == elf.SHT_NOBITS {
		return nil
	}
	return inRust(ctx, section.Open(), b)
}

func inGo(content []byte, b *budget) []Component {
	lines := 0 // at least as many as there are of modules and settings: each becomes many times as large
	for _, begin := range []string{"\ndep\t", "\n=>\t", "\nbuild\t"} {
		lines += bytes.Count(content, []byte(begin))
	}
	if !b.take(lines) {
		return nil
	}
	info, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return nil
	}
	found := b.add(nil, Component{Kind: KindGo, Name: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")})
	modules := append(slices.Clone(info.Deps), &info.Main)
	for _, m := range modules {
		for m.Replace != nil {
			m = m.Replace
		}
		version := m.Version
		if version == "(devel)" {
			version = ""
		}
		found = b.add(found, Component{Kind: KindGo, Name: m.Path, Version: version})
	}
	return found
}

// auditable is the section that cargo-auditable adds: JSON in zlib.
const auditable = ".dep-v0"

func inRust(ctx context.Context, section io.Reader, b *budget) []Component {
	r, err := zlib.NewReader(b.reader(ctx, section)) // the section itself may be packed once more
	if err != nil {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(b.reader(ctx, r), maxList+1))
	if err != nil {
		return nil
	}
	if len(raw) > maxList {
		b.miss("its list of crates has more than %s", imx.Size(maxList))
		return nil
	}
	var list struct {
		Packages []struct {
			Name    string `json:"name"`
			Version string `json:"version"`
			Kind    string `json:"kind"` // "build": only needed to build it
		} `json:"packages"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var found []Component
	for _, p := range list.Packages {
		if p.Kind != "build" {
			found = b.add(found, Component{Kind: KindRust, Name: p.Name, Version: p.Version})
		}
	}
	return found
}

// inArchive finds what a Java archive says it is, and what those in it say.
func inArchive(ctx context.Context, name string, content []byte, b *budget) []Component {
	a := archives{budget: b}
	a.nested(ctx, name, content, 0)
	return a.found
}

// archives is the looking into an archive and those in it.
type archives struct {
	*budget

	found []Component
}

func (a *archives) nested(ctx context.Context, name string, content []byte, depth int) {
	// Before the directory is read, each entry of which becomes many times as large: what it says of their number may
	// be a lie.
	if !a.take(bytes.Count(content, []byte("PK\x01\x02"))) {
		return
	}
	files, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return
	}
	mine := len(a.found)
	var manifest map[string]string
	for _, f := range files.File {
		if ctx.Err() != nil || a.unpacked <= 0 && a.why != "" {
			break
		}
		switch {
		case strings.HasPrefix(f.Name, "META-INF/maven/") && path.Base(f.Name) == "pom.properties":
			p := properties(a.unzip(ctx, f, maxText), "=")
			a.found = a.add(a.found, Component{Kind: KindJava, Group: p["groupId"], Name: p["artifactId"], Version: p["version"]})
		case f.Name == "META-INF/MANIFEST.MF":
			manifest = properties(a.unzip(ctx, f, maxText), ":")
		case path.Ext(f.Name) == ".jar" && depth < maxNested:
			a.nested(ctx, f.Name, a.unzip(ctx, f, fileUnpacked), depth+1)
		case path.Ext(f.Name) == ".jar":
			a.miss("%q in it lies within more than %d archives", f.Name[:min(len(f.Name), maxName)], maxNested+1)
		}
	}
	if c := byManifest(name, manifest); c.Version != "" && !slices.ContainsFunc(a.found[mine:], func(f Component) bool { return f.Name == c.Name }) {
		a.found = a.add(a.found, c)
	}
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

// unzip returns an entry of an archive, or nil if it is damaged or too large. What is packed counts, too: it can be
// much and become nothing.
func (a *archives) unzip(ctx context.Context, f *zip.File, limit int64) []byte {
	raw, err := f.Open()
	if err != nil {
		return nil
	}
	defer raw.Close() // nothing is written
	r := a.reader(ctx, raw)
	if f.Method != zip.Store {
		a.unpacked -= min(int64(min(f.CompressedSize64, math.MaxInt64)), a.unpacked)
	}
	all, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil
	}
	if int64(len(all)) > limit {
		a.miss("%q in it has more than %s", f.Name[:min(len(f.Name), maxName)], imx.Size(limit))
		return nil
	}
	return all
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
func inPython(_ context.Context, _ string, content []byte, b *budget) []Component {
	about := properties(content, ":")
	if about["Name"] == "" {
		return nil
	}
	name := strings.ReplaceAll(strings.ToLower(about["Name"]), "_", "-")
	return b.add(nil, Component{Kind: KindPython, Name: name, Version: about["Version"]})
}

// inNode reads a package.json, if it is an installed package's: it has a name and a version.
func inNode(_ context.Context, _ string, content []byte, b *budget) []Component {
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
	return b.add(nil, c)
}
