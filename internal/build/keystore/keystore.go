// Package keystore makes Java's stores of certificates the same, whenever they were written.
package keystore

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the format's own
	"encoding/binary"
	"slices"
	"time"
)

// A Java key store (JKS) has the date at which each certificate came in, so that the same certificates
// never make the same file twice. It is: a magic number, a version, the number of entries; of
// each a tag, a name, a date in milliseconds and, where the tag says a trusted certificate, the certificate's
// type and bytes; at last a digest over all that and a password.

// MaxSize is how long a file may be to be looked at as a key store, in bytes: Debian's has 200 KiB.
const MaxSize = 4 << 20

const (
	magic   = 0xfeedfeed
	version = 2
	trusted = 2 // the tag of a certificate
	salt    = "Mighty Aphrodite"
	// password is the one that all stores of public certificates have.
	password = "changeit"
)

// Redate returns a Java key store with its certificates dated at the time. It is false for anything
// else, a store that has keys or a password of its own included.
func Redate(store []byte, at time.Time) ([]byte, bool) {
	end := len(store) - sha1.Size
	if end < 12 || binary.BigEndian.Uint32(store) != magic || binary.BigEndian.Uint32(store[4:]) != version {
		return nil, false
	}
	if sum := sum(store[:end]); !bytes.Equal(sum, store[end:]) {
		return nil, false
	}
	out := slices.Clone(store[:end])
	r := cursor{rest: out[12:]}
	for range binary.BigEndian.Uint32(store[8:]) {
		tag := r.take(4)
		r.take(r.length(2)) // its name
		date := r.take(8)
		r.take(r.length(2)) // the certificate's type
		r.take(r.length(4))
		if r.short || binary.BigEndian.Uint32(tag) != trusted {
			return nil, false
		}
		binary.BigEndian.PutUint64(date, uint64(at.UnixMilli()))
	}
	return append(out, sum(out)...), len(r.rest) == 0
}

func sum(content []byte) []byte {
	h := sha1.New() //nolint:gosec // the format's own
	for _, c := range []byte(password) {
		h.Write([]byte{0, c}) // UTF-16
	}
	h.Write([]byte(salt))
	h.Write(content)
	return h.Sum(nil)
}

// cursor goes through bytes from field to field. Once they don't suffice, all further fields are empty.
type cursor struct {
	rest  []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if c.short = c.short || n > len(c.rest); c.short {
		return nil
	}
	field := c.rest[:n]
	c.rest = c.rest[n:]
	return field
}

// length reads a field of so many bytes that is the length of the next.
func (c *cursor) length(size int) int {
	n := 0
	for _, b := range c.take(size) {
		n = n<<8 | int(b)
	}
	return n
}
