package inventory_test

// Images from elsewhere have no inventory. What their layers say must be read as an engine would
// lay them, and nobody's bytes may harm who reads them.

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/inventory"
)

type entry struct {
	name, content, link string
	kind                byte
	mode                int64
	capabilities        string
}

func tarred(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Linkname: e.link, Size: int64(len(e.content))}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if e.mode == 0 {
			h.Mode = 0o644
		}
		if e.capabilities != "" {
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": e.capabilities}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func layers(all ...[]byte) iter.Seq2[io.Reader, error] {
	return func(yield func(io.Reader, error) bool) {
		for _, l := range all {
			if !yield(bytes.NewReader(l), nil) {
				return
			}
		}
	}
}

func scanned(t *testing.T, all ...[]byte) imx.Inventory {
	t.Helper()
	inv, err := inventory.Scan(layers(all...))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func listing(inv imx.Inventory) string {
	var b strings.Builder
	for _, p := range inv.Paths {
		b.WriteString(p.Path + " " + string(p.Kind) + " " + p.Mode.String() + p.Target + p.Capabilities + "\n")
	}
	return b.String()
}

func TestLayersLieOverEachOther(t *testing.T) {
	inv := scanned(t,
		tarred(t,
			entry{name: "./", kind: tar.TypeDir, mode: 0o755}, entry{name: "a/", kind: tar.TypeDir, mode: 0o755},
			entry{name: "a/old"}, entry{name: "a/gone"}, entry{name: "b/", kind: tar.TypeDir, mode: 0o1777}, entry{name: "b/x"},
			entry{name: "c/", kind: tar.TypeDir}, entry{name: "c/x"}, entry{name: "d/", kind: tar.TypeDir}, entry{name: "d/x"},
			entry{name: "su", mode: 0o4755}, entry{name: "again", kind: tar.TypeLink, link: "su"}, entry{name: "dev", kind: tar.TypeChar},
		),
		tarred(t,
			entry{name: "a/.wh.gone"}, entry{name: "a/new", capabilities: "\x01\x02"}, entry{name: "b/y"}, entry{name: "b/.wh..wh..opq"},
			entry{name: ".wh.c"}, entry{name: "d", kind: tar.TypeSymlink, link: "a"},
		),
	)
	want := `/a directory 0755
/a/new file 06440102
/a/old file 0644
/again file 4755
/b directory 1777
/b/y file 0644
/d link 0777a
/su file 4755
`
	if diff := cmp.Diff(want, listing(inv)); diff != "" {
		t.Error(diff)
	}
	if got := inv.Paths[1].Digest; got != imx.DigestBytes(nil) {
		t.Errorf("an empty file's digest is %s", got)
	}
}

const status = `Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9
Description: GNU C Library
 longer

Package: rest
Status: deinstall ok config-files
Architecture: amd64
Version: 1
`

func TestPackagesAndUsersAreReadFromTheirFiles(t *testing.T) {
	passwd := "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34::/srv:/none\nbad:x:one:2::/:\n"
	inv := scanned(t,
		tarred(t,
			entry{name: "etc/passwd", content: passwd}, entry{name: "var/lib/dpkg/status", content: status},
			entry{name: "var/lib/dpkg/status.d/a", content: "Package: a\nVersion: 1+b1\nSource: aa (1)\nDepends: libc6\n"},
			entry{name: "var/lib/dpkg/status.d/a.md5sums", content: "no stanza"},
			entry{name: "var/lib/dpkg/status.d/b", content: "Package: b\nVersion: 1\n"},
		),
		tarred(t, entry{name: "var/lib/dpkg/status.d/.wh.b"}),
	)
	if diff := cmp.Diff([]imx.InventoryUser{{Name: "root", Home: "/root"}, {Name: "web", UID: 33, GID: 34, Home: "/srv"}}, inv.Users); diff != "" {
		t.Error(diff)
	}
	want := []imx.InventoryPackage{
		{Package: imx.Package{Name: "a", Version: "1+b1"}, Source: "aa", SourceVersion: "1", Depends: "libc6"},
		{Package: imx.Package{Name: "libc6", Version: "2.36-9", Architecture: "amd64"}, Source: "glibc", SourceVersion: "2.36-9", Description: "GNU C Library"},
	}
	if diff := cmp.Diff(want, inv.Packages); diff != "" {
		t.Error(diff)
	}
}

// vast is a layer of a few bytes with a sparse file of 9 EB. The tar writer makes no such files, so
// its records get their names afterwards: no checksum covers them.
func vast(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "vast", Typeflag: tar.TypeReg, PAXRecords: map[string]string{
		"XNU.sparse.major": "0", "XNU.sparse.minor": "1", "XNU.sparse.size": "9000000000000000000",
		"XNU.sparse.numblocks": "0", "XNU.sparse.map": "",
	}}); err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b.Bytes(), []byte("XNU.sparse"), []byte("GNU.sparse"))
}

func TestWhatIsNoLayerIsRefused(t *testing.T) {
	whole := tarred(t, entry{name: "a", content: strings.Repeat("x", 2000)})
	for name, layer := range map[string][]byte{
		"cut in a file":         whole[:1024],
		"no archive":            []byte(strings.Repeat("nonsense", 100)),
		"a link to nothing":     tarred(t, entry{name: "l", kind: tar.TypeLink, link: "x"}),
		"a status that is none": tarred(t, entry{name: "var/lib/dpkg/status", content: "\x00"}),
	} {
		if _, err := inventory.Scan(layers(layer)); imx.KindOf(err) != imx.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := inventory.Scan(layers(vast(t))); imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), "sparse") {
		t.Errorf("a file of 9 EB in a few bytes: %v", err)
	}
	large := strings.Repeat("#", 30<<20)
	var many, same [][]byte
	for i := range 5 {
		many = append(many, tarred(t, entry{name: "var/lib/dpkg/status.d/" + strings.Repeat("x", i+1), content: large}))
		same = append(same, tarred(t, entry{name: "var/lib/dpkg/status.d/x", content: large}))
	}
	if _, err := inventory.Scan(layers(many...)); imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), "may have together") {
		t.Errorf("lists of packages of 150 MB: %.200v", err)
	}
	if _, err := inventory.Scan(layers(same...)); err != nil && strings.Contains(err.Error(), "together") {
		t.Errorf("one list that is written anew five times: %.200v", err)
	}
	broken := errors.New("broken")
	_, err := inventory.Scan(func(yield func(io.Reader, error) bool) { yield(nil, broken) })
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("nonsense"), []byte{})
	f.Add([]byte(strings.Repeat("\x00", 1024)), []byte("x"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		inv, err := inventory.Scan(layers(a, b))
		if err != nil {
			return
		}
		for i, p := range inv.Paths {
			if !strings.HasPrefix(p.Path, "/") || i > 0 && p.Path <= inv.Paths[i-1].Path {
				t.Fatalf("path %d is %q", i, p.Path)
			}
		}
		inventory.Summarize(inv)
	})
}

func TestInventoriesOfAnotherFormatAreRefused(t *testing.T) {
	for _, raw := range []string{"", "{}", `{"version":2}`, `{"version":1,"paths":[{"mode":"9"}]}`} {
		if _, err := inventory.Parse([]byte(raw)); imx.KindOf(err) != imx.Invalid {
			t.Errorf("%q: %v", raw, err)
		}
	}
	inv, err := inventory.Parse([]byte(`{"version":1,"paths":[{"path":"/x","kind":"file","mode":"0755","origin":"package"}]}`))
	if err != nil || inv.Paths[0].Mode != 0o755 {
		t.Errorf("%+v, %v", inv, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"packages":[{"name":"a","depends":"b | c (>= 1)"}],"paths":[{"path":"/a","kind":"link","target":"/a"}]}`), "/a/b")
	f.Fuzz(func(t *testing.T, raw []byte, subject string) {
		inv, err := inventory.Parse(raw)
		if err != nil {
			return
		}
		inventory.Summarize(inv)
		if _, err := inventory.Explain(inv, subject); err != nil && imx.KindOf(err) != imx.NotFound {
			t.Fatalf("%q: %v", subject, err)
		}
		if d := inventory.Compare(imx.ImageDetail{Inventory: inv}, imx.ImageDetail{Inventory: inv}); !d.Empty() {
			t.Fatalf("it differs from itself: %+v", d)
		}
	})
}
