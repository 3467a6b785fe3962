// A .deb or a layer is bytes from somewhere: whatever no image may have is refused before dpkg, or
// the kernel, gets to see it.

package build_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/archive/archivetest"
	"imx/internal/blob"
	"imx/internal/build"
	"imx/internal/erofs"
)

// hostile are entries that neither a package nor a layer may have, by what the refusal says.
func hostile() map[string]*tar.Header {
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

// archiveOf is a tar archive with the one entry.
func archiveOf(tb testing.TB, h *tar.Header) []byte {
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
	for want, h := range hostile() {
		t.Run(want, func(t *testing.T) {
			deb := ar("debian-binary", "2.0\n", "control.tar", controlOf(t, goodControl), "data.tar", string(archiveOf(t, h)))
			refused(t, deb, want)
		})
	}
}

func TestAPackageThatIsNotWhatThePlanSaysIsRefused(t *testing.T) {
	data := string(archiveOf(t, &tar.Header{Name: "./usr", Typeflag: tar.TypeDir}))
	control := controlOf(t, goodControl)
	for want, deb := range map[string][]byte{
		"it is the package evil_2.0_amd64":       ar("debian-binary", "2.0\n", "control.tar", controlOf(t, strings.Replace(goodControl, "1.0", "2.0", 1)), "data.tar", data),
		"it has no control file":                 ar("debian-binary", "2.0\n", "control.tar", data, "data.tar", data),
		"the member data.tar is missing":         ar("debian-binary", "2.0\n", "control.tar", control),
		"stands where control.tar must":          ar("debian-binary", "2.0\n", "data.tar", data),
		"the format version":                     ar("debian-binary", "3.0\n", "control.tar", control, "data.tar", data),
		"not an ar archive":                      []byte("PK\x03\x04 a zip file"),
		"xz can't read it":                       ar("debian-binary", "2.0\n", "control.tar.xz", "not xz", "data.tar", data),
		"control file \"./link\"":                ar("debian-binary", "2.0\n", "control.tar", string(archiveOf(t, &tar.Header{Name: "./link", Typeflag: tar.TypeSymlink, Linkname: "x"})), "data.tar", data),
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

// layered is a builder and a function that stores an image of layers.
func layered(tb testing.TB) (*build.Builder, func(mediaType string, layers ...[]byte) imx.Digest) {
	tb.Helper()
	blobs, err := blob.Open(filepath.Join(tb.TempDir(), "blobs"))
	if err != nil {
		tb.Fatal(err)
	}
	b, err := build.New(build.Config{Dir: tb.TempDir(), Blobs: blobs})
	if err != nil {
		tb.Fatal(err)
	}
	put := func(raw []byte) v1.Descriptor {
		d, n, err := blobs.Put(bytes.NewReader(raw), "")
		if err != nil {
			tb.Fatal(err)
		}
		return v1.Descriptor{Digest: digest.Digest(d), Size: n}
	}
	return b, func(mediaType string, layers ...[]byte) imx.Digest {
		tb.Helper()
		var m v1.Manifest
		about := v1.Image{Created: &epoch}
		for _, l := range layers {
			desc := put(l)
			desc.MediaType = mediaType
			m.Layers = append(m.Layers, desc)
			about.RootFS.DiffIDs = append(about.RootFS.DiffIDs, digest.Digest(imx.DigestBytes(plain(tb, mediaType, l))))
		}
		config, err := json.Marshal(about)
		if err != nil {
			tb.Fatal(err)
		}
		m.Config = put(config)
		raw, err := json.Marshal(m)
		if err != nil {
			tb.Fatal(err)
		}
		return imx.Digest(put(raw).Digest)
	}
}

// archiveWith is an archive of one file.
func archiveWith(tb testing.TB, name, content string) []byte {
	tb.Helper()
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o644}); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return raw.Bytes()
}

// plain is a layer without its compression.
func plain(tb testing.TB, mediaType string, layer []byte) []byte {
	tb.Helper()
	if mediaType != v1.MediaTypeImageLayerGzip {
		return layer
	}
	z, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestALayerWithAHostileEntryIsRefused(t *testing.T) {
	b, image := layered(t)
	for want, h := range hostile() {
		t.Run(want, func(t *testing.T) {
			_, _, err := b.Root(t.Context(), image(v1.MediaTypeImageLayer, archiveOf(t, h)))
			if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), want) {
				t.Errorf("kind %q: %v", imx.KindOf(err), err)
			}
		})
	}
}

func TestALayerThatWritesThroughALinkOfAnotherIsRefused(t *testing.T) {
	b, image := layered(t)
	link := archiveOf(t, &tar.Header{Name: "data", Typeflag: tar.TypeSymlink, Linkname: "/etc"})
	through := archiveOf(t, &tar.Header{Name: "data/passwd", Typeflag: tar.TypeReg})
	_, _, err := b.Root(t.Context(), image(v1.MediaTypeImageLayer, link, through))
	if imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), `"data/passwd" lies below "data", which is not a directory`) {
		t.Errorf("kind %q: %v", imx.KindOf(err), err)
	}
}

func TestLayersOfOtherBuildersAreLaidOverEachOther(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	b, image := layered(t)
	layer := func(entries ...*tar.Header) []byte {
		var raw bytes.Buffer
		z := gzip.NewWriter(&raw)
		w := tar.NewWriter(z)
		for _, h := range entries {
			text := h.Name
			h.Mode = 0o755
			if h.Typeflag == tar.TypeReg {
				h.Size = int64(len(text))
			}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, text[:h.Size]); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Close(), z.Close()); err != nil {
			t.Fatal(err)
		}
		return raw.Bytes()
	}
	reg := func(name string) *tar.Header { return &tar.Header{Name: name, Typeflag: tar.TypeReg} }
	d := image(
		v1.MediaTypeImageLayerGzip,
		layer(reg("gone"), reg("dir/a"), reg("dir/b"), reg("full/x"), reg("tree/x"), reg("same")),
		layer(reg("full/y"), reg(".wh.gone"), reg("dir/.wh.a"), reg("full/.wh..wh..opq"), reg("tree"),
			&tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "same"}),
	)
	root := mounted(t, b, d)
	want := " dir dir/b full full/y hard same tree"
	if got := strings.Join(paths(t, root), " "); got != want {
		t.Errorf("the root has %q, want %q", got, want)
	}
	if text, err := os.ReadFile(filepath.Join(root, "hard")); string(text) != "same" {
		t.Errorf("the hard link has %q, %v", text, err)
	}
}

func TestADamagedRootOrPartIsMadeAnewAndAMissingImageIsNotFound(t *testing.T) {
	b, image := layered(t)
	d := image(v1.MediaTypeImageLayer, archiveWith(t, "data", strings.Repeat("data", 1000)))
	file, root, err := b.Root(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := erofs.Parts(file)
	if err != nil || len(parts) != 1 {
		t.Fatal(parts, err)
	}
	damages := map[string]func(name string) error{
		"written to":            func(name string) error { return os.WriteFile(name, []byte("tampered"), 0o600) },
		"locked and written to": func(name string) error { defer erofs.Lock(name); return os.WriteFile(name, []byte("tampered"), 0o600) },
		"removed":               os.Remove,
	}
	for name, sum := range map[string]imx.Digest{file: root, erofs.PartFile(file, parts[0].Digest): parts[0].Digest} {
		for what, damage := range damages {
			if err := damage(name); err != nil {
				t.Fatal(err)
			}
			again, sameRoot, err := b.Root(t.Context(), d)
			if err != nil || again != file || sameRoot != root {
				t.Fatalf("%s %s: %s %s %v, before %s %s", name, what, again, sameRoot, err, file, root)
			}
			if raw, err := os.ReadFile(name); err != nil || imx.DigestBytes(raw) != sum {
				t.Errorf("%s %s: the file still isn't what its digest says: %v", name, what, err)
			}
		}
	}
	if _, _, err := b.Root(t.Context(), imx.DigestBytes(nil)); imx.KindOf(err) != imx.NotFound {
		t.Errorf("kind %q: %v", imx.KindOf(err), err)
	}
}

func TestALayerThatIsNotWhatTheConfigurationSaysIsRefused(t *testing.T) {
	b, image := layered(t)
	one := archiveWith(t, "data", strings.Repeat("data", 1000))
	_, _, err := b.Root(t.Context(), image(v1.MediaTypeImageLayer+".unknown", one)) // its bytes are taken as they are
	if err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(append(slices.Clone(one), make([]byte, 512)...)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, err = b.Root(t.Context(), image("of gzip", z.Bytes()))
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "the image's configuration says "+string(imx.DigestBytes(z.Bytes()))) {
		t.Errorf("kind %q: %v", imx.KindOf(err), err)
	}
}

func FuzzPackage(f *testing.F) {
	good, err := archivetest.Package{Name: "evil", Pack: "gz", Files: files{{Path: "/usr/bin/x", Content: "x"}}}.Deb()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, h := range hostile() {
		f.Add(ar("debian-binary", "2.0\n", "control.tar", controlOf(f, goodControl), "data.tar", string(archiveOf(f, h))))
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

func FuzzLayer(f *testing.F) {
	for _, h := range hostile() {
		f.Add(archiveOf(f, h))
	}
	name := filepath.Join(f.TempDir(), "layer")
	f.Fuzz(func(t *testing.T, layer []byte) {
		if err := os.WriteFile(name, layer, 0o600); err != nil {
			t.Fatal(err)
		}
		entries, err := build.Unlayer(name)
		if err != nil {
			return
		}
		for p, e := range entries {
			if p != e.Path || e.Path == ".." || strings.HasPrefix(e.Path, "../") || path.IsAbs(e.Path) || e.Mode.Type()&^(fs.ModeDir|fs.ModeSymlink) != 0 {
				t.Fatalf("let through: %+v", e)
			}
		}
	})
}
