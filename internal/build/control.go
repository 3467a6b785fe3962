package build

import (
	"archive/tar"
	"bytes"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"imx"
	"imx/internal/deb"
)

// parcel is a package on its way into a build root, with what its control files say.
type parcel struct {
	pkg       imx.Package
	stanza    []byte // the control file as it is
	same      bool   // Multi-Arch: same
	files     []controlFile
	plain     bool                   // nothing in them is for dpkg to choose
	lean      bool                   // dpkg needs to see no more of it than these
	relations map[string][]deb.Group // by field, in lower case
}

// controlFile is a control file other than "control": a script, a list of conffiles and so on.
type controlFile struct {
	name    string
	mode    int64
	content []byte
}

// relationFields are the relations that say in which order, and over what, a package is unpacked.
func relationFields() []string {
	return []string{"pre-depends", "depends", "provides", "conflicts", "breaks", "replaces"}
}

// openParcel reads a package's control files out of its unpacked form.
func (b *Builder) openParcel(p imx.Package) (*parcel, error) {
	parcel, err := readParcel(b.unpacked(p), p)
	return parcel, trouble(err, "reading "+p.Ref())
}

func readParcel(dir string, p imx.Package) (*parcel, error) {
	var stanza []byte
	var files []controlFile
	err := eachEntry(filepath.Join(dir, controlTar), maxControl, func(h *tar.Header, r io.Reader) error {
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg || strings.Contains(name, "/") {
			return nil // dpkg keeps no folders
		}
		content, err := io.ReadAll(r)
		if name == "control" {
			stanza = content
		} else {
			files = append(files, controlFile{name, h.Mode, content})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	res, err := parseParcel(stanza, p.Ref())
	if err != nil {
		return nil, err
	}
	res.pkg, res.files = p, files
	return res, nil
}

// parseParcel reads a package's stanza; name says whose it is in errors.
func parseParcel(stanza []byte, name string) (*parcel, error) {
	s, err := deb.ReadStanzas(bytes.NewReader(stanza), name).Next()
	if err != nil {
		return nil, err
	}
	res := &parcel{
		pkg: s.Identity(), stanza: stanza, same: strings.EqualFold(s.Field("multi-arch"), "same"),
		relations: map[string][]deb.Group{},
	}
	for _, field := range relationFields() {
		if res.relations[field], err = deb.ParseRelations(s.Field(field)); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// file returns a control file's content, and whether there is one of the name.
func (p *parcel) file(name string) ([]byte, bool) {
	i := slices.IndexFunc(p.files, func(f controlFile) bool { return f.name == name })
	if i < 0 {
		return nil, false
	}
	return p.files[i].content, true
}

// names are the alternatives of each relation of a field, by name.
func (p *parcel) names(field string) [][]string {
	var all [][]string
	for _, g := range p.relations[field] {
		var alternatives []string
		for _, r := range g {
			alternatives = append(alternatives, r.Name)
		}
		all = append(all, alternatives)
	}
	return all
}

// provides are the names that the package also goes by.
func (p *parcel) provides() []string { return slices.Concat(p.names("provides")...) }

// record is the name of the package in dpkg's database.
func (p *parcel) record() string {
	if p.same {
		return p.pkg.Name + ":" + p.pkg.Architecture
	}
	return p.pkg.Name
}

// directives are the lines of a package's triggers file (deb-triggers(5)), as words.
func (p *parcel) directives() [][]string {
	text, _ := p.file("triggers")
	var all [][]string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if words := strings.Fields(line); len(words) > 0 {
			all = append(all, words)
		}
	}
	return all
}

// conffiles are the configuration files that the package declares (deb-conffiles(5)); ok is false for
// a declaration that asks for more than being kept.
func (p *parcel) conffiles() (names []string, ok bool) {
	text, _ := p.file("conffiles")
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, " \t\n")
		if line == "" {
			continue
		}
		if line[0] != '/' || strings.ContainsAny(line, " \t") {
			return nil, false
		}
		names = append(names, line)
	}
	return names, true
}
