package sbom_test

// What files say of themselves is read out of an image's layers, once, and whoever made the image made them too: a
// file that lies, or is broken, may cost no more than its size and may break nothing.

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imx"
	"imx/internal/sbom"
)

type file struct {
	name    string
	content []byte
}

// layers makes a layer of each list; a file without content is a folder's whiteout or a link, by its name.
func layers(tb testing.TB, all ...[]file) iter.Seq2[io.Reader, error] {
	tb.Helper()
	var made [][]byte
	for _, files := range all {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, f := range files {
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.name, "/"), Mode: 0o644, Size: int64(len(f.content))}); err != nil {
				tb.Fatal(err)
			}
			if _, err := w.Write(f.content); err != nil {
				tb.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			tb.Fatal(err)
		}
		made = append(made, b.Bytes())
	}
	return func(yield func(io.Reader, error) bool) {
		for _, m := range made {
			if !yield(bytes.NewReader(m), nil) {
				return
			}
		}
	}
}

func examine(tb testing.TB, all ...[]file) (imx.Inventory, sbom.Contents) {
	tb.Helper()
	inv, contents, err := sbom.Examine(tb.Context(), layers(tb, all...))
	if err != nil {
		tb.Fatal(err)
	}
	return inv, contents
}

func urls(c sbom.Contents) []string {
	var all []string
	for _, one := range c.Components {
		all = append(all, one.URL())
	}
	return all
}

// zipped is an archive of names and contents.
func zipped(tb testing.TB, parts ...string) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		f, err := w.Create(parts[i])
		if err != nil {
			tb.Fatal(err)
		}
		_, _ = io.WriteString(f, parts[i+1])
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// program is an ELF file with nothing but one section.
func program(tb testing.TB, name string, content []byte) []byte {
	tb.Helper()
	names := "\x00.shstrtab\x00" + name + "\x00"
	header := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}, Type: uint16(elf.ET_EXEC),
		Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: 64, Shoff: 64, Shentsize: 64, Shnum: 3, Shstrndx: 1,
	}
	start := uint64(64 + 3*64)
	sections := []elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_STRTAB), Off: start, Size: uint64(len(names)), Addralign: 1},
		{Name: uint32(len("\x00.shstrtab\x00")), Type: uint32(elf.SHT_PROGBITS), Off: start + uint64(len(names)), Size: uint64(len(content)), Addralign: 1},
	}
	var b bytes.Buffer
	for _, part := range []any{header, sections, []byte(names), content} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			tb.Fatal(err)
		}
	}
	return b.Bytes()
}

func rust(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = io.WriteString(w, `{"packages":[{"name":"serde","version":"1.0.1","source":"crates.io"},{"name":"cc","version":"1.0","kind":"build"},{"name":"app","version":"0.1.0","root":true}]}`)
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return program(tb, ".dep-v0", b.Bytes())
}

func TestFilesSayWhatTheyAreMadeOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./testdata/program")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	compiled, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	inner := zipped(t, "META-INF/maven/org.in/inner/pom.properties", "#x\nversion=2.0\ngroupId=org.in\nartifactId=inner\n")
	_, found := examine(t, []file{
		{"/bin/go", compiled},
		{"/bin/rust", rust(t)},
		{"/srv/app.jar", zipped(t, "META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\nImplementation-Version: 1.5\r\n\r\nName: x\r\n", "lib/inner.jar", string(inner))},
		{"/srv/plain-3.1.war", zipped(t, "META-INF/MANIFEST.MF", "Bundle-Version: 3.1\n")},
		{"/usr/lib/py/Some_Thing-1.dist-info/METADATA", []byte("Metadata-Version: 2.1\nName: Some_Thing\nVersion: 1.0\n\nName: no\n")},
		{"/usr/lib/py/old.egg-info", []byte("Name: old\nVersion: 0.1\n")},
		{"/opt/node_modules/@a/b/package.json", []byte(`{"name":"@a/b","version":"4.5.6"}`)},
		{"/opt/node_modules/@a/b/esm/package.json", []byte(`{"type":"module"}`)},
		{"/etc/os-release", []byte("ID=debian\nVERSION_CODENAME=\"bookworm\"\n")},
		{"/usr/share/doc/x/copyright", []byte("free words")},
	})
	got := urls(found)
	for _, want := range []string{
		"pkg:golang/github.com/google/go-cmp@v0.7.0", "pkg:cargo/serde@1.0.1", "pkg:cargo/app@0.1.0", "pkg:maven/app@1.5", "pkg:maven/org.in/inner@2.0",
		"pkg:maven/plain@3.1", "pkg:pypi/some-thing@1.0", "pkg:pypi/old@0.1", "pkg:npm/%40a/b@4.5.6",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s wasn't found among %d", want, len(got))
		}
	}
	if i := slices.IndexFunc(got, func(u string) bool { return strings.HasPrefix(u, "pkg:golang/stdlib@1.") }); i < 0 {
		t.Error("the program doesn't say which Go made it")
	}
	if slices.Contains(got, "pkg:cargo/cc@1.0") {
		t.Error("what was only needed to build is named")
	}
	if found.Vendor != "debian" || found.Codename != "bookworm" || found.Copyrights["/usr/share/doc/x/copyright"] != "free words" {
		t.Errorf("vendor %q, code name %q, copyrights %v", found.Vendor, found.Codename, found.Copyrights)
	}
}

func TestWhatALaterLayerRemovesOrReplacesSaysNothing(t *testing.T) {
	about := func(version string) []byte { return []byte(fmt.Sprintf(`{"name":"x","version":%q}`, version)) }
	inv, found := examine(t,
		[]file{{"/gone/package.json", about("1")}, {"/new/package.json", about("1")}, {"/not/package.json", about("1")}, {"/usr/share/doc/x/copyright", []byte("old")}},
		[]file{{"/.wh.gone", nil}, {"/new/package.json", about("2")}, {"/not/package.json", []byte("{}")}, {"/usr/share/doc/x/.wh.copyright", nil}},
	)
	if got := urls(found); !slices.Equal(got, []string{"pkg:npm/x@2"}) || len(found.Copyrights) > 0 {
		t.Errorf("found %q, copyrights %v", got, found.Copyrights)
	}
	for _, p := range inv.Paths {
		if p.Kind == imx.PathFile && len(found.SHA1[p.Digest]) != 40 {
			t.Errorf("%s has no SHA-1", p.Path)
		}
	}
}

func TestAnImageThatIsNotWhatItsInventorySaysIsRefused(t *testing.T) {
	found, _ := examine(t, []file{{"/a", []byte("a")}, {"/b", []byte("b")}})
	same := func() imx.Inventory {
		kept := found
		kept.Paths = slices.Clone(found.Paths)
		kept.Paths[0].Package, kept.Paths[0].Origin, kept.Paths[0].Listens = "base", imx.OriginPackage, true
		return kept
	}
	if err := sbom.Check(same(), found); err != nil {
		t.Errorf("the same: %v", err)
	}
	for what, change := range map[string]func(*imx.Inventory){
		"/a is another": func(kept *imx.Inventory) { kept.Paths[0].Digest = digest("x") },
		"/b is another": func(kept *imx.Inventory) { kept.Paths[1].Mode = 0o4755 },
		"/b is in its":  func(kept *imx.Inventory) { kept.Paths = kept.Paths[:1] },
		"/c isn't in":   func(kept *imx.Inventory) { kept.Paths = append(kept.Paths, imx.InventoryPath{Path: "/c"}) },
	} {
		kept := same()
		change(&kept)
		if err := sbom.Check(kept, found); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: err = %v", what, err)
		}
	}
}

// The left side is as copyright files of Debian have it.
func TestLicencesOfCopyrightFilesBecomeExpressions(t *testing.T) {
	const format = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
	for text, want := range map[string]string{
		"License: Expat":                             "MIT",
		"License: GPL-2+\n a text":                   "GPL-2.0-or-later",
		"License: LGPL-2.1":                          "LGPL-2.1-only",
		"License: gpl-1+ or Artistic":                "GPL-1.0-or-later OR Artistic-1.0",
		"License: GPL-2 and MPL-1.1 or BSD-3-clause": "(GPL-2.0-only AND MPL-1.1) OR BSD-3-Clause",
		"License: GPL-2+ or Expat, and Zlib":         "(GPL-2.0-or-later OR MIT) AND Zlib",
		"License: GPL-3+ with Font exception":        "GPL-3.0-or-later WITH Font-exception-2.0",
		"License: GPL-2+ with OpenSSL exception":     "LicenseRef-x-GPL-2plus-with-OpenSSL-exception",
		"License: public-domain":                     "LicenseRef-x-public-domain",
		"License: GPL-9":                             "LicenseRef-x-GPL-9",
		"License: Expat\n\nFiles: b\nLicense: ISC\n\nFiles: c\nLicense: Expat": "ISC AND MIT",
		"License: Expat\n\nLicense: GPL-2\n only a text":                       "MIT",
		"Copyright: nobody": "NOASSERTION",
	} {
		s := shop()
		s.Inventory.Packages[0].Name = "x"
		s.Contents.Copyrights = map[string]string{"/usr/share/doc/x/copyright": format + "\nFiles: *\n" + text + "\n"}
		if _, d := spdx(t, s); d.Packages[2].Licence != want {
			t.Errorf("%q is %s, want %s", text, d.Packages[2].Licence, want)
		}
	}
	s := shop()
	s.Contents.Copyrights = map[string]string{"/usr/share/doc/base/copyright": "This is free software.\nLicense: GPL-2\n"}
	raw, d := spdx(t, s)
	if d.Packages[2].Licence != "NOASSERTION" || !bytes.Contains(raw, []byte("as /usr/share/doc/base/copyright in the image says")) {
		t.Errorf("free words are %s", d.Packages[2].Licence)
	}
}

func FuzzExamine(f *testing.F) {
	f.Add("bin/rust", rust(f))
	f.Add("a.jar", zipped(f, "META-INF/maven/g/a/pom.properties", "artifactId=a", "b.jar", "PK\x03\x04"))
	f.Add("x.dist-info/METADATA", []byte("Name: a\nVersion: 1\n"))
	f.Add("package.json", []byte(`{"name":"@a/b","version":"1"}`))
	f.Add("usr/share/doc/x/copyright", []byte("Format: copyright-format/1.0\n\nFiles:\n *\nLicense: GPL-2+ or (a, and b) with c\n"))
	f.Add("etc/os-release", []byte("ID=debian\n"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		if name == "" || strings.ContainsRune(name, 0) || len(name) > 90 || strings.HasSuffix(name, "/") {
			return
		}
		inv, contents, err := sbom.Examine(t.Context(), layers(t, []file{{name, content}}))
		if err != nil {
			return
		}
		inv.Packages = []imx.InventoryPackage{{Package: imx.Package{Name: "x", Version: "1"}}}
		s := sbom.Subject{Name: "n", Image: digest("i"), Inventory: inv, Contents: contents}
		if _, err := sbom.SPDX(s); err != nil {
			t.Error(err)
		}
		if _, err := sbom.CycloneDX(s); err != nil {
			t.Error(err)
		}
	})
}
