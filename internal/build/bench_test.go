package build_test

import (
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"imx"
	"imx/internal/blob"
	"imx/internal/build"
)

// cpu is the processor time of this process and of those that it waited for.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var total int64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		total += u.Utime.Nano() + u.Stime.Nano()
	}
	return time.Duration(total)
}

// BenchmarkBuild reports processor seconds, the .debs being there: of everything from nothing, of an
// image when the base is there, of a changed page, and of a build that was done.
func BenchmarkBuild(b *testing.B) {
	w, _ := host(b)
	p := w.planned(b, imx.ImageSpec{Name: "web", Packages: []string{"nginx-light"}})
	for b.Loop() {
		blobs, err := blob.Open(filepath.Join(b.TempDir(), "blobs"))
		if err != nil {
			b.Fatal(err)
		}
		fresh := &world{cache: w.cache, archive: w.archive, snapshot: w.snapshot, blobs: blobs}
		if err := fresh.fetch(b.Context(), slices.Concat(p.Base, p.Tools, p.Ship), quiet); err != nil {
			b.Fatal(err)
		}
		builder, err := build.New(fresh.config(b.TempDir()))
		if err != nil {
			b.Fatal(err)
		}
		step := func(what string, p imx.ImagePlan) {
			begun := cpu(b)
			if _, err := builder.Run(b.Context(), p, w.fetch, quiet); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric((cpu(b) - begun).Seconds(), "cpu-s/"+what)
		}
		page := p
		page.Spec.Files = []imx.File{fresh.file(b, "/srv/page", "new", "", 0)}
		other := p
		other.Spec.Generated = []string{"/none"} // so that the packages are installed again
		step("cold", p)
		step("image", other)
		step("page", page)
		step("again", p)
	}
}
