// Package untartest has the archives that who reads them must refuse. It is for tests.
package untartest

import (
	"archive/tar"
	"bytes"
	"testing"
)

// Hostile are entries that neither a package nor a layer may have, by what the refusal says.
func Hostile() map[string]*tar.Header {
	return map[string]*tar.Header{
		"leads out of its directory":       {Name: "./usr/../../etc/passwd", Typeflag: tar.TypeReg},
		"is absolute":                      {Name: "/etc/passwd", Typeflag: tar.TypeReg},
		"out of the root":                  {Name: "./usr/link", Typeflag: tar.TypeSymlink, Linkname: "../../etc"},
		"is a hard link":                   {Name: "./usr/link", Typeflag: tar.TypeLink, Linkname: "../etc/passwd"},
		"of type '3'":                      {Name: "./dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		"of type '4'":                      {Name: "./dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8},
		"of type '6'":                      {Name: "./run/fifo", Typeflag: tar.TypeFifo},
		"has the size 1.0 TiB":             {Name: "./usr/huge", Typeflag: tar.TypeReg, Size: 1 << 40},
		"has a control character":          {Name: "./usr/a\nb", Typeflag: tar.TypeReg},
		"has the owner 3000000000:0":       {Name: "./usr/a", Typeflag: tar.TypeReg, Uid: 3_000_000_000},
		"isn't a usable name":              {Name: "./usr/link", Typeflag: tar.TypeSymlink, Linkname: "a\x01b"},
		"it is no well-formed tar archive": nil, // the archive ends in the middle of an entry
	}
}

// Archive is a tar archive with the one entry, one of Hostile's or any without content.
func Archive(tb testing.TB, h *tar.Header) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if h == nil {
		h = &tar.Header{Name: "./usr/cut", Typeflag: tar.TypeReg, Size: 1000}
	}
	h.Mode = 0o644
	if err := w.WriteHeader(h); err != nil {
		tb.Fatal(err)
	}
	if err := w.Flush(); err != nil && h.Size == 0 {
		tb.Fatal(err)
	}
	return b.Bytes()
}
