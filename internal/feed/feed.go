// Package feed keeps feeds of vulnerabilities on the disk, each whole or not at all, with its age, where it came from
// and the digest of its bytes; and beside them which packages images have. It knows where its files are and when a
// feed can't be right; what is in one is vuln's business, and which feeds are wanted its caller's.
package feed

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"imx"
	"imx/internal/disk"
	"imx/internal/vuln"
)

// Fresh is how old a feed may be before it is called stale. Debian publishes advisories every other day.
const Fresh = 7 * 24 * time.Hour

// ahead is how far a feed's date may lie in the future: clocks differ.
const ahead = 24 * time.Hour

// Store keeps feeds. Its methods may be called from several goroutines at once.
type Store struct {
	dir  string
	now  func() time.Time
	disk steps
	mu   sync.Mutex
}

// steps are those of keeping a feed that a disk can fail: disk.WriteWhole and disk.SyncDir, but for tests.
type steps struct {
	write func(path string, b []byte, perm fs.FileMode) error
	sync  func(dir string) error
}

// kept is what is written down of a feed (docs/format/feed.md).
type kept struct {
	Feed imx.Feed `json:"feed"`
	Body string   `json:"body"` // name of the file with the book or the document
	// From is what a feed that came from a URL is known by there.
	From validators `json:"from,omitzero"`
}

// validators ask a server whether what it has is still the same (RFC 9110, section 13).
type validators struct {
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"modified,omitempty"`
}

const (
	bodies   = "bodies"
	metadata = ".json"
)

// Open opens a folder of feeds, makes it where there is none, and removes what a dead process left behind.
func Open(dir string, now func() time.Time) (*Store, error) {
	s := &Store{dir: dir, now: now, disk: steps{disk.WriteWhole, disk.SyncDir}}
	if err := os.MkdirAll(filepath.Join(dir, bodies), 0o700); err != nil {
		return nil, disk.Error(err, "making the folder of feeds")
	}
	return s, s.clean()
}

// clean removes bodies that no feed names.
func (s *Store) clean() error {
	all, err := s.all()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, bodies))
	for _, e := range entries {
		if !slices.ContainsFunc(all, func(k kept) bool { return k.Body == e.Name() }) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, bodies, e.Name())))
		}
	}
	halves, globbed := filepath.Glob(filepath.Join(s.dir, disk.Staged))
	for _, half := range halves {
		err = errors.Join(err, os.Remove(half))
	}
	return errors.Join(err, globbed)
}

// all returns every feed, sorted by name.
func (s *Store) all() ([]kept, error) {
	names, err := filepath.Glob(filepath.Join(s.dir, "*"+metadata))
	if err != nil {
		return nil, err
	}
	var all []kept
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var k kept
		if err := json.Unmarshal(raw, &k); err != nil || k.Body != filepath.Base(k.Body) || k.Body == "" {
			return nil, imx.Errorf(imx.Internal, "%s is damaged", name).WithHint("delete it, and add the feed again: imx feed add")
		}
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b kept) int { return cmp.Compare(a.Feed.Name, b.Feed.Name) })
	return all, nil
}

// List returns the feeds, sorted by name, with those marked that are stale now.
func (s *Store) List() ([]imx.Feed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.all()
	feeds := make([]imx.Feed, 0, len(all))
	for _, k := range all {
		feeds = append(feeds, s.aged(k.Feed))
	}
	return feeds, err
}

func (s *Store) aged(f imx.Feed) imx.Feed {
	f.Stale = f.Format != imx.FormatOpenVEX && s.now().Sub(f.Date) > Fresh // what somebody stated stays stated
	return f
}

// Remove forgets a feed. Errors: NotFound.
func (s *Store) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.find(name)
	if err != nil {
		return err
	}
	if err := os.Remove(s.path(name)); err != nil {
		return err
	}
	return errors.Join(s.disk.sync(s.dir), os.Remove(s.body(k)))
}

// find returns one feed. Errors: NotFound, which names those that are there.
func (s *Store) find(name string) (kept, error) {
	all, err := s.all()
	if err != nil {
		return kept{}, err
	}
	var names []string
	for _, k := range all {
		if k.Feed.Name == name {
			return k, nil
		}
		names = append(names, k.Feed.Name)
	}
	missing := imx.Errorf(imx.NotFound, "there is no feed %q", name)
	if len(names) == 0 {
		return kept{}, missing.WithHint("there is none yet: imx feed add FILE")
	}
	return kept{}, missing.WithHint("feeds: %s", strings.Join(names, ", "))
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name+metadata) }

func (s *Store) body(k kept) string { return filepath.Join(s.dir, bodies, k.Body) }

// Set is all feeds of a moment, open. The one who opened it closes it.
type Set struct {
	About []imx.Feed
	Books []vuln.Feed
	Pleas []vuln.Plea
	files []*os.File
}

// Close lets go of the feeds' files.
func (s *Set) Close() {
	for _, f := range s.files {
		_ = f.Close() // it was only read from
	}
}

// OpenAll opens every feed. A feed that is replaced meanwhile stays as it was in the Set. Errors: Refused for one that
// is damaged.
func (s *Store) OpenAll() (*Set, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.all()
	if err != nil {
		return nil, err
	}
	set := &Set{About: []imx.Feed{}}
	for _, k := range all {
		if err := set.open(s.body(k), k.Feed); err != nil {
			set.Close()
			e := imx.AsError(err)
			e.Message = "feed " + k.Feed.Name + ": " + e.Message
			return nil, e
		}
		set.About = append(set.About, s.aged(k.Feed))
	}
	return set, nil
}

func (s *Set) open(path string, f imx.Feed) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	s.files = append(s.files, file)
	if f.Format == imx.FormatOpenVEX {
		doc, err := vuln.ParseVEX(file)
		s.Pleas = append(s.Pleas, vuln.Plea{From: f.Name, VEX: doc})
		return err
	}
	st, err := file.Stat()
	if err != nil {
		return err
	}
	book, err := vuln.OpenBook(file, st.Size())
	s.Books = append(s.Books, vuln.Feed{Name: f.Name, Date: f.Date, Book: book})
	return err
}
