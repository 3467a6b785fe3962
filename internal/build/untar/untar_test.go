package untar_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"imx"
	"imx/internal/build/untar"
	"imx/internal/build/untar/untartest"
)

func TestAnArchiveThatNoImageMayHaveIsRefused(t *testing.T) {
	for want, h := range untartest.Hostile() {
		err := untar.Each(tar.NewReader(bytes.NewReader(untartest.Archive(t, h))), func(_ *tar.Header, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return untar.Unreadable(err)
		})
		if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), want) {
			t.Errorf("kind %q: %v, want %q", imx.KindOf(err), err, want)
		}
	}
}

func TestAnEntryIsShownAndAnErrorEndsTheReading(t *testing.T) {
	archive := untartest.Archive(t, &tar.Header{Name: "./usr", Typeflag: tar.TypeDir})
	stop := errors.New("stop")
	err := untar.Each(tar.NewReader(bytes.NewReader(archive)), func(h *tar.Header, _ io.Reader) error {
		if h.Name != "./usr" {
			t.Errorf("the entry %s", h.Name)
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestNoMoreIsReadThanTheBound(t *testing.T) {
	for _, left := range []int64{0, 2, 3, 4} {
		got, err := io.ReadAll(&untar.Bounded{R: strings.NewReader("abc"), Left: left})
		if fits := left >= 3; fits != (err == nil) || fits && string(got) != "abc" || !fits && imx.KindOf(err) != imx.Refused {
			t.Errorf("3 bytes, %d allowed: %q, %v", left, got, err)
		}
	}
}
