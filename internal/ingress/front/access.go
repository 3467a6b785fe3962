package front

import (
	"bufio"
	"encoding/json"
	"fmt"
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

// accessLog writes lines to a file of a folder, and turns over to the next when that is full. Lines come to the disk a moment after
// their requests: flush is called again and again. A full disk costs lines, and no request.
type accessLog struct {
	dir *os.Root

	mu   sync.Mutex
	file *os.File
	out  *bufio.Writer
	size int64
	lost int64 // lines since the last that was written
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
		return err
	}
	a.file, a.out, a.size = f, bufio.NewWriterSize(f, 64<<10), info.Size()
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
	n, err := a.out.Write(append(b, '\n'))
	a.size += int64(n)
	if err != nil {
		a.lost++
		a.out.Reset(a.file) // a writer that has failed once writes nothing more
	}
}

// turn begins a new file. Where that fails the old one goes on.
func (a *accessLog) turn() {
	_ = a.out.Flush() // what can't be written is lost either way
	for i := accessKept; i > 1; i-- {
		_ = a.dir.Rename(older(i-1), older(i)) // there may be none yet
	}
	if a.dir.Rename(AccessFile, older(1)) != nil {
		return
	}
	old := a.file
	if a.open() == nil {
		_ = old.Close() // it was flushed
	}
}

func (a *accessLog) flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.out.Flush() != nil {
		a.out.Reset(a.file)
	}
	if _, err := a.dir.Stat(AccessFile); os.IsNotExist(err) {
		a.size = accessSize // somebody took it away: the next line begins a new one
		_ = a.reopen()
	}
}

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
