package imx

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// Digest names bytes by their SHA-256, in OCI's form "sha256:<64 lower-case hex digits>".
// The empty Digest names nothing.
type Digest string

// DigestBytes returns the digest of b.
func DigestBytes(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// DigestJSON returns the digest of v's JSON form. It is the same on every machine, because
// encoding/json writes struct fields in order and map keys sorted. It panics for a value that has
// no JSON form, which no noun of this package is.
func DigestJSON(v any) Digest {
	b, err := json.Marshal(v)
	if err != nil {
		panic("imx: a noun without a JSON form: " + err.Error())
	}
	return DigestBytes(b)
}

// ParseDigest checks that s has the form of a Digest. The error is of kind Invalid.
func ParseDigest(s string) (Digest, error) {
	h, ok := strings.CutPrefix(s, "sha256:")
	if !ok || len(h) != 64 || strings.Trim(h, "0123456789abcdef") != "" {
		return "", Errorf(Invalid, "%q is not a digest of the form sha256:<64 hex digits>", s)
	}
	return Digest(s), nil
}

// Hex returns the digest's hexadecimal part, "" for an empty digest.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), "sha256:") }

// Short returns the first 12 hexadecimal digits, enough for a person to recognise it by.
func (d Digest) Short() string {
	h := d.Hex()
	return h[:min(12, len(h))]
}

// UnmarshalText implements encoding.TextUnmarshaler, so that no malformed digest gets in by JSON.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = ""
		return nil
	}
	v, err := ParseDigest(string(text))
	if err != nil {
		return fmt.Errorf("imx: %w", err)
	}
	*d = v
	return nil
}
