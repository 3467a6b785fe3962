package build_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"imx"
	"imx/internal/build"
)

func cpu() time.Duration {
	var total time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err == nil {
			total += time.Duration(u.Utime.Nano()+u.Stime.Nano()) * time.Nanosecond
		}
	}
	return total
}

func BenchmarkBuild(b *testing.B) {
	w, _ := host(b)
	spec := imx.ImageSpec{Name: "web", Packages: []string{"nginx-light"}}
	if only := os.Getenv("IMX_BENCH_PACKAGE"); only != "" {
		spec.Packages = []string{only}
	}
	p := w.planned(b, spec)
	for b.Loop() {
		builder, err := build.New(build.Config{Dir: b.TempDir(), Blobs: w.blobs, Fetch: w.fetch})
		if err != nil {
			b.Fatal(err)
		}
		begun, last, at := cpu(), "", cpu()
		report := func(pr imx.Progress) {
			m := pr.Message
			if len(m) > 10 {
				m = m[:10]
			}
			if m != last {
				if d := cpu() - at; d > 100*time.Millisecond {
					b.Log(last, d)
				}
				last, at = m, cpu()
			}
		}
		if _, err := builder.Run(b.Context(), p, report); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((cpu() - begun).Seconds(), "cpu-s/cold")
	}
}
