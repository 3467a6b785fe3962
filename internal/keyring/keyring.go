// Package keyring keeps the private keys with which imx's own parts sign: in files, sealed to an identity in a file of
// its own, or in a token behind PKCS#11. It doesn't know which of them count, or since when: the log does.
package keyring

import (
	"crypto"

	"imx"
)

// Store keeps private keys by the role that they sign for. Its methods may be called from several goroutines at once.
type Store interface {
	// Keys returns the keys of a role that are there; none of a role that has none. The newest is the last.
	// Errors: Refused for those that can't be opened, with what to do.
	Keys(role imx.Role) ([]crypto.Signer, error)
	// Make makes a key of a role and keeps it. When it returns without an error the key survives a power cut; cut off
	// before, the role has the keys that it had.
	Make(role imx.Role) (crypto.Signer, error)
	// Close gives up what the store holds.
	Close() error
}

// Roles are those that keys are kept for.
func Roles() []imx.Role {
	return []imx.Role{imx.RoleBuilder, imx.RoleScanner, imx.RoleTester, imx.RoleReleaser}
}
