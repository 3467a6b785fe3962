// Whatever a file looks like, reading it as a program ends, and says nothing that isn't in it.

package tree_test

import (
	"bytes"
	"os"
	"testing"

	"imx/internal/build/tree"
)

func FuzzPrograms(f *testing.F) {
	self, err := os.ReadFile("/bin/true")
	if err != nil {
		f.Skip(err)
	}
	f.Add(self)
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		found, err := tree.Programs([]*tree.Item{tree.Text("usr/bin/it", raw)})
		if err != nil {
			t.Fatal(err)
		}
		if found["usr/bin/it"].Listens && !bytes.Contains(raw, []byte("listen")) {
			t.Error("it listens without the word in it")
		}
	})
}
