// The template's part of an image: files, directories, user, environment, and the OCI documents.

package build_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/erofs/erofstest"
)

func (w *world) file(tb testing.TB, path, text, owner string, mode imx.Mode) imx.File {
	tb.Helper()
	d, n, err := w.blobs.Put(strings.NewReader(text), "")
	if err != nil {
		tb.Fatal(err)
	}
	return imx.File{Path: path, Mode: mode, Owner: owner, Digest: d, Size: n}
}

func TestTheTemplatesFilesAreLaidOverThePackages(t *testing.T) {
	w, b := host(t)
	spec := imx.ImageSpec{
		Packages: []string{"site"}, User: "www-data", Command: []string{"/bin/site", "-v"}, WorkDir: "/srv",
		Environment: map[string]string{"B": "2", "A": "1"}, StopSignal: "SIGQUIT",
		Files: []imx.File{
			w.file(t, "/etc/site.conf", "from the template", "", 0o640),
			w.file(t, "/var/run/site/deep/er", "below a link", "www-data", 0),
			w.file(t, "/bin/tool", "a program", "4242:www-data", 0o755),
		},
		Directories: []imx.Directory{{Path: "/var/lib/site", Owner: "www-data", Mode: 0o700}, {Path: "/srv/sticky", Mode: 0o1777}},
	}
	site := pkg{Name: "site", Files: files{{Path: "/etc/site.conf", Content: "from the package"}, {Path: "/usr/bin/site", Mode: 0o755}}}
	p := w.own(t, spec, site)
	res := run(t, b, p)
	root := erofstest.Mounted(t, b, res.Image.Digest)
	if got, err := os.ReadFile(filepath.Join(root, "etc/site.conf")); string(got) != "from the template" {
		t.Errorf("site.conf has %q, %v", got, err)
	}
	all := listing(t, root)
	for _, line := range []string{
		"-rw-r----- 0:0 /etc/site.conf\n", "-rwxr-xr-x 4242:33 /usr/bin/tool\n", "drwx------ 33:33 /var/lib/site\n",
		"dtrwxrwxrwx 0:0 /srv/sticky\n", "drwxr-xr-x 0:0 /run/site/deep\n", "-rw-r--r-- 33:33 /run/site/deep/er\n",
	} {
		if !strings.Contains(all, line) {
			t.Errorf("there is no line %sin\n%s", line, all)
		}
	}
	var m v1.Manifest
	var config v1.Image
	if err := json.Unmarshal(res.Manifest, &m); err != nil || imx.DigestBytes(res.Manifest) != res.Image.Digest {
		t.Fatal(res.Image.Digest, err)
	}
	raw, err := w.blobs.ReadAll(imx.Digest(m.Config.Digest), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{
		"org.opencontainers.image.title": "own", "org.opencontainers.image.created": "2025-03-01T12:00:00Z",
		"io.imx.plan": string(p.Digest()),
	}
	want := v1.ImageConfig{
		User: "33:33", Cmd: []string{"/bin/site", "-v"}, WorkingDir: "/srv", StopSignal: "SIGQUIT", Labels: labels,
		Env: []string{"A=1", "B=2", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
	if diff := cmp.Diff(want, config.Config); diff != "" {
		t.Errorf("configuration wanted (-), is (+):\n%s", diff)
	}
	if len(m.Layers) != 4 || len(config.RootFS.DiffIDs) != 4 || config.Architecture != "amd64" || !config.Created.Equal(epoch) {
		t.Errorf("manifest %s, configuration %s", res.Manifest, raw)
	}
}

func TestAChangedPageChangesTheLastLayerAloneAndInstallsNothing(t *testing.T) {
	w, b := host(t)
	layers := func(page string) []v1.Descriptor {
		spec := imx.ImageSpec{Packages: []string{"site"}, Files: []imx.File{w.file(t, "/srv/page", page, "", 0)}}
		var installed atomic.Bool
		res, err := b.Run(t.Context(), w.own(t, spec, pkg{Name: "site"}, pkg{Name: "library"}), w.fetch, func(p imx.Progress) {
			if strings.HasPrefix(p.Message, "configuring") {
				installed.Store(true)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if installed.Load() == (page == "new") {
			t.Errorf("for the %s page packages were installed: %v", page, installed.Load())
		}
		var m v1.Manifest
		if err := json.Unmarshal(res.Manifest, &m); err != nil {
			t.Fatal(err)
		}
		return m.Layers
	}
	before, after := layers("old"), layers("new")
	last := len(before) - 1
	if len(before) != 5 || cmp.Diff(before[:last], after[:last]) != "" || before[last].Digest == after[last].Digest || after[last].Size > 1000 {
		t.Errorf("before %v, after %v", before, after)
	}
}

func TestWhatDoesNotFitTheImageIsRefusedWithWhatToWriteInstead(t *testing.T) {
	w, b := host(t)
	own := pkg{Name: "own", Files: files{{Path: "/usr/bin/own", Content: "x"}}}
	for want, spec := range map[string]imx.ImageSpec{
		`user of image.own: the image has no user "nobdy"`:                                         {User: "nobdy"},
		`the image has no group "grp"`:                                                             {User: "root:grp"},
		`file /srv/x of image.own: the image has no user "nobdy"`:                                  {Files: []imx.File{w.file(t, "/srv/x", "x", "nobdy", 0)}},
		`directory /usr/bin/own of image.own: a package has a file at /usr/bin/own already`:        {Directories: []imx.Directory{{Path: "/usr/bin/own"}}},
		`file /etc of image.own: a package has a directory at /etc already`:                        {Files: []imx.File{w.file(t, "/etc", "x", "", 0)}},
		`file /bin/own/x of image.own: /usr/bin/own, which it would lie below, is a file`:          {Files: []imx.File{w.file(t, "/bin/own/x", "x", "", 0)}},
		`directory /usr/bin/own/x of image.own: /usr/bin/own, which it would lie below, is a file`: {Directories: []imx.Directory{{Path: "/usr/bin/own/x"}}},
	} {
		_, err := b.Run(t.Context(), w.own(t, spec, own), w.fetch, quiet)
		if imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("kind %q: %v, want %s", imx.KindOf(err), err, want)
		}
		if strings.Contains(want, "nobdy") && !strings.Contains(imx.AsError(err).Hint, "nobody") {
			t.Errorf("hint %q names no user", imx.AsError(err).Hint)
		}
	}
}

func TestTheUserOfAnImageIsANumber(t *testing.T) {
	w, b := host(t)
	res := run(t, b, w.own(t, imx.ImageSpec{User: "www-data"}, pkg{Name: "user"}))
	var m v1.Manifest
	if err := json.Unmarshal(res.Manifest, &m); err != nil {
		t.Fatal(err)
	}
	raw, err := w.blobs.ReadAll(imx.Digest(m.Config.Digest), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), `"User":"33:33"`) {
		t.Errorf("the image's configuration is %s", raw)
	}
}

func TestAnImageWithoutPackagesIsItsFilesInAnEmptyFrame(t *testing.T) {
	w, b := host(t)
	spec := imx.ImageSpec{Name: "bare", Files: []imx.File{w.file(t, "/bin/static", "ELF", "", 0o755)}, User: "65534"}
	p := imx.ImagePlan{Spec: spec, Architecture: "amd64", Epoch: epoch}
	all := listing(t, erofstest.Mounted(t, b, run(t, b, p).Image.Digest))
	for _, line := range []string{"/usr/bin/static\n", "/bin -> usr/bin undated\n", "/proc undated\n", "/etc/hosts undated\n"} {
		if !strings.Contains(all, line) {
			t.Errorf("there is no %sin\n%s", line, all)
		}
	}
}
