// These tests are here because everything else trusts a digest: a blob that has its name must be
// whole, right and durable, whatever the disk did while it was written.

package blob_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/blob"
)

func open(t *testing.T, dir string) *blob.Store {
	t.Helper()
	s, err := blob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *blob.Store, text string) imx.Digest {
	t.Helper()
	d, n, err := s.Put(strings.NewReader(text), "")
	if err != nil {
		t.Fatal(err)
	}
	if d != imx.DigestBytes([]byte(text)) || n != int64(len(text)) {
		t.Fatalf("Put(%q) = %s, %d", text, d, n)
	}
	return d
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWhatWasPutComesBackUnderItsDigest(t *testing.T) {
	s := open(t, t.TempDir())
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.SliceOf(rapid.Byte()).Draw(t, "content")
		d, n, err := s.Put(iotest.OneByteReader(bytes.NewReader(content)), imx.DigestBytes(content))
		if err != nil || d != imx.DigestBytes(content) || n != int64(len(content)) {
			t.Fatalf("Put = %s, %d, %v", d, n, err)
		}
		got, err := s.ReadAll(d, int64(len(content)))
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("ReadAll = %q, %v", got, err)
		}
		if size, err := s.Size(d); err != nil || size != int64(len(content)) || !s.Has(d) {
			t.Fatalf("Size = %d, %v; Has = %t", size, err, s.Has(d))
		}
	})
}

func TestTheReaderObeysTheReaderContract(t *testing.T) {
	s := open(t, t.TempDir())
	for _, text := range []string{"", "x", strings.Repeat("layer", 100_000)} {
		r, err := s.Reader(put(t, s, text))
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(r, []byte(text)); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWrongDigestIsRefusedWithBothValuesAndNothingStays(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	want := imx.DigestBytes([]byte("what was promised"))
	_, _, err := s.Put(strings.NewReader("what came"), want)
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), string(want)) ||
		!strings.Contains(err.Error(), string(imx.DigestBytes([]byte("what came")))) {
		t.Errorf("err = %v, want a refusal with both digests", err)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAReaderThatFailsIsNotTakenForTheDisk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	broken := imx.Errorf(imx.Unavailable, "the line went dead")
	_, _, err := s.Put(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), "")
	if !errors.Is(err, broken) || imx.KindOf(err) != imx.Unavailable {
		t.Errorf("err = %v (%s)", err, imx.KindOf(err))
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDamageIsFoundBeforeTheLastByteIsGivenOut(t *testing.T) {
	s := open(t, t.TempDir())
	text := strings.Repeat("0123456789", 10_000)
	for name, damage := range map[string]func([]byte) []byte{
		"a flipped bit":  func(b []byte) []byte { b[77] ^= 4; return b },
		"a cut tail":     func(b []byte) []byte { return b[:len(b)-1] },
		"nothing at all": func([]byte) []byte { return nil },
		"a longer tail":  func(b []byte) []byte { return append(b, 'x') },
	} {
		d := put(t, s, text)
		if err := os.Remove(s.Path(d)); err != nil {
			t.Fatal(err)
		}
		bad := damage([]byte(text))
		if err := os.WriteFile(s.Path(d), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.ReadAll(d, 1<<20)
		if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: err = %v, want Refused", name, err)
		}
		r, err := s.Reader(d)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, iotest.OneByteReader(r))
		if err == nil || (len(bad) > 0 && n >= int64(len(bad))) {
			t.Errorf("%s: gave out %d of %d bytes, err = %v", name, n, len(bad), err)
		}
		_ = r.Close()
		put(t, s, text)
		if _, err := s.ReadAll(d, 1<<20); err != nil {
			t.Errorf("%s: putting the bytes again didn't mend the blob: %v", name, err)
		}
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	s := open(t, t.TempDir())
	none := imx.DigestBytes([]byte("none"))
	_, openErr := s.Open(none)
	_, sizeErr := s.Size(none)
	_, readErr := s.ReadAll(none, 1)
	for _, err := range []error{openErr, sizeErr, readErr, s.Delete(none)} {
		if imx.KindOf(err) != imx.NotFound {
			t.Errorf("err = %v, want NotFound", err)
		}
	}
	if _, err := s.Open("sha256:../../etc/passwd"); imx.KindOf(err) != imx.Invalid {
		t.Errorf("a malformed digest: err = %v, want Invalid", err)
	}
}

func TestReadAllStopsAtItsLimit(t *testing.T) {
	s := open(t, t.TempDir())
	d := put(t, s, "12345")
	if _, err := s.ReadAll(d, 4); imx.KindOf(err) != imx.Refused {
		t.Errorf("err = %v, want Refused", err)
	}
}

func TestAllYieldsEveryBlobInOrderAndDeleteTakesOneAway(t *testing.T) {
	s := open(t, t.TempDir())
	want := map[imx.Digest]int64{}
	for _, text := range []string{"a", "bb", "ccc", "dddd"} {
		want[put(t, s, text)] = int64(len(text))
	}
	gone := put(t, s, "gone")
	if err := s.Delete(gone); err != nil || s.Has(gone) {
		t.Fatalf("Delete: %v", err)
	}
	last, n := imx.Digest(""), 0
	for b, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		if b.Digest <= last || want[b.Digest] != b.Size {
			t.Errorf("%s of %d bytes after %s", b.Digest, b.Size, last)
		}
		last, n = b.Digest, n+1
	}
	if n != len(want) {
		t.Errorf("%d blobs, want %d", n, len(want))
	}
}

func TestManyPutsOfTheSameBytesAtOnceAllSucceed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	text := strings.Repeat("same", 1000)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			d, _, err := s.Put(strings.NewReader(text), "")
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.ReadAll(d, 1<<20); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if left := files(t, dir); len(left) != 1 {
		t.Errorf("files: %v, want one", left)
	}
}

func TestOpenRemovesTheFilesOfTheDeadAndLeavesThoseOfTheLiving(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	dead := filepath.Join(dir, "tmp", "put-dead")
	if err := os.WriteFile(dead, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	gate, feed := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, _, err := s.Put(gate, "")
		done <- err
	}()
	if _, err := feed.Write([]byte("first half, ")); err != nil { // returns once Put has its file and reads
		t.Fatal(err)
	}
	open(t, dir)
	if left := files(t, dir); len(left) != 1 || left[0] == dead {
		t.Errorf("files: %v, want the living Put's alone", left)
	}
	_, _ = feed.Write([]byte("second half"))
	_ = feed.Close()
	if err := <-done; err != nil {
		t.Errorf("the living Put: %v", err)
	}
}

func TestAFullDiskAtAnyStepIsExhaustedAndLeavesNoTemporaryFile(t *testing.T) {
	for _, step := range blob.Steps() {
		dir := t.TempDir()
		s := open(t, dir)
		blob.Fail(s, step, &os.PathError{Op: step, Path: "blob", Err: syscall.ENOSPC})
		text := strings.Repeat("x", 1000)
		_, _, err := s.Put(strings.NewReader(text), "")
		if imx.KindOf(err) != imx.Exhausted || imx.AsError(err).Hint == "" {
			t.Errorf("%s: err = %v, want Exhausted with a hint", step, err)
		}
		again := open(t, dir)
		d := imx.DigestBytes([]byte(text))
		if step != blob.StepSyncDir && again.Has(d) {
			t.Errorf("%s: the blob is there", step)
		}
		for _, path := range files(t, dir) {
			if step != blob.StepSyncDir || path != again.Path(d) {
				t.Errorf("%s: left behind %s", step, path)
			}
		}
		if again.Has(d) {
			if _, err := again.ReadAll(d, 1<<20); err != nil {
				t.Errorf("%s: what stayed isn't whole: %v", step, err)
			}
		}
	}
}

func TestARealFullDiskIsExhausted(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("this test mounts a tmpfs of 64 KiB, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := open(t, dir)
	small := put(t, s, "fits")
	_, _, err := s.Put(bytes.NewReader(make([]byte, 1<<20)), "")
	if imx.KindOf(err) != imx.Exhausted {
		t.Errorf("err = %v, want Exhausted", err)
	}
	if left := files(t, dir); len(left) != 1 {
		t.Errorf("files: %v, want the small blob alone", left)
	}
	if _, err := s.ReadAll(small, 100); err != nil {
		t.Error(err)
	}
}
