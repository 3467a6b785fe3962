package deb

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"

	"imx"
)

const (
	maxLine   = 1 << 20 // bytes; the longest line of Debian 12 has 76 kB
	maxStanza = 8 << 20 // bytes; a Release file, one stanza, has 150 kB
	maxFields = 256
)

// StanzaReader reads control stanzas (deb822(5)) one by one from a stream of any length. It is
// stricter than dpkg where readers differ in what they make of the same bytes: a field that
// stands twice, a line of blanks alone, a carriage return or another control character are refused.
type StanzaReader struct {
	r    *bufio.Reader
	name string // of the stream, for errors
	line int    // lines read
	cur  Stanza
}

// Stanza is one block of fields. It is valid until the next call of Next.
type Stanza struct {
	Line   int // of its first field, from 1
	text   []byte
	fields []span
	seen   uint64 // a bit for each field's name; two names may share one
}

// span holds offsets into a Stanza's text.
type span struct{ name, nameEnd, value, valueEnd int }

// ReadStanzas returns a reader of r's stanzas; name stands for the stream in errors.
func ReadStanzas(r io.Reader, name string) *StanzaReader {
	return newStanzas(r, name, 1<<16)
}

func newStanzas(r io.Reader, name string, buffer int) *StanzaReader {
	return &StanzaReader{r: bufio.NewReaderSize(r, buffer), name: name}
}

// Next returns the next stanza, or io.EOF after the last.
func (s *StanzaReader) Next() (*Stanza, error) {
	s.cur.text, s.cur.fields, s.cur.seen = s.cur.text[:0], s.cur.fields[:0], 0
	for {
		blank, err := s.readLine()
		switch {
		case errors.Is(err, io.EOF) && len(s.cur.fields) > 0:
			return &s.cur, nil
		case err != nil:
			return nil, err
		case blank && len(s.cur.fields) > 0:
			return &s.cur, nil
		}
	}
}

// readLine appends one line to the stanza, and reports whether it was empty instead.
func (s *StanzaReader) readLine() (blank bool, err error) {
	start := len(s.cur.text)
	if err := s.fill(start); err != nil {
		return false, err
	}
	s.line++
	line := s.cur.text[start:]
	if len(line) == 0 {
		return true, nil
	}
	if hasControl(line) {
		return false, s.refuse("has a control character")
	}
	if line[0] == ' ' || line[0] == '\t' {
		return false, s.continued(line)
	}
	return false, s.field(start)
}

// fill appends the next line's bytes, without its newline, to the text. The last line of a stream
// may lack its newline.
func (s *StanzaReader) fill(start int) error {
	for {
		chunk, err := s.r.ReadSlice('\n')
		s.cur.text = append(s.cur.text, chunk...)
		switch {
		case len(s.cur.text)-start > maxLine:
			s.line++
			return s.refuse("is longer than %d bytes", maxLine)
		case len(s.cur.text) > maxStanza:
			s.line++
			return s.refuse("makes a stanza longer than %d bytes", maxStanza)
		case err == nil:
			s.cur.text = s.cur.text[:len(s.cur.text)-1]
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(s.cur.text) > start:
			return nil
		case errors.Is(err, io.EOF):
			return io.EOF
		default:
			return cut(err, s.name)
		}
	}
}

// field begins a new field with the line at start.
func (s *StanzaReader) field(start int) error {
	line := s.cur.text[start:]
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || line[0] == '-' || line[0] == '#' || hasBlank(line[:colon]) {
		return s.refuse("is neither a field nor the continuation of one: %.40q", line)
	}
	if len(s.cur.fields) == 0 {
		s.cur.Line = s.line
	}
	if len(s.cur.fields) == maxFields {
		return s.refuse("begins field %d of one stanza", maxFields+1)
	}
	lower(line[:colon])
	bit := uint64(1) << ((colon + 7*int(line[0]) + 3*int(line[colon-1])) % 64)
	if s.cur.seen&bit != 0 {
		if _, ok := s.cur.find(line[:colon]); ok {
			return s.refuse("repeats the field %q", line[:colon])
		}
	}
	s.cur.seen |= bit
	f := span{name: start, nameEnd: start + colon, value: start + colon + 1, valueEnd: len(s.cur.text)}
	for f.value < f.valueEnd && isBlank(s.cur.text[f.value]) {
		f.value++
	}
	s.cur.fields = append(s.cur.fields, f)
	s.trim()
	return nil
}

// continued adds a line to the last field; the newline before it becomes part of the value.
func (s *StanzaReader) continued(line []byte) error {
	if len(s.cur.fields) == 0 {
		return s.refuse("continues a field, but none came before")
	}
	if len(bytes.TrimLeft(line, " \t")) == 0 {
		return s.refuse("has nothing but blanks")
	}
	last := &s.cur.fields[len(s.cur.fields)-1]
	// The text between the value's end and this line is dropped, so that the value stays one piece.
	tail := append([]byte{'\n'}, line...)
	s.cur.text = append(s.cur.text[:last.valueEnd], tail...)
	last.valueEnd = len(s.cur.text)
	s.trim()
	return nil
}

// trim takes trailing blanks off the last field's value and off the text.
func (s *StanzaReader) trim() {
	last := &s.cur.fields[len(s.cur.fields)-1]
	for last.valueEnd > last.value && isBlank(s.cur.text[last.valueEnd-1]) {
		last.valueEnd--
	}
	s.cur.text = s.cur.text[:last.valueEnd]
}

func (s *StanzaReader) refuse(format string, args ...any) error {
	return refused("%s: line %d "+format, append([]any{s.name, s.line}, args...)...)
}

// Fields yields each field's name in lower case and its value: without blanks around it, its
// further lines each after a newline. The slices are parts of the stanza: don't keep or change them.
func (s *Stanza) Fields() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for _, f := range s.fields {
			if !yield(s.text[f.name:f.nameEnd], s.text[f.value:f.valueEnd]) {
				return
			}
		}
	}
}

// Field returns the value of the field with the lower-case name, "" where there is none.
func (s *Stanza) Field(name string) string {
	f, _ := s.find([]byte(name))
	return string(s.text[f.value:f.valueEnd])
}

func (s *Stanza) find(name []byte) (span, bool) {
	for _, f := range s.fields {
		if f.nameEnd-f.name == len(name) && bytes.Equal(s.text[f.name:f.nameEnd], name) {
			return f, true
		}
	}
	return span{}, false
}

// hasControl reports whether the line has a control character other than a tab. It goes over eight
// bytes at once: a Packages file has 50 MB.
func hasControl(line []byte) bool {
	const ones = 0x0101010101010101
	for ; len(line) >= 8; line = line[8:] {
		w := binary.LittleEndian.Uint64(line)
		del := w ^ 0x7f*ones
		// The high bit of each byte that is below 0x20, or 0x7f; of some others too, after a borrow.
		if ((w-0x20*ones)&^w|(del-ones)&^del)&(0x80*ones) != 0 && controlAmong(line[:8]) {
			return true
		}
	}
	return controlAmong(line)
}

func controlAmong(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func hasBlank(b []byte) bool { return slices.ContainsFunc(b, isBlank) }

func lower(b []byte) {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
}

// Identity is what a control stanza says of which package it is.
func (s *Stanza) Identity() imx.Package {
	return imx.Package{Name: s.Field("package"), Version: s.Field("version"), Architecture: s.Field("architecture")}
}

// Inventory is what an inventory takes from a package's control stanza.
func (s *Stanza) Inventory() imx.InventoryPackage {
	p := imx.InventoryPackage{
		Package: s.Identity(), Section: s.Field("section"),
		PreDepends: s.Field("pre-depends"), Depends: s.Field("depends"),
		Recommends: s.Field("recommends"), Provides: s.Field("provides"),
	}
	summary, _, _ := strings.Cut(s.Field("description"), "\n")
	p.Description = strings.TrimSpace(summary)
	// "Source: name" or, where the versions differ, "Source: name (version)" (Debian policy 5.6.1)
	source, version, _ := strings.Cut(s.Field("source"), " ")
	p.Source, p.SourceVersion = cmp.Or(source, p.Name), cmp.Or(strings.Trim(version, "() "), p.Version)
	return p
}
