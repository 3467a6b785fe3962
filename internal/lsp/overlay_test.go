package lsp_test

import (
	"testing"
	"testing/fstest"

	"imx/internal/lsp"
)

func TestAnOverlayIsAFolderWithTheOpenTexts(t *testing.T) {
	t.Parallel()
	disk := fstest.MapFS{"a.imx.hcl": {Data: []byte("old")}, "sub/x": {Data: []byte("x")}, "sub/y": {Data: []byte("old")}}
	over := lsp.Overlay(disk, map[string]string{"a.imx.hcl": "new", "b.imx.hcl": "not saved", "sub/y": "new"})
	if err := fstest.TestFS(over, "a.imx.hcl", "b.imx.hcl", "sub/x", "sub/y"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"a.imx.hcl": "new", "b.imx.hcl": "not saved", "sub/x": "x", "sub/y": "new"} {
		f, err := over.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 20)
		n, _ := f.Read(b)
		if got := string(b[:n]); got != want {
			t.Errorf("%s has %q", name, got)
		}
	}
}
