package inventory_test

// The summary is what people say yes to an image by: it must count each byte once and leave no
// dangerous file out.

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/inventory"
)

func TestEachByteIsInOneFolderAndHasOneOrigin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var inv imx.Inventory
		path := rapid.StringMatching(`(/[abc]{1,2}){1,4}`)
		for _, p := range rapid.SliceOfNDistinct(path, 0, 20, rapid.ID[string]).Draw(t, "paths") {
			inv.Paths = append(inv.Paths, imx.InventoryPath{
				Path: p, Size: rapid.Int64Range(0, 1000).Draw(t, "size"),
				Kind:    rapid.SampledFrom([]imx.PathKind{imx.PathFile, imx.PathFile, imx.PathDirectory}).Draw(t, "kind"),
				Origin:  rapid.SampledFrom([]imx.PathOrigin{imx.OriginFrame, imx.OriginPackage}).Draw(t, "origin"),
				Package: rapid.SampledFrom([]string{"", "x"}).Draw(t, "package"),
			})
		}
		s := inventory.Summarize(inv)
		var want, folders, origins inventory.Portion
		for _, p := range inv.Paths {
			if p.Kind == imx.PathFile {
				want.Files, want.Size = want.Files+1, want.Size+imx.Size(p.Size)
			}
		}
		for _, f := range s.Folders {
			folders.Files, folders.Size = folders.Files+f.Files, folders.Size+f.Size
		}
		for _, o := range s.Origins {
			origins.Files, origins.Size = origins.Files+o.Files, origins.Size+o.Size
		}
		if (inventory.Portion{Files: s.Files, Size: s.Size}) != want || folders != want || origins != want {
			t.Fatalf("%v in all, %v in folders, %v by origin; want %v", s, folders, origins, want)
		}
		if !slices.IsSortedFunc(s.Folders, func(a, b inventory.Share) int { return int(b.Size - a.Size) }) {
			t.Fatalf("not the largest first: %v", s.Folders)
		}
	})
}

func TestAFolderWithMostOfTheImageStandsAsItsParts(t *testing.T) {
	file := func(path string, size int64) imx.InventoryPath {
		return imx.InventoryPath{Path: path, Kind: imx.PathFile, Size: size}
	}
	s := inventory.Summarize(imx.Inventory{Paths: []imx.InventoryPath{
		file("/usr/lib/x/a", 60), file("/usr/bin/b", 20), file("/usr/c", 5), file("/etc/d/e", 10), file("/f", 1),
	}})
	share := func(name string, size imx.Size) inventory.Share {
		return inventory.Share{Name: name, Portion: inventory.Portion{Files: 1, Size: size}}
	}
	want := []inventory.Share{share("/usr/lib", 60), share("/usr/bin", 20), share("/etc", 10), share("/usr", 5), share("/", 1)}
	if diff := cmp.Diff(want, s.Folders); diff != "" {
		t.Error(diff)
	}
}

func TestWhatDeservesALookIsFound(t *testing.T) {
	path := func(name string, kind imx.PathKind, mode imx.Mode) imx.InventoryPath {
		return imx.InventoryPath{Path: name, Kind: kind, Mode: mode}
	}
	capable, server := path("/capable", imx.PathFile, 0o755), path("/server", imx.PathFile, 0o755)
	capable.Capabilities, server.Listens = "0100", true
	s := inventory.Summarize(imx.Inventory{
		Packages: []imx.InventoryPackage{{Package: imx.Package{Name: "empty"}}},
		Paths: []imx.InventoryPath{
			path("/su", imx.PathFile, 0o4755), path("/sg", imx.PathFile, 0o2755), capable, server,
			path("/tmp", imx.PathDirectory, 0o1777), path("/open", imx.PathFile, 0o666), path("/mail", imx.PathDirectory, 0o2775),
			path("/link", imx.PathLink, 0o777), path("/fine", imx.PathFile, 0o755),
		},
	})
	names := func(paths []imx.InventoryPath) []string {
		var all []string
		for _, p := range paths {
			all = append(all, p.Path)
		}
		return all
	}
	for what, c := range map[string]struct{ got, want []string }{
		"privileged": {names(s.Privileged), []string{"/su", "/sg", "/capable"}},
		"writable":   {names(s.Writable), []string{"/tmp", "/open"}},
		"listens":    {names(s.Listens), []string{"/server"}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
	}
	if !inventory.Sticky(s.Writable[0]) || inventory.Sticky(s.Writable[1]) {
		t.Error("only /tmp is sticky")
	}
	if diff := cmp.Diff([]inventory.Share{{Name: "empty"}}, s.Packages); diff != "" {
		t.Errorf("a package without files: %s", diff)
	}
}

func TestPrivilegesAreNamed(t *testing.T) {
	p := imx.InventoryPath{Kind: imx.PathFile, Mode: 0o6755, Capabilities: "01"}
	if got := inventory.Privileges(p); got != "setuid, setgid, capabilities" {
		t.Errorf("%q", got)
	}
}
