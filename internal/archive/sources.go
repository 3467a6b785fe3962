package archive

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"

	"imx"
	"imx/internal/deb"
)

// source is one suite and the mirrors that have it.
type source struct {
	suite      string
	components []string
	mirrors    []mirror // tried in their order
}

// mirror is a place where a source's files are.
type mirror struct {
	root *url.URL
	ring openpgp.EntityList // who may sign what is there
	at   imx.Pos            // where it is declared
	// sure is set where the declaration itself says that this is the archive: then a failure is an
	// error, never a reason to leave the source out.
	sure bool
}

// sure reports whether any mirror of the source is.
func (s source) sure() bool {
	return slices.ContainsFunc(s.mirrors, func(m mirror) bool { return m.sure })
}

// entry is one stanza of a deb822 file, or one line of a sources.list, as sources.list(5) has them.
type entry struct {
	at                                            imx.Pos
	types, uris, suites, components, architecture []string
	signedBy                                      string
}

// sources returns the suites of a declared archive, sorted, without fetching anything. An empty arch is any.
func (a *Archive) sources(decl imx.Archive, arch string) ([]source, imx.Diagnostics, error) {
	ring, err := a.ring(decl)
	if err != nil {
		return nil, nil, err
	}
	components := decl.Components
	if len(components) == 0 {
		components = []string{"main"}
	}
	for _, name := range slices.Concat(decl.Suites, components) {
		if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, " %?#\\") {
			return nil, nil, imx.Errorf(imx.Invalid, "archive %q: %q is no name of a suite or component", decl.Name, name)
		}
	}
	if decl.Mirror != "" {
		found, err := declared(decl, ring, components)
		return found, nil, err
	}
	entries, err := readEntries(os.DirFS(a.cfg.AptDir))
	if err != nil {
		return nil, nil, err
	}
	h := hostSources{decl: decl, arch: arch, ring: ring, rings: &a.rings, components: components}
	for _, e := range entries {
		h.add(e)
	}
	found, err := h.result()
	return found, h.notices, err
}

func (a *Archive) ring(decl imx.Archive) (openpgp.EntityList, error) {
	b := decl.Keyring
	if len(b) == 0 {
		var err error
		if b, err = os.ReadFile(a.cfg.Keyring); err != nil {
			return nil, imx.Errorf(imx.NotFound, "archive %q: Debian's keyring can't be read: %w", decl.Name, err).
				WithHint("install the package debian-archive-keyring")
		}
	}
	ring, err := a.rings.parse(b)
	if err != nil || len(ring) == 0 {
		return nil, imx.Errorf(imx.Invalid, "archive %q: its keyring has no OpenPGP public key", decl.Name).
			WithHint("export the key with: gpg --export KEY")
	}
	return ring, nil
}

// declared makes the sources of an archive block with a mirror of its own.
func declared(decl imx.Archive, ring openpgp.EntityList, components []string) ([]source, error) {
	root, err := parseRoot(decl.Mirror)
	if err != nil {
		return nil, imx.Errorf(imx.Invalid, "archive %q: its mirror is no http, https or file URL", decl.Name)
	}
	if len(decl.Suites) == 0 {
		return nil, imx.Errorf(imx.Invalid, "archive %q has a mirror but no suites", decl.Name).
			WithHint("name them: suites = [\"bookworm\"]")
	}
	m := mirror{root: root, ring: ring, at: decl.At, sure: true}
	var found []source
	for _, name := range slices.Compact(slices.Sorted(slices.Values(decl.Suites))) {
		found = append(found, source{suite: name, components: components, mirrors: []mirror{m}})
	}
	return found, nil
}

func parseRoot(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil {
		return nil, err
	}
	web := (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	local := u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path)
	if !web && !local || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("not the URL of a mirror")
	}
	return u, nil
}

// hostSources gathers the host's apt sources that belong to a declared archive.
type hostSources struct {
	decl       imx.Archive
	arch       string
	ring       openpgp.EntityList
	rings      *keyrings
	components []string
	found      []source
	idle       []idleMirror
	siblings   []sibling
	notices    imx.Diagnostics
}

// sibling is a suite of the host's sources whose Signed-By names keys of the archive.
type sibling struct {
	suite string
	mirror
}

// idleMirror is one suite of a mirror that has none of the wanted components.
type idleMirror struct {
	suite      string
	root       *url.URL
	at         imx.Pos
	components []string
}

func (h *hostSources) add(e entry) {
	if !slices.Contains(e.types, "deb") || h.arch != "" && len(e.architecture) > 0 && !slices.Contains(e.architecture, h.arch) {
		return
	}
	for _, name := range e.suites {
		if len(h.decl.Suites) > 0 {
			h.addSiblings(e, name)
			if !slices.Contains(h.decl.Suites, name) {
				continue
			}
		}
		for _, uri := range e.uris {
			if reason := h.addMirror(e, name, uri); reason != "" {
				h.notices = append(h.notices, leftOut(e.at, name, reason))
			}
		}
	}
}

// addMirror adds one suite of one mirror, or says why it isn't taken.
func (h *hostSources) addMirror(e entry, name, uri string) (reason string) {
	root, err := parseRoot(uri)
	m := mirror{root: root, ring: h.ring, at: e.at, sure: e.signedBy != "" || len(h.decl.Suites) > 0}
	switch {
	case err != nil:
		return "it is no http, https or file URL"
	case strings.HasSuffix(name, "/"):
		return "it has no suites, but one flat folder"
	case !fs.ValidPath(name) || strings.ContainsAny(name, "%?#\\"):
		return "that is no suite's name"
	}
	if e.signedBy == "" && !slices.ContainsFunc(e.components, func(c string) bool { return slices.Contains(h.components, c) }) {
		// Its key isn't known, and apt itself takes nothing from it that is wanted here: it isn't even asked.
		h.idle = append(h.idle, idleMirror{suite: name, root: root, at: e.at, components: e.components})
		return ""
	}
	if e.signedBy != "" {
		if m.ring = h.rings.onlySigners(h.ring, e.signedBy, os.ReadFile); len(m.ring) == 0 {
			return "its Signed-By names other keys than the archive's keyring"
		}
	}
	i := slices.IndexFunc(h.found, func(s source) bool { return s.suite == name })
	if i < 0 {
		h.found = append(h.found, source{suite: name, components: h.components, mirrors: []mirror{m}})
		return ""
	}
	if !h.found[i].on(m.root) {
		h.found[i].mirrors = append(h.found[i].mirrors, m)
	}
	return ""
}

// addSiblings remembers where a suite is, wanted or not, if its Signed-By names keys of the archive.
func (h *hostSources) addSiblings(e entry, name string) {
	if e.signedBy == "" {
		return
	}
	ring := h.rings.onlySigners(h.ring, e.signedBy, os.ReadFile)
	for _, uri := range e.uris {
		if root, err := parseRoot(uri); err == nil && len(ring) > 0 {
			h.siblings = append(h.siblings, sibling{name, mirror{root: root, ring: ring, at: e.at, sure: true}})
		}
	}
}

// derive makes the source of a wanted suite that the host's own sources don't have: it is looked for
// where other suites of the same archive are. Debian's security suites are on a mirror of their own.
func (h *hostSources) derive(want string) bool {
	s := source{suite: want, components: h.components}
	for _, other := range h.siblings {
		if isSecurity(other.suite) == isSecurity(want) && !s.on(other.root) {
			s.mirrors = append(s.mirrors, other.mirror)
		}
	}
	if len(s.mirrors) > 0 {
		h.found = append(h.found, s)
	}
	return len(s.mirrors) > 0
}

// isSecurity reports whether a suite is one of security updates; "buster/updates" is an old form.
func isSecurity(suite string) bool {
	return strings.HasSuffix(suite, "-security") || strings.HasSuffix(suite, "/updates")
}

// on reports whether a mirror of the source is at root.
func (s source) on(root *url.URL) bool {
	return slices.ContainsFunc(s.mirrors, func(m mirror) bool { return *m.root == *root })
}

// noticeIdle tells of the idle mirrors that no other entry has with a wanted component.
func (h *hostSources) noticeIdle() {
	for _, m := range h.idle {
		if !slices.ContainsFunc(h.found, func(s source) bool { return s.suite == m.suite && s.on(m.root) }) {
			reason := fmt.Sprintf("none of its components %q is wanted here", strings.Join(m.components, " "))
			h.notices = append(h.notices, leftOut(m.at, m.suite, reason))
		}
	}
}

func (h *hostSources) result() ([]source, error) {
	h.noticeIdle()
	for _, want := range h.decl.Suites {
		if !slices.ContainsFunc(h.found, func(s source) bool { return s.suite == want }) && !h.derive(want) {
			return nil, imx.Errorf(imx.NotFound, "archive %q: none of this machine's apt sources has the suite %q signed by the archive's keyring", h.decl.Name, want).
				WithHint("add the suite to the apt sources, or give the archive a mirror")
		}
	}
	if len(h.found) == 0 {
		return nil, imx.Errorf(imx.NotFound, "archive %q: none of this machine's apt sources is signed by Debian's keyring", h.decl.Name).
			WithHint("add Debian's sources to apt, or declare an archive with a mirror in the template")
	}
	slices.SortFunc(h.found, func(a, b source) int { return cmp.Compare(a.suite, b.suite) })
	return h.found, nil
}

// readEntries reads sources.list and sources.list.d as apt does: in the order of their names, and
// only files that end in .list or .sources.
func readEntries(apt fs.FS) ([]entry, error) {
	names := []string{"sources.list"}
	parts, err := fs.ReadDir(apt, "sources.list.d")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the apt sources: %w", err)
	}
	for _, p := range parts {
		names = append(names, "sources.list.d/"+p.Name())
	}
	var all []entry
	for _, name := range names {
		parse := parseLines
		switch filepath.Ext(name) {
		case ".list":
		case ".sources":
			parse = parseStanzas
		default:
			continue
		}
		text, err := fs.ReadFile(apt, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the apt sources: %w", err)
		}
		entries, err := parse(name, text)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	return all, nil
}

// parseLines reads the one-line form: "deb [arch=amd64 signed-by=FILE] URI suite component...".
func parseLines(name string, text []byte) ([]entry, error) {
	var all []entry
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		e := entry{at: imx.Pos{File: name, Line: number}}
		words := strings.Fields(e.takeOptions(line))
		if len(words) < 3 {
			return nil, imx.Errorf(imx.Invalid, "%s: this is no apt source", e.at).
				WithHint("apt-get check reads the same files")
		}
		e.types, e.uris, e.suites, e.components = words[:1], words[1:2], words[2:3], words[3:]
		all = append(all, e)
	}
	return all, nil
}

// takeOptions reads the options in brackets and returns the line without them.
func (e *entry) takeOptions(line string) string {
	before, rest, ok := strings.Cut(line, "[")
	if !ok || strings.Contains(strings.TrimSpace(before), " ") {
		return line
	}
	options, after, _ := strings.Cut(rest, "]")
	for option := range strings.FieldsSeq(options) {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "arch":
			e.architecture = strings.Split(value, ",")
		case "signed-by":
			e.signedBy = value
		}
	}
	return before + " " + after
}

// parseStanzas reads the deb822 form. Its comment lines go before the stanzas are read.
func parseStanzas(name string, text []byte) ([]entry, error) {
	var plain bytes.Buffer
	for line := range bytes.Lines(text) {
		switch {
		case bytes.HasPrefix(line, []byte("#")):
		case len(bytes.TrimSpace(line)) == 0:
			plain.WriteByte('\n')
		default:
			plain.Write(line)
		}
	}
	var all []entry
	stanzas := deb.ReadStanzas(&plain, name)
	for {
		s, err := stanzas.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, imx.Errorf(imx.Invalid, "%w", err).WithHint("apt-get check reads the same files")
		}
		switch strings.ToLower(s.Field("enabled")) {
		case "no", "false", "without", "off", "disable", "0":
			continue
		}
		all = append(all, entry{
			at:           imx.Pos{File: name, Line: s.Line},
			types:        strings.Fields(s.Field("types")),
			uris:         strings.Fields(s.Field("uris")),
			suites:       strings.Fields(s.Field("suites")),
			components:   strings.Fields(s.Field("components")),
			architecture: strings.Fields(s.Field("architectures")),
			signedBy:     s.Field("signed-by"),
		})
	}
}
