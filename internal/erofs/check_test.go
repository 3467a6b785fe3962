// What an image is made of is what its digest says, or is refused by name.

package erofs_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/erofs"
)

// checked is an image with two parts, and its digest.
func checked(tb testing.TB) (scattered, imx.Digest) {
	tb.Helper()
	entries := []erofs.Entry{file("a", 0o644, "a"), file("b", 0o644, strings.Repeat("b", 1000)), file("c", 0o644, "c")}
	s := scatter(tb, entries, 2, func(e erofs.Entry) int { return int(e.Path[0]-'a') - 1 })
	return s, imx.DigestBytes(s.write(tb))
}

func TestEachFileOfAnImageThatWasChangedOrRemovedIsFound(t *testing.T) {
	for _, locks := range []bool{false, true} {
		s, root := checked(t)
		files := map[string]imx.Digest{s.image(): root}
		for _, p := range s.parts {
			files[erofs.PartFile(s.image(), p.Digest)] = p.Digest
		}
		c := &erofs.Checker{Locks: locks}
		for name, digest := range files {
			for range 2 {
				if err := c.Image(s.image(), root); err != nil {
					t.Fatal(err)
				}
			}
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			erofs.Unlock(name)
			before, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			put := func(b []byte) {
				if err := os.WriteFile(name, b, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(name, time.Time{}, before.ModTime()); err != nil { // one of the same size and date
					t.Fatal(err)
				}
			}
			changed := append([]byte(nil), raw...)
			changed[len(changed)-1]++
			put(changed)
			if err := c.Image(s.image(), root); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), string(digest)) {
				t.Errorf("%s changed, locks %t: kind %q: %v", name, locks, imx.KindOf(err), err)
			}
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if err := c.Image(s.image(), root); imx.KindOf(err) != imx.NotFound || !strings.Contains(err.Error(), digest.Hex()) && name != s.image() {
				t.Errorf("%s removed, locks %t: kind %q: %v", name, locks, imx.KindOf(err), err)
			}
			put(raw)
		}
		if err := c.Image(s.image(), root); err != nil {
			t.Errorf("all is as it was, locks %t: %v", locks, err)
		}
		for name := range files {
			erofs.Unlock(name)
		}
	}
}

// One that is changed without a trace, as a disk does it, has the state of one that is sound.
func TestReadingAgainFindsWhatLeftNoTrace(t *testing.T) {
	s, root := checked(t)
	c := &erofs.Checker{}
	if err := c.Image(s.image(), root); err != nil {
		t.Fatal(err)
	}
	from := func(change string) func(string, io.Writer) error {
		return func(file string, to io.Writer) error {
			data, err := os.ReadFile(file)
			if err == nil && file == change {
				data[len(data)-1]++
			}
			return errors.Join(err, func() error { _, err := to.Write(data); return err }())
		}
	}
	if err := c.Again(s.image(), root, from("")); err != nil {
		t.Errorf("of a sound one: %v", err)
	}
	for _, file := range []string{s.image(), erofs.PartFile(s.image(), s.parts[1].Digest)} {
		if err := c.Again(s.image(), root, from(file)); imx.KindOf(err) != imx.Refused {
			t.Errorf("%s changed: %v", file, err)
		}
	}
	if err := os.Remove(s.image()); err != nil {
		t.Fatal(err)
	}
	if err := c.Again(s.image(), root, from("")); imx.KindOf(err) != imx.NotFound {
		t.Errorf("removed: %v", err)
	}
}

func TestAFileThatIsLockedCannotBeChangedByMistake(t *testing.T) {
	s, root := checked(t)
	c := &erofs.Checker{Locks: true}
	if err := c.Image(s.image(), root); err != nil {
		t.Fatal(err)
	}
	part := erofs.PartFile(s.image(), s.parts[0].Digest)
	defer erofs.Unlock(s.image())
	defer erofs.Unlock(erofs.PartFile(s.image(), s.parts[1].Digest))
	if err := os.Remove(part); err == nil {
		t.Skip("the file system of the test's folder has no such lock")
	}
	erofs.Unlock(part)
	if err := os.Remove(part); err != nil {
		t.Error(err)
	}
}

// BenchmarkCheck is what looking at an unchanged image of a hundred parts takes, each of 100 KB.
func BenchmarkCheck(b *testing.B) {
	var entries []erofs.Entry
	for i := range 100 {
		entries = append(entries, file(strings.Repeat("d", 1+i), 0o644, strings.Repeat(string(rune('A'+i%26)), 100_000+i)))
	}
	s := scatter(b, entries, 100, func(e erofs.Entry) int { return len(e.Path) - 1 })
	root := imx.DigestBytes(s.write(b))
	for name, fresh := range map[string]bool{"anew": true, "unchanged": false} {
		b.Run(name, func(b *testing.B) {
			c := &erofs.Checker{}
			for b.Loop() {
				if fresh {
					c = &erofs.Checker{}
				}
				if err := c.Image(s.image(), root); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
