package build_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/build"
)

// patchedSource is a source package that many programs depend upon and that is patched often.
const patchedSource = "openssl"

// patchedImages are ten images of different software, each linked with what is patched.
func patchedImages() map[string][]string {
	return map[string][]string{
		"web": {"nginx-light"}, "httpd": {"apache2-bin"}, "proxy": {"haproxy"}, "store": {"redis-server"}, "script": {"python3"},
		"node": {"nodejs"}, "fetch": {"curl"}, "resolver": {"unbound"}, "names": {"nsd"}, "gems": {"ruby"},
	}
}

// beforePatch returns the plan with the packages of a source as the suite's first release has them, and as
// if it had been made a day earlier.
func (w *world) beforePatch(tb testing.TB, p imx.ImagePlan, source string) imx.ImagePlan {
	tb.Helper()
	p.Epoch = p.Epoch.Add(-24 * time.Hour)
	for _, list := range []*[]imx.Package{&p.Base, &p.Tools, &p.Ship} {
		*list = slices.Clone(*list)
		for i, pkg := range *list {
			for _, other := range w.snapshot.Index.Versions(pkg.Name) {
				of := other.Source
				if of == "" {
					of = other.Name
				}
				first := !strings.Contains(other.Suite, "-") // as opposed to SUITE-security and SUITE-updates
				if of == source && first && other.Architecture == pkg.Architecture {
					(*list)[i] = other.Package
				}
			}
		}
	}
	return p
}

// weight is the sizes of an image's blobs: what a registry keeps and a machine pulls.
func (w *world) weight(tb testing.TB, res build.Result) map[imx.Digest]int64 {
	tb.Helper()
	m := manifest(tb, res)
	blobs := map[imx.Digest]int64{res.Image.Digest: int64(len(res.Manifest)), imx.Digest(m.Config.Digest): m.Config.Size}
	for _, l := range m.Layers {
		blobs[imx.Digest(l.Digest)] = l.Size
	}
	return blobs
}

func sizes(blobs map[imx.Digest]int64) (sum int64) {
	for _, n := range blobs {
		sum += n
	}
	return sum
}

// BenchmarkPatch builds ten images with a source package of the suite's first release, then with its newest
// version, all else being the same, and reports what that moves, in MB: the images' size, what is
// new in a registry that has them all ("new-MB", and of the size "new-%"), and what ten machines pull of
// which each had one of the images ("pulled-MB", "pulled-%").
func BenchmarkPatch(b *testing.B) {
	w, builder := host(b)
	for b.Loop() {
		had, after := map[imx.Digest]int64{}, map[imx.Digest]int64{}
		var size, pulled int64
		for _, name := range slices.Sorted(maps.Keys(patchedImages())) {
			p := w.planned(b, imx.ImageSpec{Name: name, Packages: patchedImages()[name]})
			old := w.beforePatch(b, p, patchedSource)
			if slices.Equal(p.Ship, old.Ship) {
				b.Skipf("the archive has one version only of %s, or image.%s doesn't ship it", patchedSource, name)
			}
			before, now := w.weight(b, run(b, builder, old)), w.weight(b, run(b, builder, p))
			own := maps.Clone(now)
			maps.DeleteFunc(own, func(d imx.Digest, _ int64) bool { _, ok := before[d]; return ok })
			b.Logf("image.%s: %d bytes, of which a patch moves %d", name, sizes(now), sizes(own))
			maps.Copy(had, before)
			maps.Copy(after, now)
			size += sizes(now)
			pulled += sizes(own)
		}
		maps.DeleteFunc(after, func(d imx.Digest, _ int64) bool { _, ok := had[d]; return ok })
		b.ReportMetric(float64(size)/1e6, "images-MB")
		b.ReportMetric(float64(sizes(after))/1e6, "new-MB")
		b.ReportMetric(100*float64(sizes(after))/float64(size), "new-%")
		b.ReportMetric(float64(pulled)/1e6, "pulled-MB")
		b.ReportMetric(100*float64(pulled)/float64(size), "pulled-%")
	}
}
