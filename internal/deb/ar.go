package deb

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"imx"
)

const (
	arMagic   = "!<arch>\n"
	arHeader  = 60 // bytes of a member's header: name 16, date 12, owner 6, group 6, mode 8, size 10, "`\n"
	arMembers = 16 // more than any .deb has: debian-binary, control, data, and signatures beside them
)

// ArHeader is what imx uses of an ar member's header; owner, mode and date mean nothing in a .deb.
type ArHeader struct {
	Name string // of letters, digits, ".", "_", "-" and "+" only
	Size int64  // bytes, at most MaxSize
}

// ArReader reads the members of an ar archive one after the other. Like a tar.Reader, Next
// goes to the next member and Read reads the present one's bytes up to io.EOF.
type ArReader struct {
	r       io.Reader
	left    int64 // unread bytes of the present member
	pad     int64 // bytes between the present member's end and the next header
	members int
	began   bool
	err     error // of the last Next: an archive that broke once stays broken
}

// ReadAr returns a reader of r's members. It reads nothing yet: the first Next says whether r is
// an ar archive at all.
func ReadAr(r io.Reader) *ArReader { return &ArReader{r: r} }

// Next skips what is left of the present member and returns the next one's header, or io.EOF
// after the last. GNU's and BSD's long names are refused: no .deb has them (deb(5)).
func (a *ArReader) Next() (ArHeader, error) {
	if a.err != nil {
		return ArHeader{}, a.err
	}
	h, err := a.next()
	if err != nil {
		a.err, a.left = err, 0
	}
	return h, err
}

// Read reads from the present member. A member that ends too early is an error of kind Refused.
func (a *ArReader) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > a.left {
		p = p[:a.left]
	}
	n, err := a.r.Read(p)
	a.left -= int64(n)
	switch {
	case a.left == 0:
		return n, nil
	case err != nil:
		a.err = cut(err, "ar member")
		return n, a.err
	}
	return n, nil
}

func (a *ArReader) next() (ArHeader, error) {
	if err := a.skip(); err != nil {
		return ArHeader{}, err
	}
	var raw [arHeader]byte
	switch _, err := io.ReadFull(a.r, raw[:]); {
	case errors.Is(err, io.EOF):
		return ArHeader{}, io.EOF
	case err != nil:
		return ArHeader{}, cut(err, "ar header")
	}
	if a.members++; a.members > arMembers {
		return ArHeader{}, refused("ar archive has more than %d members", arMembers)
	}
	h, err := parseArHeader(raw[:])
	if err != nil {
		return ArHeader{}, err
	}
	a.left, a.pad = h.Size, h.Size%2
	return h, nil
}

// skip moves to the next header: past the magic at first, later past the present member.
func (a *ArReader) skip() error {
	if !a.began {
		magic := make([]byte, len(arMagic))
		if _, err := io.ReadFull(a.r, magic); err != nil {
			return cut(err, "ar archive")
		}
		if string(magic) != arMagic {
			return refused("not an ar archive: it begins with %q, not %q", magic, arMagic)
		}
		a.began = true
		return nil
	}
	// dpkg-deb writes the padding byte of the last member too, but not every ar does: its lack at
	// the very end is no fault.
	n, err := io.CopyN(io.Discard, a.r, a.left+a.pad)
	if err != nil && (n < a.left || !errors.Is(err, io.EOF)) {
		return cut(err, "ar member")
	}
	a.left, a.pad = 0, 0
	return nil
}

func parseArHeader(raw []byte) (ArHeader, error) {
	if !bytes.HasSuffix(raw, []byte("`\n")) {
		return ArHeader{}, refused("ar header %q doesn't end as ar headers do", raw)
	}
	name := strings.TrimSuffix(strings.TrimRight(string(raw[:16]), " "), "/")
	if name == "" || strings.Trim(name, arNameBytes) != "" {
		return ArHeader{}, refused("ar member has the name %q, which no .deb has", name)
	}
	digits := strings.TrimRight(string(raw[48:58]), " ")
	size, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || digits != strconv.FormatUint(size, 10) {
		return ArHeader{}, refused("ar member %s has the size %q, which isn't a number", name, digits)
	}
	if size > MaxSize {
		return ArHeader{}, refused("ar member %s has the size %s, more than %s", name, imx.Size(size), imx.Size(MaxSize))
	}
	return ArHeader{Name: name, Size: int64(size)}, nil
}

const arNameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+"
