// What was built is found again, what was interrupted goes on from what was done, and a full disk
// leaves nothing half done.

package build_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/blob"
	"imx/internal/build"
	"imx/internal/erofs"
	"imx/internal/gc"
)

func TestABuildThatWasDoneIsNotDoneAgain(t *testing.T) {
	w, b := host(t)
	p := w.own(t, imx.ImageSpec{}, pkg{Name: "once", Files: files{{Path: "/usr/share/once", Content: "x"}}})
	first := run(t, b, p)
	again := run(t, b, p)
	if first.Cached || !again.Cached || first.Image != again.Image || string(first.Manifest) != string(again.Manifest) {
		t.Errorf("first %+v, again %+v", first, again)
	}
	anew, err := build.New(w.config(filepath.Join(shared.dir, "build")))
	if err != nil {
		t.Fatal(err)
	}
	if later := run(t, anew, p); !later.Cached || later.Image != first.Image {
		t.Errorf("in another process %+v", later)
	}
}

func TestARememberedImageIsNotBelievedWhenALayerIsGone(t *testing.T) {
	w, b := host(t)
	p := w.own(t, imx.ImageSpec{}, pkg{Name: "lost", Files: files{{Path: "/usr/share/lost", Content: "x"}}})
	first := run(t, b, p)
	var m v1.Manifest
	if err := json.Unmarshal(first.Manifest, &m); err != nil {
		t.Fatal(err)
	}
	if err := w.blobs.Delete(imx.Digest(m.Layers[0].Digest)); err != nil {
		t.Fatal(err)
	}
	if again := run(t, b, p); again.Cached || again.Image != first.Image {
		t.Errorf("first %+v, again %+v", first, again)
	}
}

func TestAPackageOfTheBuildRootThatLeftTheDiskCanStillBeShipped(t *testing.T) {
	w, b := host(t)
	p := w.own(t, imx.ImageSpec{Name: "old"}, pkg{Name: "beside-old"})
	run(t, b, p)
	old := p.Base[slices.IndexFunc(p.Base, func(p imx.Package) bool { return p.Name == "libc6" })]
	dir := filepath.Join(shared.dir, "build")
	if err := b.Things().Remove(gc.Of("unpacked", old.Digest)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "contents", old.Digest.Hex())); err != nil {
		t.Fatal(err)
	}
	later, err := build.New(w.config(dir))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "unpacked", old.Digest.Hex())); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("it is still there:", err)
	}
	p.Ship = append(p.Ship, old)
	if res := run(t, later, p); res.Image.Packages != 2 {
		t.Errorf("%+v", res.Image)
	}
}

func TestTwoBuildsOfOnePlanAtOnceShareTheWork(t *testing.T) {
	w, b := host(t)
	p := w.own(t, imx.ImageSpec{}, pkg{Name: "shared", Files: files{{Path: "/usr/share/shared", Content: "x"}}})
	other := w.own(t, imx.ImageSpec{Name: "other"}, pkg{Name: "beside", Files: files{{Path: "/usr/share/beside", Content: "x"}}})
	var results [4]build.Result
	var errs [4]error
	var all sync.WaitGroup
	for i, plan := range []imx.ImagePlan{p, p, p, other} {
		all.Go(func() { results[i], errs[i] = b.Run(t.Context(), plan, w.fetch, quiet) })
	}
	all.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, r := range results[:3] {
		if !r.Cached {
			made++
		}
		if r.Image != results[0].Image {
			t.Errorf("%+v and %+v", r.Image, results[0].Image)
		}
	}
	if made != 1 || results[3].Cached {
		t.Errorf("one plan was built %d times", made)
	}
}

func TestAPackageThatCannotBeFetchedEndsTheBuildWithThatError(t *testing.T) {
	w, b := host(t)
	down := func(context.Context, []imx.Package, imx.Report) error {
		return imx.Errorf(imx.Unavailable, "the mirror is down")
	}
	p := w.own(t, imx.ImageSpec{})
	p.Ship = []imx.Package{{Name: "far", Version: "1.0", Architecture: "amd64", Digest: imx.DigestBytes([]byte("far away"))}}
	if _, err := b.Run(t.Context(), p, down, quiet); imx.KindOf(err) != imx.Unavailable || err.Error() != "building image.own: the mirror is down" {
		t.Errorf("kind %q: %v", imx.KindOf(err), err)
	}
}

// TestBuildUntilKilled is the process that other tests kill, or that kills itself when it reports for the
// n-th time.
func TestBuildUntilKilled(t *testing.T) {
	dir := os.Getenv("IMX_TEST_KILLED_DIR")
	if dir == "" {
		t.Skip("run by the tests of killed builds")
	}
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(os.Getenv("IMX_TEST_KILLED_PLAN"))
	if err != nil {
		t.Fatal(err)
	}
	var p imx.ImagePlan
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	b, err := build.New(build.Config{Dir: filepath.Join(dir, "build"), Blobs: blobs})
	if err != nil {
		t.Fatal(err)
	}
	var reports atomic.Int64
	last, err := strconv.ParseInt(os.Getenv("IMX_TEST_KILLED_AT"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Run(t.Context(), p, nil, func(pr imx.Progress) {
		if reports.Add(1) == last {
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
		if pr.Message != "configuring immortal" {
			return
		}
		if err := os.WriteFile(os.Getenv("IMX_TEST_KILLED_PLAN")+".now", nil, 0o600); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// killable is a process that builds p in dir and kills itself when it reports for the n-th time.
func killable(tb testing.TB, dir string, p imx.ImagePlan, n int) (cmd *exec.Cmd, plan string) {
	tb.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		tb.Fatal(err)
	}
	plan = filepath.Join(tb.TempDir(), "plan")
	if err := os.WriteFile(plan, raw, 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd = exec.Command(os.Args[0], "-test.run=^TestBuildUntilKilled$")
	cmd.Env = append(os.Environ(), "IMX_TEST_KILLED_DIR="+dir, "IMX_TEST_KILLED_PLAN="+plan, "IMX_TEST_KILLED_AT="+strconv.Itoa(n))
	return cmd, plan
}

func TestABuildThatWasKilledAtAnyMomentIsRightTheNextTime(t *testing.T) {
	w, b := host(t)
	p := w.own(t, imx.ImageSpec{Packages: []string{"app"}}, pkg{
		Name: "app", Files: files{{Path: "/usr/bin/app", Content: "app", Mode: 0o755}},
		Scripts: map[string]string{"preinst": "#!/bin/sh\nexit 0\n", "postinst": "#!/bin/sh\necho app:x:100: >>/etc/group\n"},
	})
	want := run(t, b, p)
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(shared.dir, "blobs"), filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	killed := 0
	for n := 1; ; n *= 2 {
		cmd, _ := killable(t, dir, p, n)
		out, err := cmd.CombinedOutput()
		if err == nil {
			break
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.String() != "signal: killed" {
			t.Fatalf("%v\n%s", err, out)
		}
		killed++
	}
	if killed < 5 {
		t.Errorf("it was killed only %d times", killed)
	}
	anew, err := build.New(build.Config{Dir: filepath.Join(dir, "build"), Blobs: w.blobs})
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, anew, p); !got.Cached || got.Image != want.Image {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if groups, err := anew.Groups(); err != nil || len(groups) > 0 {
		t.Errorf("left behind: %v, %v", groups, err)
	}
}

func TestAKilledBuildLeavesNothingAndTheNextOneGoesOn(t *testing.T) {
	w, b := host(t)
	p := w.own(t, imx.ImageSpec{}, script("immortal", "test -e /usr/share/patience || sleep 31536005"))
	run(t, b, w.own(t, imx.ImageSpec{}, pkg{Name: "base"})) // so that the process that is killed has a base
	cmd, plan := killable(t, shared.dir, p, 0)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(30 * time.Second)
	for {
		if _, err := os.Stat(plan + ".now"); err == nil {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the build never came to configuring")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if cmd.Wait() == nil {
		t.Fatal("the build ended before it was killed")
	}
	again, err := build.New(w.config(filepath.Join(shared.dir, "build")))
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, "31536005")
	if groups, err := again.Groups(); err != nil || len(groups) > 0 {
		t.Errorf("control groups are left: %v, %v", groups, err)
	}
	if left, err := os.ReadDir(filepath.Join(shared.dir, "build", "tmp")); err != nil || len(left) > 0 {
		t.Errorf("of the killed build's folders are left: %v, %v", left, err)
	}
	p.Ship = append(p.Ship, w.put(t, pkg{Name: "a-patience", Files: files{{Path: "/usr/share/patience"}}}))
	res, err := again.Run(t.Context(), p, w.fetch, func(pr imx.Progress) {
		if strings.HasPrefix(pr.Step, "build root ") && pr.Status != imx.StepCached {
			t.Error("the base was made again")
		}
	})
	if err != nil || res.Cached {
		t.Error(res, err)
	}
}

// A folder that nobody opens again, a killed test's for example, would have its groups for ever.
func TestAStartRemovesTheGroupsOfDeadBuildersOfOtherFolders(t *testing.T) {
	_, b := host(t)
	if !b.Caged() {
		t.Skip("this machine has no control groups for builds")
	}
	dead := exec.CommandContext(t.Context(), "true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	for _, root := range b.GroupRoots() {
		gone := filepath.Join(root, fmt.Sprintf("imx-build-00000000-%d-build-1", dead.Process.Pid))
		alive := filepath.Join(root, fmt.Sprintf("imx-build-00000000-%d-build-1", os.Getpid()))
		for _, dir := range []string{gone, alive} {
			if err := os.Mkdir(dir, 0o750); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Remove(dir) }) // one of them is gone
		}
		if _, err := build.New(build.Config{Dir: t.TempDir(), Blobs: shared.world.blobs}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", gone, err)
		}
		if _, err := os.Stat(alive); err != nil {
			t.Errorf("the group of a living builder is gone: %v", err)
		}
	}
}

// small mounts a file system of so many bytes.
func small(tb testing.TB, dir, size string) {
	tb.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			tb.Error(err)
		}
	})
}

// xz names the file that it can't write, not the one that it reads.
func TestADiskThatIsFullWhileXZDecompressesIsCalledThat(t *testing.T) {
	dir := t.TempDir()
	small(t, dir, "1m")
	deb, err := pkg{Name: "fat", Pack: "xz", Files: files{{Path: "/usr/share/fat", Content: strings.Repeat("fat", 1<<20)}}}.Deb()
	if err != nil {
		t.Fatal(err)
	}
	err = build.Rewrite(t.Context(), dir, nil, bytes.NewReader(deb), imx.Package{})
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v, want %v", err, unix.ENOSPC)
	}
}

func TestAFullDiskIsExhaustedAndLeavesNothingHalfDone(t *testing.T) {
	w, b := host(t)
	fat := pkg{Name: "fat", Files: files{{Path: "/usr/share/fat", Content: strings.Repeat("fat", 1<<20)}}}
	script := script("writes", "test -e /usr/share/fine || cat /dev/zero >/usr/share/zero")
	run(t, b, w.own(t, imx.ImageSpec{}, pkg{Name: "base"})) // the base isn't what the disk is too small for
	full := func(t *testing.T, dir, size string, p imx.ImagePlan) {
		t.Helper()
		b, err := build.New(w.config(filepath.Join(shared.dir, "build")))
		if err != nil {
			t.Fatal(err)
		}
		small(t, filepath.Join(shared.dir, "build", dir), size)
		_, err = b.Run(t.Context(), p, w.fetch, quiet)
		if imx.KindOf(err) != imx.Exhausted || !strings.Contains(err.Error(), "no space left") || !strings.Contains(imx.AsError(err).Hint, "free some space") {
			t.Errorf("kind %q: %v", imx.KindOf(err), err)
		}
		for _, name := range []string{"plans", "packages"} {
			if _, err := os.Stat(filepath.Join(shared.dir, "build", name, p.Digest().Hex())); err == nil {
				t.Errorf("%s remembers a build that failed", name)
			}
		}
	}
	t.Run("unpacking a package", func(t *testing.T) { full(t, "tmp", "1m", w.own(t, imx.ImageSpec{}, fat)) })
	t.Run("installing it", func(t *testing.T) {
		if _, err := b.Run(t.Context(), w.own(t, imx.ImageSpec{}, fat), w.fetch, quiet); err != nil { // unpacked from now on
			t.Fatal(err)
		}
		full(t, "tmp", "2m", w.own(t, imx.ImageSpec{Name: "again", Packages: []string{"fat"}}, fat))
	})
	run(t, b, w.own(t, imx.ImageSpec{}, script, pkg{Name: "a-fine", Files: files{{Path: "/usr/share/fine"}}}))
	t.Run("in a script", func(t *testing.T) { full(t, "tmp", "4m", w.own(t, imx.ImageSpec{}, script)) })
	t.Run("making the root", func(t *testing.T) {
		p := w.own(t, imx.ImageSpec{Name: "root"}, fat)
		p.Spec.Files = []imx.File{w.file(t, "/srv/a", strings.Repeat("b", 20<<20), "", 0)}
		root := run(t, b, p).Image.Root
		at := filepath.Join(shared.dir, "build")
		file := filepath.Join(at, "roots", root.Hex()+".erofs")
		parts, err := erofs.Parts(file)
		if err != nil {
			t.Fatal(err)
		}
		last := parts[len(parts)-1] // of the template's files
		for _, name := range []string{filepath.Join(at, "plans", p.Digest().Hex()), file, erofs.PartFile(file, last.Digest)} {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		full(t, "tmp", "12m", p)
	})
	nothingLeft(t, "dev/zero")
}
