package front

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"imx"
)

// AccessFile is the name of the newest access log in its folder; older ones have a number after it, the higher the older.
const AccessFile = "access.log"

// Of access logs so much is kept: the one that is written, and older ones.
const (
	accessSize = 16 << 20
	accessKept = 4
)

// AccessFiles are the names of all access logs that there may be, the oldest first.
func AccessFiles() []string {
	var names []string
	for i := accessKept; i > 0; i-- {
		names = append(names, older(i))
	}
	return append(names, AccessFile)
}

func older(i int) string { return fmt.Sprintf("%s.%d", AccessFile, i) }

// accessHeld is how many bytes of lines are held back, at the most, until they are written.
const accessHeld = 64 << 10

// accessLog writes lines to a file of a folder, and turns over to the next when that is full. Lines come to the disk a moment after
// their requests: flush is called again and again. A full disk costs lines, whole ones, and no request. Another process may write to the same
// file while it takes this one's place.
type accessLog struct {
	dir *os.Root

	mu   sync.Mutex
	file *os.File
	held []byte // whole lines that aren't written yet
	size int64  // of the file, with them
}

func openAccess(dir *os.Root) (*accessLog, error) {
	a := &accessLog{dir: dir}
	return a, a.open()
}

func (a *accessLog) open() error {
	f, err := a.dir.OpenFile(AccessFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	a.file, a.size = f, info.Size()+int64(len(a.held))
	return nil
}

func (a *accessLog) write(line imx.AccessLine) {
	b, err := json.Marshal(line)
	if err != nil {
		return // a line is strings and numbers
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.size >= accessSize {
		a.turn()
	}
	a.held = append(append(a.held, b...), '\n')
	a.size += int64(len(b)) + 1
	if len(a.held) >= accessHeld {
		a.put()
	}
}

// put writes what is held back in one call, so that no other process' lines come between. What a full disk takes a part of is cut off
// behind its last whole line.
func (a *accessLog) put() {
	if len(a.held) == 0 {
		return
	}
	n, err := a.file.Write(a.held)
	if err != nil {
		takeBack(a.file, a.held[:n])
	}
	a.held = a.held[:0]
}

// takeBack cuts a file off behind the last whole line of what was written to it last.
func takeBack(f *os.File, written []byte) {
	torn := len(written) - bytes.LastIndexByte(written, '\n') - 1
	end, err := f.Seek(0, io.SeekCurrent)
	info, unknown := f.Stat()
	if torn > 0 && err == nil && unknown == nil && info.Size() == end { // else another process has written behind it
		_ = f.Truncate(end - int64(torn)) // it makes room, and is refused only where nothing can be written at all
	}
}

// turn begins a new file. Where that fails the old one goes on.
func (a *accessLog) turn() {
	a.put()
	for i := accessKept; i > 1; i-- {
		_ = a.dir.Rename(older(i-1), older(i)) // there may be none yet
	}
	if a.dir.Rename(AccessFile, older(1)) != nil {
		return
	}
	_ = a.reopen() // as it was
}

func (a *accessLog) flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.put()
	if _, err := a.dir.Stat(AccessFile); os.IsNotExist(err) {
		_ = a.reopen() // somebody took it away; if that fails, the next flush tries again
	}
}

// reopen begins a file where there is none, and leaves the old one. Where that fails, the old one goes on.
func (a *accessLog) reopen() error {
	old := a.file
	err := a.open()
	if err == nil {
		_ = old.Close() // nobody reads it any more
	}
	return err
}

// flushing writes lines out until done is closed.
func (a *accessLog) flushing(done <-chan struct{}) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			a.flush()
		case <-done:
			a.flush()
			return
		}
	}
}
