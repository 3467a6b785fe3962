package local_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/erofs"
)

func TestAnImageThatWasTamperedWithIsRefused(t *testing.T) {
	for _, kind := range []string{"image", "part"} {
		t.Run(kind, func(t *testing.T) {
			m := newMachine(t)
			e := m.running(t)
			root, err := m.cfg.Roots(t.Context(), m.image.Digest)
			if err != nil {
				t.Fatal(err)
			}
			parts, err := erofs.Parts(root)
			if err != nil || len(parts) != 1 {
				t.Fatal(parts, err)
			}
			file, digest := root, m.image.Root
			if kind == "part" {
				file, digest = erofs.PartFile(root, parts[0].Digest), parts[0].Digest
			}
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte("changed"), 2048); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			err = scale(t, e, m.release("web", 1), 1)
			if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), string(digest)) {
				t.Errorf("got the error %v", err)
			}
			m.compare(t, e)
			for _, file := range []string{root, erofs.PartFile(root, parts[0].Digest)} {
				if err := os.Remove(file); err != nil {
					t.Errorf("it stays locked: %v", err)
				}
			}
		})
	}
}

func TestAPartThatTwoImagesShareStaysLockedUntilBothHaveGone(t *testing.T) {
	m := newMachine(t)
	one, err := m.cfg.Roots(t.Context(), m.image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	other, two := imageIn(t, filepath.Dir(one), time.Unix(1, 0))
	m.cfg.Roots = func(_ context.Context, image imx.Digest) (string, error) {
		return map[imx.Digest]string{m.image.Digest: one, other.Digest: two}[image], nil
	}
	parts, err := erofs.Parts(one)
	if err != nil {
		t.Fatal(err)
	}
	locked := func(file string) bool {
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err == nil {
			f.Close()
		}
		return errors.Is(err, unix.EPERM)
	}
	e := m.running(t)
	web, api := m.release("web", 1), m.release("api", 1)
	api.Image = other
	e.healthy(t, web, 1)
	e.healthy(t, api, 1)
	part := erofs.PartFile(one, parts[0].Digest)
	if !locked(part) {
		t.Skip("the file system of the test's folder has no such lock")
	}
	for _, step := range []struct {
		ends             imx.Release
		part, one, other bool
	}{{api, true, true, false}, {web, false, false, false}} {
		e.scale(t, step.ends, 0)
		m.compare(t, e)
		await(t, "the right files are locked", func() bool { return locked(part) == step.part && locked(one) == step.one && locked(two) == step.other })
	}
}
