package blob_test

// A digest says nothing of a part of the bytes. These tests are here because a part is served all the same, and must be
// as right as the whole.

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/blob"
)

// long is bytes of which no two chunks are the same.
func long(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func part(s *blob.Store, d imx.Digest, from, to int64) ([]byte, error) {
	r, err := s.Range(d, from, to)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

func TestAnyPartOfABlobIsThatPart(t *testing.T) {
	s := open(t, t.TempDir())
	whole := long(3<<20 + 17)
	d := put(t, s, string(whole))
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(0, len(whole)).Draw(t, "from")
		to := rapid.IntRange(from, len(whole)).Draw(t, "to")
		got, err := part(s, d, int64(from), int64(to))
		if err != nil || !bytes.Equal(got, whole[from:to]) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
	for _, wrong := range [][2]int64{{-1, 1}, {0, int64(len(whole)) + 1}, {2, 1}} {
		if _, err := part(s, d, wrong[0], wrong[1]); imx.KindOf(err) != imx.Invalid {
			t.Errorf("%v: %v", wrong, err)
		}
	}
	if got, err := part(s, put(t, s, ""), 0, 0); err != nil || len(got) != 0 {
		t.Errorf("of nothing: %q, %v", got, err)
	}
}

// rewrite changes a blob's file behind the store's back, in place or not.
func rewrite(t *testing.T, s *blob.Store, d imx.Digest, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(s.Path(d))
	if err == nil {
		err = errors.Join(os.Chmod(s.Path(d), 0o600), os.WriteFile(s.Path(d), change(b), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPartOfADamagedBlobIsGivenOutOnlyWhereItIsRight(t *testing.T) {
	whole := long(3 << 20)
	flip := func(b []byte) []byte { b[1<<20+5] ^= 1; return b }
	for _, first := range []bool{true, false} { // is anything read before the damage?
		s := open(t, t.TempDir())
		d := put(t, s, string(whole))
		if first {
			if _, err := part(s, d, 0, 1); err != nil {
				t.Fatal(err)
			}
		}
		rewrite(t, s, d, flip)
		if _, err := part(s, d, 1<<20+4, 1<<20+6); imx.KindOf(err) != imx.Refused {
			t.Errorf("the damaged part (%t): %v", first, err)
		}
		got, err := part(s, d, 0, 10)
		if first != (err == nil && bytes.Equal(got, whole[:10])) {
			t.Errorf("another part (%t): %v", first, err)
		}
		bad := s.Damaged(d)
		if first && (len(bad) != 1 || bad[0] != [2]int64{1 << 20, 2 << 20}) || !first && bad != nil {
			t.Errorf("damaged (%t): %v", first, bad)
		}
		put(t, s, string(whole)) // mends it
		if got, err := part(s, d, 1<<20, 1<<20+10); err != nil || !bytes.Equal(got, whole[1<<20:1<<20+10]) {
			t.Errorf("mended (%t): %v", first, err)
		}
	}
}

func TestAPartOfATruncatedBlobIsRefused(t *testing.T) {
	s := open(t, t.TempDir())
	d := put(t, s, string(long(2<<20)))
	if _, err := part(s, d, 0, 1); err != nil {
		t.Fatal(err)
	}
	rewrite(t, s, d, func(b []byte) []byte { return b[:1<<20+9] })
	if _, err := part(s, d, 1<<20, 1<<20+5); imx.KindOf(err) != imx.Refused {
		t.Errorf("err = %v", err)
	}
}

func TestAFileThatIsAdoptedIsABlobAndKeepsNoOtherName(t *testing.T) {
	s := open(t, t.TempDir())
	f, err := os.CreateTemp(t.TempDir(), "upload")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString("in pieces")
	d := imx.DigestBytes([]byte("in pieces"))
	if err := s.Adopt(f, d); err != nil {
		t.Fatal(err)
	}
	if b, err := s.ReadAll(d, 100); err != nil || string(b) != "in pieces" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Stat(f.Name()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its old name: %v", err)
	}
	if err := s.Adopt(f, "md5:"+imx.Digest(strings.Repeat("0", 32))); imx.KindOf(err) != imx.Invalid {
		t.Errorf("a strange digest: %v", err)
	}
	_ = f.Close()
}
