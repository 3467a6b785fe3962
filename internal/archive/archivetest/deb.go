package archivetest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ulikunitz/xz"
)

// Package is what a .deb is made from. Only Name is needed.
type Package struct {
	Name         string
	Version      string // "" means "1.0"
	Architecture string // "" means Architecture; "all" is possible
	Depends      string
	Essential    bool
	Files        []File
	Scripts      map[string]string // by name: "postinst": "#!/bin/sh\n..."
	Fields       map[string]string // further control fields: {"Pre-Depends": "libc6"}
	Pack         string            // "xz", which "" means, or "gz"
}

// File is one entry of a package's data. Its parent folders are made.
type File struct {
	Path    string // "/usr/bin/hello"
	Content string
	Mode    int64  // 0 means 0644, of folders 0755
	Link    string // a symbolic link's target
	Folder  bool
	// Header, if set, is written as it is, with Content: for devices, hard links and malformed names.
	Header *tar.Header
}

func (p Package) withDefaults() Package {
	p.Version = cmp.Or(p.Version, "1.0")
	p.Architecture = cmp.Or(p.Architecture, Architecture)
	p.Pack = cmp.Or(p.Pack, "xz")
	return p
}

func (p Package) control() string {
	fields := map[string]string{
		"Package": p.Name, "Version": p.Version, "Architecture": p.Architecture, "Depends": p.Depends,
		"Maintainer": "Nobody <nobody@example.org>", "Description": "a package for tests",
	}
	if p.Essential {
		fields["Essential"] = "yes"
	}
	maps.Copy(fields, p.Fields)
	return stanza(fields)
}

// Deb returns the .deb file's bytes: the same for the same package.
func (p Package) Deb() ([]byte, error) {
	p = p.withDefaults()
	control := []File{{Path: "/control", Content: p.control()}}
	for _, name := range slices.Sorted(maps.Keys(p.Scripts)) {
		control = append(control, File{Path: "/" + name, Content: p.Scripts[name], Mode: 0o755})
	}
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	addMember(&b, "debian-binary", []byte("2.0\n"))
	for _, part := range []struct {
		name  string
		files []File
	}{{"control", control}, {"data", p.Files}} {
		content, err := tarball(part.files)
		if err != nil {
			return nil, err
		}
		if content, err = pack(p.Pack, content); err != nil {
			return nil, err
		}
		addMember(&b, part.name+".tar."+p.Pack, content)
	}
	return b.Bytes(), nil
}

// addMember writes an ar member as deb(5) has it.
func addMember(b *bytes.Buffer, name string, content []byte) {
	fmt.Fprintf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, 0, 0, 0, "100644", len(content))
	b.Write(content)
	if len(content)%2 == 1 {
		b.WriteByte('\n')
	}
}

func tarball(files []File) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	made := map[string]bool{}
	for _, f := range append([]File{{Path: "/", Folder: true}}, files...) {
		if err := addFile(w, f, made); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

func addFile(w *tar.Writer, f File, made map[string]bool) error {
	if f.Header == nil {
		for _, folder := range parents(f.Path) {
			if err := addFile(w, File{Header: header(File{Path: folder, Folder: true})}, made); err != nil {
				return err
			}
		}
		f.Header = header(f)
	}
	if f.Header.Typeflag == tar.TypeDir && made[f.Header.Name] {
		return nil
	}
	made[f.Header.Name] = true
	if err := w.WriteHeader(f.Header); err != nil {
		return err
	}
	_, err := io.WriteString(w, f.Content)
	return err
}

func header(f File) *tar.Header {
	h := &tar.Header{
		Name: "." + f.Path, Typeflag: tar.TypeReg, Mode: cmp.Or(f.Mode, 0o644), Size: int64(len(f.Content)),
		Uname: "root", Gname: "root", ModTime: time.Unix(1_700_000_000, 0), Format: tar.FormatGNU,
	}
	switch {
	case f.Folder:
		h.Name, h.Typeflag, h.Mode = strings.TrimSuffix(h.Name, "/")+"/", tar.TypeDir, cmp.Or(f.Mode, 0o755)
	case f.Link != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Link, 0o777
	}
	return h
}

// parents returns the folders above a file, the outermost first.
func parents(file string) []string {
	var all []string
	for folder := path.Dir(path.Clean(file)); folder != "/"; folder = path.Dir(folder) {
		all = append([]string{folder}, all...)
	}
	return all
}

func pack(form string, content []byte) ([]byte, error) {
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch form {
	case "xz":
		w, err = xz.NewWriter(&b)
	case "gz":
		w = gzip.NewWriter(&b)
	default:
		return nil, fmt.Errorf("no compression %q here", form)
	}
	if err != nil {
		return nil, err
	}
	_, err = w.Write(content)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}
