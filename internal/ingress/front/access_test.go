package front_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/ingress/front"
)

// lines reads an access log, each line of which must be whole.
func lines(t *testing.T, dir string) (all []imx.AccessLine) {
	t.Helper()
	for _, name := range front.AccessFiles() {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var l imx.AccessLine
			if err := json.Unmarshal(line, &l); err != nil || !bytes.HasSuffix(line, []byte("\n")) {
				t.Fatalf("%s has a line that isn't whole: %v: %q", name, err, line)
			}
			all = append(all, l)
		}
	}
	return all
}

func open(t *testing.T, dir string) front.Access {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	a, err := front.OpenAccess(root)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// While one process takes another's place, both write to one file.
func TestLinesOfTwoProcessesDoNotMix(t *testing.T) {
	dir := t.TempDir()
	const each = 2000
	var writers sync.WaitGroup
	for range 2 {
		a := open(t, dir)
		writers.Go(func() {
			for i := range each {
				a.Write(imx.AccessLine{Path: "/" + strings.Repeat("x", i%977), Status: 200})
			}
			a.Flush()
		})
	}
	writers.Wait()
	if got := len(lines(t, dir)); got != 2*each {
		t.Errorf("%d lines of %d", got, 2*each)
	}
}

func TestAFullDiskCostsLinesAndLeavesNoPartOfOne(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a small disk is mounted by root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 16<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	a := open(t, dir)
	const much = 1000 // some 170 KB
	for range much {
		a.Write(imx.AccessLine{Path: "/" + strings.Repeat("x", 97), Status: 200})
	}
	a.Flush()
	full := len(lines(t, dir))
	if full == 0 || full == much {
		t.Fatalf("%d lines of %d came to a disk that has no room for all", full, much)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	a.Write(imx.AccessLine{Path: "/again", Status: 200})
	a.Flush()
	all := lines(t, dir)
	if last := all[len(all)-1]; len(all) != full+1 || last.Path != "/again" {
		t.Errorf("with room again there are %d lines after %d, the last of %q", len(all), full, last.Path)
	}
}
