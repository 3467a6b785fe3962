package archive_test

// How much a plan pays for the archive's index, in CPU seconds: on a busy machine a clock tells nothing.

import (
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"imx"
	"imx/internal/archive"
	"imx/internal/blob"
)

// cpu returns the CPU seconds of the process and the programs that it ran.
func cpu(b *testing.B) float64 {
	b.Helper()
	sum := 0.0
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if err := syscall.Getrusage(who, &r); err != nil {
			b.Fatal(err)
		}
		sum += float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
	}
	return sum
}

// BenchmarkHostArchive fetches this machine's own archive: with nothing in the cache, with a cache that
// another process filled, and again in one process.
func BenchmarkHostArchive(b *testing.B) {
	blobs, err := blob.Open(filepath.Join(b.TempDir(), "blobs"))
	if err != nil {
		b.Fatal(err)
	}
	open := func(dir string) *archive.Archive {
		a, err := archive.New(archive.Config{Dir: dir, Blobs: blobs})
		if err != nil {
			b.Fatal(err)
		}
		return a
	}
	fetch := func(a *archive.Archive) archive.Snapshot {
		s, err := a.Fetch(b.Context(), imx.Archive{Name: imx.HostArchive}, runtime.GOARCH, nil, quiet)
		if err != nil {
			b.Skipf("the host's archive can't be fetched: %v", err)
		}
		return s
	}
	bench := func(name string, one func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				one()
			}
			b.ReportMetric((cpu(b)-before)/float64(b.N), "cpu-s/op")
		})
	}
	bench("cold", func() { fetch(open(b.TempDir())) })
	dir := b.TempDir()
	held := open(dir)
	bench("held", func() { fetch(held) })
	bench("warm", func() {
		if _, ok := fetch(open(dir)).Index.Newest("libc6", runtime.GOARCH); !ok {
			b.Fatal("there is no libc6")
		}
	})
}
