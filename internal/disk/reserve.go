package disk

import (
	"bytes"
	"os"
	"sync"

	"imx"
)

// Reserve is room on a disk that is kept for what must still go on when the disk is full. Its methods may be called from several
// goroutines at once.
type Reserve struct {
	path string
	size imx.Size
	mu   sync.Mutex
}

// NewReserve names a reserve, and takes no room yet.
func NewReserve(path string, size imx.Size) *Reserve { return &Reserve{path: path, size: size} }

// Hold takes the room, if it isn't held. Errors: Exhausted where there isn't so much.
func (r *Reserve) Hold() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held() {
		return nil
	}
	// Bytes, and not a hole: a file's length alone keeps no room.
	if err := WriteWhole(r.path, bytes.Repeat([]byte{1}, int(r.size)), 0o600); err != nil {
		return Error(err, "keeping room for when the disk is full")
	}
	return nil
}

// Spend gives the room up, and reports whether there was any.
func (r *Reserve) Spend() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held() && os.Remove(r.path) == nil
}

// Held reports whether the room is held.
func (r *Reserve) Held() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held()
}

func (r *Reserve) held() bool {
	f, err := os.Stat(r.path)
	return err == nil && f.Size() == int64(r.size)
}
