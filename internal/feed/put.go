package feed

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/disk"
	"imx/internal/vuln"
)

const (
	maxFeed  = 16 << 30 // bytes without compression; the largest that there is has some 3 GB
	maxSkips = 20       // skipped entries that are told by name

	byteOrder = "\uFEFF" // a mark that some editors put before a text
)

// Put reads a feed and keeps it in place of the one by its name. It may be compressed with gzip, or a zip of JSON
// files. Where it fails, the feed that was there stays as it was. Errors: Invalid for a name or a format that is none;
// Refused for a feed that breaks its format's rules, ends in the middle, has a date in the future, or is older or much
// smaller than the one it would replace; Exhausted for a full disk; r's own.
func (s *Store) Put(ctx context.Context, req imx.FeedRequest, r io.Reader) (imx.Feed, error) {
	return s.put(ctx, delivery{FeedRequest: req}, r)
}

// delivery is a feed that comes.
type delivery struct {
	imx.FeedRequest

	from validators
}

func (s *Store) put(ctx context.Context, req delivery, r io.Reader) (imx.Feed, error) {
	if err := vuln.CheckFeedName(req.Name); err != nil {
		return imx.Feed{}, err
	}
	in := &incoming{r: r, hash: sha256.New(), ctx: ctx}
	plain, done, err := s.unpack(in)
	if err != nil {
		return imx.Feed{}, about(req.Name, err)
	}
	defer done()
	f := imx.Feed{Name: req.Name, Format: req.Format, Source: req.Source, Once: req.Once}
	head := bufio.NewReaderSize(&limited{plain, maxFeed}, vuln.HeadSize)
	if begin, _ := head.Peek(len(byteOrder)); string(begin) == byteOrder { // an error comes again with the next byte
		_, _ = head.Discard(len(byteOrder))
	}
	if f.Format == "" {
		begin, err := head.Peek(vuln.HeadSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return imx.Feed{}, about(req.Name, err)
		}
		if f.Format, err = vuln.Detect(begin); err != nil {
			return imx.Feed{}, about(req.Name, err)
		}
	}
	f, err = s.keep(&f, req, func(w io.Writer, skip func(string, string)) (vuln.Summary, error) {
		sum, err := write(w, f.Format, head, skip)
		if err == nil {
			err = in.drain()
		}
		f.Digest = in.digest()
		return sum, err
	})
	return f, about(req.Name, err)
}

// PutAdvisories keeps advisories that didn't come as a file, as Put does, under any name. Of req counts how new they are,
// and Anyway.
func (s *Store) PutAdvisories(req imx.FeedRequest, f imx.Feed, all []vuln.Advisory) (imx.Feed, error) {
	return s.keep(&f, delivery{FeedRequest: req}, func(w io.Writer, skip func(string, string)) (vuln.Summary, error) {
		h := sha256.New()
		sum, err := vuln.WriteBook(io.MultiWriter(w, h), skip, func(sink vuln.Sink) (vuln.Summary, error) {
			for _, a := range all {
				if err := sink.Take(a); err != nil {
					return vuln.Summary{}, err
				}
			}
			return vuln.Summary{Entries: int64(len(all)), Date: req.Date}, nil
		})
		f.Digest = imx.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
		return sum, err
	})
}

// keep writes a feed's body with fill, which sets f.Digest, judges it against what is there, and puts it in its place.
func (s *Store) keep(f *imx.Feed, req delivery, fill func(io.Writer, func(entry, why string)) (vuln.Summary, error)) (imx.Feed, error) {
	file, err := os.CreateTemp(filepath.Join(s.dir, bodies), disk.Staged)
	if err != nil {
		return imx.Feed{}, disk.Error(err, "keeping a feed")
	}
	keep := false
	defer func() {
		_ = file.Close() // it was synced, or goes
		if !keep {
			_ = os.Remove(file.Name())
		}
	}()
	out := &diskWriter{w: file}
	sum, err := fill(out, func(entry, why string) {
		if f.Skipped++; f.Skipped <= maxSkips {
			f.Skips = append(f.Skips, entry+": "+why)
		}
	})
	if out.err != nil {
		return imx.Feed{}, disk.Error(out.err, "keeping a feed")
	}
	if err != nil {
		return imx.Feed{}, err
	}
	f.Entries, f.Added, f.Date = sum.Entries, s.now().UTC(), sum.Date
	if f.Date.IsZero() {
		f.Date = req.Date
	}
	if f.Date.IsZero() {
		f.Date = f.Added
	}
	if err := file.Sync(); err != nil {
		return imx.Feed{}, disk.Error(err, "keeping a feed")
	}
	keep, err = s.replace(*f, req, filepath.Base(file.Name()))
	return s.aged(*f), err
}

// replace makes a body the feed's, and reports whether it is.
func (s *Store) replace(f imx.Feed, req delivery, body string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.find(f.Name)
	had := err == nil
	if err != nil && imx.KindOf(err) != imx.NotFound {
		return false, err
	}
	if f.Date.After(s.now().Add(ahead)) {
		return false, imx.Errorf(imx.Refused, "it is dated %s, which is yet to come", f.Date.Format(time.DateOnly)).
			WithHint("check this machine's clock, and where the feed comes from")
	}
	if had && !req.Anyway {
		if err := newer(old.Feed, f); err != nil {
			return false, err
		}
	}
	raw, err := json.MarshalIndent(kept{Feed: f, Body: body, From: req.from}, "", "  ")
	if err != nil {
		return false, err
	}
	if err := s.disk.sync(filepath.Join(s.dir, bodies)); err != nil { // before anything names a file in it
		return false, disk.Error(err, "keeping a feed")
	}
	if err := s.disk.write(s.path(f.Name), append(raw, '\n'), 0o600); err != nil {
		now, unread := s.find(f.Name)
		return unread == nil && now.Body == body, disk.Error(err, "keeping a feed") // it may be in place, unconfirmed
	}
	if had {
		_ = os.Remove(s.body(old)) // else it goes at the next start
	}
	return true, nil
}

// newer refuses a feed that can't be a later state of the one it replaces. A text list that was cut between two
// entries is found out by nothing else.
func newer(old, f imx.Feed) error {
	const hint = "fetch it again; if it is right, add it with --anyway"
	switch {
	case old.Format != f.Format:
		return imx.Errorf(imx.Conflict, "it is written as %q, and the feed by its name as %q", f.Format, old.Format).
			WithHint("give it another name with --name, or remove the other: imx feed remove %s", f.Name)
	case f.Date.Before(old.Date):
		return imx.Errorf(imx.Refused, "it is of %s, older than the one it would replace, which is of %s",
			f.Date.Format(time.DateOnly), old.Date.Format(time.DateOnly)).WithHint(hint)
	case f.Entries < old.Entries-old.Entries/10:
		return imx.Errorf(imx.Refused, "it has %d entries, the one it would replace has %d: it was cut, or is something else", f.Entries, old.Entries).
			WithHint(hint)
	}
	return nil
}

// write reads a feed of the format and writes it as it is kept.
func write(w io.Writer, format imx.FeedFormat, r io.Reader, skip func(string, string)) (vuln.Summary, error) {
	if format != imx.FormatOpenVEX {
		return vuln.WriteBook(w, skip, func(sink vuln.Sink) (vuln.Summary, error) { return vuln.Parse(format, r, sink) })
	}
	var raw bytes.Buffer
	doc, err := vuln.ParseVEX(io.TeeReader(r, &raw))
	if err != nil {
		return vuln.Summary{}, err
	}
	_, err = w.Write(raw.Bytes())
	sum := vuln.Summary{Entries: int64(len(doc.Statements)), Date: doc.Timestamp}
	if doc.Updated.After(sum.Date) {
		sum.Date = doc.Updated
	}
	return sum, err
}

// unpack takes the compression off a feed. The caller calls done when it has read.
func (s *Store) unpack(in *incoming) (plain io.Reader, done func(), err error) {
	begin := bufio.NewReaderSize(in, 64<<10)
	magic, err := begin.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	nothing := func() {}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(begin)
		if err != nil {
			return nil, nil, imx.Errorf(imx.Refused, "it can't be decompressed: %w", err)
		}
		return decompressed{z}, nothing, nil
	case bytes.HasPrefix(magic, []byte("PK\x03\x04")):
		return s.unzip(begin)
	}
	return begin, nothing, nil
}

// unzip writes a zip to the disk, where it can be read out of order, and returns its JSON files one after the other.
func (s *Store) unzip(r io.Reader) (io.Reader, func(), error) {
	file, err := os.CreateTemp(filepath.Join(s.dir, bodies), disk.Staged)
	if err != nil {
		return nil, nil, disk.Error(err, "unpacking a feed")
	}
	done := func() { _, _ = file.Close(), os.Remove(file.Name()) } // a leftover goes at the next start
	out := &diskWriter{w: file}
	size, err := io.Copy(out, &limited{r, maxFeed})
	if out.err != nil {
		err = disk.Error(out.err, "unpacking a feed")
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	z, err := zip.NewReader(file, size)
	if err != nil {
		done()
		return nil, nil, imx.Errorf(imx.Refused, "its zip can't be read: %w", err).WithHint("the file was cut: fetch it again")
	}
	files := slices.DeleteFunc(z.File, func(f *zip.File) bool { return !strings.HasSuffix(f.Name, ".json") })
	slices.SortFunc(files, func(a, b *zip.File) int { return strings.Compare(a.Name, b.Name) })
	return decompressed{&members{files: files}}, done, nil
}

// members reads files of a zip, one after the other.
type members struct {
	files []*zip.File
	open  io.ReadCloser
}

// Read implements io.Reader.
func (m *members) Read(p []byte) (int, error) {
	for {
		if m.open == nil {
			if len(m.files) == 0 {
				return 0, io.EOF
			}
			f, err := m.files[0].Open()
			if err != nil {
				return 0, err
			}
			m.open, m.files = f, m.files[1:]
		}
		n, err := m.open.Read(p)
		if errors.Is(err, io.EOF) {
			err = m.open.Close()
			m.open = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// decompressed makes what a decompressor complains about the bytes' fault.
type decompressed struct{ io.Reader }

// Read implements io.Reader.
func (d decompressed) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	known, ours := errors.AsType[*imx.Error](err)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case ours:
		return n, known
	}
	return n, imx.Errorf(imx.Refused, "it can't be decompressed: %w", err).WithHint("the file was cut or damaged: fetch it again")
}

// incoming reads what comes, counts its digest, and ends with its context.
type incoming struct {
	r    io.Reader
	hash hash.Hash
	ctx  context.Context //nolint:containedctx // a reader has no other way to be given up
}

// Read implements io.Reader.
func (in *incoming) Read(p []byte) (int, error) {
	if err := in.ctx.Err(); err != nil {
		return 0, imx.Errorf(imx.Unavailable, "it was given up: %w", err)
	}
	n, err := in.r.Read(p)
	_, _ = in.hash.Write(p[:n]) // never fails
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = imx.Errorf(imx.Unavailable, "it broke off: %w", err).WithHint("send it again")
	}
	return n, err
}

// drain reads what a parser left, so that the digest is of everything.
func (in *incoming) drain() error {
	_, err := io.Copy(io.Discard, in)
	return err
}

func (in *incoming) digest() imx.Digest {
	return imx.Digest("sha256:" + hex.EncodeToString(in.hash.Sum(nil)))
}

// limited refuses what is longer.
type limited struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, imx.Errorf(imx.Refused, "it is longer than %s", imx.Size(maxFeed))
	}
	return n, err
}

// diskWriter remembers that writing failed, which an error of whoever reads and writes doesn't tell.
type diskWriter struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (d *diskWriter) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if err != nil {
		d.err = err
	}
	return n, err
}

// about names the feed that an error is about.
func about(name string, err error) error {
	if err == nil {
		return nil
	}
	e := imx.AsError(err)
	return &imx.Error{Kind: e.Kind, Message: "feed " + name + " isn't taken: " + e.Message, Hint: e.Hint}
}
