// Package deb reads Debian's formats: versions and their order, control stanzas, relations
// between packages, the lists of an archive (Packages, InRelease), and the containers that a
// .deb is made of (ar members, tar entries).
//
// It takes readers and returns values. It fetches nothing, verifies no signature, decompresses
// nothing and writes no file: whoever unpacks a .deb hands the decompressed stream in. Everything
// it reads is taken for hostile: sizes, names, line lengths and numbers are bounded, and an error
// is an *imx.Error of kind Refused that names the line, member or entry. Errors of the
// reader itself pass through wrapped.
package deb

import (
	"errors"
	"io"

	"imx"
)

// MaxSize is the most that one .deb, one member of it or one file in it may have, in bytes.
// Debian's largest package is below 2 GiB.
const MaxSize = 4 << 30

// refused makes the error for bytes that break a format's rules.
func refused(format string, args ...any) error {
	return imx.Errorf(imx.Refused, format, args...)
}

// cut turns the end of input in the middle of something into a refusal; other errors of a reader
// pass through, because they aren't the bytes' fault.
func cut(err error, what string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refused("%s ends too early: %w", what, io.ErrUnexpectedEOF)
	}
	kind := imx.Unavailable
	if known, ok := errors.AsType[*imx.Error](err); ok {
		kind = known.Kind // the reader knows better
	}
	return imx.Errorf(kind, "%s can't be read: %w", what, err)
}
