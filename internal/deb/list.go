package deb

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"iter"
	"strings"

	"imx"
)

// List is what there is to know of a Packages file, stored with an index of its names
// (docs/format/list.md). It keeps the index in memory, 4 MB for Debian's largest list, and reads a
// package's stanza when it is asked for. It doesn't change and may be used from several goroutines, as
// far as its reader may.
type List struct {
	r       io.ReaderAt
	size    int64  // of the text
	archive string // that its packages are from
	suite   string
	parts   parts
}

// parts are the sections of a list's index. All numbers are little-endian.
type parts struct {
	sums      table // CRC-32C of each block of the text
	offsets   table // where each stanza begins, sorted by package name, then as in the text
	lengths   table // bytes of each stanza
	names     words // of packages, sorted
	stanzas   table // for each name, the end of its stanzas in offsets
	virtual   words // names that packages provide, sorted
	providers table // for each virtual name, the end of its providers in provider
	provider  table // places in names
	standing  table // places in names
}

// table is a list of 32-bit numbers.
type table []byte

func (t table) len() int { return len(t) / 4 }

func (t table) at(i int) int { return int(binary.LittleEndian.Uint32(t[4*i:])) }

// between returns what entry i of a table of ends holds: from the end of the one before to its own.
func (t table) between(i int) (from, to int) {
	if i > 0 {
		from = t.at(i - 1)
	}
	return from, t.at(i)
}

// words is a sorted list of strings.
type words struct {
	ends table
	text []byte
}

func (w words) at(i int) []byte {
	from, to := w.ends.between(i)
	return w.text[from:to]
}

// find returns the place of s, or false.
func (w words) find(s string) (int, bool) {
	from, to := 0, w.ends.len()
	for from < to {
		middle := int(uint(from+to) >> 1)
		if string(w.at(middle)) < s {
			from = middle + 1
		} else {
			to = middle
		}
	}
	return from, from < w.ends.len() && string(w.at(from)) == s
}

const (
	listMagic  = "imxlist2" // changes with the format
	listBlock  = 4096       // bytes of text under one checksum
	footerSize = len(listMagic) + 32 + 8 + 8 + 4 + 4
	maxIndex   = 256 << 20 // bytes; Debian's largest list needs 5 MB
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // made once, by the library

// OpenList opens what WriteList wrote under the key. It checks the whole, reading it once, and is
// Refused if it was written under another key, by another version, or is damaged: the caller then
// writes it anew. r must stay readable as long as the List or an Index of it is used.
func OpenList(r io.ReaderAt, size int64, key imx.Digest) (*List, error) {
	f, err := readFooter(r, size, key)
	if err != nil {
		return nil, err
	}
	index := make([]byte, f.index)
	if _, err := r.ReadAt(index, f.text); err != nil {
		return nil, cut(err, "the index of a list")
	}
	if crc32.Checksum(index, castagnoli()) != f.sum {
		return nil, damagedList("its index has another checksum")
	}
	l := &List{r: r, size: f.text}
	if l.parts, err = readParts(index); err != nil {
		return nil, err
	}
	if err := l.parts.check(f.text); err != nil {
		return nil, err
	}
	buf := make([]byte, 64*listBlock)
	for at := int64(0); at < l.size; at += int64(len(buf)) {
		if err := l.readBlocks(buf[:min(int64(len(buf)), l.size-at)], at); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// From returns the same list as one of a suite of an archive, which its packages then name.
func (l *List) From(archive, suite string) *List {
	from := *l
	from.archive, from.suite = archive, suite
	return &from
}

// Memory returns about how many bytes of memory the list's index takes.
func (l *List) Memory() int64 {
	n := int64(0)
	for _, t := range l.parts.tables() {
		n += int64(len(*t))
	}
	return n + int64(len(l.parts.names.text)) + int64(len(l.parts.virtual.text))
}

// footer is the end of a list.
type footer struct {
	text, index int64 // bytes
	sum         uint32
}

func readFooter(r io.ReaderAt, size int64, key imx.Digest) (footer, error) {
	var f footer
	if size < int64(footerSize) {
		return f, damagedList("it has %d bytes", size)
	}
	b := make([]byte, footerSize)
	if _, err := r.ReadAt(b, size-int64(footerSize)); err != nil {
		return f, cut(err, "the end of a list")
	}
	body, sum := b[:footerSize-4], binary.LittleEndian.Uint32(b[footerSize-4:])
	rest, ok := bytes.CutPrefix(body, []byte(listMagic))
	if !ok || crc32.Checksum(body, castagnoli()) != sum {
		return f, damagedList("it doesn't end as one")
	}
	if string(rest[:32]) != keyBytes(key) {
		return f, damagedList("it is another list")
	}
	text, index := binary.LittleEndian.Uint64(rest[32:]), binary.LittleEndian.Uint64(rest[40:])
	if text > maxText || index > maxIndex {
		return f, damagedList("its parts are too long")
	}
	f = footer{text: int64(text), index: int64(index), sum: binary.LittleEndian.Uint32(rest[48:])}
	if f.text+f.index+int64(footerSize) != size {
		return f, damagedList("its parts don't add up")
	}
	return f, nil
}

// keyBytes returns the 32 bytes that a digest writes in hex.
func keyBytes(key imx.Digest) string {
	b, err := hex.DecodeString(key.Hex())
	if err != nil || len(b) != 32 {
		return strings.Repeat("\x00", 32)
	}
	return string(b)
}

func damagedList(format string, args ...any) error {
	return refused("the stored list is damaged: "+format, args...)
}

// tables returns the tables in the order in which an index has them.
func (p *parts) tables() []*table {
	return []*table{
		&p.sums, &p.offsets, &p.lengths, &p.names.ends, &p.stanzas,
		&p.virtual.ends, &p.providers, &p.provider, &p.standing,
	}
}

// readParts cuts an index: the number of entries of each table and the bytes of both texts, then those.
func readParts(b []byte) (parts, error) {
	var p parts
	tables := p.tables()
	head := 4 * (len(tables) + 2)
	if len(b) < head {
		return p, damagedList("its index has %d bytes", len(b))
	}
	counts, b := table(b[:head]), b[head:]
	take := func(n int) []byte {
		if n > len(b) {
			n = len(b)
		}
		part := b[:n:n]
		b = b[n:]
		return part
	}
	whole := true
	for i, t := range tables {
		n := counts.at(i)
		*t = take(4 * n)
		whole = whole && t.len() == n
	}
	for i, text := range []*[]byte{&p.names.text, &p.virtual.text} {
		n := counts.at(len(tables) + i)
		*text = take(n)
		whole = whole && len(*text) == n
	}
	if !whole || len(b) > 0 {
		return p, damagedList("its index has other sections than it says")
	}
	return p, nil
}

// check sees to it that no number in the index leads out of what it points into.
func (p *parts) check(text int64) error {
	names := p.names.ends.len()
	ok := int64(p.sums.len()) == (text+listBlock-1)/listBlock &&
		p.lengths.len() == p.offsets.len() && p.stanzas.len() == names && p.providers.len() == p.virtual.ends.len() &&
		p.names.ends.rises(len(p.names.text)) && p.virtual.ends.rises(len(p.virtual.text)) &&
		p.stanzas.rises(p.offsets.len()) && p.providers.rises(p.provider.len()) &&
		p.provider.below(names) && p.standing.below(names)
	for i := 0; ok && i < p.offsets.len(); i++ {
		ok = p.lengths.at(i) <= maxStanza && int64(p.offsets.at(i))+int64(p.lengths.at(i)) <= text
	}
	if !ok {
		return damagedList("its index leads out of it")
	}
	return nil
}

// rises reports whether the ends in the table never fall and the last of them is end.
func (t table) rises(end int) bool {
	last := 0
	for i := range t.len() {
		n := t.at(i)
		if n < last {
			return false
		}
		last = n
	}
	return last == end
}

func (t table) below(limit int) bool {
	for i := range t.len() {
		if t.at(i) >= limit {
			return false
		}
	}
	return true
}

// readBlocks fills b with the text from at on and checks it. at is where a block begins, and b ends where
// one ends, or the text.
func (l *List) readBlocks(b []byte, at int64) error {
	if _, err := l.r.ReadAt(b, at); err != nil {
		return cut(err, "a stored list")
	}
	for block := int(at / listBlock); len(b) > 0; block++ {
		n := min(len(b), listBlock)
		if int(crc32.Checksum(b[:n], castagnoli())) != l.parts.sums.at(block) {
			return damagedList("the checksum of its block %d is wrong", block)
		}
		b = b[n:]
	}
	return nil
}

// stanza reads and checks one stanza's text.
func (l *List) stanza(i int) ([]byte, error) {
	at, n := int64(l.parts.offsets.at(i)), int64(l.parts.lengths.at(i))
	from := at / listBlock * listBlock
	to := min((at+n+listBlock-1)/listBlock*listBlock, l.size)
	b := make([]byte, to-from)
	err := l.readBlocks(b, from)
	return b[at-from : at-from+n], err
}

// versions returns the packages of the name in the order of the text.
func (l *List) versions(name string) ([]Package, error) {
	i, ok := l.parts.names.find(name)
	if !ok {
		return nil, nil
	}
	var all []Package
	p := newPackageReader(l.archive, l.suite)
	for from, to := l.parts.stanzas.between(i); from < to; from++ {
		text, err := l.stanza(from)
		if err != nil {
			return nil, err
		}
		stanzas := newStanzas(bytes.NewReader(text), "Packages of "+l.archive+" "+l.suite, listBlock)
		err = p.readAll(stanzas, func(_ *Stanza, one Package) error {
			if one.Name != name {
				return damagedList("it has %s where %s is to be", one.Name, name)
			}
			all = append(all, one)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// providers returns the names of the packages of which some version may provide the name, sorted.
func (l *List) providers(virtual string) []string {
	i, ok := l.parts.virtual.find(virtual)
	if !ok {
		return nil
	}
	var all []string
	for from, to := l.parts.providers.between(i); from < to; from++ {
		all = append(all, string(l.parts.names.at(l.parts.provider.at(from))))
	}
	return all
}

// standing returns the names of packages of which some version is Essential or Granted, sorted.
func (l *List) standing() []string {
	all := make([]string, 0, l.parts.standing.len())
	for i := range l.parts.standing.len() {
		all = append(all, string(l.parts.names.at(l.parts.standing.at(i))))
	}
	return all
}

// names yields the names of all packages, sorted.
func (l *List) names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range l.parts.names.ends.len() {
			if !yield(string(l.parts.names.at(i))) {
				return
			}
		}
	}
}
