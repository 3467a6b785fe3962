package front

import (
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
