// A frozen set is what a build may have to rely on years later, on another machine: what was changed or cut
// on the way must be found before a server keeps it.
package frozen_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/frozen"
)

// debs are packages by their digests.
type debs map[imx.Digest][]byte

// lockOf returns a lock of packages with the contents, and those.
func lockOf(contents ...string) (imx.Lock, debs) {
	lock := imx.Lock{Version: imx.LockVersion, Suites: []imx.LockedSuite{}, Images: []imx.LockedImage{}}
	all := debs{}
	for i, content := range contents {
		d := imx.DigestBytes([]byte(content))
		all[d] = []byte(content)
		lock.Packages = append(lock.Packages, imx.Package{
			Name: fmt.Sprintf("p%02d", i), Version: "1", Architecture: "all", Archive: "host", Suite: "bookworm",
			Path: fmt.Sprintf("pool/p%02d_1_all.deb", i), Size: int64(len(content)), Digest: d,
		})
	}
	return lock, all
}

func (d debs) open(l frozen.Layer) (io.ReadCloser, error) {
	b, ok := d[l.Digest]
	if !ok {
		return nil, errors.New("gone")
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func makeSet(t rapid.TB, lock imx.Lock) frozen.Set {
	t.Helper()
	s, err := frozen.Make(lock)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t rapid.TB, s frozen.Set, all debs) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := frozen.WriteLayout(&b, s, "shop", all.open); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(b []byte) (*frozen.Layout, error) {
	return frozen.OpenLayout(bytes.NewReader(b), int64(len(b)))
}

func TestWhatWasFrozenComesBackFromAFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		contents := rapid.SliceOfN(rapid.StringN(1, 2000, 2000), 1, 8).Draw(t, "contents")
		lock, all := lockOf(contents...)
		s := makeSet(t, lock)
		b := write(t, s, all)
		if !bytes.Equal(b, write(t, makeSet(t, lock), all)) {
			t.Fatal("the same set gives other bytes")
		}
		l, err := open(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, l.Set); diff != "" || l.Name != "shop" {
			t.Fatalf("name %q (-want +got):\n%s", l.Name, diff)
		}
		for _, layer := range l.Set.Layers {
			if got, err := io.ReadAll(l.Open(layer)); err != nil || !bytes.Equal(got, all[layer.Digest]) {
				t.Fatalf("%s: %q, %v", layer.Title, got, err)
			}
		}
	})
}

// What a server has already isn't taken from the file, and a damaged file must be called that nevertheless.
func TestAPackageWithOtherBytesThanItsDigestSaysIsRefused(t *testing.T) {
	lock, all := lockOf("one", "two")
	l, err := open(bytes.Replace(write(t, makeSet(t, lock), all), []byte("two"), []byte("tow"), 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range l.Set.Layers {
		err := l.Check(layer)
		if damaged := string(all[layer.Digest]) == "two"; damaged != (imx.KindOf(err) == imx.Refused) || !damaged && err != nil {
			t.Errorf("%s: %v", layer.Title, err)
		}
	}
}

// retar writes the entries of a tar again, as change makes them, in the opposite order.
func retar(t *testing.T, b []byte, change func(h *tar.Header, content []byte) []byte) []byte {
	t.Helper()
	type entry struct {
		h       *tar.Header
		content []byte
	}
	var all []entry
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if content = change(h, content); content != nil {
			all = append(all, entry{h, content})
		}
	}
	slices.Reverse(all)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range all {
		e.h.Size, e.h.Format = int64(len(e.content)), tar.FormatPAX
		e.h.PAXRecords = map[string]string{"comment": strings.Repeat("long ", 200)}
		err := w.WriteHeader(e.h)
		if err == nil {
			_, err = w.Write(e.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestTheOrderAndFormOfTheTarMeanNothing(t *testing.T) {
	lock, all := lockOf("one", "two")
	s := makeSet(t, lock)
	b := retar(t, write(t, s, all), func(h *tar.Header, content []byte) []byte {
		h.Name, h.ModTime = "./"+h.Name, time.Unix(1e9, 0)
		return content
	})
	l, err := open(b)
	if err != nil || l.Set.Digest() != s.Digest() {
		t.Fatalf("%v", err)
	}
	for _, layer := range l.Set.Layers {
		if got, _ := io.ReadAll(l.Open(layer)); !bytes.Equal(got, all[layer.Digest]) {
			t.Errorf("%s is %q", layer.Title, got)
		}
	}
}

func TestWhatIsntAWholeFrozenSetIsRefused(t *testing.T) {
	lock, all := lockOf("one", "two")
	s := makeSet(t, lock)
	good := write(t, s, all)
	blob := func(b []byte) string { return "blobs/sha256/" + imx.DigestBytes(b).Hex() }
	change := func(name string, to func([]byte) []byte) []byte {
		return retar(t, good, func(h *tar.Header, content []byte) []byte {
			if h.Name == name {
				return to(content)
			}
			return content
		})
	}
	drop := func([]byte) []byte { return nil }
	replaced := func(old, with string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(old), []byte(with)) }
	}
	for name, c := range map[string]struct {
		file []byte
		says string
	}{
		"empty":               {nil, "it has no index.json"},
		"no tar":              {bytes.Repeat([]byte("x"), 1024), "can't be read as a tar"},
		"cut":                 {good[:len(good)/2], ""},
		"no index":            {change("index.json", drop), "it has no index.json"},
		"an index of two":     {change("index.json", replaced(`"manifests":[{`, `"manifests":[{},{`)), "names 2 manifests"},
		"an image":            {change("index.json", func([]byte) []byte { return []byte("{}") }), "names 0 manifests"},
		"no manifest":         {change(blob(s.Manifest), drop), "isn't in it"},
		"a changed manifest":  {change(blob(s.Manifest), replaced("p00", "q00")), "is damaged"},
		"no lock":             {change(blob(s.LockFile), drop), "isn't in it"},
		"a changed lock":      {change(blob(s.LockFile), replaced("p00", "q00")), "is damaged"},
		"a missing package":   {change(blob([]byte("one")), drop), "p00_1_all.deb"},
		"a package cut short": {change(blob([]byte("two")), func(b []byte) []byte { return b[:1] }), "has 1 bytes in place of 3"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(c.file)
			if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), c.says) || imx.AsError(err).Hint == "" {
				t.Errorf("%v (%s; %s)", err, imx.KindOf(err), imx.AsError(err).Hint)
			}
		})
	}
}

// A set has just what its lock names: another package would be kept for good that nobody chose.
func TestASetThatHasOtherPackagesThanItsLockIsRefused(t *testing.T) {
	one, _ := lockOf("one")
	two, _ := lockOf("one", "two")
	a, b := makeSet(t, one), makeSet(t, two)
	parts := map[imx.Digest][]byte{}
	for _, s := range []frozen.Set{a, b} {
		parts[imx.DigestBytes(s.LockFile)], parts[imx.DigestBytes(s.Config)] = s.LockFile, s.Config
	}
	get := func(d imx.Digest, _ int64) ([]byte, error) { return parts[d], nil }
	for name, manifest := range map[string][]byte{
		"more":        swap(t, b.Manifest, b, a),
		"fewer":       swap(t, a.Manifest, a, b),
		"other type":  bytes.ReplaceAll(a.Manifest, []byte(frozen.PackageType), []byte("text/plain")),
		"no artifact": bytes.ReplaceAll(a.Manifest, []byte(frozen.ArtifactType), []byte("x/y")),
		"other size":  bytes.ReplaceAll(a.Manifest, []byte(`"size":3`), []byte(`"size":4`)),
		"huge":        bytes.ReplaceAll(a.Manifest, []byte(`"size":3`), []byte(`"size":9223372036854775807`)),
		"no JSON":     []byte("{"),
		"too long":    bytes.Repeat([]byte(" "), 5<<20),
	} {
		if _, err := frozen.Read(manifest, get); imx.KindOf(err) != imx.Refused {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := frozen.Read(a.Manifest, get); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

// swap puts another set's lock into a manifest.
func swap(t *testing.T, manifest []byte, old, with frozen.Set) []byte {
	t.Helper()
	out := bytes.ReplaceAll(manifest, []byte(imx.DigestBytes(old.LockFile)), []byte(imx.DigestBytes(with.LockFile)))
	if bytes.Equal(out, manifest) {
		t.Fatal("the manifest doesn't name its lock")
	}
	return out
}

func TestALockWithoutPackagesCantBeFrozen(t *testing.T) {
	if _, err := frozen.Make(imx.Lock{Version: 1}); imx.KindOf(err) != imx.Invalid {
		t.Error(err)
	}
}

func TestNamesOfSets(t *testing.T) {
	for name, good := range map[string]bool{
		"shop": true, "my-shop-2": true, "a": true, "": false, "Shop": false, "a/b": false, "..": false, "-a": false, "a-": false, "a b": false,
		strings.Repeat("a", 129): false,
	} {
		if err := frozen.CheckName(name); (err == nil) != good || err != nil && imx.KindOf(err) != imx.Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzOpenLayout(f *testing.F) {
	lock, all := lockOf("one", "two")
	s, err := frozen.Make(lock)
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if err := frozen.WriteLayout(&b, s, "shop", all.open); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := open(b)
		if err != nil {
			return
		}
		for _, layer := range l.Set.Layers {
			if n, err := io.Copy(io.Discard, l.Open(layer)); err != nil || n != layer.Size {
				t.Errorf("%s: %d of %d bytes, %v", layer.Title, n, layer.Size, err)
			}
		}
	})
}
