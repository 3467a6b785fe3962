package vuln

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"imx"
)

// A book is a feed as it is kept: every advisory under the package that it is about, so that what is said of one
// package is found without reading the rest. docs/format/feed.md describes its bytes.
const (
	bookMagic  = "imx-book-1\n"
	buckets    = 4096
	bookBuffer = 32 << 20 // bytes of advisories that wait in memory while a book is written
	footerSize = 8 + 4 + len(bookMagic)
	entrySize  = 4 + 8 + 4 + 4 // of the table: bucket, offset, length, checksum
	maxTable   = 256 << 20
)

// extent is a stretch of a book with advisories of one bucket.
type extent struct {
	bucket uint32
	offset uint64
	length uint32
	sum    uint32
}

// bookWriter collects advisories by bucket and writes them out when there are many.
type bookWriter struct {
	w       io.Writer
	at      uint64
	waiting [buckets][]byte
	size    int
	table   []extent
}

// WriteBook writes what parse reads as a book. It takes some 100 MB of memory, whatever the feed's length.
// Errors: parse's, and w's.
func WriteBook(w io.Writer, skip func(entry, why string), parse func(Sink) (Summary, error)) (Summary, error) {
	b := &bookWriter{w: w}
	sum, err := parse(Sink{Take: b.add, Skip: skip})
	if err != nil {
		return Summary{}, err
	}
	return sum, b.finish()
}

func (b *bookWriter) add(a Advisory) error {
	record := encode(&a)
	n := bucketOf(a.key())
	b.waiting[n] = append(b.waiting[n], record...)
	if b.size += len(record); b.size < bookBuffer {
		return nil
	}
	return b.flush()
}

func (b *bookWriter) flush() error {
	for n, text := range b.waiting {
		if len(text) == 0 {
			continue
		}
		b.table = append(b.table, extent{uint32(n), b.at, uint32(len(text)), crc32.ChecksumIEEE(text)}) //nolint:gosec // below bookBuffer
		if err := b.write(text); err != nil {
			return err
		}
		b.waiting[n] = text[:0]
	}
	b.size = 0
	return nil
}

func (b *bookWriter) write(p []byte) error {
	n, err := b.w.Write(p)
	b.at += uint64(n) //nolint:gosec // never negative
	return err
}

// finish writes the table, and where it begins.
func (b *bookWriter) finish() error {
	if err := b.flush(); err != nil {
		return err
	}
	start := b.at
	slices.SortStableFunc(b.table, func(x, y extent) int { return cmp.Compare(x.bucket, y.bucket) })
	var table []byte
	for _, e := range b.table {
		table = binary.LittleEndian.AppendUint32(table, e.bucket)
		table = binary.LittleEndian.AppendUint64(table, e.offset)
		table = binary.LittleEndian.AppendUint32(table, e.length)
		table = binary.LittleEndian.AppendUint32(table, e.sum)
	}
	sum := crc32.ChecksumIEEE(table)
	table = binary.LittleEndian.AppendUint64(table, start)
	table = binary.LittleEndian.AppendUint32(table, sum)
	return b.write(append(table, bookMagic...))
}

// Book answers what one feed says of a package. Its methods may be called from several goroutines at once.
type Book struct {
	r     io.ReaderAt
	table []extent
}

// OpenBook opens a book of the size. Errors: Refused for what isn't one, or is damaged.
func OpenBook(r io.ReaderAt, size int64) (*Book, error) {
	damaged := damagedBook()
	if size < int64(footerSize) {
		return nil, damaged
	}
	footer := make([]byte, footerSize)
	if _, err := r.ReadAt(footer, size-int64(footerSize)); err != nil {
		return nil, ended(err)
	}
	start := binary.LittleEndian.Uint64(footer)
	length := uint64(size) - uint64(footerSize) - start
	if string(footer[12:]) != bookMagic || start > uint64(size)-uint64(footerSize) || length > maxTable || length%entrySize != 0 {
		return nil, damaged
	}
	raw := make([]byte, length)
	if _, err := r.ReadAt(raw, int64(start)); err != nil && !errors.Is(err, io.EOF) { //nolint:gosec // below size
		return nil, err
	}
	if crc32.ChecksumIEEE(raw) != binary.LittleEndian.Uint32(footer[8:]) {
		return nil, damaged
	}
	b := &Book{r: r}
	for ; len(raw) > 0; raw = raw[entrySize:] {
		e := extent{
			binary.LittleEndian.Uint32(raw), binary.LittleEndian.Uint64(raw[4:]),
			binary.LittleEndian.Uint32(raw[12:]), binary.LittleEndian.Uint32(raw[16:]),
		}
		if e.length > bookBuffer+maxRecord || e.offset > start || uint64(e.length) > start-e.offset {
			return nil, damaged
		}
		b.table = append(b.table, e)
	}
	return b, nil
}

// About returns what the feed says of a package, in the feed's order. Errors: Refused for a damaged book; the reader's.
func (b *Book) About(ecosystem, name string) ([]Advisory, error) {
	return b.find((&Advisory{Ecosystem: ecosystem, Package: name}).key())
}

// Exploited returns since when the feed knows a vulnerability to be exploited, or the zero Time.
func (b *Book) Exploited(id string) (time.Time, error) {
	found, err := b.find(exploitedPrefix + id)
	if err != nil || len(found) == 0 {
		return time.Time{}, err
	}
	return found[0].Exploited, nil
}

func (b *Book) find(key string) ([]Advisory, error) {
	bucket := bucketOf(key)
	first, _ := slices.BinarySearchFunc(b.table, bucket, func(e extent, n uint32) int { return cmp.Compare(e.bucket, n) })
	var found []Advisory
	for _, e := range b.table[first:] {
		if e.bucket != bucket {
			break
		}
		text, err := b.read(e)
		if err != nil {
			return nil, err
		}
		for len(text) > 0 {
			var k, value []byte
			if k, value, text = decodeRecord(text); k == nil {
				return nil, damagedBook()
			}
			if string(k) == key {
				found = append(found, decode(key, string(value)))
			}
		}
	}
	return found, nil
}

// Knows reports whether the feed says anything about a vulnerability or an advisory of the name. It reads the whole book.
// Errors: Refused for a damaged book; the reader's.
func (b *Book) Knows(id string) (bool, error) {
	for _, e := range b.table {
		text, err := b.read(e)
		if err != nil {
			return false, err
		}
		for len(text) > 0 {
			var key, value []byte
			if key, value, text = decodeRecord(text); key == nil {
				return false, damagedBook()
			}
			if a := decode(string(key), string(value)); Names(imx.Vulnerability{ID: a.ID, Aliases: a.Aliases, Advisories: []string{a.Notice}}, id) {
				return true, nil
			}
		}
	}
	return false, nil
}

// read returns the records of an extent.
func (b *Book) read(e extent) ([]byte, error) {
	text := make([]byte, e.length)
	if _, err := b.r.ReadAt(text, int64(e.offset)); err != nil { //nolint:gosec // below the book's size
		return nil, err
	}
	if crc32.ChecksumIEEE(text) != e.sum {
		return nil, damagedBook()
	}
	return text, nil
}

func damagedBook() *imx.Error {
	return refused("the kept feed is damaged").WithHint("add it again: imx feed add")
}

const exploitedPrefix = "exploited\x1d"

// key is what an advisory is found by.
func (a *Advisory) key() string {
	if a.Package == "" {
		return exploitedPrefix + a.ID
	}
	return a.Ecosystem + "\x1d" + a.Package
}

func bucketOf(key string) uint32 {
	h := fnv.New32a()
	_, _ = io.WriteString(h, key) // a hash never fails
	return h.Sum32() % buckets
}

// The separators of a record's fields, of a list's items and of an item's parts. No text of an Advisory has control
// characters (unusable).
const (
	fieldMark = "\x1f"
	itemMark  = "\x1e"
	partMark  = "\x1d"
)

func encode(a *Advisory) []byte {
	ranges := make([]string, len(a.Ranges))
	for i, r := range a.Ranges {
		ranges[i] = r.Introduced + partMark + r.Fixed + partMark + r.Last
	}
	value := strings.Join([]string{
		a.ID, strings.Join(a.Aliases, itemMark), a.Notice, strings.Join(ranges, itemMark), strings.Join(a.Versions, itemMark),
		a.Urgency, string(a.Level), seconds(a.Published), seconds(a.Exploited),
	}, fieldMark)
	key := a.key()
	b := binary.AppendUvarint(make([]byte, 0, len(key)+len(value)+8), uint64(len(key)))
	b = binary.AppendUvarint(append(b, key...), uint64(len(value)))
	return append(b, value...)
}

// decodeRecord cuts the first record off; a nil key says that it is damaged.
func decodeRecord(b []byte) (key, value, rest []byte) {
	if key, b = cutBytes(b); key == nil {
		return nil, nil, nil
	}
	if value, b = cutBytes(b); value == nil {
		return nil, nil, nil
	}
	return key, value, b
}

func cutBytes(b []byte) (text, rest []byte) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) { //nolint:gosec // used is at most len(b)
		return nil, nil
	}
	end := used + int(n) //nolint:gosec // at most len(b)
	return b[used:end:end], b[end:]
}

func decode(key, value string) Advisory {
	var f [9]string
	for i, text := range strings.SplitN(value, fieldMark, len(f)) {
		f[i] = text
	}
	a := Advisory{
		ID: f[0], Aliases: split(f[1], itemMark), Notice: f[2], Versions: split(f[4], itemMark), Urgency: f[5],
		Level: imx.Level(f[6]), Published: fromSeconds(f[7]), Exploited: fromSeconds(f[8]),
	}
	if !strings.HasPrefix(key, exploitedPrefix) {
		a.Ecosystem, a.Package, _ = strings.Cut(key, partMark)
	}
	for _, text := range split(f[3], itemMark) {
		introduced, rest, _ := strings.Cut(text, partMark)
		fixed, last, _ := strings.Cut(rest, partMark)
		a.Ranges = append(a.Ranges, Range{introduced, fixed, last})
	}
	return a
}

func split(text, mark string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, mark)
}

func seconds(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.Unix(), 36)
}

func fromSeconds(s string) time.Time {
	n, err := strconv.ParseInt(s, 36, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// NewBook makes a book in memory, for a feed that is small.
func NewBook(skip func(entry, why string), parse func(Sink) (Summary, error)) (*Book, Summary, error) {
	var b bytes.Buffer
	sum, err := WriteBook(&b, skip, parse)
	if err != nil {
		return nil, Summary{}, err
	}
	book, err := OpenBook(bytes.NewReader(b.Bytes()), int64(b.Len()))
	return book, sum, err
}
