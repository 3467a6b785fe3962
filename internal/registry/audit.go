package registry

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"imx"
	"imx/internal/disk"
)

// Audit is the trail of who pulled which manifest, when and from where, and of who was turned away. It isn't part of the
// log, which is kept for good: whoever may pull could make that grow without end. It is two files of a bounded size, the older of which
// goes when the newer is full; and what repeats within an hour is a line when it begins and one with the number when the hour is over. So
// one who asks a million times takes two lines.
//
// A line is in the file, if not yet on the disk, before Note returns: a power cut may lose the last ones, the end of the process none
// but the numbers of the hour.
type Audit struct {
	dir  string
	now  func() time.Time
	most int64 // bytes of a file

	mu     sync.Mutex
	file   *os.File
	size   int64
	hour   time.Time
	counts map[imx.RegistryPull]seen // of this hour, by all but when and how often
	failed error
}

type seen struct {
	first time.Time
	more  int64 // after the first
}

const (
	auditFile, olderAuditFile = "audit", "audit.1"
	auditBytes                = 8 << 20
	// differing is how many different pulls of an hour are counted apart; the others of the hour are one.
	differing = 20_000
)

// OpenAudit opens the trail in a folder.
func OpenAudit(dir string, now func() time.Time) (*Audit, error) {
	a := &Audit{dir: dir, now: now, most: auditBytes, counts: map[imx.RegistryPull]seen{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, disk.Error(err, "opening the registry's audit trail")
	}
	return a, disk.Error(a.open(), "opening the registry's audit trail")
}

func (a *Audit) open() error {
	f, err := os.OpenFile(filepath.Join(a.dir, auditFile), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	a.file, a.size = f, st.Size()
	if last := make([]byte, 1); a.size > 0 {
		if _, err := f.ReadAt(last, a.size-1); err == nil && last[0] != '\n' {
			a.write([]byte("\n")) // ends what a full disk left half
		}
	}
	return nil
}

// Note writes down a pull. A trail that can't be written to stops no pull; Err tells of it.
func (a *Audit) Note(p imx.RegistryPull) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now().UTC()
	if hour := now.Truncate(time.Hour); !hour.Equal(a.hour) {
		a.sum()
		a.hour = hour
	}
	p.Time, p.Count = time.Time{}, 0
	s, known := a.counts[p]
	switch {
	case known:
		s.more++
	case len(a.counts) >= differing:
		p = imx.RegistryPull{By: "others", From: "many addresses", Repository: "*"}
		s = a.counts[p]
		if s.first.IsZero() {
			s.first = now
		}
		s.more++
	default:
		s.first = now
		line := p
		line.Time = now
		a.line(line)
	}
	a.counts[p] = s
}

// sum writes down how often each pull of the last hour came again, and begins anew. mu is held.
func (a *Audit) sum() {
	for p, s := range a.counts {
		if s.more > 0 {
			p.Time, p.Count = s.first, s.more
			a.line(p)
		}
	}
	a.counts = map[imx.RegistryPull]seen{}
}

func (a *Audit) line(p imx.RegistryPull) {
	b, err := json.Marshal(p)
	if err != nil {
		a.failed = err // can't be: they are strings
		return
	}
	a.write(append(b, '\n'))
}

func (a *Audit) write(b []byte) {
	if a.size+int64(len(b)) > a.most {
		if err := a.rotate(); err != nil {
			a.failed = disk.Error(err, "writing the registry's audit trail")
			return
		}
	}
	n, err := a.file.Write(b)
	a.size += int64(n)
	a.failed = disk.Error(err, "writing the registry's audit trail")
}

func (a *Audit) rotate() error {
	if err := os.Rename(filepath.Join(a.dir, auditFile), filepath.Join(a.dir, olderAuditFile)); err != nil {
		return err
	}
	old := a.file
	return errors.Join(a.open(), old.Close())
}

// Read returns the trail, the oldest line first, as far as it goes back to a time. Numbers of this hour are in it as they are
// now. Errors: those of the disk, also the one that the last line couldn't be written for.
func (a *Audit) Read(since time.Time) ([]imx.RegistryPull, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := []imx.RegistryPull{}
	for _, name := range []string{olderAuditFile, auditFile} {
		lines, err := readAudit(filepath.Join(a.dir, name), since)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	for p, s := range a.counts {
		if s.more > 0 && !s.first.Before(since) {
			p.Time, p.Count = s.first, s.more
			all = append(all, p)
		}
	}
	return all, a.failed
}

func readAudit(path string, since time.Time) ([]imx.RegistryPull, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, disk.Error(err, "reading the registry's audit trail")
	}
	defer f.Close()
	var all []imx.RegistryPull
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var p imx.RegistryPull
		if json.Unmarshal(lines.Bytes(), &p) == nil && !p.Time.IsZero() && !p.Time.Before(since) { // a power cut may leave half a line
			all = append(all, p)
		}
	}
	return all, disk.Error(lines.Err(), "reading the registry's audit trail")
}

// Close writes down the numbers of the hour.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sum()
	return errors.Join(a.failed, a.file.Close())
}
