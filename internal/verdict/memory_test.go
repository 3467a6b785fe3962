package verdict_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/verdict"
	"imx/internal/vuln"
)

// Whatever is put in and asked for: the bytes are never more than the bound, what is found is what was put last, and what was put last
// of all, or is asked for each time, is found if a generation has room for it.
func TestAMemoryHoldsItsBoundAndWhatIsUsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 4000
		m := verdict.NewMemory(limit)
		last := map[string]string{}
		m.Put("used", "all the time")
		for i, step := range rapid.SliceOfN(rapid.Uint16(), 1, 200).Draw(t, "steps") {
			k, v := fmt.Sprint("k", step%20), strings.Repeat("v", int(step)%1500)+fmt.Sprint(i)
			m.Put(k, v)
			last[k] = v
			if got, ok := m.Get(k); !ok || got != v {
				t.Fatalf("%s isn't found just after", k)
			}
			if _, ok := m.Get("used"); !ok {
				t.Fatal("what is used all the time is forgotten")
			}
			asked := rapid.SampledFrom(slices.Sorted(maps.Keys(last))).Draw(t, "asked")
			if got, ok := m.Get(asked); ok && got != last[asked] {
				t.Fatalf("%s is %.10q, not %.10q", asked, got, last[asked])
			}
			if _, ok := m.Get("used"); !ok {
				t.Fatal("what is used all the time is forgotten")
			}
			if n := m.Bytes(); n > limit {
				t.Fatalf("%d bytes", n)
			}
		}
	})
}

func TestWhatIsLargerThanHalfTheBoundIsntRemembered(t *testing.T) {
	m := verdict.NewMemory(1000)
	m.Put("small", "x")
	m.Put("large", strings.Repeat("x", 600))
	if _, ok := m.Get("large"); ok {
		t.Error("it is")
	}
	if _, ok := m.Get("small"); !ok {
		t.Error("it made room for nothing")
	}
}

// scanned is a statement about an image with some vulnerabilities.
func (w *world) scanned(image imx.Digest, n int) []byte {
	w.t.Helper()
	scan := imx.ImageScan{Image: image, Name: "web", Packages: n}
	for i := range n {
		scan.Vulnerabilities = append(scan.Vulnerabilities, imx.Vulnerability{
			ID: fmt.Sprintf("CVE-2026-%05d", i), Level: imx.High, Feeds: []string{"dsa"}, Aliases: []string{"x"},
			Package: imx.Affected{Ecosystem: "Debian:bookworm", Name: fmt.Sprintf("package%d", i), Version: "1.2-3", Fixed: "1.2-4"},
		})
	}
	raw, err := vuln.Predicate(scan, nil, "1", w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

func TestAllThatAStatementTakesInMemoryIsCounted(t *testing.T) {
	w := newWorld(t)
	const copies = 40
	raw := w.scanned(image().Digest, 300)
	all := make([]any, 0, copies)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	counted := 0
	for range copies {
		f, err := verdict.Facts("scan", raw)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
		counted += verdict.Held(f)
	}
	taken := int(heap() - before)
	if counted < taken*8/10 || counted > taken*2 {
		t.Errorf("%d KB are counted, and %d KB taken", counted>>10, taken>>10)
	}
	runtime.KeepAlive(all)
}

// Images come and go, each with statements of its own: the judge's memory of them stays within its bytes, and what still runs is
// judged as before.
func TestWhatStatementsSayIsRememberedWithinABound(t *testing.T) {
	w := newWorld(t)
	const limit = 1 << 20
	bytes := w.Bounded(limit)
	w.stateAll()
	for i := range 20 {
		r := release()
		r.Image.Digest = imx.DigestBytes(fmt.Append(nil, "image ", i))
		for _, kind := range kinds() {
			w.put(w.seal(imx.Principal(imx.RoleOf(kind)), r.Image.Digest, kind, w.predicate(kind)))
		}
		w.put(w.seal(imx.Principal(imx.RoleScanner), r.Image.Digest, imx.PredicateScan, json.RawMessage(w.scanned(r.Image.Digest, 300))))
		for _, one := range []imx.Release{r, release()} {
			if v := w.verdict(imx.ForRelease, one); !v.Allowed {
				t.Fatalf("%+v", v.Conditions)
			}
		}
		if n := bytes(); n > limit {
			t.Fatalf("%d bytes after %d images", n, i+1)
		}
	}
	if n := bytes(); n < limit/2 {
		t.Errorf("only %d bytes are remembered", n)
	}
}
