package sbom

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"imx"
)

// noAssertion is SPDX's word for what isn't known.
const noAssertion = "NOASSERTION"

// licence is what a package's copyright file says of its licences.
type licence struct {
	Expression string   // SPDX; noAssertion where the file is in free words, or missing
	File       string   // the copyright file; "" where there is none
	Own        []custom // the licences in Expression that SPDX has no identifier for
}

// custom is a licence with a name of the package's own.
type custom struct{ ref, name string }

// licences returns what is known of each package's licences, by the package's name.
func (s Subject) licences() map[string]licence {
	links := map[string]string{}
	for _, p := range s.Inventory.Paths {
		if p.Kind == imx.PathLink && path.Dir(p.Path)+"/" == docFolder {
			links[p.Path] = p.Target
		}
	}
	known := make(map[string]licence, len(s.Inventory.Packages))
	words := newDictionary()
	for _, p := range s.Inventory.Packages {
		file := copyrightOf(p.Name, links)
		text, ok := s.Contents.Copyrights[file]
		if !ok {
			known[p.Name] = licence{Expression: noAssertion}
			continue
		}
		known[p.Name] = words.read(p.Name, file, text)
	}
	return known
}

// copyrightOf returns where a package's copyright file is: its folder may be a link to another package's
// (Debian policy, 12.3).
func copyrightOf(name string, links map[string]string) string {
	folder := docFolder + name
	for range 4 {
		target, ok := links[folder]
		if !ok {
			break
		}
		if path.IsAbs(target) {
			folder = path.Clean(target)
		} else {
			folder = path.Join(docFolder, target)
		}
	}
	return folder + copyright
}

// read reads a machine-readable copyright file (copyright-format 1.0): what holds for all of its files
// together. Which file of it became which file of the image isn't known, so all count.
func (d *dictionary) read(pkg, file, text string) licence {
	free := licence{Expression: noAssertion, File: file}
	paragraphs := paragraphs(text)
	if len(paragraphs) == 0 || !isFormat(paragraphs[0]["format"]) {
		return free
	}
	l := licence{File: file}
	var terms []string
	for i, p := range paragraphs {
		short := p["license"]
		if short == "" || i > 0 && p["files"] == "" {
			continue // a text that others refer to by its name
		}
		r := reader{dictionary: d, pkg: pkg}
		if e := r.expression(short); e != "" {
			terms, l.Own = append(terms, e), append(l.Own, r.own...)
		}
	}
	slices.Sort(terms)
	if terms = slices.Compact(terms); len(terms) == 0 {
		return free
	}
	l.Expression = join(terms, " AND ")
	return l
}

func isFormat(format string) bool {
	return strings.Contains(format, "copyright-format") || strings.Contains(strings.ToLower(format), "dep5") || strings.Contains(format, "dep.debian.net")
}

// paragraphs reads the fields of a copyright file, of each the first line. Names are in lower case.
func paragraphs(text string) []map[string]string {
	var all []map[string]string
	var now map[string]string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		switch {
		case line == "":
			now = nil
			continue
		case line[0] == ' ' || line[0] == '\t' || line[0] == '#':
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		if now == nil {
			now = map[string]string{}
			all = append(all, now)
		}
		now[strings.ToLower(key)] = strings.TrimSpace(value)
		if value == "" && strings.EqualFold(key, "files") {
			now["files"] = "*" // the patterns are on the next lines
		}
	}
	return all
}

// reader turns the short names of one License field into an expression.
type reader struct {
	*dictionary

	pkg string
	own []custom
}

// expression reads names joined by "or" and "and", where "and" binds more closely unless a comma comes before it.
func (r *reader) expression(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	var ors []string
	for _, part := range split(text, ", or ") {
		var ands []string
		for _, p := range split(part, ", and ") {
			ands = append(ands, r.plain(p))
		}
		ors = append(ors, join(ands, " AND "))
	}
	return join(ors, " OR ")
}

func (r *reader) plain(text string) string {
	var ors []string
	for _, part := range split(text, " or ") {
		var ands []string
		for _, p := range split(part, " and ") {
			ands = append(ands, r.term(strings.Trim(p, " ,")))
		}
		ors = append(ors, join(ands, " AND "))
	}
	return join(ors, " OR ")
}

// split cuts at each separator, in whatever letters.
func split(text, separator string) []string {
	var parts []string
	lower := strings.ToLower(text)
	if len(lower) != len(text) { // letters that change their length: no separator is one
		return []string{text}
	}
	for {
		i := strings.Index(lower, separator)
		if i < 0 {
			return append(parts, text)
		}
		parts = append(parts, text[:i])
		text, lower = text[i+len(separator):], lower[i+len(separator):]
	}
}

// join joins terms, in brackets those that hold the other operator.
func join(terms []string, operator string) string {
	terms = slices.DeleteFunc(terms, func(t string) bool { return t == "" })
	if len(terms) == 1 {
		return terms[0]
	}
	other := " OR "
	if operator == other {
		other = " AND "
	}
	for i, t := range terms {
		if strings.Contains(t, other) {
			terms[i] = "(" + t + ")"
		}
	}
	return strings.Join(terms, operator)
}

// term reads one short name, with its exception.
func (r *reader) term(text string) string {
	if text == "" {
		return ""
	}
	name, exception, with := cutFold(text, " with ")
	if id := r.identify(name); id != "" {
		if !with {
			return id
		}
		if e := r.exceptions[strings.TrimSuffix(strings.ToLower(exception), " exception")]; e != "" && !strings.Contains(id, " ") {
			return id + " WITH " + e
		}
	}
	ref := identifier("LicenseRef", r.pkg, text)
	r.own = append(r.own, custom{ref, text})
	return ref
}

func cutFold(text, separator string) (before, after string, found bool) {
	parts := split(text, separator)
	return parts[0], strings.Join(parts[1:], separator), len(parts) > 1
}

// dictionary knows the names of licences.
type dictionary struct {
	identifiers, exceptions map[string]string
	family                  *regexp.Regexp // of licences that say whether later versions count
}

func newDictionary() *dictionary {
	return &dictionary{identifiers(), exceptions(), regexp.MustCompile(`^(agpl|gpl|lgpl|gfdl)-?v?([123])(?:\.([0-3]))?(\+|-or-later|-only)?$`)}
}

// identify returns the SPDX identifier, or expression, of a short name of copyright-format 1.0, or "".
func (d *dictionary) identify(name string) string {
	name = strings.ToLower(name)
	if id := d.identifiers[name]; id != "" {
		return id
	}
	m := d.family.FindStringSubmatch(name)
	if m == nil {
		return ""
	}
	minor, which := m[3], "-only"
	if minor == "" {
		minor = "0"
	}
	if m[4] == "+" || m[4] == "-or-later" {
		which = "-or-later"
	}
	id := strings.ToUpper(m[1]) + "-" + m[2] + "." + minor
	if !slices.Contains(families(), id) {
		return ""
	}
	return id + which
}

// families are the versions that there are of licences which say whether later ones count.
func families() []string {
	return []string{
		"GPL-1.0", "GPL-2.0", "GPL-3.0", "LGPL-2.0", "LGPL-2.1", "LGPL-3.0", "AGPL-1.0", "AGPL-3.0", "GFDL-1.1", "GFDL-1.2", "GFDL-1.3",
	}
}

// identifiers are SPDX identifiers by the short names that copyright files have for them.
func identifiers() map[string]string {
	all := map[string]string{
		"expat": "MIT", "mit/x11": "MIT", "apache": "Apache-2.0", "apache-2": "Apache-2.0", "asl-2.0": "Apache-2.0",
		"artistic": "Artistic-1.0", "artistic-1": "Artistic-1.0", "artistic-2": "Artistic-2.0", "perl": "Artistic-1.0-Perl OR GPL-1.0-or-later",
		"bsd-2": "BSD-2-Clause", "bsd-3": "BSD-3-Clause", "bsd-4": "BSD-4-Clause", "bsd-4-clause-uc": "BSD-4-Clause-UC",
		"bsl-1": "BSL-1.0", "cc0": "CC0-1.0", "mpl-2": "MPL-2.0", "openssl": "OpenSSL", "psf": "PSF-2.0", "psf-2": "PSF-2.0",
		"python": "Python-2.0", "zlib/libpng": "Zlib", "ofl": "OFL-1.1", "unicode": "Unicode-DFS-2016", "w3c": "W3C", "bzip2": "bzip2-1.0.6",
		"postgresql": "PostgreSQL", "gfdl-niv-1.2": "GFDL-1.2-no-invariants-only", "gfdl-niv-1.3": "GFDL-1.3-no-invariants-only",
		"gfdl-niv-1.2+": "GFDL-1.2-no-invariants-or-later", "gfdl-niv-1.3+": "GFDL-1.3-no-invariants-or-later", "wtfpl-2": "WTFPL",
	}
	for _, id := range []string{
		"MIT", "MIT-0", "Apache-1.0", "Apache-1.1", "Apache-2.0", "Artistic-1.0", "Artistic-1.0-Perl", "Artistic-2.0", "0BSD", "BSD-1-Clause",
		"BSD-2-Clause", "BSD-3-Clause", "BSD-4-Clause", "BSL-1.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC0-1.0",
		"CDDL-1.0", "curl", "EPL-1.0", "EPL-2.0", "EUPL-1.1", "EUPL-1.2", "FSFAP", "FTL", "HPND", "ICU", "IJG", "IPL-1.0", "ISC", "JSON",
		"Libpng", "libtiff", "LPPL-1.3c", "MirOS", "MPL-1.0", "MPL-1.1", "MPL-2.0", "MS-PL", "NCSA", "NTP", "OFL-1.0", "OFL-1.1", "OLDAP-2.8",
		"PHP-3.01", "PSF-2.0", "Python-2.0", "QPL-1.0", "Ruby", "SISSL", "Sleepycat", "SMLNJ", "TCL", "Unlicense", "Vim", "W3C", "WTFPL", "X11",
		"Zlib", "ZPL-2.0", "ZPL-2.1",
	} {
		all[strings.ToLower(id)] = id
	}
	return all
}

// exceptions are SPDX's exceptions by the words that copyright files have for them.
func exceptions() map[string]string {
	return map[string]string{
		"classpath": "Classpath-exception-2.0", "font": "Font-exception-2.0", "gcc": "GCC-exception-3.1", "gcc-runtime": "GCC-exception-3.1",
		"libtool": "Libtool-exception", "bison": "Bison-exception-2.2", "llvm": "LLVM-exception", "u-boot": "u-boot-exception-2.0",
	}
}
