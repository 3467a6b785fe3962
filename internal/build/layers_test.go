// How an image is cut into layers, so that a patch moves little, and what stays when it is.

package build_test

import (
	"archive/tar"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/build"
	"imx/internal/erofs"
	"imx/internal/erofs/erofstest"
	"imx/internal/registry"
)

func manifest(tb testing.TB, res build.Result) v1.Manifest {
	tb.Helper()
	var m v1.Manifest
	if err := json.Unmarshal(res.Manifest, &m); err != nil {
		tb.Fatal(err)
	}
	return m
}

// layerOf returns the layer of which the image's history says that it holds this.
func (w *world) layerOf(tb testing.TB, res build.Result, says string) v1.Descriptor {
	tb.Helper()
	m := manifest(tb, res)
	raw, err := w.blobs.ReadAll(imx.Digest(m.Config.Digest), 1<<20)
	if err != nil {
		tb.Fatal(err)
	}
	var config v1.Image
	if err := json.Unmarshal(raw, &config); err != nil {
		tb.Fatal(err)
	}
	for i, h := range config.History {
		if h.CreatedBy == "imx: "+says {
			return m.Layers[i]
		}
	}
	tb.Fatalf("no layer is %q: %s", says, raw)
	return v1.Descriptor{}
}

func TestAPatchedSourceMovesItsOwnLayerAndTheEpochMovesNone(t *testing.T) {
	w, b := host(t)
	lib := pkg{Name: "liblib", Fields: map[string]string{"Source": "lib (2.0)"}, Files: files{{Path: "/usr/lib/lib.so", Content: "old"}}}
	tools := pkg{Name: "lib-tools", Fields: map[string]string{"Source": "lib"}, Files: files{{Path: "/usr/bin/lib", Content: "tool"}}}
	app := pkg{Name: "app", Files: files{{Path: "/usr/bin/app", Content: "app"}, {Path: "/usr/lib/app/x", Content: "x"}}}
	before := run(t, b, w.own(t, imx.ImageSpec{}, app, lib, tools))
	lib.Files[0].Content = "new"
	patched := w.own(t, imx.ImageSpec{}, lib, app, tools)
	patched.Epoch = epoch.Add(24 * time.Hour)
	after := run(t, b, patched)
	for says, moved := range map[string]bool{
		"source package lib": true, "source package app": false, "what every image has": false,
		"what scripts of the packages made": true, // only its times: the epoch
	} {
		if x, y := w.layerOf(t, before, says), w.layerOf(t, after, says); (x.Digest != y.Digest) != moved {
			t.Errorf("%s: %s and %s", says, x.Digest, y.Digest)
		}
	}
	if got := len(manifest(t, after).Layers); got != 4 {
		t.Errorf("%d layers: the packages of one source have one", got)
	}
	alone := run(t, b, w.own(t, imx.ImageSpec{Name: "alone"}, app))
	if x, y := w.layerOf(t, before, "source package app"), w.layerOf(t, alone, "source package app"); x.Digest != y.Digest {
		t.Errorf("in another image the layer is %s, not %s", y.Digest, x.Digest)
	}
}

func TestWhatScriptsChangedIsInTheirLayerAndThePackagesStaysAsItIs(t *testing.T) {
	w, b := host(t)
	app := pkg{Name: "app", Files: files{
		{Path: "/etc/app.conf", Content: "port = 0"},
		{Path: "/etc/app.d", Folder: true},
		{Path: "/etc/app.d/kept", Content: "kept"},
		{Path: "/usr/share/app/data", Content: "data"},
	}}
	plain := run(t, b, w.own(t, imx.ImageSpec{}, app))
	other := pkg{Name: "other", Fields: map[string]string{"Pre-Depends": "app"}, Scripts: map[string]string{"postinst": `#!/bin/sh -e
echo "port = 80" >/etc/app.conf
chmod 0700 /etc/app.d
chown 33 /usr/share/app/data
`}}
	changed := run(t, b, w.own(t, imx.ImageSpec{}, app, other))
	all := listing(t, erofstest.Mounted(t, b, changed.Image.Digest))
	for _, line := range []string{
		"-rw-r--r-- 0:0 /etc/app.conf\n", "drwx------ 0:0 /etc/app.d undated\n",
		"-rw-r--r-- 0:0 /etc/app.d/kept of 2023-11-14\n", "-rw-r--r-- 33:0 /usr/share/app/data\n",
	} {
		if !strings.Contains(all, line) {
			t.Errorf("there is no line %sin\n%s", line, all)
		}
	}
	if x, y := w.layerOf(t, plain, "source package app"), w.layerOf(t, changed, "source package app"); x.Digest == y.Digest {
		t.Error("the package's layer has files that a script replaced")
	}
	if text, err := os.ReadFile(filepath.Join(erofstest.Mounted(t, b, changed.Image.Digest), "etc/app.conf")); string(text) != "port = 80\n" {
		t.Errorf("app.conf has %q, %v", text, err)
	}
}

func TestARootMadeFromTheLayersAloneHasTheSameBytes(t *testing.T) {
	w, b := host(t)
	changed := pkg{
		Name: "own", Files: files{
			{Path: "/usr/lib/own/data", Content: strings.Repeat("data", 5000)},
			{Path: "/usr/bin/own", Content: "su", Mode: 0o4755},
			{Header: &tar.Header{Name: "./usr/bin/hard", Typeflag: tar.TypeLink, Linkname: "./usr/bin/own", Mode: 0o4755, ModTime: time.Unix(5, 0)}},
		},
		Scripts: map[string]string{"postinst": "#!/bin/sh -e\nchmod 0711 /usr/lib/own\ninstall -d -o 33 /var/lib/own\n"},
	}
	spec := imx.ImageSpec{Setuid: []string{"/usr/bin/own"}, Directories: []imx.Directory{{Path: "/usr/lib/own", Mode: 0o1777}}}
	spec.Files = []imx.File{w.file(t, "/srv/page", "page", "", 0)}
	plans := []imx.ImagePlan{w.own(t, spec, changed)}
	for name, image := range realImages() {
		image.spec.Name = name
		plans = append(plans, w.planned(t, image.spec))
	}
	for _, p := range plans {
		res := run(t, b, p)
		roots := filepath.Join(shared.dir, "build", "roots")
		parts, err := erofs.Parts(filepath.Join(roots, res.Image.Root.Hex()+".erofs"))
		if err != nil {
			t.Fatal(err)
		}
		lost := []string{res.Image.Digest.Hex(), res.Image.Root.Hex() + ".erofs"}
		for _, part := range parts {
			lost = append(lost, part.Digest.Hex()+".part")
		}
		for _, name := range lost {
			if err := os.Remove(filepath.Join(roots, name)); err != nil {
				t.Fatal(err)
			}
		}
		file, root, err := b.Root(t.Context(), res.Image.Digest)
		if err != nil || root != res.Image.Root {
			t.Errorf("image.%s: the root is %s from its files, %s from its layers, %v", p.Spec.Name, res.Image.Root, root, err)
		}
		if err := new(erofs.Checker).Image(file, root); err != nil {
			t.Errorf("image.%s: %v", p.Spec.Name, err)
		}
	}
}

func TestALayerThatWasPackedIsNotPackedAgain(t *testing.T) {
	w, b := host(t)
	app := pkg{Name: "app", Files: files{{Path: "/usr/bin/packed-once", Content: "x"}}}
	count := func() int {
		all, err := os.ReadDir(filepath.Join(shared.dir, "build", "layers"))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	first := run(t, b, w.own(t, imx.ImageSpec{}, app))
	before := count()
	second := run(t, b, w.own(t, imx.ImageSpec{Name: "second", Generated: []string{"/none"}}, app))
	if second.Cached || count() != before || cmp.Diff(manifest(t, first).Layers, manifest(t, second).Layers) != "" {
		t.Errorf("%d layers were packed anew", count()-before)
	}
	lost := w.layerOf(t, first, "source package app")
	if err := w.blobs.Delete(imx.Digest(lost.Digest)); err != nil {
		t.Fatal(err)
	}
	if again := run(t, b, w.own(t, imx.ImageSpec{}, app)); again.Image != first.Image {
		t.Errorf("with a lost layer %+v, before %+v", again.Image, first.Image)
	}
}

// The registry must have zstd and gzip layers alike for what pulls.
func TestSkopeoPullsBothCompressions(t *testing.T) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skopeo isn't installed: make deps-test")
	}
	w, b := host(t)
	reg, err := registry.New(registry.Config{
		Dir: filepath.Join(t.TempDir(), "registry"), Blobs: w.blobs, Pushed: func(context.Context, imx.ManifestPushed) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(reg.Handler())
	defer server.Close()
	var roots []string
	for compression, mediaType := range map[string]string{"": v1.MediaTypeImageLayerZstd, "zstd": v1.MediaTypeImageLayerZstd, "gzip": v1.MediaTypeImageLayerGzip} {
		spec := imx.ImageSpec{Name: "pulled" + compression, Compression: compression, Files: []imx.File{w.file(t, "/srv/page", "page", "", 0)}}
		res := run(t, b, w.own(t, spec, pkg{Name: "app", Files: files{{Path: "/usr/bin/app", Content: strings.Repeat("app", 1000)}}}))
		for _, l := range manifest(t, res).Layers {
			if l.MediaType != mediaType {
				t.Errorf("compression = %q makes a layer of type %s", compression, l.MediaType)
			}
		}
		if _, err := reg.Put(t.Context(), spec.Name, "v1", res.Manifest, res.MediaType); err != nil {
			t.Fatal(err)
		}
		to := t.TempDir()
		from := "docker://" + strings.TrimPrefix(server.URL, "http://") + "/" + spec.Name + ":v1"
		out, err := exec.CommandContext(t.Context(), "skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "--dest-decompress", from, "dir:"+to).CombinedOutput()
		if err != nil {
			t.Fatalf("compression = %q: %v\n%s", compression, err, out)
		}
		if got, err := os.ReadFile(filepath.Join(erofstest.Mounted(t, b, res.Image.Digest), "srv/page")); string(got) != "page" {
			t.Errorf("compression = %q: the page has %q, %v", compression, got, err)
		}
		roots = append(roots, string(res.Image.Root))
	}
	if len(slices.Compact(roots)) != 1 {
		t.Errorf("the compression changes the root: %q", roots)
	}
}
