package cli_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"imx/internal/cli"
	"imx/internal/lsp"
)

// BenchmarkEditor is what a change of an open template costs until what is wrong with it is known: reading the shop's
// folder with the text as it is now, and asking all rules.
func BenchmarkEditor(b *testing.B) {
	dir, err := filepath.Abs("../../examples/shop")
	if err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "shop.imx.hcl"))
	if err != nil {
		b.Fatal(err)
	}
	check, typed := cli.EditorCheck(), 0
	for b.Loop() {
		typed++
		v, err := check(b.Context(), dir, func(under fs.FS) fs.FS {
			return lsp.Overlay(under, map[string]string{"shop.imx.hcl": fmt.Sprintf("%s# %d\n", text, typed)})
		})
		if err != nil || len(v.Findings) == 0 {
			b.Fatalf("%d findings, %v", len(v.Findings), err)
		}
	}
}
