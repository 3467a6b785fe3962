package front

import (
	"net/netip"
	"os"

	"imx"
)

// ConfineCalls is what a confined process does to itself.
func ConfineCalls() error { return confineCalls() }

// An Access is an access log.
type Access struct{ log *accessLog }

// OpenAccess opens the access log of a folder.
func OpenAccess(dir *os.Root) (Access, error) {
	log, err := openAccess(dir)
	return Access{log}, err
}

// Write writes a line, some time or other.
func (a Access) Write(line imx.AccessLine) { a.log.write(line) }

// Flush writes what was held back.
func (a Access) Flush() { a.log.flush() }

// Sleepers are requests that wait for services which sleep.
type Sleepers struct{ waiting sleepers }

// Enter counts one of so many bytes, until it leaves.
func (s *Sleepers) Enter(door netip.AddrPort, size int64) (leave func(), err error) {
	return s.waiting.enter(door, size)
}
