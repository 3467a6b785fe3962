package registry

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"

	"imx"
)

// Clients name blobs and manifests by SHA-256, or by SHA-512, which the distribution specification has them able to. The bytes are
// kept by SHA-256 alone: a name of the other sort says which those are. On the way out they are compared with both.

const sha512Prefix, sha512Key = "sha512:", "sha512-"

// fileKey is the name of the file for a well-formed digest in a repository: the hex digits, or, of a SHA-512, "sha512-" and the
// sum in base64url, because two of them in hex don't fit into a file's name.
func fileKey(d imx.Digest) string {
	h, ok := strings.CutPrefix(string(d), sha512Prefix)
	if !ok {
		return d.Hex()
	}
	sum, _ := hex.DecodeString(h) // it is well-formed
	return sha512Key + base64.RawURLEncoding.EncodeToString(sum)
}

// keyDigest is the digest that a file stands for; where that isn't well-formed, the file is nobody's name.
func keyDigest(key string) imx.Digest {
	text, ok := strings.CutPrefix(key, sha512Key)
	if !ok {
		return imx.Digest("sha256:" + key)
	}
	sum, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return imx.Digest(sha512Prefix + "?")
	}
	return imx.Digest(sha512Prefix + hex.EncodeToString(sum))
}

func isSHA512(d imx.Digest) bool { return strings.HasPrefix(string(d), sha512Prefix) }

func checkDigest(d imx.Digest) error {
	h, long := strings.CutPrefix(string(d), sha512Prefix)
	if long && len(h) == 2*sha512.Size && strings.Trim(h, "0123456789abcdef") == "" {
		return nil
	}
	if _, err := imx.ParseDigest(string(d)); err != nil {
		return faultf(codeDigestInvalid, "%.80q is no SHA-256 or SHA-512 digest", d)
	}
	return nil
}

// mark is what the file of a blob's or a manifest's name says, a line each.
type mark struct {
	mediaType string        // of a manifest
	owner     imx.Principal // of the token that it was pushed with
	content   imx.Digest    // where the name is a SHA-512: the SHA-256 of the bytes
}

func (m mark) text() string {
	return strings.TrimRight(strings.Join([]string{m.mediaType, string(m.owner), string(m.content)}, "\n"), "\n")
}

func parseMark(text string) mark {
	lines := strings.SplitN(text+"\n\n", "\n", 4)
	return mark{lines[0], imx.Principal(lines[1]), imx.Digest(lines[2])}
}

// bytesOf returns the SHA-256 of the bytes that a name stands for.
func (m mark) bytesOf(d imx.Digest) (imx.Digest, error) {
	if !isSHA512(d) {
		return d, nil
	}
	c, err := imx.ParseDigest(string(m.content))
	if err != nil {
		return "", imx.Errorf(imx.Internal, "the name of %.80s is damaged on disk: it says that its bytes are %.80q", d, m.content).
			WithHint("imx registry fsck names all that is damaged, and repairs it from another registry")
	}
	return c, nil
}

// sum512 is the SHA-512 of what comes, in a digest's form.
type sum512 struct{ hash.Hash }

func newSum512() sum512 { return sum512{sha512.New()} }

func (s sum512) digest() imx.Digest {
	return imx.Digest(sha512Prefix + hex.EncodeToString(s.Sum(nil)))
}

// also compares what is read with a SHA-512, and ends in an error where it isn't right.
type also struct {
	from io.Reader
	want imx.Digest
	sum  sum512
}

// Read implements io.Reader.
func (a *also) Read(p []byte) (int, error) {
	n, err := a.from.Read(p)
	_, _ = a.sum.Write(p[:n]) // a hash never fails
	if errors.Is(err, io.EOF) {
		if got := a.sum.digest(); got != a.want {
			return n, faultf(codeDigestInvalid, "the bytes have digest %s, wanted %s", got, a.want)
		}
	}
	return n, err
}
