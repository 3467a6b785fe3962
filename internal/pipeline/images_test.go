package pipeline_test

// Images are looked into where they came from a build and where they were pushed by other tools, whose
// manifests and layers are as they like them.

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
)

// layer is a tar archive with one file.
func layer(t *testing.T, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compressed runs bytes through a compressor.
func compressed(t *testing.T, raw []byte, through func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := through(&b)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(raw)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// put stores a blob and describes it.
func (w *world) put(t *testing.T, mediaType string, raw []byte) v1.Descriptor {
	t.Helper()
	d, size, err := w.blobs.Put(bytes.NewReader(raw), "")
	if err != nil {
		t.Fatal(err)
	}
	parsed := v1.Descriptor{MediaType: mediaType, Size: size}
	if err := json.Unmarshal([]byte(`"`+string(d)+`"`), &parsed.Digest); err != nil {
		t.Fatal(err)
	}
	return parsed
}

// push records an image from outside, of the layers, under team/web:v1.
func (w *world) push(t *testing.T, layers ...[]byte) imx.Digest {
	t.Helper()
	config, err := json.Marshal(v1.Image{
		Config:  v1.ImageConfig{Cmd: []string{"/run"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}},
		History: []v1.History{{CreatedBy: "COPY a"}, {CreatedBy: "ENV b", EmptyLayer: true}, {CreatedBy: "COPY c"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := v1.Manifest{Config: w.put(t, "application/vnd.docker.container.image.v1+json", config)}
	for _, l := range layers {
		m.Layers = append(m.Layers, w.put(t, v1.MediaTypeImageLayerGzip, l)) // whatever it is
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return w.pushed(t, raw)
}

func (w *world) pushed(t *testing.T, manifest []byte) imx.Digest {
	t.Helper()
	d := imx.Digest(w.put(t, v1.MediaTypeImageManifest, manifest).Digest)
	if err := w.control.Record("registry", imx.ManifestPushed{Repository: "team/web", Tag: "v1", Digest: d}); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAPushedImageIsReadFromItsLayersHoweverTheyAreCompressed(t *testing.T) {
	w := newWorld(t)
	d := w.push(t,
		compressed(t, layer(t, "a", "1"), func(b io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(b), nil }),
		compressed(t, layer(t, "var/lib/dpkg/status.d/b", "Package: b\nVersion: 2\n"), func(b io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(b) }),
		layer(t, "c", "3"),
	)
	got, err := w.Image(t.Context(), "team/web:v1")
	if err != nil {
		t.Fatal(err)
	}
	var paths, says []string
	for _, p := range got.Inventory.Paths {
		paths = append(paths, p.Path)
	}
	for _, l := range got.Layers {
		says = append(says, l.Says)
	}
	want := []any{d, true, true, []string{"/a", "/c", "/var/lib/dpkg/status.d/b"}, []string{"COPY a", "COPY c", ""}, 1, 3, []string{"80/tcp"}}
	if diff := cmp.Diff(want, []any{got.Digest, got.Pushed, got.Scanned, paths, says, got.Packages, got.Files, got.Configuration.Ports}); diff != "" {
		t.Error(diff)
	}
	if got.Size == 0 {
		t.Error("it has no size")
	}
}

func TestWhatCannotBeLookedIntoIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		push func(t *testing.T, w *world)
		kind imx.Kind
		says string
	}{
		"an index":        {func(t *testing.T, w *world) { w.pushed(t, []byte(`{"manifests":[]}`)) }, imx.Invalid, "is not the manifest of an image"},
		"no JSON":         {func(t *testing.T, w *world) { w.pushed(t, []byte(`nonsense`)) }, imx.Invalid, "can't be read as a part of an image"},
		"a layer cut off": {func(t *testing.T, w *world) { w.push(t, []byte("\x1f\x8b\x08")) }, imx.Invalid, "layer 1"},
		"bytes that are gone": {func(t *testing.T, w *world) {
			if err := w.blobs.Delete(w.push(t, layer(t, "a", "1"))); err != nil {
				t.Fatal(err)
			}
		}, imx.NotFound, "blob"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.push(t, w)
			_, err := w.Image(t.Context(), "team/web")
			if imx.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", imx.KindOf(err), err)
			}
		})
	}
}

func TestReadingLayersEndsWhenNobodyWaits(t *testing.T) {
	w := newWorld(t)
	w.push(t, layer(t, "a", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Image(ctx, "team/web"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestABuiltImageIsListedAndLookedInto(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Build(t.Context(), "root", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet); err != nil {
		t.Fatal(err)
	}
	list, err := w.Images(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != "plain" || list[0].Pushed {
		t.Fatalf("%+v, %v", list, err)
	}
	d, err := w.Image(t.Context(), "plain")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, p := range d.Inventory.Paths {
		found = found || p.Path == "/x" && p.Kind == imx.PathFile && p.Mode == 0o755 && p.Digest == imx.DigestBytes([]byte("x"))
	}
	if !found || len(d.Configuration.Command) != 1 || d.Configuration.Command[0] != "/x" {
		t.Errorf("%+v", d)
	}
	if _, err := w.Image(t.Context(), "plian"); imx.KindOf(err) != imx.NotFound || !strings.Contains(imx.AsError(err).Hint, "plain") {
		t.Errorf("%v", err)
	}
}
