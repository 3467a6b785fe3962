package plan_test

// What resolving costs beside apt, in one run, in seconds of CPU:
//
//	go test -run '^$' -bench Resolve -benchtime 5x ./internal/plan

import (
	"slices"
	"syscall"
	"testing"

	"imx/internal/plan"
)

// BenchmarkResolve goes from the index on disk to the plan. apt has its caches warm; it reads its own
// lists of the same suites.
func BenchmarkResolve(b *testing.B) {
	archive := fetched(b, "bookworm", "bookworm-updates", "bookworm-security")
	_, im := choose(archive, []string{"libc6"}, false)
	o := newOracle(b, archive.Index, im.Base)
	o.write(b, "cache/archives/partial/.keep", nil) // without it apt keeps no caches
	for _, c := range []struct {
		name  string
		asked []string
	}{
		{"adds100", []string{"nginx", "php-fpm", "postgresql-15", "redis-server"}},
		{"asks100", together(archive, 100)},
	} {
		archive = plan.Archive{} // what is measured reads it anew
		b.Run("of=imx/set="+c.name, func(b *testing.B) {
			added := 0
			measure(b, syscall.RUSAGE_SELF, func() {
				ours, im := choose(fetched(b, "bookworm", "bookworm-updates", "bookworm-security"), c.asked, false)
				added = len(ours.there) - len(im.Base)
			})
			b.ReportMetric(float64(added), "packages")
		})
		b.Run("of=apt/set="+c.name, func(b *testing.B) {
			options := []string{
				"Dir::Cache=" + o.dir + "/cache", "APT::Install-Recommends=false",
				"Dir::Cache::pkgcache=pkgcache.bin", "Dir::Cache::srcpkgcache=srcpkgcache.bin",
			}
			theirs := o.simulate(b, c.asked, options...)
			if theirs.refused != "" {
				b.Skip("apt can't: ", theirs.refused)
			}
			measure(b, syscall.RUSAGE_CHILDREN, func() { o.simulate(b, c.asked, options...) })
			b.ReportMetric(float64(len(theirs.there)-len(im.Base)), "packages")
		})
	}
}

// BenchmarkSolve is the part of it that comes after the index was read.
func BenchmarkSolve(b *testing.B) {
	archive := fetched(b, "bookworm", "bookworm-updates", "bookworm-security")
	asked := together(archive, 100)
	choose(archive, asked, false) // an index may read packages when they are first asked for
	measure(b, syscall.RUSAGE_SELF, func() { choose(archive, asked, false) })
}

// measure reports the CPU seconds of f, of this process or of its children.
func measure(b *testing.B, who int, f func()) {
	b.Helper()
	used := func() float64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(who, &r); err != nil {
			b.Fatal(err)
		}
		return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
	}
	before := used()
	for b.Loop() {
		f()
	}
	b.ReportMetric((used()-before)/float64(b.N), "cpu-s")
	b.ReportMetric(0, "ns/op")
}

// together draws n packages that can be installed together.
func together(archive plan.Archive, n int) []string {
	d := newDealer(archive.Index)
	var set []string
	for len(set) < n {
		more := slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(set), d.draw()...))))
		more = more[:min(n, len(more))]
		if v, _ := choose(archive, more, false); v.refused == "" {
			set = more
		}
	}
	return set
}
