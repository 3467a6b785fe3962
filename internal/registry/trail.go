package registry

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"imx"
	"imx/internal/disk"
)

// trail is two files of a bounded size, the older of which goes when the newer is full. What repeats within an hour is a line when it
// begins and one with the number when the hour is over: one who asks a million times takes two lines. One who asks for
// ever other things takes so many lines an hour at most, and then one with the number of the others.
//
// A line is in the file, if not yet on the disk, before note returns: a power cut may lose the last ones, the end of the process none
// but the numbers of the hour.
type trail struct {
	dir, name string
	now       func() time.Time
	most      int64 // bytes of a file
	each, all int   // lines of an hour that differ, of one principal and together

	mu      sync.Mutex
	file    *os.File
	size    int64
	counted hour
	failed  error
}

// hour is what an hour had so far.
type hour struct {
	begins time.Time
	counts map[imx.RegistryPull]seen // by all but when and how often
	by     map[imx.Principal]int     // how many of them
}

type seen struct {
	first time.Time
	more  int64 // after the first
}

// older is what the name of the older of the two files ends with.
const older = ".1"

func (t *trail) open() error {
	f, err := os.OpenFile(filepath.Join(t.dir, t.name), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	t.file, t.size = f, st.Size()
	if last := make([]byte, 1); t.size > 0 {
		if _, err := f.ReadAt(last, t.size-1); err == nil && last[0] != '\n' {
			t.write([]byte("\n")) // ends what a full disk or a crash left half
		}
	}
	return nil
}

func (t *trail) note(p imx.RegistryPull) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now().UTC()
	if begins := now.Truncate(time.Hour); !begins.Equal(t.counted.begins) {
		t.sum()
		t.counted = hour{begins, map[imx.RegistryPull]seen{}, map[imx.Principal]int{}}
	}
	p.Time, p.Count = time.Time{}, 0
	key := t.counted.key(p, t.each, t.all)
	s, known := t.counted.counts[key]
	if known {
		s.more++
	} else {
		s.first = now
		line := key
		line.Time, line.Digest = now, p.Digest
		t.line(line)
		t.counted.by[key.By]++
	}
	t.counted.counts[key] = s
}

// key is what a line is counted as: itself, or, where the hour has too many that differ, all others of its principal, or of all.
func (h hour) key(p imx.RegistryPull, each, all int) imx.RegistryPull {
	if p.Blobs {
		p.Digest = ""
	}
	if _, known := h.counts[p]; known {
		return p
	}
	others := imx.RegistryPull{By: p.By, From: "many addresses", Repository: "*"}
	if p.Refused != "" {
		others.Refused = "for many reasons"
	}
	switch {
	case len(h.counts) >= all:
		others.By = "others"
		return others
	case h.by[p.By] >= each:
		return others
	}
	return p
}

// sum writes down how often each line of the last hour came again. mu is held.
func (t *trail) sum() {
	for p, s := range t.counted.counts {
		if s.more > 0 {
			p.Time, p.Count = s.first, s.more
			t.line(p)
		}
	}
	t.counted = hour{}
}

func (t *trail) line(p imx.RegistryPull) {
	b, err := json.Marshal(p)
	if err != nil {
		t.failed = err // can't be: they are strings
		return
	}
	t.write(append(b, '\n'))
}

func (t *trail) write(b []byte) {
	if t.size+int64(len(b)) > t.most {
		if err := t.rotate(); err != nil {
			t.failed = disk.Error(err, "writing the registry's audit trail")
			return
		}
	}
	n, err := t.file.Write(b)
	t.size += int64(n)
	t.failed = disk.Error(err, "writing the registry's audit trail")
}

func (t *trail) rotate() error {
	path := filepath.Join(t.dir, t.name)
	if err := os.Rename(path, path+older); err != nil {
		return err
	}
	old := t.file
	return errors.Join(t.open(), old.Close())
}

func (t *trail) read(since time.Time) ([]imx.RegistryPull, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := []imx.RegistryPull{}
	for _, end := range []string{older, ""} {
		lines, err := readTrail(filepath.Join(t.dir, t.name+end), since)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	for p, s := range t.counted.counts {
		if s.more > 0 && !s.first.Before(since) {
			p.Time, p.Count = s.first, s.more
			all = append(all, p)
		}
	}
	return all, t.failed
}

// longestLine is more than any line has that was written whole.
const longestLine = 16 << 10

// readTrail reads one file. What is no line of a trail is passed over: a crash leaves half a line or, after a power cut, bytes of nothing.
func readTrail(path string, since time.Time) ([]imx.RegistryPull, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, disk.Error(err, "reading the registry's audit trail")
	}
	defer f.Close()
	all, err := parseTrail(f, since)
	return all, disk.Error(err, "reading the registry's audit trail")
}

func parseTrail(r io.Reader, since time.Time) ([]imx.RegistryPull, error) {
	var all []imx.RegistryPull
	for lines := bufio.NewReaderSize(r, longestLine); ; {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			err = passOver(lines)
			line = nil
		}
		var p imx.RegistryPull
		if json.Unmarshal(line, &p) == nil && !p.Time.IsZero() && !p.Time.Before(since) {
			all = append(all, p)
		}
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// passOver reads to the end of a line of any length.
func passOver(lines *bufio.Reader) error {
	for {
		if _, err := lines.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

func (t *trail) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum()
	return errors.Join(t.failed, t.file.Close())
}
