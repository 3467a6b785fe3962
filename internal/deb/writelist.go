package deb

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"imx"
)

// WriteList writes what there is to know of the packages of a Packages file to w, stanza by stanza,
// and an index of it, for OpenList. It refuses what ParsePackages refuses, in the same words; what was
// written by then is of no use. The key is what the list is known by, the digest of the Packages
// file; name stands for it in errors.
func WriteList(w io.Writer, r io.Reader, key imx.Digest, name string) error {
	x := listWriter{text: summer{w: w}}
	p := newPackageReader("", "")
	p.bare = true
	if err := p.readAll(ReadStanzas(r, name), x.add); err != nil {
		return err
	}
	if err := x.text.end(); err != nil {
		return err
	}
	x.parts.sums = x.text.sums
	index := x.index()
	end := append([]byte(listMagic), keyBytes(key)...)
	end = binary.LittleEndian.AppendUint64(end, uint64(x.text.n)) //nolint:gosec // G115: it isn't negative
	end = binary.LittleEndian.AppendUint64(end, uint64(len(index)))
	end = binary.LittleEndian.AppendUint32(end, crc32.Checksum(index, castagnoli()))
	end = binary.LittleEndian.AppendUint32(end, crc32.Checksum(end, castagnoli()))
	_, err := w.Write(append(index, end...))
	return err
}

// maxText is the most that a list's text may have: its index has offsets of 32 bits.
const maxText = 1<<32 - 1

// writeBlocks is how many blocks are written at once.
const writeBlocks = 64

// summer passes a text on and makes the checksums of its blocks.
type summer struct {
	w    io.Writer
	b    []byte // not yet passed on
	n    int64  // bytes of the text, with those
	sums table
}

// addLine appends a line to the text.
func (s *summer) addLine(b []byte) {
	s.b = append(append(s.b, b...), '\n')
	s.n += int64(len(b)) + 1
}

// passBlocks passes whole blocks on once there are enough.
func (s *summer) passBlocks() error {
	if len(s.b) < writeBlocks*listBlock {
		return nil
	}
	return s.pass(len(s.b) / listBlock * listBlock)
}

// pass passes n bytes on: whole blocks, or all that is left.
func (s *summer) pass(n int) error {
	for at := 0; at < n; at += listBlock {
		s.sums = s.sums.add(int(crc32.Checksum(s.b[at:min(at+listBlock, n)], castagnoli())))
	}
	_, err := s.w.Write(s.b[:n])
	s.b = append(s.b[:0], s.b[n:]...)
	return err
}

func (s *summer) end() error { return s.pass(len(s.b)) }

// listWriter gathers what a list's index is made of.
type listWriter struct {
	text     summer
	stanzas  []stanzaAt
	provides []provides
	standing []string
	parts    parts
}

// stanzaAt is where a package's stanza is.
type stanzaAt struct {
	name           string
	offset, length uint32
}

// provides says that a package provides a virtual name.
type provides struct{ virtual, name string }

func (x *listWriter) add(s *Stanza, p Package) error {
	start := x.text.n
	for _, f := range s.fields {
		if isKept(s.text[f.name:f.nameEnd]) {
			x.text.addLine(s.text[f.name:f.valueEnd])
		}
	}
	if err := x.text.passBlocks(); err != nil {
		return err
	}
	if x.text.n > maxText {
		return refused("what is to be kept of the list has more than %d bytes", int64(maxText))
	}
	x.stanzas = append(x.stanzas, stanzaAt{p.Name, u32(start), u32(x.text.n - start)})
	if p.Essential || p.Granted() {
		x.standing = append(x.standing, p.Name)
	}
	if p.Relations.Provides == "" {
		return nil
	}
	groups, err := ParseRelations(p.Relations.Provides)
	if err == nil { // else it provides nothing, as in Index.Providers
		for _, g := range groups {
			x.provides = append(x.provides, provides{g[0].Name, p.Name})
		}
	}
	return nil
}

// index sorts what was gathered and writes it.
func (x *listWriter) index() []byte {
	slices.SortFunc(x.stanzas, func(a, b stanzaAt) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return cmp.Compare(a.offset, b.offset)
	})
	p := &x.parts
	for i, s := range x.stanzas {
		p.offsets = binary.LittleEndian.AppendUint32(p.offsets, s.offset)
		p.lengths = binary.LittleEndian.AppendUint32(p.lengths, s.length)
		if i+1 == len(x.stanzas) || x.stanzas[i+1].name != s.name {
			p.names = p.names.add(s.name)
			p.stanzas = p.stanzas.add(i + 1)
		}
	}
	x.addProvides()
	slices.Sort(x.standing)
	for _, name := range slices.Compact(x.standing) {
		p.standing = p.standing.add(p.names.place(name))
	}
	var head, body []byte
	for _, t := range p.tables() {
		head = binary.LittleEndian.AppendUint32(head, u32(int64(t.len())))
		body = append(body, *t...)
	}
	for _, text := range [][]byte{p.names.text, p.virtual.text} {
		head = binary.LittleEndian.AppendUint32(head, u32(int64(len(text))))
		body = append(body, text...)
	}
	return append(head, body...)
}

func (x *listWriter) addProvides() {
	slices.SortFunc(x.provides, func(a, b provides) int {
		if c := strings.Compare(a.virtual, b.virtual); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	all := slices.Compact(x.provides)
	for i, one := range all {
		x.parts.provider = x.parts.provider.add(x.parts.names.place(one.name))
		if i+1 == len(all) || all[i+1].virtual != one.virtual {
			x.parts.virtual = x.parts.virtual.add(one.virtual)
			x.parts.providers = x.parts.providers.add(i + 1)
		}
	}
}

func (t table) add(n int) table { return binary.LittleEndian.AppendUint32(t, u32(int64(n))) }

// isKept reports whether a stored list has the field of that name. Whoever changes this changes listMagic.
func isKept(name []byte) bool {
	switch string(name) {
	case "package", "source", "version", "architecture", "multi-arch", "essential", "important", "protected", "installed-size", "section", "priority",
		"pre-depends", "depends", "recommends", "suggests", "provides", "conflicts", "breaks", "replaces",
		"filename", "size", "sha256":
		return true
	}
	return false
}

// u32 is for numbers of bytes of a text, and of what is in it, and checksums: none is above maxText.
func u32(n int64) uint32 { return uint32(n) } //nolint:gosec // G115: see above

func (w words) add(s string) words {
	text := append(w.text, s...)
	return words{ends: w.ends.add(len(text)), text: text}
}

// place returns where a word is that was added.
func (w words) place(s string) int {
	i, _ := w.find(s)
	return i
}
