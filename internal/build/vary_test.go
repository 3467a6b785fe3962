// The same plan gives the same bytes whatever the folder, umask, time zone, locale, home, number of
// processors, order of downloads, host name and hour: all of them are another's in a second process.

package build_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/blob"
	"imx/internal/build"
	"imx/internal/erofs/erofstest"
	"imx/internal/template"
)

// elsewhere is what the second process is told.
type elsewhere struct {
	Dir   string
	Blobs string // what has the .debs and the template's files
	Hour  string // what stands there for unshare (otherHour)
	Plans []imx.ImagePlan
}

// elsewhereEnv names the file with an elsewhere; what was built is written beside it.
const elsewhereEnv = "IMX_TEST_ELSEWHERE"

// varied are the images that are built in both places: some real ones, and all of test/corpus.
func varied(tb testing.TB, w *world) []imx.ImageSpec {
	tb.Helper()
	var specs []imx.ImageSpec
	for name, image := range realImages() {
		image.spec.Name = name
		specs = append(specs, image.spec)
	}
	if os.Getenv("IMX_TEST_CORPUS") == "" {
		return specs
	}
	folders, err := filepath.Glob("../../test/corpus/*/*.imx.hcl")
	if err != nil {
		tb.Fatal(err)
	}
	for _, file := range folders {
		t, said := template.Parse(os.DirFS(filepath.Dir(file)))
		if err := said.Err(); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		for _, spec := range t.Images {
			if len(spec.From) > 0 {
				tb.Logf("image.%s is from an archive of its own: left out", spec.Name)
				continue
			}
			for _, f := range spec.Files {
				if _, _, err := w.blobs.Put(strings.NewReader(string(f.Content)), f.Digest); err != nil {
					tb.Fatal(err)
				}
			}
			specs = append(specs, spec)
		}
	}
	return specs
}

// TestBuildElsewhere is the second process.
func TestBuildElsewhere(t *testing.T) {
	name := os.Getenv(elsewhereEnv)
	if name == "" {
		t.Skip("run by TestTheSamePlanGivesTheSameBytesElsewhere")
	}
	var e elsewhere
	readJSON(t, name, &e)
	var one unix.CPUSet
	one.Set(0)
	if err := unix.SchedSetaffinity(os.Getpid(), &one); err != nil {
		t.Fatal(err)
	}
	if err := unix.Sethostname([]byte("elsewhere.example")); err != nil {
		t.Fatal(err)
	}
	unix.Umask(0o077)
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(e.Hour, unshare, "", unix.MS_BIND, ""); err != nil { // in this process's own namespace
		t.Fatal(err)
	}
	debs, err := blob.Open(e.Blobs)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.Open(filepath.Join(e.Dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	give := func(d imx.Digest) error {
		r, err := debs.Reader(d)
		if err != nil {
			return err
		}
		defer r.Close()
		_, _, err = blobs.Put(r, d)
		return err
	}
	backwards := func(_ context.Context, packages []imx.Package, _ imx.Report) error {
		for _, p := range slices.Backward(packages) {
			if err := give(p.Digest); err != nil {
				return err
			}
		}
		return nil
	}
	b, err := build.New(build.Config{Dir: filepath.Join(e.Dir, "a folder, with: odd characters"), Blobs: blobs})
	if err != nil {
		t.Fatal(err)
	}
	var built []imx.Image
	for _, p := range slices.Backward(e.Plans) {
		for _, f := range p.Spec.Files {
			if err := give(f.Digest); err != nil {
				t.Fatal(err)
			}
		}
		res, err := b.Run(t.Context(), p, backwards, quiet)
		if err != nil {
			t.Fatal(err)
		}
		built = append(built, res.Image)
	}
	writeJSON(t, name+".built", built)
}

func readJSON(tb testing.TB, name string, v any) {
	tb.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		tb.Fatal(err)
	}
}

func writeJSON(tb testing.TB, name string, v any) {
	tb.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// otherHour returns a program that stands in for unshare(1): what it then runs in the build root has a clock that is
// half a day and some years ahead, by Debian's faketime library.
func otherHour(t *testing.T, w *world, b *build.Builder) string {
	t.Helper()
	clock := run(t, b, w.planned(t, imx.ImageSpec{Name: "clock", Packages: []string{"libfaketime"}}))
	libraries, err := filepath.Glob(filepath.Join(erofstest.Mounted(t, b, clock.Image.Digest), "usr/lib/*/faketime/libfaketime.so.1"))
	if err != nil || len(libraries) != 1 {
		t.Fatal("libfaketime has no library where it is expected:", libraries, err)
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, from := range map[string]string{"library": libraries[0], "real-unshare": unshare} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The loader looks for the library under the same path in both roots. On the host it isn't there, about
	// which the loader only warns.
	text := fmt.Sprintf(`#!/bin/sh -e
mkdir -p root/run/clock
cp %s/library root/run/clock/libfaketime.so.1
chmod 0755 root/run/clock root/run/clock/libfaketime.so.1
export FAKETIME=+4000.54d NO_FAKE_STAT=1 LD_PRELOAD=/run/clock/libfaketime.so.1
exec %s/real-unshare "$@"
`, dir, dir)
	program := filepath.Join(dir, "unshare")
	if err := os.WriteFile(program, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return program
}

func TestTheSamePlanGivesTheSameBytesElsewhere(t *testing.T) {
	w, b := host(t)
	e := elsewhere{Dir: t.TempDir(), Blobs: filepath.Join(shared.dir, "blobs"), Hour: otherHour(t, w, b)}
	for _, spec := range varied(t, w) {
		e.Plans = append(e.Plans, w.planned(t, spec))
	}
	// Its script writes down what the second place has otherwise: a test that varies nothing would pass.
	says := pkg{Name: "says", Scripts: map[string]string{"postinst": "#!/bin/sh -e\nif [ $(date +%Y) -gt 2035 ]; then : >/etc/later; fi\n"}}
	proof := w.own(t, imx.ImageSpec{Name: "proof", Generated: []string{"/etc/later"}}, says)
	e.Plans = append(e.Plans, proof)
	var here []imx.Image
	for _, p := range e.Plans {
		here = append(here, run(t, b, p).Image)
	}
	name := filepath.Join(t.TempDir(), "elsewhere")
	writeJSON(t, name, e)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBuildElsewhere$", "-test.v")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), elsewhereEnv+"="+name, "GOMAXPROCS=1", "TZ=Asia/Tokyo", "LC_ALL=C", "LANG=tr_TR.UTF-8",
		"HOME="+t.TempDir(), "USER=somebody")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUTS, Unshareflags: unix.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var there []imx.Image
	readJSON(t, name+".built", &there)
	slices.Reverse(there)
	last := len(here) - 1
	if here[last].Digest == there[last].Digest {
		t.Error("scripts see the same hour in both places: nothing was tested")
	}
	if diff := cmp.Diff(here[:last], there[:last]); diff != "" {
		t.Errorf("here, with %d processors (-), elsewhere (+):\n%s", runtime.GOMAXPROCS(0), diff)
	}
}
