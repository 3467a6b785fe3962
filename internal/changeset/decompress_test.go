// A layer is what it was before somebody compressed it, however they did, and whatever else they say of it.

package changeset_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"imx"
	"imx/internal/changeset"
)

func compressed(tb testing.TB, text []byte) map[string][]byte {
	tb.Helper()
	var gz, zst bytes.Buffer
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		tb.Fatal(err)
	}
	for _, w := range []io.WriteCloser{gzip.NewWriter(&gz), z} {
		if _, err := w.Write(text); err != nil {
			tb.Fatal(err)
		}
		if err := w.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	return map[string][]byte{"gzip": gz.Bytes(), "zstd": zst.Bytes(), "none": text}
}

func plain(raw []byte) ([]byte, error) {
	r, err := changeset.Decompress(context.Background(), bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestEachCompressionIsKnownByHowItBegins(t *testing.T) {
	for _, text := range []string{"", "abc", "a layer of some length"} {
		for how, raw := range compressed(t, []byte(text)) {
			if got, err := plain(raw); string(got) != text || err != nil {
				t.Errorf("%s came to %q, %v", how, got, err)
			}
		}
	}
}

func TestNobodyReadsOnWhenItIsWantedNoMore(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	r, err := changeset.Decompress(ctx, bytes.NewReader(make([]byte, 100)))
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("nobody wants it any more")
	cancel(why)
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, why) {
		t.Errorf("err = %v", err)
	}
}

func TestWhatOnlyBeginsAsIfIsInvalid(t *testing.T) {
	if _, err := plain([]byte{0x1f, 0x8b, 1, 2, 3}); imx.KindOf(err) != imx.Invalid {
		t.Errorf("err = %v", err)
	}
	for how, raw := range compressed(t, []byte("a layer of some length")) {
		if _, err := plain(raw[:len(raw)-3]); err == nil && how != "none" {
			t.Errorf("%s is read though it breaks off", how)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	for _, raw := range compressed(f, []byte("a layer")) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for how, raw := range compressed(t, text) {
			if how == "none" {
				continue // bytes that begin as if they were compressed are taken for it
			}
			if got, err := plain(raw); !bytes.Equal(got, text) || err != nil {
				t.Errorf("%s came to %q, %v", how, got, err)
			}
		}
		_, _ = plain(text) // ends, whatever it is
	})
}
