package vuln_test

// The figures of docs/benchmarks.md: images are drawn from the package lists of the host's own archive, and so are the
// names in the feed.

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"imx"
	"imx/internal/deb"
	"imx/internal/vuln"
)

// archive returns the packages of the host's archive, or skips.
func archive(b *testing.B) []deb.Package {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), "apt-cache", "dumpavail").Output()
	if err != nil {
		b.Skip("apt-cache doesn't know any packages: ", err)
	}
	var all []deb.Package
	for stanza := range strings.SplitSeq(string(out), "\n\n") {
		p := deb.Package{Package: imx.Package{Suite: "bookworm"}}
		for line := range strings.Lines(stanza) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch name {
			case "Package":
				p.Name = value
			case "Version":
				p.Version = value
			case "Source":
				p.Source, _, _ = strings.Cut(value, " ")
			}
		}
		if deb.CheckName(p.Name) == nil && deb.CheckVersion(p.Version) == nil {
			all = append(all, p)
		}
	}
	if len(all) < 10_000 {
		b.Skipf("only %d packages", len(all))
	}
	return all
}

// draw makes the packages of an image: what most images have, and some of all the others.
func draw(all []deb.Package, r *rand.Rand, n int) []vuln.Package {
	var in imx.Inventory
	for i := range n {
		p := all[(i*7919)%len(all)]
		if i >= n/3 {
			p = all[r.IntN(len(all))]
		}
		source := p.Source
		if source == "" {
			source = p.Name
		}
		in.Packages = append(in.Packages, imx.InventoryPackage{Package: p.Package, Source: source, SourceVersion: p.Version})
	}
	packages, _ := vuln.Packages(in)
	return packages
}

// tracked makes a feed as large as the JSON of Debian's tracker: some advisories about every source package, half of
// them fixed in what the archive has.
func tracked(b *testing.B, all []deb.Package, r *rand.Rand) vuln.Feed {
	b.Helper()
	file, err := os.Create(filepath.Join(b.TempDir(), "book"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = file.Close() })
	entries := 0
	_, err = vuln.WriteBook(file, func(entry, why string) { b.Error(entry, why) }, func(s vuln.Sink) (vuln.Summary, error) {
		seen := map[string]bool{}
		for _, p := range all {
			name := p.Source
			if name == "" {
				name = p.Name
			}
			if seen[name] {
				continue
			}
			seen[name] = true
			for range r.IntN(24) {
				entries++
				a := vuln.Advisory{ID: fmt.Sprintf("CVE-2026-%d", 10_000+entries), Ecosystem: "Debian:bookworm", Package: name, Ranges: []vuln.Range{{Fixed: p.Version}}}
				if r.IntN(20) == 0 {
					a.Ranges[0].Fixed = p.Version + "+deb12u9"
				}
				if err := s.Take(a); err != nil {
					return vuln.Summary{}, err
				}
			}
		}
		return vuln.Summary{}, nil
	})
	if err != nil {
		b.Fatal(err)
	}
	st, err := file.Stat()
	if err != nil {
		b.Fatal(err)
	}
	book, err := vuln.OpenBook(file, st.Size())
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("a feed of %d entries, %s", entries, imx.Size(st.Size()))
	return vuln.Feed{Name: "tracker", Book: book}
}

// report adds CPU seconds and the process's peak memory.
func report(b *testing.B, before syscall.Rusage) {
	b.Helper()
	var after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	spent := func(u syscall.Rusage) float64 {
		return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
	}
	b.ReportMetric((spent(after)-spent(before))/float64(b.N), "CPU-s/op")
	b.ReportMetric(float64(after.Maxrss)/1024, "peak-MiB")
}

func usage(b *testing.B) syscall.Rusage {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u
}

func BenchmarkRematch10000Images(b *testing.B) {
	all, r := archive(b), rand.New(rand.NewPCG(1, 2))
	feed := tracked(b, all, r)
	index := vuln.NewIndex()
	for i := range 10_000 {
		index.Add(imx.DigestBytes([]byte(fmt.Sprint(i))), draw(all, r, 300))
	}
	runtime.GC()
	images, different := index.Size()
	b.Logf("%d images, %d different packages", images, different)
	before := usage(b)
	b.ResetTimer()
	found := 0
	for b.Loop() {
		m, err := index.Match([]vuln.Feed{feed})
		if err != nil {
			b.Fatal(err)
		}
		found = 0
		for i := range 10_000 {
			found += m.Count(imx.DigestBytes([]byte(fmt.Sprint(i))))
		}
	}
	report(b, before)
	b.ReportMetric(float64(found), "found")
}

func BenchmarkScanImageOf300Packages(b *testing.B) {
	all, r := archive(b), rand.New(rand.NewPCG(1, 2))
	feed, packages := tracked(b, all, r), draw(all, r, 300)
	before := usage(b)
	b.ResetTimer()
	for b.Loop() {
		if _, err := vuln.Scan(packages, []vuln.Feed{feed}); err != nil {
			b.Fatal(err)
		}
	}
	report(b, before)
}

func BenchmarkReadDSAList(b *testing.B) {
	text := strings.Repeat(fixture(b, "DSA-list"), 500)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if got := read(imx.FormatDSA, strings.NewReader(text)); got.err != nil {
			b.Fatal(got.err)
		}
	}
}
