package deb

import (
	"errors"
	"io"
	"path"
	"strconv"
	"strings"

	"imx"
)

const maxName = 128 // bytes of a package's name or architecture

// Package is one stanza of a Packages file: the pin that a lock keeps of it, and what resolving
// needs to know. Relations stay as they are written until somebody asks for them (ParseRelations),
// because a plan looks at a few hundred of an archive's 66,000 packages.
type Package struct {
	imx.Package // its Digest is the Packages file's SHA256

	Source    string // source package's name; "" means the same as Name
	Section   string // without the component: "admin", not "contrib/admin"
	Priority  string
	Essential bool
	Protected bool     // needed to boot a machine
	Installed imx.Size // what it takes when unpacked, by its own estimate; 0 where it has none
	MultiArch string   // "same", "foreign", "allowed" or ""
	Relations Relations
}

// Relations are the relation fields of a Package, as written.
type Relations struct {
	PreDepends, Depends, Recommends, Provides, Conflicts, Breaks, Replaces string
}

// ParsePackages reads a Packages file, decompressed, of the suite of the archive. It refuses a
// stanza without Package, Version, Architecture, Filename, Size or SHA256, and one whose values
// could lead out of the mirror or are absurd. Such a file is refused as a whole: its signature
// says that the archive made it so, and a half-read index would make a wrong plan.
func ParsePackages(r io.Reader, archive, suite string) ([]Package, error) {
	var list []Package
	p := newPackageReader(archive, suite)
	err := p.readAll(ReadStanzas(r, "Packages of "+archive+" "+suite), func(_ *Stanza, one Package) error {
		list = append(list, one)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// packageReader turns stanzas into Packages, sharing the strings that many of them have in common.
type packageReader struct {
	pin   imx.Package // what is the same for all
	words map[string]string
	bare  bool // nothing but the pin, Essential and Provides is wanted
}

func newPackageReader(archive, suite string) *packageReader {
	return &packageReader{pin: imx.Package{Archive: archive, Suite: suite}, words: map[string]string{}}
}

// readAll hands every package of the stream to use, with its stanza, and ends with the first error.
func (p *packageReader) readAll(stanzas *StanzaReader, use func(*Stanza, Package) error) error {
	for {
		s, err := stanzas.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		one, err := p.read(s)
		if err != nil {
			return imx.Errorf(imx.Refused, "%s: stanza at line %d: %w", stanzas.name, s.Line, err)
		}
		if err := use(s, one); err != nil {
			return err
		}
	}
}

func (p *packageReader) read(s *Stanza) (Package, error) {
	one := Package{Package: p.pin}
	var size, sum string
	for name, value := range s.Fields() {
		switch string(name) {
		case "package":
			one.Name = string(value)
		case "version":
			one.Version = string(value)
		case "architecture":
			one.Architecture = p.word(value)
		case "filename":
			one.Path = strings.TrimPrefix(string(value), "./")
		case "size":
			size = string(value)
		case "sha256":
			sum = "sha256:" + string(value)
		case "essential":
			one.Essential = string(value) == "yes"
		case "important", "protected": // two names for one thing, the older first
			one.Protected = one.Protected || string(value) == "yes"
		case "section":
			one.Section = p.word(value[strings.LastIndexByte(string(value), '/')+1:])
		case "priority":
			one.Priority = p.word(value)
		case "multi-arch":
			one.MultiArch = p.word(value)
		case "provides":
			one.Relations.Provides = string(value)
		default:
			if !p.bare {
				p.detail(&one, name, value)
			}
		}
	}
	return one, one.check(size, sum)
}

// detail sets what only somebody who chooses among packages wants to know.
func (p *packageReader) detail(one *Package, name, value []byte) {
	r := &one.Relations
	switch string(name) {
	case "source":
		one.Source, _, _ = strings.Cut(p.word(value), " ")
	case "installed-size":
		one.Installed = parseInstalled(string(value))
	case "pre-depends":
		r.PreDepends = string(value)
	case "depends":
		r.Depends = string(value)
	case "recommends":
		r.Recommends = string(value)
	case "conflicts":
		r.Conflicts = string(value)
	case "breaks":
		r.Breaks = string(value)
	case "replaces":
		r.Replaces = string(value)
	}
}

// word returns the value as a string, the same one for equal values.
func (p *packageReader) word(value []byte) string {
	if w, ok := p.words[string(value)]; ok {
		return w
	}
	w := string(value)
	p.words[w] = w
	return w
}

// check sets Size and Digest from their text and refuses what no honest archive lists.
func (p *Package) check(size, sum string) error {
	if err := CheckName(p.Name); err != nil {
		return err
	}
	if err := CheckVersion(p.Version); err != nil {
		return imx.Errorf(imx.Refused, "package %s: %w", p.Name, err)
	}
	if err := CheckArchitecture(p.Architecture); err != nil {
		return imx.Errorf(imx.Refused, "package %s: %w", p.Name, err)
	}
	if err := CheckPath(p.Path); err != nil {
		return imx.Errorf(imx.Refused, "package %s: %w", p.Name, err)
	}
	n, err := parseSize(size)
	if err != nil {
		return imx.Errorf(imx.Refused, "package %s: %w", p.Name, err)
	}
	d, err := imx.ParseDigest(sum)
	if err != nil {
		return refused("package %s has the SHA256 %q", p.Name, strings.TrimPrefix(sum, "sha256:"))
	}
	p.Size, p.Digest = n, d
	return nil
}

// CheckName refuses what isn't a package's name: at least two of lower-case letters, digits, "+",
// "-" and ".", the first a letter or digit (Debian policy 5.6.1). Capitals pass too, as dpkg lets them.
func CheckName(s string) error {
	ok := len(s) >= 2 && len(s) <= maxName && (isDigit(s[0]) || isLetter(s[0])) &&
		allBytes(s, func(c byte) bool { return isDigit(c) || isLetter(c) || c == '+' || c == '-' || c == '.' })
	if !ok {
		return refused("%.60q is not the name of a package", s)
	}
	return nil
}

// CheckArchitecture refuses what isn't the name of an architecture: letters, digits and "-".
func CheckArchitecture(s string) error {
	ok := s != "" && len(s) <= maxName && s[0] != '-' &&
		allBytes(s, func(c byte) bool { return isDigit(c) || isLetter(c) || c == '-' })
	if !ok {
		return refused("%.60q is not an architecture", s)
	}
	return nil
}

// CheckPath refuses a path of a file that isn't plainly below the mirror's root, such as "pool/main/n/nginx/nginx.deb".
func CheckPath(s string) error {
	switch {
	case s == "":
		return refused("it has no file name")
	case len(s) > maxPath || strings.ContainsFunc(s, isControl) || strings.Contains(s, `\`):
		return refused("the file name %.60q is not usable", s)
	case s[0] == '/' || path.Clean(s) != s || s == "." || s == ".." || strings.HasPrefix(s, "../"):
		return refused("the file name %q does not stay below the mirror's root", s)
	}
	return nil
}

// parseSize reads a number of bytes from 1 to MaxSize.
func parseSize(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || s[0] == '+' {
		return 0, refused("the Size %.40q is not a number of bytes", s)
	}
	if n > MaxSize {
		return 0, refused("the Size %s is more than %s", imx.Size(n), imx.Size(MaxSize))
	}
	return n, nil
}

// parseInstalled reads an Installed-Size, which counts KiB. One that can't be read is 0: packages
// are only compared by it.
func parseInstalled(s string) imx.Size {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > MaxSize {
		return 0
	}
	return imx.Size(n) << 10
}
