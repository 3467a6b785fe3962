// A .deb is bytes from somewhere: whatever no image may have is refused before dpkg gets to see it.

package build_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"imx"
	"imx/internal/archive/archivetest"
	"imx/internal/build"
	"imx/internal/build/untar/untartest"
)

// ar puts members together as a .deb.
func ar(members ...string) []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for i := 0; i < len(members); i += 2 {
		b.WriteString(build.ArHeader(members[i], int64(len(members[i+1]))) + members[i+1] + "\n"[:len(members[i+1])%2])
	}
	return b.Bytes()
}

func controlOf(tb testing.TB, text string) string {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "./control", Typeflag: tar.TypeReg, Size: int64(len(text)), Mode: 0o644}); err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

const goodControl = "Package: evil\nVersion: 1.0\nArchitecture: amd64\n"

func evil() imx.Package { return imx.Package{Name: "evil", Version: "1.0", Architecture: "amd64"} }

func TestAPackageWithAHostileEntryIsRefused(t *testing.T) {
	for want, h := range untartest.Hostile() {
		t.Run(want, func(t *testing.T) {
			deb := ar("debian-binary", "2.0\n", "control.tar", controlOf(t, goodControl), "data.tar", string(untartest.Archive(t, h)))
			refused(t, deb, want)
		})
	}
}

func TestAPackageThatIsNotWhatThePlanSaysIsRefused(t *testing.T) {
	data := string(untartest.Archive(t, &tar.Header{Name: "./usr", Typeflag: tar.TypeDir}))
	control := controlOf(t, goodControl)
	for want, deb := range map[string][]byte{
		"it is the package evil_2.0_amd64":       ar("debian-binary", "2.0\n", "control.tar", controlOf(t, strings.Replace(goodControl, "1.0", "2.0", 1)), "data.tar", data),
		"it has no control file":                 ar("debian-binary", "2.0\n", "control.tar", data, "data.tar", data),
		"the member data.tar is missing":         ar("debian-binary", "2.0\n", "control.tar", control),
		"stands where control.tar must":          ar("debian-binary", "2.0\n", "data.tar", data),
		"the format version":                     ar("debian-binary", "3.0\n", "control.tar", control, "data.tar", data),
		"not an ar archive":                      []byte("PK\x03\x04 a zip file"),
		"xz can't read it":                       ar("debian-binary", "2.0\n", "control.tar.xz", "not xz", "data.tar", data),
		"control file \"./link\"":                ar("debian-binary", "2.0\n", "control.tar", string(untartest.Archive(t, &tar.Header{Name: "./link", Typeflag: tar.TypeSymlink, Linkname: "x"})), "data.tar", data),
		"larger than a package may be, unpacked": bomb(t),
	} {
		t.Run(want, func(t *testing.T) { refused(t, deb, want) })
	}
}

// bomb is a package whose 100 kB of control files are 100 MiB, unpacked.
func bomb(tb testing.TB) []byte {
	tb.Helper()
	raw, err := archivetest.Package{Name: "evil", Pack: "gz", Scripts: map[string]string{"postinst": strings.Repeat("\x00", 100<<20)}}.Deb()
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func refused(t *testing.T, deb []byte, want string) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "deb"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	err = build.Rewrite(t.Context(), t.TempDir(), out, bytes.NewReader(deb), evil())
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), want) {
		t.Errorf("kind %q: %v", imx.KindOf(err), err)
	}
}

func TestARewrittenPackageIsTheSameForDpkg(t *testing.T) {
	for _, packed := range []string{"xz", "gz"} {
		raw, err := archivetest.Package{
			Name: "evil", Pack: packed, Scripts: map[string]string{"postinst": "#!/bin/sh\n"},
			Files: files{
				{Path: "/usr/bin/x", Content: "odd", Mode: 0o4755},
				{Path: "/usr/" + strings.Repeat("long/", 60) + "name", Content: "x"},
				{Path: "/usr/link", Link: "bin/x"},
			},
		}.Deb()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		before, after := filepath.Join(dir, "before.deb"), filepath.Join(dir, "after.deb")
		if err := os.WriteFile(before, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(after)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if err := build.Rewrite(t.Context(), t.TempDir(), out, bytes.NewReader(raw), evil()); err != nil {
			t.Fatal(err)
		}
		for _, what := range []string{"--fsys-tarfile", "--ctrl-tarfile", "--contents", "--field"} {
			var seen [2]string
			for i, name := range []string{before, after} {
				text, err := exec.Command("dpkg-deb", what, name).CombinedOutput()
				if err != nil {
					t.Fatalf("dpkg-deb %s: %v\n%s", what, err, text)
				}
				seen[i] = string(text)
			}
			if strings.HasSuffix(what, "tarfile") {
				continue // it reads it; the bytes may differ
			}
			if seen[0] != seen[1] {
				t.Errorf("dpkg-deb %s: before\n%safter\n%s", what, seen[0], seen[1])
			}
		}
	}
}

func FuzzPackage(f *testing.F) {
	good, err := archivetest.Package{Name: "evil", Pack: "gz", Files: files{{Path: "/usr/bin/x", Content: "x"}}}.Deb()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, h := range untartest.Hostile() {
		f.Add(ar("debian-binary", "2.0\n", "control.tar", controlOf(f, goodControl), "data.tar", string(untartest.Archive(f, h))))
	}
	f.Fuzz(func(t *testing.T, deb []byte) {
		var first, second memory
		if build.Rewrite(t.Context(), t.TempDir(), &first, bytes.NewReader(deb), evil()) != nil {
			return
		}
		// What was let through comes through again unchanged: both readings agree.
		if err := build.Rewrite(t.Context(), t.TempDir(), &second, bytes.NewReader(first.bytes), evil()); err != nil {
			t.Fatalf("let through once, refused the second time: %v", err)
		}
		if !bytes.Equal(first.bytes, second.bytes) {
			t.Fatal("rewriting twice gave other bytes")
		}
	})
}

// memory is a file in memory.
type memory struct {
	bytes []byte
	at    int64
}

func (m *memory) Write(p []byte) (int, error) {
	if grow := int(m.at) + len(p) - len(m.bytes); grow > 0 {
		m.bytes = append(m.bytes, make([]byte, grow)...)
	}
	copy(m.bytes[m.at:], p)
	m.at += int64(len(p))
	return len(p), nil
}

func (m *memory) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		m.at = 0
	}
	m.at += offset
	return m.at, nil
}
