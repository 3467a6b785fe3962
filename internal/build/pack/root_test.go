// Roots of images that anybody may have made: layers are laid over each other, refused where no image may have
// what they have, and made anew where a disk lost them.

package pack_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/blob"
	"imx/internal/build/pack"
	"imx/internal/build/store"
	"imx/internal/build/untar/untartest"
	"imx/internal/erofs"
	"imx/internal/erofs/erofstest"
)

var epoch = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

// layered is a packer and a function that stores an image of layers.
func layered(tb testing.TB) (*pack.Packer, func(mediaType string, layers ...[]byte) imx.Digest) {
	tb.Helper()
	blobs, err := blob.Open(filepath.Join(tb.TempDir(), "blobs"))
	if err != nil {
		tb.Fatal(err)
	}
	results, err := store.Open(filepath.Join(tb.TempDir(), "build"), pack.Kinds()...)
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
	return pack.New(results, blobs), func(mediaType string, layers ...[]byte) imx.Digest {
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
	p, image := layered(t)
	for want, h := range untartest.Hostile() {
		t.Run(want, func(t *testing.T) {
			_, _, err := p.Root(t.Context(), image(v1.MediaTypeImageLayer, untartest.Archive(t, h)))
			if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), want) {
				t.Errorf("kind %q: %v", imx.KindOf(err), err)
			}
		})
	}
}

func TestALayerThatWritesThroughALinkOfAnotherIsRefused(t *testing.T) {
	p, image := layered(t)
	link := untartest.Archive(t, &tar.Header{Name: "data", Typeflag: tar.TypeSymlink, Linkname: "/etc"})
	through := untartest.Archive(t, &tar.Header{Name: "data/passwd", Typeflag: tar.TypeReg})
	_, _, err := p.Root(t.Context(), image(v1.MediaTypeImageLayer, link, through))
	if imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), `"data/passwd" lies below "data", which is not a directory`) {
		t.Errorf("kind %q: %v", imx.KindOf(err), err)
	}
}

func TestLayersOfOtherBuildersAreLaidOverEachOther(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	p, image := layered(t)
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
	root := erofstest.Mounted(t, p, d)
	want := " dir dir/b full full/y hard same tree"
	if got := strings.Join(erofstest.Paths(t, root), " "); got != want {
		t.Errorf("the root has %q, want %q", got, want)
	}
	if text, err := os.ReadFile(filepath.Join(root, "hard")); string(text) != "same" {
		t.Errorf("the hard link has %q, %v", text, err)
	}
}

func TestADamagedRootOrPartIsMadeAnewAndAMissingImageIsNotFound(t *testing.T) {
	p, image := layered(t)
	d := image(v1.MediaTypeImageLayer, archiveWith(t, "data", strings.Repeat("data", 1000)))
	file, root, err := p.Root(t.Context(), d)
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
			again, sameRoot, err := p.Root(t.Context(), d)
			if err != nil || again != file || sameRoot != root {
				t.Fatalf("%s %s: %s %s %v, before %s %s", name, what, again, sameRoot, err, file, root)
			}
			if raw, err := os.ReadFile(name); err != nil || imx.DigestBytes(raw) != sum {
				t.Errorf("%s %s: the file still isn't what its digest says: %v", name, what, err)
			}
		}
	}
	if _, _, err := p.Root(t.Context(), imx.DigestBytes(nil)); imx.KindOf(err) != imx.NotFound {
		t.Errorf("kind %q: %v", imx.KindOf(err), err)
	}
}

func TestALayerThatIsNotWhatTheConfigurationSaysIsRefused(t *testing.T) {
	p, image := layered(t)
	one := archiveWith(t, "data", strings.Repeat("data", 1000))
	_, _, err := p.Root(t.Context(), image(v1.MediaTypeImageLayer+".unknown", one)) // its bytes are taken as they are
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
	_, _, err = p.Root(t.Context(), image("of gzip", z.Bytes()))
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "the image's configuration says "+string(imx.DigestBytes(z.Bytes()))) {
		t.Errorf("kind %q: %v", imx.KindOf(err), err)
	}
}

func FuzzLayer(f *testing.F) {
	for _, h := range untartest.Hostile() {
		f.Add(untartest.Archive(f, h))
	}
	name := filepath.Join(f.TempDir(), "layer")
	f.Fuzz(func(t *testing.T, layer []byte) {
		if err := os.WriteFile(name, layer, 0o600); err != nil {
			t.Fatal(err)
		}
		entries, err := pack.Unlayer(name)
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
