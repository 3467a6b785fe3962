// Images whose content lies in files that they share.

package erofs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/erofs"
)

// scattered is a tree whose files' content lies in parts, each a file in dir.
type scattered struct {
	dir     string
	entries []erofs.Entry
	parts   []erofs.Part
}

// scatter puts each entry's content into the part that it is told, -1 for none, and writes the parts.
func scatter(tb testing.TB, entries []erofs.Entry, count int, part func(erofs.Entry) int) scattered {
	tb.Helper()
	return scatterIn(tb, tb.TempDir(), entries, count, part)
}

func scatterIn(tb testing.TB, dir string, entries []erofs.Entry, count int, part func(erofs.Entry) int) scattered {
	tb.Helper()
	s := scattered{dir: dir, entries: slices.Clone(entries)}
	contents := make([]bytes.Buffer, count)
	for i, e := range s.entries {
		n := part(e)
		if n < 0 || !e.Mode.IsRegular() {
			continue
		}
		own := &contents[n]
		own.Write(make([]byte, 512*(1+i%3))) // such as a tar archive's header
		s.entries[i].In = &erofs.Place{Part: n, Offset: int64(own.Len())}
		own.Write(content(tb, e))
		own.Write(make([]byte, (512-own.Len()%512)%512))
		if len(e.Xattrs) == 0 {
			s.entries[i].Open = nil
		}
	}
	for i := range contents {
		raw := contents[i].Bytes()
		p := erofs.Part{Digest: imx.DigestBytes(raw), Size: int64(len(raw))}
		if err := os.WriteFile(erofs.PartFile(s.image(), p.Digest), raw, 0o600); err != nil {
			tb.Fatal(err)
		}
		s.parts = append(s.parts, p)
	}
	return s
}

func (s scattered) image() string { return filepath.Join(s.dir, "image") }

func (s scattered) write(tb testing.TB) []byte {
	tb.Helper()
	f, err := os.Create(s.image())
	if err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(erofs.WriteIndex(f, s.entries, s.parts, epoch), f.Close()); err != nil {
		tb.Fatal(err)
	}
	raw, err := os.ReadFile(s.image())
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestAnyTreeScatteredOverPartsIsReadBackByTheKernelInBothWays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		entries := draw(rt)
		slices.SortFunc(entries, func(a, b erofs.Entry) int { return strings.Compare(a.Path, b.Path) })
		count := rapid.IntRange(1, 4).Draw(rt, "parts")
		s := scatter(t, entries, count, func(erofs.Entry) int { return rapid.IntRange(-1, count-1).Draw(rt, "part") })
		first := s.write(t)
		rand.Shuffle(len(entries), func(i, j int) { s.entries[i], s.entries[j] = s.entries[j], s.entries[i] })
		if !bytes.Equal(first, s.write(t)) {
			rt.Fatal("another order of the entries gave other bytes")
		}
		if os.Getuid() != 0 {
			return
		}
		want := meant(t, entries)
		for name, by := range map[string]func(image, target string) error{"from files": erofs.Mount, "from a copy": erofs.MountFlat} {
			target := t.TempDir()
			if err := by(s.image(), target); err != nil {
				rt.Fatal(err)
			}
			got := look(t, target)
			if err := erofs.Unmount(target); err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("%s: written (-), mounted (+):\n%s", name, diff)
			}
		}
	})
}

func TestAnImageNamesItsPartsAndNoOthers(t *testing.T) {
	entries := []erofs.Entry{file("a", 0o644, "a"), file("b", 0o644, "b"), file("c", 0o644, strings.Repeat("c", 5000))}
	s := scatter(t, entries, 4, func(e erofs.Entry) int { return map[string]int{"a": 3, "b": -1, "c": 1}[e.Path] })
	raw := s.write(t)
	got, err := erofs.ReadParts(bytes.NewReader(raw))
	if diff := cmp.Diff([]erofs.Part{s.parts[1], s.parts[3]}, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if bytes.Contains(raw, []byte("ccc")) || !bytes.Contains(raw, []byte("b")) {
		t.Error("the image has what is in a part, or hasn't what isn't")
	}
	if parts, err := erofs.Parts(write(t, entries)); parts != nil || err != nil {
		t.Errorf("an image without parts has %v, %v", parts, err)
	}
}

// As many layers as an image has at most, in a folder with a long name: no list of options holds them.
func TestAnImageOfAHundredPartsIsMounted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 60))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var entries []erofs.Entry
	for i := range 100 {
		entries = append(entries, file(strings.Repeat("d", 1+i), 0o644, strings.Repeat(string(rune('A'+i%26)), 700+i)))
	}
	s := scatterIn(t, dir, entries, 100, func(e erofs.Entry) int { return len(e.Path) - 1 })
	s.write(t)
	root := mount(t, s.image(), erofs.Mount)
	if diff := cmp.Diff(meant(t, entries), look(t, root)); diff != "" {
		t.Errorf("written (-), mounted (+):\n%s", diff)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil || st.Type != unix.EROFS_SUPER_MAGIC_V1 {
		t.Errorf("a file system of type %#x, %v", st.Type, err)
	}
}

func TestMountingNamesThePartThatIsMissingAndLeavesNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	s := scatter(t, []erofs.Entry{file("a", 0o644, "a"), file("b", 0o644, "b")}, 2, func(e erofs.Entry) int { return int(e.Path[0] - 'a') })
	s.write(t)
	if err := os.Remove(erofs.PartFile(s.image(), s.parts[1].Digest)); err != nil {
		t.Fatal(err)
	}
	for name, by := range map[string]func(image, target string) error{"from files": erofs.Mount, "from a copy": erofs.MountFlat} {
		target := t.TempDir()
		err := by(s.image(), target)
		if imx.KindOf(err) != imx.NotFound || !strings.Contains(err.Error(), s.parts[1].Digest.Short()) {
			t.Errorf("%s: kind %q: %v", name, imx.KindOf(err), err)
		}
		if err := os.Remove(target); err != nil {
			t.Errorf("%s: something is mounted: %v", name, err)
		}
	}
}

func TestACopyThatTheDiskHasNoRoomForSaysSo(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("this test mounts a tmpfs of 1 MiB, which needs root: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	s := scatterIn(t, dir, []erofs.Entry{file("big", 0o644, strings.Repeat("x", 700<<10))}, 1, func(erofs.Entry) int { return 0 })
	s.write(t)
	if err := erofs.MountFlat(s.image(), t.TempDir()); imx.KindOf(err) != imx.Exhausted || imx.AsError(err).Hint == "" {
		t.Errorf("err = %v (%s), hint %q", err, imx.KindOf(err), imx.AsError(err).Hint)
	}
}

func TestContentThatIsNotInItsPartIsRefused(t *testing.T) {
	parts := []erofs.Part{{Digest: imx.DigestBytes(nil), Size: 1024}}
	tests := map[string]erofs.Place{
		"is in part 1, of 1":        {Part: 1},
		"is in part -1":             {Part: -1},
		"which is within a block":   {Offset: 100},
		"begins at -512":            {Offset: -512},
		"goes beyond the end of":    {Offset: 1024},
		"goes beyond the end of it": {Offset: 1 << 40},
	}
	for want, in := range tests {
		e := erofs.Entry{Path: "a", Size: 600, In: &in}
		err := erofs.WriteIndex(&nowhere{}, []erofs.Entry{e}, parts, time.Unix(0, 0))
		if imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), strings.TrimSuffix(want, " it")) {
			t.Errorf("error %v of kind %q, want one of kind invalid with %q", err, imx.KindOf(err), want)
		}
	}
}

func FuzzParts(f *testing.F) {
	s := scatter(f, []erofs.Entry{file("a", 0o644, "a"), {Path: "b", Mode: fs.ModeDir}}, 1, func(erofs.Entry) int { return 0 })
	f.Add(s.write(f))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, image []byte) {
		parts, err := erofs.ReadParts(bytes.NewReader(image))
		if err != nil && imx.KindOf(err) != imx.Refused {
			t.Fatalf("kind %q: %v", imx.KindOf(err), err)
		}
		for _, p := range parts {
			if _, err := imx.ParseDigest(string(p.Digest)); err != nil || p.Size < 0 {
				t.Fatalf("let through: %+v, %v", p, err)
			}
		}
	})
}
