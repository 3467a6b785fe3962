// The tests of this package run real maintainer scripts: world_test.go brings real packages from
// the host's own archive, verified by the archive and plan rooms, and keeps them between runs below
// the user's cache folder (or $IMX_TEST_CACHE). Without root or archive those tests are skipped.
package build_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/archive"
	"imx/internal/blob"
	"imx/internal/build"
	"imx/internal/plan"
)

// shared is one builder's folder for all tests, so that the base is made once.
var shared struct {
	once    sync.Once
	dir     string
	lock    *os.File // held on dir for as long as the process lives
	world   *world
	builder *build.Builder
	err     error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := os.RemoveAll(shared.dir); err != nil && code == 0 {
		code = 1
	}
	os.Exit(code)
}

// world is the outside: the host's archive, a store that keeps its packages, and one of this run's own.
type world struct {
	cache    *blob.Store
	archive  *archive.Archive
	snapshot archive.Snapshot
	blobs    *blob.Store
	fetched  atomic.Int64 // packages
}

// fetch brings packages into the run's own store, by way of the one that stays.
func (w *world) fetch(ctx context.Context, packages []imx.Package, report imx.Report) error {
	decl := func(name string) (imx.Archive, bool) { return imx.Archive{Name: name}, name == imx.HostArchive }
	if err := w.archive.Packages(ctx, decl, packages, report); err != nil {
		return err
	}
	for _, p := range packages {
		r, err := w.cache.Reader(p.Digest)
		if err != nil {
			return err
		}
		_, _, err = w.blobs.Put(r, p.Digest)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		w.fetched.Add(1)
	}
	return nil
}

func quiet(imx.Progress) {}

func loadWorld() (*world, error) {
	dir := os.Getenv("IMX_TEST_CACHE")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(cache, "imx-test")
	}
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		return nil, err
	}
	a, err := archive.New(archive.Config{Dir: filepath.Join(dir, "archive"), Blobs: blobs})
	if err != nil {
		return nil, err
	}
	s, err := a.Fetch(context.Background(), imx.Archive{Name: imx.HostArchive}, "amd64", nil, quiet)
	return &world{cache: blobs, archive: a, snapshot: s}, err
}

// host returns the world and a builder that all tests share.
func host(tb testing.TB) (*world, *build.Builder) {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("building needs root")
	}
	if testing.Short() {
		tb.Skip("builds from real packages")
	}
	shared.once.Do(func() {
		if shared.world, shared.err = loadWorld(); shared.err != nil {
			return
		}
		if shared.dir, shared.err = sharedFolder(); shared.err != nil {
			return
		}
		if shared.world.blobs, shared.err = blob.Open(filepath.Join(shared.dir, "blobs")); shared.err != nil {
			return
		}
		shared.builder, shared.err = build.New(shared.world.config(filepath.Join(shared.dir, "build")))
	})
	if imx.KindOf(shared.err) == imx.Unavailable || imx.KindOf(shared.err) == imx.NotFound {
		tb.Skip("no archive:", shared.err)
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.world, shared.builder
}

// sharedFolder makes the folder that all tests share, and removes those of runs that were killed. The lock on
// a folder tells that its run lives.
func sharedFolder() (string, error) {
	dir, err := os.MkdirTemp("", "imx-building-") // it outlives the test that makes it
	if err != nil {
		return "", err
	}
	all, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "imx-building-*"))
	if err != nil {
		return "", err
	}
	for _, other := range all {
		st, err := os.Stat(other)
		if err != nil || other == dir || time.Since(st.ModTime()) < time.Minute {
			continue // another run has just removed it, or just made it and hasn't locked it yet
		}
		if err := removeUnlocked(other); err != nil {
			return "", err
		}
	}
	shared.lock, err = os.Open(dir)
	if err != nil {
		return "", err
	}
	return dir, unix.Flock(int(shared.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

func removeUnlocked(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return nil //nolint:nilerr // another run has just removed it
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		err = os.RemoveAll(dir)
	}
	return errors.Join(err, f.Close())
}

func (w *world) config(dir string) build.Config {
	return build.Config{Dir: dir, Blobs: w.blobs}
}

// planned plans an image as imx does.
func (w *world) planned(tb testing.TB, spec imx.ImageSpec) imx.ImagePlan {
	tb.Helper()
	p, _, diagnostics := plan.Resolve(plan.Input{
		Template:     imx.Template{Images: []imx.ImageSpec{spec}},
		Architecture: "amd64",
		Indexes:      map[string]plan.Archive{imx.HostArchive: {Index: w.snapshot.Index, Suites: w.snapshot.Suites}},
	})
	if err := diagnostics.Err(); err != nil {
		tb.Fatal(err)
	}
	return p.Images[0]
}

// log reports progress to the test's log, each message once.
func log(tb testing.TB) imx.Report {
	tb.Helper()
	var mu sync.Mutex
	last := ""
	return func(p imx.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if line := fmt.Sprintf("%s: %s %s", p.Step, p.Status, p.Message); line != last {
			last = line
			tb.Log(line)
		}
	}
}
