package imx

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Template is what a person wrote: one folder of HCL files, read and checked, with every file()
// content in it, so that nothing outside is needed any more.
type Template struct {
	Source    Source      `json:"source"`
	Archives  []Archive   `json:"archives,omitempty"`
	Images    []ImageSpec `json:"images,omitempty"`
	Services  []Spec      `json:"services,omitempty"`
	Ingresses []Ingress   `json:"ingresses,omitempty"`
	// Waivers excuse findings of the rules that the template is checked by.
	Tests   []Test   `json:"tests,omitempty"`
	Waivers []Waiver `json:"waivers,omitempty"`
	// Places say where blocks, settings and elements of lists stand that were written, by their Address. What has
	// a default and isn't among them wasn't written.
	Places map[string]Pos `json:"places,omitempty"`
	// Notices say what was inferred because the template left it open; they are shown, never dropped.
	Notices Diagnostics `json:"notices,omitempty"`
}

// Source is where a template came from. Commit is empty for a folder that isn't in Git.
type Source struct {
	Commit string `json:"commit,omitempty"` // full Git object name
	Dirty  bool   `json:"dirty,omitempty"`  // the folder differed from the commit
	Folder string `json:"folder,omitempty"` // the folder's path inside its repository, or its base name
	// Changes are in what a dirty folder differs, a file each: "index.html isn't in the commit". Of many it has only the first, and how many there are.
	Changes []string `json:"changes,omitempty"`
}

// maxChanges is how many files a Source names.
const maxChanges = 10

// Changes returns what a Source says of the files that differ: what of each, by its name.
func Changes(differ map[string]string) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(differ)) {
		if len(all) == maxChanges {
			return append(all, fmt.Sprintf("and %d more", len(differ)-maxChanges))
		}
		all = append(all, name+" "+differ[name])
	}
	return all
}

// String returns the short commit, with "+changes" where the folder was dirty.
func (s Source) String() string {
	switch {
	case s.Commit == "":
		return "not in Git"
	case s.Dirty:
		return s.Commit[:min(12, len(s.Commit))] + "+changes"
	}
	return s.Commit[:min(12, len(s.Commit))]
}

// HostArchive is the name of the archive that is there without being declared: the host's own
// apt sources, as far as Debian's keyring signs them.
const HostArchive = "host"

// Archive is a signed Debian archive to take packages from.
type Archive struct {
	Name       string   `json:"name"`
	Mirror     string   `json:"mirror,omitempty"`     // http(s) or file URL; "" means the host's mirrors
	Suites     []string `json:"suites,omitempty"`     // empty means those of the host's sources
	Components []string `json:"components,omitempty"` // empty means main
	Keyring    []byte   `json:"keyring,omitempty"`    // OpenPGP public keys; empty means Debian's keyring
	// Expired says that indexes past their Valid-Until are taken: those of snapshots, which stay as they were.
	Expired bool `json:"expired,omitempty"`
	At      Pos  `json:"at,omitzero"`
}

// File is a file that a template puts somewhere. In a Template, Content holds the bytes; in a
// Plan and a Release only Digest and Size do, the bytes being in the blob store.
type File struct {
	Path    string `json:"path"`            // absolute, clean
	Mode    Mode   `json:"mode,omitempty"`  // 0 means 0644
	Owner   string `json:"owner,omitempty"` // user name in the image; "" means root
	Digest  Digest `json:"digest"`
	Size    int64  `json:"size"`
	Content []byte `json:"content,omitempty"`
	At      Pos    `json:"at,omitzero"`
}

// Directory is an empty directory that a template asks for.
type Directory struct {
	Path  string `json:"path"`
	Mode  Mode   `json:"mode,omitempty"`  // 0 means 0755
	Owner string `json:"owner,omitempty"` // "" means root
	At    Pos    `json:"at,omitzero"`
}

// ImageSpec is an image block of a template.
type ImageSpec struct {
	Name        string            `json:"name"`
	From        Names             `json:"from,omitempty"`     // names of Archives; none means HostArchive
	Packages    []string          `json:"packages,omitempty"` // "name", "name=version" or "name/suite"
	Files       []File            `json:"files,omitempty"`
	Directories []Directory       `json:"directories,omitempty"`
	User        string            `json:"user,omitempty"` // user name or "uid[:gid]"; "" means root
	Command     []string          `json:"command,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
	WorkDir     string            `json:"workDir,omitempty"`
	StopSignal  string            `json:"stopSignal,omitempty"` // "" means SIGTERM
	// Setuid names the files that may keep their setuid or setgid bit; the bit is taken off all others.
	Setuid []string `json:"setuid,omitempty"`
	// Generated names further paths (globs) that maintainer scripts make and the image takes.
	Generated []string `json:"generated,omitempty"`
	At        Pos      `json:"at,omitzero"`
	// Without names packages that the image does without, though others depend on them: they configure
	// the build root, and neither they nor what only they need is shipped.
	Without []string `json:"without,omitempty"`
	// Recommends says that what packages recommend is installed too, as far as it can be had.
	Recommends bool `json:"recommends,omitempty"`
	// Compression is that of the layers: "zstd" or "gzip"; "" means zstd.
	Compression string `json:"compression,omitempty"`
	// PackagesAt are the places of Packages in the same order, or nil where they aren't known.
	PackagesAt []Pos `json:"packagesAt,omitempty"`
}

// Asked are the names of the packages that the image asks for.
func (s ImageSpec) Asked() map[string]bool {
	asked := map[string]bool{}
	for _, text := range s.Packages {
		asked[ReadRequest(text).Name] = true
	}
	return asked
}

// Request is one of ImageSpec.Packages: a package's name, and at most one of a version and a suite.
type Request struct{ Name, Version, Suite string }

// ReadRequest reads "name", "name=version" or "name/suite". It judges nothing: what stands behind "=" is the
// version, whatever it is.
func ReadRequest(text string) Request {
	if name, version, ok := strings.Cut(text, "="); ok {
		return Request{Name: name, Version: version}
	}
	name, suite, _ := strings.Cut(text, "/")
	return Request{Name: name, Suite: suite}
}
