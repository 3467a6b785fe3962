package archive

import (
	"context"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// SetPace makes the least that a transfer must bring that many bytes in each stretch of time.
func SetPace(a *Archive, every time.Duration, bytes int64) { a.pace = pace{every, bytes} }

// UnpackersOfXZ are the two ways to decompress xz.
func UnpackersOfXZ() map[string]unpacker {
	return map[string]unpacker{
		"program": unxz,
		"go":      func(_ context.Context, r io.Reader, use func(io.Reader) error) error { return unxzGo(r, use) },
	}
}

// OpenSigned is openSigned.
func OpenSigned(raw []byte, ring openpgp.EntityList, now time.Time) ([]byte, error) {
	return openSigned(raw, ring, now)
}

// ParseSources reads both forms of apt sources and returns the suites that they name.
func ParseSources(name string, text []byte) (suites []string, err error) {
	parse := parseLines
	if name == "x.sources" {
		parse = parseStanzas
	}
	entries, err := parse(name, text)
	for _, e := range entries {
		suites = append(suites, e.suites...)
	}
	return suites, err
}
